"""A louder voice is not the same voice turned up: its spectrum gets flatter, a quiet voice's gets steeper.

Traunmueller & Eriksson (2000, JASA 107) found that with vocal effort the high frequencies rise faster than the level as
a whole. A shelf around 1.2 kHz does that here: for each dB of effort the treble rises by SHELF_DB more than the bass.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from contracts.audio import Samples

CODE = 1
"""Raise it when the sound changes; part of the revisions of those who use this."""
CORNER_HZ = 1200.0
SHELF_DB = 1.2


def with_effort(samples: Samples, energy: float, sample_rate: int) -> Samples:
    """The samples at `energy` times their own RMS, brighter above 1 and duller below.

    Args:
        samples: float32, shape (num_samples,).
        energy: amplitude factor.
        sample_rate: in Hz.
    """
    if energy == 1.0 or not samples.size:
        return samples
    from scipy.signal import sosfilt

    tilted = sosfilt(_shelf(round(SHELF_DB * 20 * math.log10(energy), 2), sample_rate), samples)
    before, after = np.sqrt(np.mean(np.square(samples))), np.sqrt(np.mean(np.square(tilted)))
    return np.asarray(tilted * (energy * before / max(after, 1e-9)), np.float32)


@lru_cache(maxsize=256)
def _shelf(gain_db: float, sample_rate: int) -> Any:
    """A first-order high shelf (bilinear transform) as one second-order section."""
    root = 10 ** (gain_db / 40)
    warped = math.tan(math.pi * CORNER_HZ / sample_rate)
    # H(s) = (g s + w sqrt(g)) / (s + w sqrt(g)): 1 at the bottom, g at the top, sqrt(g) at the corner.
    b0, b1 = root * root + warped * root, warped * root - root * root
    a0, a1 = 1 + warped * root, warped * root - 1
    return np.array([[b0 / a0, b1 / a0, 0.0, 1.0, a1 / a0, 0.0]])
