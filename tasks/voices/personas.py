"""Who a voice may belong to: ten kinds of people, and which of them a measured voice sounds like.

Mean F0 by sex and age after Hillenbrand et al. (1995, JASA 97: children 237 Hz, women 220, men 131) and Stathopoulos
et al. (2011, JSLHR 54: women fall with age, men rise after 60). Vocal tracts after Fitch & Giedd (1999, JASA 106): a
child's is some 15% shorter than a grown woman's, a man's some 10% longer. Older people speak slower (Jacewicz et al.
2010, JASA 128). Gender is an impression: how the voice would be
taken, not who made it. Among children F0 does not tell it; there the share of the male style in the timbre does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from contracts.records import Gender


@dataclass(frozen=True, slots=True, kw_only=True)
class Persona:
    """A kind of speaker, by the middle of its figures and how far people of that kind stray from it."""

    gender: Gender
    age: str
    """A key of prompts/ages.yaml."""
    f0: float
    """Hz."""
    f0_spread: float
    """Semitones either way."""
    vocal_tract: float
    """Length as a factor of the neutral style's."""
    rate: float
    """Speaking rate as a factor."""
    weight: float
    """Share of the bank that is asked for."""


PERSONAS = (
    Persona(gender="female", age="child", f0=262, f0_spread=2.0, vocal_tract=0.87, rate=0.95, weight=0.7),
    Persona(gender="female", age="teenager", f0=236, f0_spread=2.0, vocal_tract=0.93, rate=1.04, weight=1.0),
    Persona(gender="female", age="young_adult", f0=212, f0_spread=2.2, vocal_tract=0.99, rate=1.03, weight=1.3),
    Persona(gender="female", age="middle_aged", f0=190, f0_spread=2.0, vocal_tract=1.02, rate=0.98, weight=1.3),
    Persona(gender="female", age="senior", f0=176, f0_spread=1.5, vocal_tract=1.04, rate=0.86, weight=1.0),
    Persona(gender="male", age="child", f0=252, f0_spread=2.0, vocal_tract=0.875, rate=0.95, weight=0.7),
    Persona(gender="male", age="teenager", f0=142, f0_spread=1.8, vocal_tract=0.96, rate=1.04, weight=1.0),
    Persona(gender="male", age="young_adult", f0=116, f0_spread=2.2, vocal_tract=1.03, rate=1.03, weight=1.3),
    Persona(gender="male", age="middle_aged", f0=106, f0_spread=2.2, vocal_tract=1.08, rate=0.98, weight=1.3),
    Persona(gender="male", age="senior", f0=124, f0_spread=2.0, vocal_tract=1.07, rate=0.86, weight=1.0),
)

VOCAL_TRACT_SPREAD = 0.035
RATE_SPREAD = 0.06
BETWEEN_HZ = (155.0, 166.0)
"""A grown voice whose mean F0 lies here is taken for neither a man's nor a woman's."""
CHILD_VOCAL_TRACT = 0.915
"""A shorter one is a child's."""
BOY_SHARE = 0.1
"""Of the male style in a child's timbre from which on it is taken for a boy."""


def impression(*, f0: float, vocal_tract: float, rate: float, male_share: float) -> Persona | None:
    """Whom a voice sounds like; None where one cannot say.

    Args:
        f0: Hz, as measured.
        vocal_tract: as a factor.
        rate: speaking rate as measured, as a factor of the median of all voices.
        male_share: share of the male style in the timbre.
    """
    child = vocal_tract < CHILD_VOCAL_TRACT
    if not child and BETWEEN_HZ[0] < f0 < BETWEEN_HZ[1]:
        return None
    male = male_share >= BOY_SHARE if child else f0 < BETWEEN_HZ[0]
    fit = [p for p in PERSONAS if (p.age == "child") == child and (p.gender == "male") == male]
    return min(fit, key=lambda p: _strangeness(p, f0, vocal_tract, rate))


def _strangeness(persona: Persona, f0: float, vocal_tract: float, rate: float) -> float:
    pitch = 12 * math.log2(f0 / persona.f0) / persona.f0_spread
    body = (vocal_tract - persona.vocal_tract) / VOCAL_TRACT_SPREAD
    pace = (rate - persona.rate) / RATE_SPREAD
    return pitch**2 + body**2 + pace**2
