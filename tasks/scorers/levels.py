"""How loud the signal is: clipped samples, and loudness as broadcasters measure it."""

from __future__ import annotations

import numpy as np

from contracts.audio import Audio, Samples
from contracts.records import Score
from tasks.prosody import METERING
from tasks.scorers._shared import AudioScorer

FULL_SCALE = 0.999
"""A sample at or above this is at the rail: 16-bit audio has its maximum at 0.99997."""


class Clipping(AudioScorer[bool]):
    """Share of samples that sit at full scale in runs of two or more. Details: peak.

    A single sample at full scale is a peak that just fits; two in a row are a flattened top.
    """

    name = "clipping"

    def load(self) -> bool:
        """There is nothing to load."""
        return True

    def measure(self, loaded: bool, audio: Audio, /) -> Score:
        """Share in [0, 1]; peak is the largest absolute sample."""
        peak = float(np.abs(audio.samples).max())
        return Score(name=self.name, value=clipped_share(audio.samples), details={"peak": peak})


def clipped_share(samples: Samples) -> float:
    """Share of samples at full scale with a neighbour at full scale."""
    at_rail = np.abs(samples) >= FULL_SCALE
    in_run = np.zeros_like(at_rail)
    pairs = at_rail[1:] & at_rail[:-1]
    in_run[1:] |= pairs
    in_run[:-1] |= pairs
    return float(in_run.mean())


class Loudness(AudioScorer[bool]):
    """Integrated loudness in LUFS (ITU-R BS.1770-4, by pyloudnorm); speech is usually at -30 to -16.

    The standard's block of 0.4 s is shortened to the whole utterance where that is shorter.
    """

    name = "loudness"
    modules = {"pyloudnorm": "pyloudnorm"}

    def load(self) -> bool:
        """There is nothing to load but the package."""
        import pyloudnorm  # noqa: F401

        return True

    def measure(self, loaded: bool, audio: Audio, /) -> Score:
        """LUFS, or a failed score when all of it lies below the gate of -70 LUFS."""
        value = integrated_loudness(audio)
        if not np.isfinite(value):
            return Score.failed(self.name, "the audio is silent: all of it is below -70 LUFS")
        return Score(name=self.name, value=value)


def integrated_loudness(audio: Audio) -> float:
    """LUFS; -inf for silence."""
    import pyloudnorm

    meter = pyloudnorm.Meter(audio.sample_rate, block_size=min(0.4, audio.duration))
    with METERING, np.errstate(divide="ignore", invalid="ignore"):
        return float(meter.integrated_loudness(audio.samples.astype(np.float64)))
