"""Speaker embeddings with what the words contribute taken out: linear discriminant analysis.

The vectors of two short utterances of one voice differ by their words almost as much as two similar voices do. LDA
(Fisher 1936; usual after i-vectors and x-vectors, Dehak et al. 2011, IEEE TASLP 19) finds the directions in which
voices differ most for how much one voice differs from itself. Ours was fitted on 276 voices that are in no bank that
comes with us: 206 said the two probe sentences, 70 said four others. Distances among the voices of its own fitting
would flatter; on sentences that it never heard, it takes less of the words out (LOG.md has the figures).
"""

from __future__ import annotations

from collections.abc import Sequence
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


def fit_speaker_space(
    voices: Sequence[NDArray[np.float32]], *, dimensions: int = 24, shrinkage: float = 1.0
) -> SpeakerSpace:
    """The space in which voices differ most for how much one voice differs from itself.

    Args:
        voices: for each, the embeddings of its utterances, float32, shape (num_utterances, 256); at least two each. The
            more sentences there are among them, the less the space depends on those of the fitting.
        dimensions: directions kept.
        shrinkage: share of the mean variance that is added to every direction of the within-voice scatter.
    """
    from scipy.linalg import eigh

    own = np.array([rows.mean(axis=0) for rows in voices], np.float64)
    residual = np.concatenate([rows - rows.mean(axis=0) for rows in voices]).astype(np.float64)
    within = residual.T @ residual / sum(len(rows) - 1 for rows in voices)
    ridge = shrinkage * np.trace(within) / len(within)
    _, vectors = eigh(np.cov(own.T), within + ridge * np.eye(len(within)))
    return SpeakerSpace(own.mean(axis=0).astype(np.float32), vectors[:, ::-1][:, :dimensions].astype(np.float32))


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
