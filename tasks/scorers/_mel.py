"""Mel spectrograms on exactly one thread.

The obvious `filters @ power` goes to numpy's BLAS, which takes every core for it and spins on them afterwards: with
`num_threads=1` Whisper's features then kept 1.7 cores busy. Mel filters are narrow bands, so summing each band by
itself is about as quick and stays where it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contracts.audio import Samples


@dataclass(frozen=True, slots=True)
class MelFilters:
    """Triangular filters as bands.

    Attributes:
        bands: for each mel bin the first frequency bin that it looks at, and its weights from there on.
    """

    bands: tuple[tuple[int, NDArray[np.float32]], ...]

    @classmethod
    def of(cls, filters_MF: NDArray[np.floating]) -> MelFilters:
        """From a dense matrix, shape (mels, frequencies)."""
        bands = []
        for row in np.asarray(filters_MF, dtype=np.float32):
            used = np.flatnonzero(row)
            first, last = (used[0], used[-1] + 1) if len(used) else (0, 1)
            bands.append((int(first), np.ascontiguousarray(row[first:last])))
        return cls(tuple(bands))

    def __call__(self, power_FT: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mel energies, shape (mels, frames)."""
        mel_MT = np.empty((len(self.bands), power_FT.shape[1]), dtype=np.float32)
        for mel_T, (first, weights) in zip(mel_MT, self.bands, strict=True):
            (weights[:, None] * power_FT[first : first + len(weights)]).sum(axis=0, out=mel_T)
        return mel_MT


def power_spectrogram(padded: Samples, window: Samples, hop: int) -> NDArray[np.float32]:
    """Squared magnitudes, shape (frequencies, frames); one frame of the window's length each `hop` samples."""
    frames_TN = np.lib.stride_tricks.sliding_window_view(padded, len(window))[::hop]
    spectrum_TF = np.fft.rfft(frames_TN * window, axis=1)
    power_TF = spectrum_TF.real**2 + spectrum_TF.imag**2
    return np.ascontiguousarray(power_TF.T, dtype=np.float32)
