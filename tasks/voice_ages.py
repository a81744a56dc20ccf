"""Whose voice sounds nearest to an age: the exact band, else the nearest one in the order of prompts/ages.yaml.

A voice whose age nobody knows is taken for an adult of any band, after the voices that are known to be of it. For a
child it therefore stands as far away as the youngest adults do, and after them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import prompts
from contracts.errors import RecipeError
from contracts.records import Voice

ADULT_FROM = 18
"""Years; the band that begins here and all older ones are adults."""


def by_nearness(voices: Iterable[Voice], age: str) -> list[list[Voice]]:
    """The voices in ranks, the ones that fit the age best first; those of one rank fit equally well."""
    ranks: dict[tuple[int, bool], list[Voice]] = {}
    for voice in voices:
        ranks.setdefault((_distance(voice, age), voice.age is None), []).append(voice)
    return [ranks[rank] for rank in sorted(ranks)]


def check_ages(voices: Iterable[Voice]) -> None:
    """Refuse voices of a band that does not exist.

    Raises:
        RecipeError: the text names the first such voice and the bands.
    """
    bands = prompts.ages().ages
    for voice in voices:
        if voice.age is not None and voice.age not in bands:
            raise RecipeError(
                f"cast: the voice {voice.id} says that it sounds like {voice.age!r}, which is no age band of "
                f"prompts/ages.yaml ({', '.join(bands)}). Mend its backend, or leave it out by cast.exclude_voices."
            )


def _distance(voice: Voice, age: str) -> int:
    """Bands between a voice and an age."""
    bands = prompts.ages().ages
    order: Sequence[str] = list(bands)
    own = [voice.age] if voice.age is not None else [b for b in bands if bands[b].years[0] >= ADULT_FROM]
    return min((abs(order.index(band) - order.index(age)) for band in own), default=0)
