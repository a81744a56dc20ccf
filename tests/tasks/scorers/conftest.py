from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from contracts.audio import Audio, Samples
from contracts.protocols import ScoringItem, Transcript
from contracts.records import Delivery, Utterance

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
    audio: Audio, text: str = TEXTS[0], *, heard: str | None = None, backend: str = "hibari", language: str = "en"
) -> ScoringItem:
    utterance = Utterance(
        id="d000000-t00",
        turn_index=0,
        role="user",
        text=text,
        language=language,
        voice_id=f"{backend}/x",
        backend=backend,
        delivery=Delivery(emotion="neutral", intensity=0.5),
        seed=0,
    )
    return ScoringItem(utterance=utterance, audio=audio, transcript=Transcript(text=text if heard is None else heard))


@pytest.fixture
def torch_threads() -> Iterator[int]:
    """torch's thread count, which a scorer must leave as it was."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)
