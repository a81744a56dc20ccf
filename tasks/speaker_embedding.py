"""Who is speaking, as a vector: the GE2E speaker encoder of resemblyzer (Wan et al. 2018, arXiv 1710.10467), 256-d.

The encoder hears 1.6 s at a time and the utterance's vector is the mean of its windows, of length 1. Two utterances of
one voice lie near each other: the distance is 1 - cosine.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.audio import Audio
from contracts.errors import MissingExtra
from tasks.prosody import audible_span

SAMPLE_RATE = 16_000
DIMENSIONS = 256
TARGET_DBFS = -30.0
"""Level that the encoder was trained at."""

Embedding = NDArray[np.float32]
"""Float32, shape (256,), length 1."""


class SpeakerEncoder:
    """The encoder, loaded; 17 MB, about 30 ms for an utterance of 6 s on one core. Calls may come from any thread.

    Raises:
        MissingExtra: resemblyzer is not installed.
    """

    def __init__(self) -> None:
        try:
            with warnings.catch_warnings():
                # It takes functions from a namespace that SciPy is about to drop.
                warnings.simplefilter("ignore", DeprecationWarning)
                from resemblyzer import VoiceEncoder
        except ImportError as error:
            raise MissingExtra("The speaker encoder", "resemblyzer", "make install") from error
        with contextlib.redirect_stdout(io.StringIO()):
            self._encoder: Any = VoiceEncoder("cpu", verbose=False)

    def embed(self, audio: Audio) -> Embedding:
        """The vector of an utterance, without the silence at its ends."""
        samples = audio.resampled(SAMPLE_RATE).samples
        begin, end = audible_span(samples)
        samples = samples[begin:end] if end > begin else samples
        level = float(np.sqrt(np.mean(np.square(samples)))) if samples.size else 0.0
        if level > 0:
            samples = samples * np.float32(10 ** (TARGET_DBFS / 20) / level)
        return np.asarray(self._encoder.embed_utterance(samples), np.float32)


def distance(left: Embedding, right: Embedding) -> float:
    """1 - cosine: 0 for the same direction."""
    norm = float(np.linalg.norm(left) * np.linalg.norm(right))
    return 1.0 - float(left @ right) / norm


def mean_embedding(embeddings: list[Embedding]) -> Embedding:
    """Of several utterances of one voice; length 1."""
    mean = np.mean(embeddings, axis=0)
    return np.asarray(mean / np.linalg.norm(mean), np.float32)
