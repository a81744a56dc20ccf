"""SER over a real, if tiny and untrained, Wav2Vec2 classifier that is made here; the funasr library is stood in for."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.audio import Audio
from contracts.errors import ConfigError, MissingExtra
from contracts.records import Delivery
from tasks.scorers.ser import SER, by_emotion, mapped_labels
from tests.tasks.scorers.conftest import make_item

LABELS = ("ang", "hap", "neu", "sad")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder as `save_pretrained` leaves it: Wav2Vec2ForSequenceClassification with random weights, some 10 kB."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("ser")
    torch.manual_seed(0)
    config = transformers.Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(8, 8),
        conv_kernel=(10, 8),
        conv_stride=(8, 8),
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
        classifier_proj_size=8,
        id2label=dict(enumerate(LABELS)),
        label2id={label: i for i, label in enumerate(LABELS)},
    )
    transformers.Wav2Vec2ForSequenceClassification(config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(return_attention_mask=False).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def ser(model: str) -> Iterator[SER]:
    with SER(model=model) as scorer:
        yield scorer


def said(emotion: str) -> Delivery:
    return Delivery(emotion=emotion, intensity=1.0)


def test_probabilities_of_all_emotions_and_of_the_asked_one(ser: SER, spoken: tuple[Audio, ...]) -> None:
    scores = ser.score([make_item(a, delivery=said(e)) for a in spoken for e in ("angry", "happy", "neutral", "sad")])
    for score, asked in zip(scores, ["angry", "happy", "neutral", "sad"] * 3, strict=True):
        shares = {name: p for name, p in score.details.items() if name.startswith("p_")}
        assert set(shares) == {"p_angry", "p_happy", "p_neutral", "p_sad"}
        assert sum(shares.values()) == pytest.approx(1)
        assert score.value == shares[f"p_{asked}"]
        assert score.details["right"] == float(score.value == max(shares.values()))
    assert sum(score.details["right"] for score in scores) == 3


def test_it_is_the_models_own_probability(ser: SER, model: str, spoken: tuple[Audio, ...]) -> None:
    import torch
    import transformers

    network = transformers.Wav2Vec2ForSequenceClassification.from_pretrained(model).eval()
    samples = spoken[0].resampled(16_000).samples
    normal = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
    with torch.inference_mode():
        expected = torch.softmax(network(torch.from_numpy(normal)[None]).logits[0], -1)[LABELS.index("sad")].item()
    (score,) = ser.score([make_item(spoken[0], delivery=said("sad"))])
    assert score.value == pytest.approx(expected, abs=1e-4)


def test_an_emotion_that_the_model_does_not_know_is_a_failed_score(ser: SER, spoken: tuple[Audio, ...]) -> None:
    (score,) = ser.score([make_item(spoken[0], delivery=said("soothing"))])
    assert score.value is None
    assert "does not know 'soothing', it tells apart: angry, happy, neutral, sad" in (score.error or "")
    assert "label_map" in (score.error or "")


def test_a_label_may_stand_for_several_emotions(model: str, spoken: tuple[Audio, ...]) -> None:
    with SER(model=model, label_map={"hap": ["happy", "excited"], "ang": "frustrated"}) as scorer:
        happy, excited, angry = scorer.score(
            [make_item(spoken[0], delivery=said(e)) for e in ("happy", "excited", "angry")]
        )
    assert happy.value == excited.value
    assert angry.value is None


@pytest.mark.parametrize("samples", [np.zeros(0), np.full(100, 0.1), np.full(16_000, np.nan)])
def test_nothing_to_hear_is_a_failed_score(ser: SER, samples: np.ndarray) -> None:
    (score,) = ser.score([make_item(Audio(samples.astype(np.float32), 16_000))])
    assert score.value is None and score.error


def test_silence_has_a_score(ser: SER) -> None:
    (score,) = ser.score([make_item(Audio(np.zeros(16_000, np.float32), 16_000))])
    assert score.value is not None and np.isfinite(score.value)


def test_without_a_model_it_says_what_to_do() -> None:
    with pytest.raises(MissingExtra, match=r"option `model`.*emotion2vec.*name: ser, options: \{model: FOLDER"):
        SER().check()


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingExtra, match=f"a transformers model in {tmp_path}"):
        SER(model=str(tmp_path)).check()


def test_a_missing_library_is_named_with_its_remedy(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None)
    with pytest.raises(MissingExtra, match="pip install .transformers"):
        SER(model=model).check()


def test_wrong_options_are_refused(model: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no kind 'onnx'; choose one of: transformers, funasr"):
        SER(kind="onnx")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no label 'anger'; its labels are: ang, hap, neu, sad"):
        SER(model=model, label_map={"anger": "angry"}).check()
    with pytest.raises(ConfigError, match="no emotion 'furious'"):
        SER(model=model, label_map={"ang": "furious"}).check()
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}))
    with pytest.raises(ConfigError, match="None of the model's labels .LABEL_0, LABEL_1. is known.*`label_map`"):
        SER(model=str(tmp_path)).check()
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="does not say which emotions"):
        SER(model=str(tmp_path)).check()


def test_a_damaged_model_is_an_error_in_words(model: str, tmp_path: Path) -> None:
    for file in Path(model).iterdir():
        content = b"nonsense" if file.name == "model.safetensors" else file.read_bytes()
        (tmp_path / file.name).write_bytes(content)
    with pytest.raises(ConfigError, match="cannot be loaded"), SER(model=str(tmp_path)):
        pass


def test_another_model_is_another_revision(model: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert len({SER().revision, SER(model=model).revision, SER(model=str(tmp_path)).revision}) == 3


def test_labels_are_matched_by_name_and_synonym() -> None:
    labels = ["生气/angry", "恐惧/fearful", "开心/happy", "其他/other", "<unk>", "Anger", "surprise"]
    assert mapped_labels(labels, {}) == {
        "生气/angry": ("angry",),
        "恐惧/fearful": ("fearful",),
        "开心/happy": ("happy",),
        "其他/other": ("other",),
        "<unk>": ("other",),
        "Anger": ("angry",),
        "surprise": ("surprised",),
    }
    heard = by_emotion({"生气/angry": 0.5, "Anger": 0.2, "<unk>": 0.3}, mapped_labels(labels, {}))
    assert heard == pytest.approx({"angry": 0.7, "other": 0.3})


def test_funasr_is_asked_as_its_authors_show(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, spoken: tuple[Audio, ...]
) -> None:
    asked: list[dict[str, Any]] = []

    class AutoModel:
        """Stands in for funasr.AutoModel: takes what it takes, answers in its form."""

        def __init__(self, **options: Any) -> None:
            assert options["model"] == str(tmp_path) and options["disable_update"] is True

        def generate(self, **request: Any) -> list[dict[str, Any]]:
            asked.append(request)
            return [{"key": "x", "labels": ["生气/angry", "难过/sad", "<unk>"], "scores": [0.2, 0.7, 0.1]}]

    stand_in = types.ModuleType("funasr")
    stand_in.AutoModel = AutoModel  # type: ignore[attr-defined]
    stand_in.__spec__ = types.SimpleNamespace()  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "funasr", stand_in)
    (tmp_path / "config.yaml").write_text("model: Emotion2vec\n")
    (tmp_path / "tokens.txt").write_text("生气/angry\n难过/sad\nunuse_0\n<unk>\n")
    with SER(model=str(tmp_path), kind="funasr") as scorer:
        (score,) = scorer.score([make_item(spoken[0], delivery=said("sad"))])
    assert (score.value, score.details) == (0.7, {"p_angry": 0.2, "p_sad": 0.7, "p_other": 0.1, "right": 1.0})
    (request,) = asked
    assert request["fs"] == 16_000 and request["granularity"] == "utterance"
    assert len(request["input"]) == pytest.approx(spoken[0].duration * 16_000, abs=2)
