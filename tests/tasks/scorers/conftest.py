from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.audio import Audio, Samples
from contracts.protocols import ScoringItem, Transcript
from contracts.records import Delivery, Prosody, Utterance, Voice, VoiceCard
from tasks.prosody import measure_prosody
from tasks.scorers._torch_workers import one_core_workers
from tasks.speaker_embedding import SpeakerEncoder, mean_embedding
from tts_backends.voice_bank import VoiceBank, bank_files

TEXTS = (
    "My dog passed away this morning, and the house feels so quiet.",
    "Would you like to tell me more about what happened?",
    "We missed the last train, so we walked home in the rain.",
)


@pytest.fixture(scope="session")
def spoken() -> tuple[Audio, ...]:
    """TEXTS, spoken by hibari at 24 kHz."""
    hibari = pytest.importorskip("hibari")
    voice = hibari.Hibari()
    return tuple(Audio(np.asarray(voice(text), dtype=np.float32), hibari.SAMPLE_RATE) for text in TEXTS)


@pytest.fixture(scope="session")
def trimmed(spoken: tuple[Audio, ...]) -> tuple[Samples, ...]:
    """The same at 16 kHz, cut to where sound begins and ends."""

    def cut(audio: Audio) -> Samples:
        samples = audio.resampled(16_000).samples
        loud = np.flatnonzero(np.abs(samples) > 0.01)
        return samples[loud[0] : loud[-1] + 1]

    return tuple(cut(audio) for audio in spoken)


@pytest.fixture
def item() -> Callable[..., ScoringItem]:
    return make_item


def make_item(
    audio: Audio,
    text: str = TEXTS[0],
    *,
    heard: str | None = None,
    backend: str = "hibari",
    language: str = "en",
    **changes: Any,
) -> ScoringItem:
    """An item of one user turn; `changes` are further fields of its utterance."""
    utterance = Utterance(
        **{
            "id": "d000000-t00",
            "turn_index": 0,
            "role": "user",
            "text": text,
            "language": language,
            "voice_id": f"{backend}/x",
            "backend": backend,
            "delivery": Delivery(emotion="neutral", intensity=0.5),
            "seed": 0,
            **changes,
        }
    )
    return ScoringItem(utterance=utterance, audio=audio, transcript=Transcript(text=text if heard is None else heard))


def make_card(voice_id: str, audios: Sequence[Audio], texts: Sequence[str], mos: float = 4.0) -> VoiceCard:
    """A card whose neutral is measured of these utterances; its MOS is said, not measured."""
    measured = [measure_prosody(audio, text) for audio, text in zip(audios, texts, strict=True)]
    backend, _, name = voice_id.partition("/")
    neutral = Prosody(
        f0=fmean([p.f0 for p in measured if p.f0]),
        f0_range=fmean([p.f0_range for p in measured if p.f0_range]),
        rate=fmean([p.rate for p in measured]),
        loudness=fmean([p.loudness for p in measured]),
    )
    voice = Voice(id=voice_id, backend=backend, name=name, gender="female", age="adult", license="-", source="test")
    return VoiceCard(voice=voice, neutral=neutral, mos=mos, wer=0.0)


def write_bank(folder: Path, cards: Sequence[VoiceCard], embeddings: Sequence[NDArray[np.float32]]) -> str:
    """A bank on disk, as the option `bank` takes it."""
    bank = VoiceBank(
        {card.voice.id: card for card in cards},
        {card.voice.id: vector for card, vector in zip(cards, embeddings, strict=True)},
    )
    folder.mkdir(exist_ok=True)
    for backend in {card.voice.backend for card in cards}:
        for name, content in bank_files(bank, backend).items():
            (folder / name).write_bytes(content)
    return str(folder)


@pytest.fixture(scope="session")
def bank(spoken: tuple[Audio, ...], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A bank with the one voice of `make_item`, measured of `spoken`."""
    pytest.importorskip("swift_f0")
    pytest.importorskip("resemblyzer")
    encoder = SpeakerEncoder()
    vector = mean_embedding(one_core_workers(1).map(encoder.embed, spoken))
    return write_bank(tmp_path_factory.mktemp("bank"), [make_card("hibari/x", spoken, TEXTS)], [vector])


@pytest.fixture
def torch_threads() -> Iterator[int]:
    """torch's thread count, which a scorer must leave as it was."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)
