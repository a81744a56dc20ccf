"""What every registered scorer must do, ours and outsiders'."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pytest

from contracts.audio import Audio
from contracts.errors import ConfigError, MissingExtra
from contracts.plugins import PluginSpec, create, registered
from contracts.protocols import Scorer, ScoringItem
from tests.tasks.scorers.conftest import TEXTS, make_item

FEWER: dict[str, dict[str, Any]] = {"dnsmos": {"max_segments": 1}}
"""Options that save time and change nothing of what is tested here."""
NEED_CARDS = {"emotion_prosody", "speaker_similarity"}
"""These hold an utterance against its voice's card, so they get a bank that has one."""
PEERS_MATTER = {"duration_ratio", "speaker_consistency"}
TEXT_ALONE = {"wer", "cer", "instruct_leak"}
"""These look at no audio."""
NAMES = sorted(registered("scorers"))


@pytest.fixture(scope="module", params=NAMES)
def scorer(request: pytest.FixtureRequest) -> Iterator[Scorer]:
    options = dict(FEWER.get(request.param, {}))
    if request.param in NEED_CARDS:
        options["bank"] = request.getfixturevalue("bank")
    engine = cast(Scorer, create("scorers", PluginSpec(name=request.param, options=options)))
    try:
        engine.check()
    except MissingExtra as missing:
        pytest.skip(str(missing))
    with engine:
        yield engine


@pytest.fixture(scope="module")
def batch(spoken: tuple[Audio, ...]) -> list[ScoringItem]:
    quiet = Audio(spoken[0].samples[:12_000] * np.float32(0.3), spoken[0].sample_rate)
    texts, heard = [TEXTS[1], TEXTS[2], TEXTS[0]], ["would you like to tell me", "", "my dog"]
    return [make_item(a, t, heard=h) for a, t, h in zip([spoken[1], spoken[2], quiet], texts, heard, strict=True)]


def test_construction_is_cheap_and_names_the_engine() -> None:
    for name in NAMES:
        engine = create("scorers", PluginSpec(name=name, options={"num_threads": 1}))
        assert engine.name == name
        assert isinstance(engine, Scorer)
        assert engine.revision


def test_one_score_for_each_item_under_the_scorers_name(scorer: Scorer, batch: list[ScoringItem]) -> None:
    scores = scorer.score(batch)
    assert [score.name for score in scores] == [scorer.name] * len(batch)
    for score in scores:
        assert score.error is None and score.value is not None and np.isfinite(score.value)
        assert all(np.isfinite(figure) for figure in score.details.values())


def test_an_empty_batch_gives_no_scores(scorer: Scorer) -> None:
    assert list(scorer.score([])) == []


def test_scores_are_in_the_order_of_the_items(scorer: Scorer, batch: list[ScoringItem]) -> None:
    forth, back = scorer.score(batch), scorer.score(batch[::-1])
    assert [s.value for s in forth] == pytest.approx([s.value for s in back][::-1], abs=1e-4)


def test_a_score_is_the_same_alone_as_in_a_batch(scorer: Scorer, batch: list[ScoringItem]) -> None:
    if scorer.name in PEERS_MATTER:
        pytest.skip("its score depends on its peers, by definition")
    alone = [scorer.score([one])[0] for one in batch]
    assert [s.value for s in alone] == pytest.approx([s.value for s in scorer.score(batch)], abs=1e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_audio_that_is_not_finite_fails_with_words_and_leaves_its_neighbours_alone(
    scorer: Scorer, batch: list[ScoringItem], value: float
) -> None:
    samples = batch[0].audio.samples.copy()
    samples[100] = value
    scores = scorer.score([batch[0], make_item(Audio(samples, 24_000)), batch[1]])
    assert len(scores) == 3
    assert scores[0].value is not None and scores[2].value is not None
    if scorer.name not in TEXT_ALONE:
        assert scores[1].value is None and "finite" in (scores[1].error or "")


@pytest.mark.parametrize("num_samples", [0, 1, 40])
def test_audio_of_next_to_nothing_does_not_crash(scorer: Scorer, num_samples: int) -> None:
    samples = np.linspace(-0.5, 0.5, num_samples, dtype=np.float32)
    (score,) = scorer.score([make_item(Audio(samples, 24_000))])
    assert (score.value is None) == (score.error is not None)


def test_silence_and_full_scale_do_not_crash(scorer: Scorer) -> None:
    extremes = [np.zeros(20_000, dtype=np.float32), np.full(20_000, 3.0, dtype=np.float32)]
    for score in scorer.score([make_item(Audio(samples, 16_000)) for samples in extremes]):
        assert (score.value is None) == (score.error is not None)


@pytest.mark.parametrize(
    "name",
    ["dnsmos", "distillmos", "silence", "loudness", "emotion_prosody", "speaker_similarity", "speaker_consistency"],
)
def test_a_missing_package_is_named_with_its_remedy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = create("scorers", PluginSpec(name=name))
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None)
    with pytest.raises(MissingExtra, match="make install"):
        engine.check()


def test_no_threads_are_refused() -> None:
    with pytest.raises(ConfigError, match="num_threads"):
        create("scorers", PluginSpec(name="silence", options={"num_threads": 0}))


def test_checking_loads_no_engine() -> None:
    import subprocess

    code = (
        "import sys; from contracts.plugins import *;"
        # `ser` has no model to check here; its refusal loads nothing either.
        "[create('scorers', PluginSpec(name=n)).check() for n in registered('scorers') if n != 'ser'];"
        "sys.exit(bool({'torch', 'onnxruntime', 'librosa', 'pyloudnorm'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
