"""Tone: the fake that we ship. A buzz with the rhythm of syllables; no word of the text can be heard in it.

It says so by `capabilities.fake`. It exists so that the whole pipeline can be driven, timed and broken on a machine
that has nothing but numpy. Length follows the text, pitch the voice, and every control of Delivery is rendered, so
that what the pipeline promises about them can be tested.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from contracts.audio import Audio, Samples
from contracts.errors import ConfigError
from contracts.protocols import Capabilities, SpeechRequest
from contracts.records import Gender, Voice
from tts_backends.base import LocalBackend

SAMPLE_RATE = 16_000
SYLLABLE = 0.18
"""Seconds per syllable at rate 1.0."""
PAUSE = 0.25
"""Seconds at a comma or full stop."""
SPREAD = 0.12
"""Standard deviation of a syllable's F0 around the voice's, as a share of it, at pitch_range 1.0."""
AMPLITUDE = 0.25

_BEATS = re.compile(r"[aeiouyàâäéèêëïîôöùûü]+|[\u3400-\u9fff]|\d|(?P<pause>[,.;:!?，。！？；])", re.IGNORECASE)
_VOICES: dict[str, tuple[Gender, float]] = {
    "low": ("male", 105.0),
    "mid": ("male", 130.0),
    "high": ("female", 205.0),
    "bright": ("female", 240.0),
}
"""Name -> gender and F0 in Hz."""

Fault = Literal["raise", "silence", "nan", "wrong_rate", "empty"]


class Tone(LocalBackend):
    """A deterministic stand-in for speech; 16 kHz; English and Chinese alike.

    Args:
        num_threads: utterances made at once.
        fault: what to do wrong, for tests of whoever calls a backend. `raise` ends in a SynthesisError; the others
            return what a broken engine might: silence, NaN, audio that claims twice the sample rate, or no samples.
        fault_on: the fault strikes requests whose text holds this; the empty string strikes all.
    """

    name = "tone"
    revision = "tone 1"
    capabilities = Capabilities(
        sample_rate=SAMPLE_RATE,
        languages=("en", "zh"),
        emotion="prosody",
        controls=frozenset({"rate", "pitch", "pitch_range", "energy"}),
        fake=True,
    )

    def __init__(self, *, num_threads: int = 2, fault: Fault | None = None, fault_on: str = "") -> None:
        super().__init__(num_threads=num_threads)
        if fault is not None and fault not in get_args(Fault):
            raise ConfigError(f"tone has no fault {fault!r}; choose one of: {', '.join(get_args(Fault))}.")
        self.fault, self.fault_on = fault, fault_on

    def voices(self) -> Sequence[Voice]:
        """Two men and two women."""
        return tuple(
            Voice(
                id=f"tone/{name}",
                backend=self.name,
                name=name,
                gender=gender,
                languages=("en", "zh"),
                license="Apache-2.0",
                source=f"computed, {f0:.0f} Hz",
            )
            for name, (gender, f0) in _VOICES.items()
        )

    def synthesize(self, requests: Sequence[SpeechRequest], /) -> Sequence[Audio]:
        """Buzz a batch; broken where the fault strikes."""
        spoken = super().synthesize(requests)
        return [self._broken(audio) if self._strikes(r) else audio for r, audio in zip(requests, spoken, strict=True)]

    def _strikes(self, request: SpeechRequest) -> bool:
        return self.fault is not None and self.fault_on in request.text

    def _broken(self, audio: Audio) -> Audio:
        match self.fault:
            case "silence":
                return Audio(np.zeros_like(audio.samples), audio.sample_rate)
            case "nan":
                return Audio(np.full_like(audio.samples, np.nan), audio.sample_rate)
            case "wrong_rate":
                return Audio(audio.samples, 2 * audio.sample_rate)
            case "empty":
                return Audio(audio.samples[:0], audio.sample_rate)
        return audio

    def _speak(self, request: SpeechRequest, /) -> Samples:
        if self.fault == "raise" and self._strikes(request):
            raise RuntimeError("tone was told to fail on this text")
        _, f0 = _VOICES[request.voice.name]
        return _buzz(_beats(request, f0), request.delivery.energy or 1.0)


@dataclass(frozen=True, slots=True)
class Beat:
    """A syllable, or a pause where `f0` is None."""

    f0: float | None
    """Hz."""
    duration: float
    """Seconds."""


def _beats(request: SpeechRequest, f0: float) -> list[Beat]:
    """The text's rhythm: one syllable per group of vowels, Chinese character or digit; a pause per mark."""
    delivery = request.delivery
    key = hashlib.sha256(f"{request.seed}\0{request.text}".encode()).digest()
    noise = np.random.default_rng(list(key))
    mean, rate = f0 * (delivery.pitch or 1.0), delivery.rate or 1.0
    spread = SPREAD * (1.0 if delivery.pitch_range is None else delivery.pitch_range)
    found = [match["pause"] is not None for match in _BEATS.finditer(request.text)]
    return [
        Beat(None, PAUSE / rate) if pause else Beat(mean * float(np.exp(spread * noise.normal())), SYLLABLE / rate)
        for pause in found
    ]


def _buzz(beats: Sequence[Beat], energy: float) -> Samples:
    """Four harmonics under a raised sine per syllable; float32, shape (num_samples,)."""
    parts = [_syllable(beat.f0, int(beat.duration * SAMPLE_RATE)) for beat in beats]
    if not parts:
        return np.zeros(0, np.float32)
    return (AMPLITUDE * energy * np.concatenate(parts)).astype(np.float32)


def _syllable(f0: float | None, num_samples: int) -> Samples:
    if f0 is None:
        return np.zeros(num_samples, np.float32)
    phase = 2 * np.pi * f0 * np.arange(num_samples) / SAMPLE_RATE
    wave = sum(np.sin(k * phase) / k for k in (1, 2, 3, 4)) / 1.5
    return np.asarray(wave * np.sin(np.linspace(0, np.pi, num_samples)) ** 0.5, np.float32)
