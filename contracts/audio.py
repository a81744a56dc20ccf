"""One type for sound in memory: mono float32 in [-1, 1] with its sample rate. Files are storage's business."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

Samples = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """A mono waveform.

    Attributes:
        samples: float32, shape (num_samples,), nominally in [-1, 1]. Treat as read-only.
        sample_rate: in Hz.
    """

    samples: Samples
    sample_rate: int

    def __post_init__(self) -> None:
        """Refuse anything that is not a mono float32 waveform.

        Raises:
            TypeError: wrong dtype or number of dimensions, or a sample rate that is no positive number.
        """
        if self.samples.ndim != 1 or self.samples.dtype != np.float32:
            raise TypeError(
                f"Audio needs 1-D float32 samples, got {self.samples.ndim}-D {self.samples.dtype}; "
                "mix down to mono and convert with .astype(np.float32)."
            )
        if self.sample_rate <= 0:
            raise TypeError(f"Audio needs a positive sample rate in Hz, got {self.sample_rate}.")

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate

    def resampled(self, sample_rate: int) -> Audio:
        """The same sound at another rate (soxr, high quality); itself when the rate is the same already."""
        if sample_rate == self.sample_rate:
            return self
        samples = soxr.resample(self.samples, self.sample_rate, sample_rate)
        return Audio(samples.astype(np.float32, copy=False), sample_rate)
