"""How an utterance sounds, in four figures: mean F0, F0 range, speaking rate, loudness.

F0 comes from SwiftF0 (Nieradzik 2025, arXiv 2508.18440), a network of 14,000 parameters that reads 16 ms frames and
says how sure it is of each; loudness from pyloudnorm (ITU-R BS.1770). Mean and range are taken over log F0, since pitch
is heard in ratios, between the 3rd and 97th percentile of the voiced frames: an octave error then counts for little.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.audio import Audio, Samples
from contracts.records import Prosody

F0_RANGE_HZ = (55.0, 600.0)
"""Where speaking voices lie."""
VOICED_FROM = 0.5
"""Confidence, as SwiftF0's authors set it."""
MIN_VOICED_FRAMES = 8
"""0.13 s; with fewer nothing is said about F0."""
AUDIBLE = 0.01
"""Of the loudest sample: where speech begins and ends (-40 dB)."""
PAUSE, PAUSE_FRAME = 0.12, 0.01
"""Seconds."""
MIN_LOUDNESS_SECONDS = 0.4
"""One gating block of BS.1770; shorter utterances are padded to it."""
FLOOR_LUFS = -70.0
"""The absolute gate of BS.1770; what is below it is silence."""
METERING = threading.Lock()
"""pyloudnorm swaps Python's process-wide warning filters while it works; two threads at once could leave them so."""


@dataclass(frozen=True, slots=True)
class PitchTrack:
    """F0 over time."""

    f0: NDArray[np.float64]
    """Hz, one per voiced frame of 16 ms."""

    @property
    def mean(self) -> float | None:
        """Hz, geometric; None with too few voiced frames."""
        kept = self._kept()
        return float(np.exp(kept.mean())) if kept.size else None

    @property
    def range(self) -> float | None:
        """Semitones, standard deviation."""
        kept = self._kept()
        return float(kept.std() * 12 / math.log(2)) if kept.size else None

    def _kept(self) -> NDArray[np.float64]:
        if self.f0.size < MIN_VOICED_FRAMES:
            return np.empty(0)
        logs = np.log(self.f0)
        low, high = np.percentile(logs, (3, 97))
        return np.asarray(logs[(logs >= low) & (logs <= high)])


def pitch_track(audio: Audio) -> PitchTrack:
    """F0 of the voiced frames of an utterance; the engine says which those are."""
    if not audio.samples.size:
        return PitchTrack(np.empty(0))
    low, high = F0_RANGE_HZ
    found = _detector().detect(audio.resampled(16_000).samples, 16_000, fmin=low, fmax=high)
    voiced = np.asarray(found.confidence) >= VOICED_FROM
    return PitchTrack(np.asarray(found.pitch_hz, np.float64)[voiced])


def measure_prosody(audio: Audio, text: str) -> Prosody:
    """The four figures of an utterance.

    Args:
        audio: what was said, with or without silence at its ends.
        text: what was to be said, in words.
    """
    track = pitch_track(audio)
    return Prosody(f0=track.mean, f0_range=track.range, rate=speaking_rate(audio, text), loudness=loudness(audio))


def speaking_rate(audio: Audio, text: str) -> float:
    """Letters and digits of the text per second of speech, pauses left out; 0 for silence.

    A pause is a stretch of at least PAUSE seconds that stays under AUDIBLE: closures of plosives are shorter. Without
    pauses, a turn of several sentences and a single sentence of one voice can be compared.
    """
    begin, end = audible_span(audio.samples)
    frame = max(1, round(PAUSE_FRAME * audio.sample_rate))
    peaks = np.abs(audio.samples[begin : begin + (end - begin) // frame * frame]).reshape(-1, frame).max(axis=1)
    loudest = float(np.abs(audio.samples).max(initial=0.0))
    paused = _long_runs(peaks <= AUDIBLE * loudest, round(PAUSE / PAUSE_FRAME))
    seconds = (end - begin - paused * frame) / audio.sample_rate
    return sum(c.isalnum() for c in text) / seconds if seconds > 0 else 0.0


def _long_runs(flags: NDArray[np.bool_], least: int) -> int:
    """How many flags stand in unbroken runs of at least `least`."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    lengths = edges[1::2] - edges[::2]
    return int(lengths[lengths >= least].sum())


def audible_span(samples: Samples, *, below_peak: float = AUDIBLE) -> tuple[int, int]:
    """First audible sample and the one after the last; (0, 0) for silence."""
    envelope = np.abs(samples)
    loud = np.flatnonzero(envelope > below_peak * envelope.max(initial=0.0))
    return (int(loud[0]), int(loud[-1]) + 1) if loud.size else (0, 0)


def loudness(audio: Audio) -> float:
    """Integrated loudness in LUFS; FLOOR_LUFS for silence."""
    missing = math.ceil(MIN_LOUDNESS_SECONDS * audio.sample_rate) + 1 - audio.samples.size
    samples = np.pad(audio.samples, (0, max(0, missing)))
    with METERING, np.errstate(divide="ignore"):
        value = float(_meter(audio.sample_rate).integrated_loudness(samples.astype(np.float64)))
    return max(value, FLOOR_LUFS) if math.isfinite(value) else FLOOR_LUFS


def semitones(ratio: float) -> float:
    """A ratio of frequencies as a distance in semitones."""
    return 12 * math.log2(ratio)


_guard = threading.Lock()


def _detector() -> Any:
    with _guard:
        return _loaded_detector()


@cache
def _meter(sample_rate: int) -> Any:
    import pyloudnorm

    return pyloudnorm.Meter(sample_rate)


@cache
def _loaded_detector() -> Any:
    from swift_f0 import SwiftF0

    return SwiftF0(threads=1, spin=False)
