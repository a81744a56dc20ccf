"""How distinct voices are: distances between them, held against the distance of two utterances of one voice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from tasks.speaker_embedding import Embedding

Matrix = NDArray[np.float32]
"""Float32, shape (num_voices, num_voices): 1 - cosine."""


class Distinctness(BaseModel):
    """The bank's distances in figures (1 - cosine of speaker embeddings)."""

    model_config = ConfigDict(frozen=True)

    num_voices: int
    within_voice: float
    """Median distance of two utterances of one voice, different sentences."""
    nearest_neighbour: float
    """Median over the voices of the distance to the nearest other one."""
    smallest: float
    """The distance of the nearest pair."""
    typical: float
    """Median distance of any two voices."""

    @property
    def ratio(self) -> float:
        """nearest_neighbour / within_voice."""
        return self.nearest_neighbour / self.within_voice


def distance_matrix(embeddings: Sequence[Embedding]) -> Matrix:
    """Distances between all pairs of vectors of length 1."""
    stacked = np.stack(embeddings)
    return np.asarray(1 - np.clip(stacked @ stacked.T, -1, 1), np.float32)


def distinctness(matrix: Matrix, within: Sequence[float]) -> Distinctness:
    """The figures of a matrix.

    Args:
        matrix: distances between voices; at least two.
        within: distance of two utterances, for each voice.
    """
    others = matrix.copy()
    np.fill_diagonal(others, np.inf)
    pairs: NDArray[Any] = matrix[np.triu_indices(len(matrix), 1)]
    return Distinctness(
        num_voices=len(matrix),
        within_voice=float(np.median(within)),
        nearest_neighbour=float(np.median(others.min(axis=1))),
        smallest=float(pairs.min()),
        typical=float(np.median(pairs)),
    )
