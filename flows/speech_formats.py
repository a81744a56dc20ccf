"""Audio as the bytes of an HTTP answer, in the formats of OpenAI's speech endpoint that libsndfile can write."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import soundfile

from contracts.audio import Audio
from storage.audio_files import FULL_SCALE

PCM_SAMPLE_RATE = 24_000
"""Hz; a client cannot read it from headerless samples, so it is OpenAI's."""
_BLOCK = 16_384
_RATES = {"opus": (8_000, 12_000, 16_000, 24_000, 48_000), "mp3": (16_000, 22_050, 24_000, 32_000, 44_100, 48_000)}
"""Hz that the codec takes; others are raised to the next."""


@dataclass(frozen=True, slots=True)
class Format:
    """How libsndfile writes it, and what HTTP calls it."""

    container: str
    subtype: str
    media_type: str


_FORMATS = {
    "wav": Format("WAV", "PCM_16", "audio/wav"),
    "flac": Format("FLAC", "PCM_16", "audio/flac"),
    "pcm": Format("RAW", "PCM_16", "audio/pcm"),
    "mp3": Format("MP3", "MPEG_LAYER_III", "audio/mpeg"),
    "opus": Format("OGG", "OPUS", "audio/ogg"),
}


def writable_formats() -> dict[str, Format]:
    """The formats that the libsndfile of this machine writes."""
    return {name: f for name, f in _FORMATS.items() if soundfile.check_format(f.container, f.subtype)}


def encoded(audio: Audio, name: str) -> bytes:
    """The bytes of a file of this format; samples outside [-1, 1] are clipped."""
    rate = PCM_SAMPLE_RATE if name == "pcm" else _rate(audio.sample_rate, name)
    clipped = np.clip(audio.resampled(rate).samples, -1.0, FULL_SCALE)
    # Rounded here, since libsndfile rounds in its own way in each container.
    samples = clipped if name in _RATES else np.round(clipped * 32768).astype("<i2")
    if name == "pcm":
        return samples.tobytes()
    form, buffer = _FORMATS[name], io.BytesIO()
    with soundfile.SoundFile(buffer, "w", rate, 1, form.subtype, format=form.container) as file:
        # Its lossy encoders put a whole write on the stack.
        for start in range(0, len(samples), _BLOCK):
            file.write(samples[start : start + _BLOCK])
    return buffer.getvalue()


def _rate(sample_rate: int, name: str) -> int:
    taken = _RATES.get(name, (sample_rate,))
    return next((rate for rate in taken if rate >= sample_rate), taken[-1])
