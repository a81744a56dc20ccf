"""What makes a Kokoro voice: shares of the five styles for timbre and for prosody, a spread, and a body.

A style is a table of vectors, one row for each number of tokens: the first 128 numbers steer timbre (the decoder), the
last 128 prosody (durations, F0, energy). Each half is blended by itself, in shares that add up to 1 and may lie a
little outside 0 to 1. Five styles span four dimensions, too few for hundreds of people, so two things are added:

- the **spread**: a fixed random vector, scaled by how much the five styles differ in each number. It takes the timbre
  out of the plane of the five, where there is room;
- the **vocal tract**: the factor by which it is longer than the style's own. The engine speaks that much faster and
  higher, and the sound is then stretched by it: F0 and pace come back, the formants move, as with a larger body.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

STYLES = {
    "alpha": "jf_alpha",
    "gongitsune": "jf_gongitsune",
    "nezumi": "jf_nezumi",
    "tebukuro": "jf_tebukuro",
    "kumo": "jm_kumo",
}
"""Our name -> the name in the package. `jf` is a woman, `jm` a man."""
STYLE_F0 = (261.0, 227.0, 233.0, 317.0, 93.0)
"""Hz, mean F0 of each style over two sentences of 8 s together. Blends of prosody follow the blend of these."""
HALF = 128
"""Numbers in each half of a style vector."""

Styles = NDArray[np.float32]
"""Float32, shape (5, 510, 256): style, number of tokens - 1, vector; in the order of STYLES."""
Shares = tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KokoroVoice:
    """The recipe of one voice."""

    timbre: Shares
    """Shares of STYLES in the first half, in their order; they add up to 1."""
    prosody: Shares
    """The same for the second half."""
    seed: int = 0
    """Of the spread."""
    timbre_spread: float = 0.0
    """In standard deviations over the five styles, for each number."""
    prosody_spread: float = 0.0
    vocal_tract: float = 1.0
    """Length as a factor of the style's own: above 1 lowers the formants."""
    f0_scale: float = 1.0
    f0_range: float = 1.0
    rate: float = 1.0

    @property
    def natural_f0(self) -> float:
        """Hz, what the blend of prosody speaks at without a scale."""
        return float(np.dot(self.prosody, STYLE_F0))

    @property
    def sha256(self) -> str:
        """Of the recipe."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def table(self, styles: Styles, expressiveness: float = 1.0) -> NDArray[np.float32]:
        """The style vectors of this voice.

        Args:
            styles: of the package.
            expressiveness: how far the prosody half stands out from the mean of the five; 1 leaves it alone.

        Returns:
            Float32, shape (510, 256): row n - 1 is for n tokens.
        """
        typical = styles[:, 30:80].mean(axis=1)
        scale = typical.std(axis=0)
        drift = _normal(self.seed, 2 * HALF) * scale
        timbre = np.tensordot(self.timbre, styles[..., :HALF], 1) + self.timbre_spread * drift[:HALF]
        prosody = np.tensordot(self.prosody, styles[..., HALF:], 1) + self.prosody_spread * drift[HALF:]
        centre = styles[..., HALF:].mean(axis=0)
        prosody = centre + expressiveness * (prosody - centre)
        return np.concatenate((timbre, prosody), axis=1).astype(np.float32)

    def numbers(self) -> dict[str, tuple[float, ...]]:
        """The recipe as a voice card holds it."""
        return {name: value if isinstance(value, tuple) else (float(value),) for name, value in asdict(self).items()}


def from_numbers(numbers: Mapping[str, tuple[float, ...]]) -> KokoroVoice:
    """The recipe that a voice card holds."""
    single = {name: value[0] for name, value in numbers.items() if name not in ("timbre", "prosody", "seed")}
    return KokoroVoice(
        timbre=tuple(numbers["timbre"]), prosody=tuple(numbers["prosody"]), seed=int(numbers["seed"][0]), **single
    )


def pure(style: str) -> KokoroVoice:
    """One of the five styles as it came."""
    shares = tuple(float(name == style) for name in STYLES)
    return KokoroVoice(timbre=shares, prosody=shares)


@cache
def _normal(seed: int, size: int) -> NDArray[np.float64]:
    """Standard normal numbers from sha256, so that no release of a library changes a voice."""
    digest = hashlib.shake_256(f"kokoro voice {seed}".encode()).digest(8 * size)
    uniform = (np.frombuffer(digest, "<u8") >> np.uint64(11)).astype(np.float64) / 2**53
    inverse = NormalDist().inv_cdf
    return np.array([inverse(min(max(u, 1e-12), 1 - 1e-12)) for u in uniform])
