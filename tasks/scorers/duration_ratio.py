"""How slowly an utterance is spoken against its peers: a cheap alarm for babble, loops and swallowed text.

    value = seconds per character of this utterance / median seconds per character of its peers

About 1 is normal; 2 is twice as slow as the others; below 0.5 something was probably left out. Peers are the utterances
of the same TTS backend in the batch that is given. The batch stands for the corpus, so give a whole part: of all
scorers this is the one whose score depends on the batch. Silence at the ends counts; `silence` tells it apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Self

from contracts.errors import ConfigError
from contracts.protocols import ScoringItem
from contracts.records import Score
from tasks.scorers._shared import fault

MIN_PEERS = 4
"""Fewer utterances than this give no median worth its name."""


@dataclass(frozen=True, slots=True)
class _Pace:
    backend: str
    seconds_per_character: float | None
    error: str | None = None


class DurationRatio:
    """Seconds per character over the median of the peers. Details: seconds_per_character, reference.

    The reference is the median over the batch's utterances of the same backend; with fewer than 4 of them, over all
    of the batch; with fewer than 4 in all, `reference_seconds_per_character`.

    Args:
        reference_seconds_per_character: English TTS at normal speed has 0.064 to 0.067; Mandarin about 0.25.
        num_threads: taken as every engine takes it; there is nothing to spread.
    """

    name = "duration_ratio"

    def __init__(self, *, reference_seconds_per_character: float = 0.065, num_threads: int = 2) -> None:
        if not reference_seconds_per_character > 0:
            raise ConfigError(f"reference_seconds_per_character must be above 0, got {reference_seconds_per_character}")
        self.reference = reference_seconds_per_character
        self.num_threads = num_threads
        self.revision: str = "v1"

    def check(self) -> None:
        """It needs nothing that could be missing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        return None

    def score(self, batch: Sequence[ScoringItem], /) -> list[Score]:
        """See contracts.protocols.Scorer; the batch is the whole part."""
        paces = [_pace(item) for item in batch]
        references = _references(paces, self.reference)
        return [_ratio(self.name, pace, references[pace.backend]) for pace in paces]


def _pace(item: ScoringItem) -> _Pace:
    characters = len(item.utterance.text.strip())
    why = fault(item.audio) or (None if characters else "the utterance has no text")
    return _Pace(item.utterance.backend, None if why else item.audio.duration / characters, why)


def _references(paces: Sequence[_Pace], default: float) -> Mapping[str, float]:
    """Backend -> seconds per character that its utterances are held against."""
    everyone = [p.seconds_per_character for p in paces if p.seconds_per_character is not None]
    fallback = median(everyone) if len(everyone) >= MIN_PEERS else default
    references = {}
    for backend in {p.backend for p in paces}:
        own = [p.seconds_per_character for p in paces if p.backend == backend and p.seconds_per_character is not None]
        references[backend] = median(own) if len(own) >= MIN_PEERS else fallback
    return references


def _ratio(name: str, pace: _Pace, reference: float) -> Score:
    if pace.seconds_per_character is None:
        return Score.failed(name, pace.error or "it could not be measured")
    details = {"seconds_per_character": pace.seconds_per_character, "reference": reference}
    return Score(name=name, value=pace.seconds_per_character / reference, details=details)
