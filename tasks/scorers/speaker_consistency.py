"""Whether one person speaks all of their turns: each turn's speaker embedding against the mean of their other turns.

A person is a role of a dialogue, so a turn that was rendered with another voice by mistake stands out whatever its
record says. The others are, in this order:

- the same role's other turns in the same dialogue;
- for a turn that is alone there, the same voice's other utterances in the batch, so give a whole part;
- for one that is alone there too, nobody: value 1 and `lone` 1, since there is nothing that it could contradict.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from contracts.protocols import ScoringItem
from contracts.records import Score, Utterance
from tasks.scorers._shared import Workers, positive_threads, require, versions
from tasks.scorers._speaker_vectors import MODULES, encoder, speaker_vector
from tasks.scorers._torch_workers import one_core_workers
from tasks.speaker_embedding import DIMENSIONS, Embedding

Group = tuple[str, ...]
"""Of utterances: (dialogue, role), or (voice,)."""


class SpeakerConsistency:
    """Cosine in [-1, 1] to the mean of the other turns.

    Details: others (how many utterances that mean is of), same_dialogue (1: turns of this dialogue; 0: utterances of
    the same voice elsewhere in the batch, or none), lone (1: there was nothing to compare with).

    Args:
        num_threads: utterances measured at once.
    """

    name = "speaker_consistency"

    def __init__(self, *, num_threads: int = 2) -> None:
        self.num_threads = positive_threads(num_threads)
        self.revision: str = versions(1, ("resemblyzer",))
        self._workers: Workers | None = None

    def check(self) -> None:
        """See contracts.protocols.Engine.

        Raises:
            MissingExtra: a package is missing.
        """
        require(f"The scorer {self.name!r}", MODULES)

    def __enter__(self) -> Self:
        self.check()
        encoder()
        self._workers = one_core_workers(self.num_threads)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._workers is not None:
            self._workers.close()
        self._workers = None

    def score(self, batch: Sequence[ScoringItem], /) -> list[Score]:
        """See contracts.protocols.Scorer; the batch is the whole part."""
        assert self._workers is not None, "use SpeakerConsistency in a `with` block"
        vectors = self._workers.map(speaker_vector, [item.audio for item in batch])
        return consistency(self.name, [item.utterance for item in batch], vectors)


def consistency(name: str, utterances: Sequence[Utterance], vectors: Sequence[Embedding | str]) -> list[Score]:
    """A score for each utterance; one whose vector is a reason instead fails with it and counts for nobody."""
    in_dialogue: defaultdict[Group, _Sum] = defaultdict(_Sum)
    of_voice: defaultdict[Group, _Sum] = defaultdict(_Sum)
    for utterance, vector in zip(utterances, vectors, strict=True):
        if not isinstance(vector, str):
            in_dialogue[_person(utterance)].add(vector)
            of_voice[(utterance.voice_id,)].add(vector)
    return [
        Score.failed(name, vector)
        if isinstance(vector, str)
        else _against(name, vector, in_dialogue[_person(utterance)], of_voice[(utterance.voice_id,)])
        for utterance, vector in zip(utterances, vectors, strict=True)
    ]


class _Sum:
    """Of the vectors of a group, so that the mean of all but one costs one subtraction."""

    def __init__(self) -> None:
        self.count, self.total = 0, np.zeros(DIMENSIONS)

    def add(self, vector: Embedding) -> None:
        self.count += 1
        self.total += vector


def _against(name: str, vector: Embedding, own: _Sum, voice: _Sum) -> Score:
    same_dialogue = own.count > 1
    group = own if same_dialogue else voice
    others = group.count - 1
    value = _cosine(vector, group.total - vector) if others else 1.0
    details = {"others": float(others), "same_dialogue": float(same_dialogue), "lone": float(not others)}
    return Score(name=name, value=value, details=details)


def _person(utterance: Utterance) -> Group:
    return utterance.id.rpartition("-t")[0], utterance.role


def _cosine(left: NDArray[np.floating], right: NDArray[np.floating]) -> float:
    return float(left @ right / (np.linalg.norm(left) * np.linalg.norm(right)))
