"""Whether the right voice speaks, and the same one throughout: both scorers over real voices and one encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from contracts.audio import Audio
from contracts.errors import ConfigError
from contracts.plugins import PluginSpec, create
from contracts.protocols import ScoringItem, SpeechRequest
from contracts.records import Delivery
from tasks.scorers import _speaker_vectors
from tasks.scorers.speaker_consistency import SpeakerConsistency
from tasks.scorers.speaker_similarity import SpeakerSimilarity
from tasks.speaker_embedding import SpeakerEncoder
from tests.tasks.scorers.conftest import TEXTS, make_item
from tts_backends.voice_bank import VoiceBank, bank_files, load_bank

pytest.importorskip("resemblyzer")


@pytest.fixture(scope="module")
def man() -> list[Audio]:
    """TEXTS, spoken by a voice that is quite another than `spoken`."""
    backend: Any = create("tts_backends", PluginSpec(name="espeak_ng"))
    if backend.revision == "unavailable":
        pytest.skip("espeak-ng is not installed")
    voice = next(v for v in backend.voices() if v.name == "us_m3")
    neutral = Delivery(emotion="neutral", intensity=0.5)
    with backend:
        return list(
            backend.synthesize([SpeechRequest(text=t, voice=voice, language="en", delivery=neutral) for t in TEXTS])
        )


@pytest.fixture(scope="module")
def similarity(bank: str) -> Iterator[SpeakerSimilarity]:
    with SpeakerSimilarity(bank=bank) as scorer:
        yield scorer


@pytest.fixture(scope="module")
def consistency() -> Iterator[SpeakerConsistency]:
    with SpeakerConsistency() as scorer:
        yield scorer


def turns(
    audios: Sequence[Audio], *, dialogue: str = "d000001", role: str = "user", voice: str = "v/a", first: int = 0
):  # type: ignore[no-untyped-def]
    return [
        make_item(a, id=f"{dialogue}-t{first + 2 * i:02d}", turn_index=first + 2 * i, role=role, voice_id=voice)
        for i, a in enumerate(audios)
    ]


def test_the_cast_voice_is_told_from_another(
    similarity: SpeakerSimilarity, spoken: tuple[Audio, ...], man: list[Audio]
) -> None:
    right = [s.value for s in similarity.score([make_item(a) for a in spoken])]
    wrong = [s.value for s in similarity.score([make_item(a) for a in man])]
    assert min(right) > 0.85 > 0.7 > max(wrong)  # type: ignore[type-var, operator]


def test_a_clip_goes_before_the_card(bank: str, spoken: tuple[Audio, ...], man: list[Audio], tmp_path: Path) -> None:
    clip = tmp_path / "man.wav"
    soundfile.write(clip, man[0].samples, man[0].sample_rate)
    with SpeakerSimilarity(bank=bank, clips={"hibari/x": str(clip)}) as scorer:
        of_clip, of_card_voice = scorer.score([make_item(man[1]), make_item(spoken[0])])
    assert of_clip.value is not None and of_card_voice.value is not None
    assert of_clip.value > 0.8 > of_card_voice.value
    assert of_clip.details == {"from_clip": 1.0}
    assert SpeakerSimilarity(bank=bank, clips={"hibari/x": str(clip)}).revision != SpeakerSimilarity(bank=bank).revision


def test_clips_of_a_folder_with_reference_voices(man: list[Audio], spoken: tuple[Audio, ...], tmp_path: Path) -> None:
    import json

    sound = man[0].resampled(24_000)
    soundfile.write(tmp_path / "bob.wav", np.pad(sound.samples * np.float32(0.8), 6000), 24_000)
    line = {
        "file": "bob.wav",
        "name": "bob",
        "gender": "male",
        "languages": ["en"],
        "text": TEXTS[0],
        "license": "CC0-1.0",
        "source": "espeak-ng",
    }
    (tmp_path / "voices.jsonl").write_text(json.dumps(line) + "\n")
    with SpeakerSimilarity(voices=str(tmp_path)) as scorer:
        right, wrong = scorer.score([make_item(a, voice_id="cosyvoice/bob") for a in (man[1], spoken[1])])
    assert right.value is not None and wrong.value is not None and right.value > 0.8 > wrong.value
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no clip of .* can be used"):
        SpeakerSimilarity(voices=str(tmp_path / "empty"))


def test_a_voice_without_reference_is_told_how_to_get_one(
    similarity: SpeakerSimilarity, spoken: tuple[Audio, ...]
) -> None:
    (score,) = similarity.score([make_item(spoken[0], voice_id="nobody/knows")])
    assert score.value is None
    for words in ("nobody/knows has no voice card", "s2s voices measure nobody", "`clips`", "unscored: pass"):
        assert words in (score.error or "")


def test_a_missing_or_empty_clip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no file"):
        SpeakerSimilarity(clips={"v/a": str(tmp_path / "gone.wav")})
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, np.zeros(16_000), 16_000)
    with pytest.raises(ConfigError, match="silent"), SpeakerSimilarity(clips={"v/a": str(silent)}):
        pass


@pytest.mark.parametrize(
    ("samples", "words"),
    [(np.zeros(8000), "silent"), (np.zeros(0), "empty"), (np.full(800, 0.2), "too little"), ([np.inf], "finite")],
)
def test_nothing_to_hear_is_a_failed_score(similarity: SpeakerSimilarity, samples: Any, words: str) -> None:
    (score,) = similarity.score([make_item(Audio(np.asarray(samples, np.float32), 16_000))])
    assert score.value is None and words in (score.error or "")


def test_the_turn_that_another_voice_spoke_stands_out(
    consistency: SpeakerConsistency, spoken: tuple[Audio, ...], man: list[Audio]
) -> None:
    swapped = [*turns([spoken[0], spoken[1], man[2]]), *turns([man[0], man[1]], role="assistant", first=1)]
    scores = consistency.score(swapped)
    user, assistant = [s.value or 0 for s in scores[:3]], [s.value or 0 for s in scores[3:]]
    assert np.argmin(user) == 2 and user[2] < 0.7
    assert min(assistant) > 0.75
    assert scores[0].details == {"others": 2.0, "same_dialogue": 1.0, "lone": 0.0}


def test_consistent_turns_are_consistent(consistency: SpeakerConsistency, spoken: tuple[Audio, ...]) -> None:
    assert min(s.value or 0 for s in consistency.score(turns(spoken))) > 0.8


def test_a_lone_turn_is_held_to_its_voice_elsewhere_in_the_batch(
    consistency: SpeakerConsistency, spoken: tuple[Audio, ...], man: list[Audio]
) -> None:
    batch = [
        *turns([spoken[0]], dialogue="d000001"),
        *turns([spoken[1]], dialogue="d000002"),
        *turns([man[0]], dialogue="d000003"),
    ]
    first, second, odd = consistency.score(batch)
    assert first.details == {"others": 2.0, "same_dialogue": 0.0, "lone": 0.0}
    assert odd.value is not None and odd.value < min(first.value or 0, second.value or 0)


def test_a_turn_with_nobody_to_compare_with_passes_and_says_so(
    consistency: SpeakerConsistency, spoken: tuple[Audio, ...]
) -> None:
    broken = make_item(Audio(np.zeros(9000, np.float32), 16_000), id="d000001-t02", turn_index=2, voice_id="v/a")
    alone, silent = consistency.score([*turns([spoken[0]]), broken])
    assert alone.value == 1.0
    assert alone.details == {"others": 0.0, "same_dialogue": 0.0, "lone": 1.0}
    assert silent.value is None


def test_an_utterance_is_embedded_once_for_both_scorers(
    similarity: SpeakerSimilarity,
    consistency: SpeakerConsistency,
    spoken: tuple[Audio, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoder, calls = _speaker_vectors.encoder(), []
    real = encoder.embed
    monkeypatch.setattr(encoder, "embed", lambda audio: calls.append(audio) or real(audio))
    fresh: list[ScoringItem] = [make_item(Audio(a.samples * np.float32(0.9), a.sample_rate)) for a in spoken]
    consistency.score(fresh)
    similarity.score(fresh)
    similarity.score([make_item(Audio(i.audio.samples.copy(), i.audio.sample_rate)) for i in fresh])
    assert len(calls) == 3


def test_the_memory_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_speaker_vectors, "REMEMBERED", 2)
    memory, vector = _speaker_vectors._Memory(), np.ones(256, np.float32)
    for key in (b"a", b"b"):
        memory.put(key, vector)
    assert memory.get(b"a") is not None
    memory.put(b"c", vector)
    assert memory.get(b"b") is None and memory.get(b"a") is not None


def test_torch_keeps_its_threads(torch_threads: int, bank: str) -> None:
    import torch

    torch.set_num_threads(2)
    with SpeakerSimilarity(bank=bank, num_threads=3), SpeakerConsistency(num_threads=2):
        assert torch.get_num_threads() == 2


def test_rank_counts_the_voices_of_the_bank_that_are_nearer(
    spoken: tuple[Audio, ...], man: list[Audio], tmp_path: Path
) -> None:
    encoder = SpeakerEncoder()
    people = {"hibari/x": encoder.embed(spoken[0]), "espeak_ng/man": encoder.embed(man[0])}
    cards = load_bank()
    some = cards.cards["hibari/heart"]
    named = {
        name: some.model_copy(
            update={"voice": some.voice.model_copy(update={"id": name, "backend": "hibari", "name": name[7:]})}
        )
        for name in people
    }
    for name, content in bank_files(VoiceBank(named, people), "hibari").items():
        (tmp_path / name).write_bytes(content)
    with SpeakerSimilarity(bank=str(tmp_path)) as scorer:
        right, wrong = scorer.score([make_item(spoken[1]), make_item(man[1])])
    assert (right.details["rank"], wrong.details["rank"]) == (0.0, 1.0)
