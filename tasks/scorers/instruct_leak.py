"""Whether a voice read its directions aloud: words of the delivery's `instruct` that are heard beyond the text.

A model that is told "The speaker is angry ..." sometimes says that before the text, or in its place. Transcript, text
and instruct are normalised as for the word error rate. What the transcript has of the text is set aside first. In what
is left, the instruct is looked for by local alignment (Smith & Waterman 1981) over words: +1 for a pair that matches,
-1 for one that does not and for each word that one side lacks, so a word that the ASR misheard breaks nothing. Two
words match when at most a quarter of their letters differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Self

from contracts.protocols import ScoringItem
from contracts.records import Score
from tasks.scorers._shared import require, versions
from tasks.scorers.error_rates import normalized

UNSPACED = frozenset({"zh", "ja", "th", "lo", "km", "my", "yue"})
"""Languages written without blanks: their words are taken to be single characters."""
LEAST_RUN = 2
"""Words; a single one in common is chance (`the`, `is`)."""
PREFIX_WORDS = 3
"""So many words of the instruct at the very beginning are a prefix; all of them, where it is shorter."""
PREFIX_SLACK = 1
"""Words that may come before it, or be missing from it: a hesitation, a word misheard."""
SAME_WORD = 0.75
"""Share of letters in common, by difflib."""


class InstructLeak:
    """Share of the instruct's words that were heard in one stretch beyond the text, in [0, 1]; 0 without an instruct.

    Details: prefix (1 where the transcript begins with it), longest_run (words of it heard in unbroken order).

    Args:
        num_threads: taken as every engine takes it; comparing is too quick to be spread.
    """

    name = "instruct_leak"

    def __init__(self, *, num_threads: int = 2) -> None:
        self.num_threads = num_threads
        self.revision: str = versions(1, ("whisper_normalizer",))

    def check(self) -> None:
        """See contracts.protocols.Engine.

        Raises:
            MissingExtra: whisper_normalizer is missing.
        """
        require(f"The scorer {self.name!r}", {"whisper_normalizer": "whisper-normalizer"})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        return None

    def score(self, batch: Sequence[ScoringItem], /) -> list[Score]:
        """See contracts.protocols.Scorer."""
        return [
            self.leak(i.utterance.delivery.instruct or "", i.utterance.text, i.transcript.text, i.utterance.language)
            for i in batch
        ]

    def leak(self, instruct: str, text: str, transcript: str, language: str = "en") -> Score:
        """How much of an instruct is in a transcript that should hold the text alone."""
        directions, spoken, heard = (_words(t, language) for t in (instruct, text, transcript))
        found = _best_stretch(directions, _beyond(spoken, heard))
        if found.matches < min(LEAST_RUN, len(directions)):
            found = _NOTHING
        begins = found.first_heard <= PREFIX_SLACK and 0 <= found.first_direction <= PREFIX_SLACK
        prefix = begins and found.matches >= max(1, min(PREFIX_WORDS, len(directions)))
        value = found.matches / len(directions) if directions else 0.0
        details = {"prefix": float(prefix), "longest_run": float(found.longest_run)}
        return Score(name=self.name, value=value, details=details)


@dataclass(frozen=True, slots=True)
class _Stretch:
    """The best local alignment of an instruct with a transcript."""

    weight: int
    matches: int
    run: int
    """Matches in a row up to its end."""
    longest_run: int
    first_direction: int
    first_heard: int


_NOTHING = _Stretch(0, 0, 0, 0, -1, 0)


def _words(text: str, language: str) -> list[str]:
    plain = normalized(text, language)
    unspaced = language.partition("-")[0] in UNSPACED
    return list(plain.replace(" ", "")) if unspaced else plain.split()


def _beyond(spoken: Sequence[str], heard: Sequence[str]) -> list[str | None]:
    """The words heard; None in the place of each that belongs to the text."""
    left: list[str | None] = list(heard)
    for block in SequenceMatcher(None, spoken, heard, autojunk=False).get_matching_blocks():
        left[block.b : block.b + block.size] = [None] * block.size
    return left


def _best_stretch(directions: Sequence[str], heard: Sequence[str | None]) -> _Stretch:
    best = _NOTHING
    above = [_NOTHING] * (len(heard) + 1)
    for row, direction in enumerate(directions):
        here = [_NOTHING]
        for column, word in enumerate(heard):
            if word is not None and _same(direction, word):
                cell = _matched(above[column], row, column)
            else:
                cell = max((_broken(c) for c in (above[column], above[column + 1], here[column])), key=_rank)
            here.append(cell)
            best = max(best, cell, key=_rank)
        above = here
    return best


def _matched(before: _Stretch, row: int, column: int) -> _Stretch:
    if not before.weight:
        return _Stretch(1, 1, 1, 1, row, column)
    run = before.run + 1
    longest = max(before.longest_run, run)
    first = before.first_direction, before.first_heard
    return _Stretch(before.weight + 1, before.matches + 1, run, longest, *first)


def _broken(before: _Stretch) -> _Stretch:
    if before.weight <= 1:
        return _NOTHING
    first = before.first_direction, before.first_heard
    return _Stretch(before.weight - 1, before.matches, 0, before.longest_run, *first)


def _rank(stretch: _Stretch) -> tuple[int, int, int]:
    return stretch.weight, stretch.matches, stretch.longest_run


@lru_cache(maxsize=65536)
def _same(left: str, right: str) -> bool:
    return left == right or (len(left) > 1 < len(right) and SequenceMatcher(None, left, right).ratio() >= SAME_WORD)
