"""Speaker embeddings with what the words contribute taken out: linear discriminant analysis.

The vectors of two short utterances of one voice differ by their words almost as much as two similar voices do. LDA
(Fisher 1936; usual after i-vectors and x-vectors, Dehak et al. 2011, IEEE TASLP 19) finds the directions in which
voices differ most for how much one voice differs from itself. Ours was fitted on the voices of one bank
and is used on others: distances that it gives for voices of its own fitting would flatter.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from tasks.speaker_embedding import Embedding


@dataclass(frozen=True)
class SpeakerSpace:
    """A projection of embeddings."""

    mean: NDArray[np.float32]
    """Float32, shape (256,)."""
    directions: NDArray[np.float32]
    """Float32, shape (256, num_dimensions)."""

    def project(self, embedding: Embedding) -> Embedding:
        """The vector in this space, of length 1."""
        projected = (embedding - self.mean) @ self.directions
        return np.asarray(projected / np.linalg.norm(projected), np.float32)


def fit_speaker_space(embeddings: NDArray[np.float32], *, dimensions: int, shrinkage: float) -> SpeakerSpace:
    """The space in which voices differ most for how much one voice differs from itself.

    Args:
        embeddings: float32, shape (num_voices, num_utterances, 256).
        dimensions: directions kept.
        shrinkage: share of the mean variance that is added to every direction of the within-voice scatter.
    """
    from scipy.linalg import eigh

    flat = embeddings.reshape(-1, embeddings.shape[-1]).astype(np.float64)
    mean = flat.mean(axis=0)
    own = embeddings.mean(axis=1, keepdims=True)
    residual = (embeddings - own).reshape(flat.shape).astype(np.float64)
    within = residual.T @ residual / (len(embeddings) * (embeddings.shape[1] - 1))
    between = np.cov((own[:, 0] - mean).T.astype(np.float64))
    ridge = shrinkage * np.trace(within) / len(within)
    _, vectors = eigh(between, within + ridge * np.eye(len(within)))
    return SpeakerSpace(mean.astype(np.float32), vectors[:, ::-1][:, :dimensions].astype(np.float32))


@cache
def speaker_space() -> SpeakerSpace:
    """The packaged one."""
    rows = np.load(BytesIO(files(__package__).joinpath("speaker_space.npy").read_bytes()), allow_pickle=False)
    return SpeakerSpace(rows[0].astype(np.float32), rows[1:].T.astype(np.float32))


def packed(space: SpeakerSpace) -> bytes:
    """A space as the file that `speaker_space` reads: the mean, then the directions, one a row."""
    buffer = BytesIO()
    np.save(buffer, np.vstack((space.mean, space.directions.T)).astype(np.float32), allow_pickle=False)
    return buffer.getvalue()
