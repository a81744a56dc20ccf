"""Whether an utterance is spoken by the voice that was cast: the cosine of its speaker embedding to the reference's.

The reference is the clip that a voice is cloned from, where there is one; otherwise the mean embedding of the voice's
probes, which its voice card holds. See tasks/speaker_embedding.py for the encoder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from contracts.errors import ConfigError
from contracts.protocols import ScoringItem
from contracts.records import Score
from tasks.scorers._shared import Workers, positive_threads, require, versions
from tasks.scorers._speaker_vectors import MODULES, clip_vector, encoder, speaker_vector
from tasks.scorers._torch_workers import one_core_workers
from tasks.scorers._voice_cards import Cards
from tasks.speaker_embedding import DIMENSIONS, Embedding
from tts_backends.reference_voices import check_reference_voices

NOBODY: NDArray[np.float32] = np.zeros((0, DIMENSIONS), np.float32)
RANK_MARGIN = 1e-6
"""Above rounding, so that a voice is not nearer than itself."""


class SpeakerSimilarity:
    """Cosine in [-1, 1]; 1 is the same direction. Details: from_clip (1: against a reference clip, 0: a voice card).

    Against a voice card also `rank`: how many other voices of the bank the utterance is nearer to. A bound on the
    cosine alone catches disasters only, since two thirds of the bank's pairs are above 0.65; of 38 user turns of a
    demo, with feelings, all had rank 0 among 202 voices.

    Args:
        bank: folder with voice cards; None takes those that come with the program.
        clips: voice id -> reference clip (WAV or FLAC).
        voices: folder with reference voices, as cloning backends read it; its clips are added to `clips`.
        voices_backend: the backend that speaks with them, the first half of their ids.
        num_threads: utterances measured at once.
    """

    name = "speaker_similarity"

    def __init__(
        self,
        *,
        bank: str | None = None,
        clips: Mapping[str, str] | None = None,
        voices: str | None = None,
        voices_backend: str = "cosyvoice",
        num_threads: int = 2,
    ) -> None:
        self.num_threads = positive_threads(num_threads)
        self._cards = Cards(bank)
        listed = _clips_of(voices, voices_backend) if voices else {}
        self._clips = {**listed, **{voice: Path(clip) for voice, clip in (clips or {}).items()}}
        self.revision: str = f"{versions(2, ('resemblyzer',))} {self._cards.revision}{_clips_revision(self._clips)}"
        self._references: dict[str, Embedding] = {}
        self._workers: Workers | None = None

    def check(self) -> None:
        """See contracts.protocols.Engine.

        Raises:
            MissingExtra: a package is missing.
        """
        require(f"The scorer {self.name!r}", MODULES)

    def __enter__(self) -> Self:
        """Load the encoder and listen to the reference clips.

        Raises:
            MissingExtra: a package is missing.
            ConfigError: a clip cannot be used.
        """
        self.check()
        encoder()
        self._workers = one_core_workers(self.num_threads)
        self._bank_rows = np.stack(list(self._cards.bank.embeddings.values())) if len(self._cards.bank) else NOBODY
        self._references = dict(zip(self._clips, self._workers.map(clip_vector, self._clips.values()), strict=True))
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._workers is not None:
            self._workers.close()
        self._workers = None

    def score(self, batch: Sequence[ScoringItem], /) -> list[Score]:
        """See contracts.protocols.Scorer."""
        assert self._workers is not None, "use SpeakerSimilarity in a `with` block"
        return self._workers.map(self._score, batch)

    def _score(self, item: ScoringItem) -> Score:
        voice = item.utterance.voice_id
        clip = self._references.get(voice)
        reference = self._cards.bank.embeddings.get(voice) if clip is None else clip
        if reference is None:
            clips = "; a voice that is cloned needs its clip in the option `voices` or `clips`"
            return Score.failed(self.name, self._cards.why_missing(voice) + clips)
        found = speaker_vector(item.audio)
        if isinstance(found, str):
            return Score.failed(self.name, found)
        value = float(found @ reference)
        details = {"from_clip": float(clip is not None)}
        if clip is None:
            details["rank"] = float((self._bank_rows @ found > value + RANK_MARGIN).sum())
        return Score(name=self.name, value=value, details=details)


@cache
def _clips_of(folder: str, backend: str) -> Mapping[str, Path]:
    """Voice id -> clip of a folder with reference voices; listens to every clip once per process.

    Raises:
        ConfigError: no clip of it can be used.
    """
    found = check_reference_voices(Path(folder), backend=backend)
    if not found.voices:
        told = "; ".join(str(fault) for fault in found.faults) or "it lists no clip"
        raise ConfigError(f"The option `voices`: no clip of {folder} can be used: {told}")
    return {voice.id: Path(voice.reference) for voice in found.voices if voice.reference}


def _clips_revision(clips: Mapping[str, Path]) -> str:
    if not clips:
        return ""
    digest = hashlib.sha256()
    for voice, path in sorted(clips.items()):
        if not path.is_file():
            raise ConfigError(f"The reference clip of {voice} is missing: {path} is no file.")
        digest.update(f"{voice} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return f" clips {digest.hexdigest()[:12]}"
