"""Word and character error rate of what was heard against what was to be said.

Both sides are normalised first, so that spelling, case, punctuation, numerals and contractions do not count as errors:
English by Whisper's own English normaliser (Radford et al. 2022, appendix C), any other language by its basic one
(lower case, no punctuation). The alignment is Levenshtein's, by jiwer.

    rate = (substitutions + deletions + insertions) / reference length

An empty hypothesis scores 1. A rate exceeds 1 where much more is heard than was said. An empty reference cannot be
scored.

CER leaves blanks out on both sides: "good bye" heard as "goodbye" is two word errors and no character error. That makes
it the fair figure for languages that write no blanks (Chinese, Japanese), and the one to gate them by: WER sees a
Chinese sentence as a single word, right or wrong.
"""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import ClassVar, Self

import jiwer

from contracts.protocols import ScoringItem
from contracts.records import Score
from tasks.scorers._shared import require, versions


@cache
def normalizer(language: str) -> Callable[[str], str]:
    """Whisper's text normaliser for an ISO 639-1 language code."""
    with warnings.catch_warnings():
        # The first import compiles the package, whose docstrings hold a bad escape sequence.
        warnings.filterwarnings("ignore", message="invalid escape sequence", category=SyntaxWarning)
        warnings.filterwarnings("ignore", message="invalid escape sequence", category=DeprecationWarning)
        from whisper_normalizer.basic import BasicTextNormalizer
        from whisper_normalizer.english import EnglishTextNormalizer
    is_english = language.partition("-")[0] == "en"
    chosen: Callable[[str], str] = EnglishTextNormalizer() if is_english else BasicTextNormalizer()
    return chosen


def normalized(text: str, language: str) -> str:
    """The text as it is compared: words of letters and digits, one blank between them, none at the ends."""
    composed = unicodedata.normalize("NFKC", text).replace("\u2019", "'")
    words = normalizer(language)(composed).split()
    # Whisper's English normaliser leaves a lone full stop behind of an ellipsis: "well... I" becomes "well . i".
    return " ".join(word for word in words if any(character.isalnum() for character in word))


class _ErrorRate:
    """The machinery of both rates; a subclass says what is counted.

    Args:
        num_threads: taken as every engine takes it; counting is too quick to be spread.
    """

    name: str
    unit: ClassVar[str]

    def __init__(self, *, num_threads: int = 2) -> None:
        self.num_threads = num_threads
        self.revision: str = versions(1, ("jiwer", "whisper_normalizer"))

    def check(self) -> None:
        """See contracts.protocols.Engine.

        Raises:
            MissingExtra: jiwer or whisper_normalizer is missing.
        """
        require(f"The scorer {self.name!r}", {"jiwer": "jiwer", "whisper_normalizer": "whisper-normalizer"})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        return None

    def score(self, batch: Sequence[ScoringItem], /) -> list[Score]:
        """See contracts.protocols.Scorer."""
        return [self.rate(i.utterance.text, i.transcript.text, i.utterance.language) for i in batch]

    def rate(self, reference: str, hypothesis: str, language: str = "en") -> Score:
        """The rate of one pair of texts, with the counts behind it."""
        expected = self.units(normalized(reference, language))
        if not expected:
            return Score.failed(self.name, f"the reference has no {self.unit} once normalised: {reference!r}")
        counts = align(expected, self.units(normalized(hypothesis, language)))
        errors = counts["substitutions"] + counts["deletions"] + counts["insertions"]
        details = {**counts, f"reference_{self.unit}": float(len(expected))}
        return Score(name=self.name, value=errors / len(expected), details=details)

    def units(self, text: str) -> list[str]:
        """What is counted in a normalised text."""
        raise NotImplementedError


class WER(_ErrorRate):
    """Word error rate. Details: substitutions, deletions, insertions, hits, reference_words."""

    name = "wer"
    unit = "words"

    def units(self, text: str) -> list[str]:
        """Words."""
        return text.split()


class CER(_ErrorRate):
    """Character error rate, blanks aside. Details: substitutions, deletions, insertions, hits, reference_characters."""

    name = "cer"
    unit = "characters"

    def units(self, text: str) -> list[str]:
        """Characters without blanks."""
        return list(text.replace(" ", ""))


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> dict[str, float]:
    """Counts of the best alignment of two sequences of units, neither of which holds a blank."""
    if not hypothesis:
        return {"substitutions": 0.0, "deletions": float(len(reference)), "insertions": 0.0, "hits": 0.0}
    found = jiwer.process_words(" ".join(reference), " ".join(hypothesis))
    return {
        "substitutions": float(found.substitutions),
        "deletions": float(found.deletions),
        "insertions": float(found.insertions),
        "hits": float(found.hits),
    }
