"""Candidates for the bank: voices drawn for ten kinds of people, the same ones on every machine.

For each, the shares of the styles follow from who it is to be: a man's timbre is mostly the male style, and the blend
of prosody is chosen so that its natural F0 lies near the wanted one, for the further F0 is scaled the less natural it
sounds. The spread takes the timbre away from all others'.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from tasks.decks import Deck, stable_unit
from tasks.voices.personas import PERSONAS, RATE_SPREAD, VOCAL_TRACT_SPREAD, Persona
from tts_backends.kokoro_voice import STYLE_F0, STYLES, KokoroVoice

TIMBRE_SPREAD = {"male": (1.4, 1.9), "female": (1.0, 1.5)}
"""By the style that most of the timbre comes from; children's comes from the female ones. More of it sounds rough."""
PROSODY_SPREAD = (0.2, 0.6)
MEASURED_LOWER = 1.05
"""Factor by which voices with a spread come out lower than the blend of STYLE_F0 says (70 voices, 4 sentences)."""
SCALED = 1.12
"""Factor by which a candidate's F0 may be scaled, either way, before the blend of prosody moves instead."""
WOMEN = tuple(range(len(STYLES) - 1))
"""Places of the female styles; the last is the male one."""
FAVOUR = (1.5, 1.0, 0.6, 0.3)
"""How much of each female style is drawn: of 336 candidates without it, those with much of the last two mostly fell."""


@dataclass(frozen=True, slots=True)
class VoiceCandidate:
    """A recipe and whom it was drawn for."""

    number: int
    persona: Persona
    recipe: KokoroVoice


def candidates(seed: int) -> Iterator[VoiceCandidate]:
    """Candidates without end, personas dealt by their weights."""
    by_name = {f"{p.gender} {p.age}": p for p in PERSONAS}
    deck = Deck(seed, "personas", {name: p.weight for name, p in by_name.items()})
    number = 0
    while True:
        yield _Draw(seed, number, by_name[deck.value(number)]).candidate()
        number += 1


class _Draw:
    """One candidate's dice."""

    def __init__(self, seed: int, number: int, persona: Persona) -> None:
        self._seed, self._number, self._persona = seed, number, persona

    def candidate(self) -> VoiceCandidate:
        persona = self._persona
        f0 = persona.f0 * 2 ** (self._between("f0", -1, 1) * persona.f0_spread / 12)
        prosody = self._prosody(f0)
        recipe = KokoroVoice(
            timbre=self._timbre(),
            prosody=prosody,
            seed=1000 * self._seed + self._number,
            timbre_spread=round(self._between("timbre spread", *TIMBRE_SPREAD[self._body()]), 3),
            prosody_spread=round(self._between("prosody spread", *PROSODY_SPREAD), 3),
            vocal_tract=round(persona.vocal_tract + self._between("tract", -1.2, 1.2) * VOCAL_TRACT_SPREAD, 3),
            f0_scale=round(MEASURED_LOWER * f0 / _natural(prosody), 3),
            f0_range=round(self._between("range", 0.9, 1.3), 3),
            rate=round(persona.rate + self._between("rate", -1, 1) * RATE_SPREAD, 3),
        )
        return VoiceCandidate(self._number, persona, recipe)

    def _body(self) -> str:
        return "female" if self._persona.age == "child" else self._persona.gender

    def _timbre(self) -> tuple[float, ...]:
        if self._persona.age == "child":
            span = (0.12, 0.35) if self._persona.gender == "male" else (-0.15, 0.05)
        else:
            span = (0.6, 1.2) if self._persona.gender == "male" else (-0.1, 0.3)
        return self._shares("timbre", self._between("male timbre", *span))

    def _prosody(self, f0: float) -> tuple[float, ...]:
        """Shares whose natural F0 is within SCALED of the wanted one, where the styles reach that far."""
        women = self._shares("prosody", 0.0)
        high = sum(women[i] * STYLE_F0[i] for i in WOMEN)
        natural = f0 / self._between("scaled", 1 / SCALED, SCALED)
        male = (high - natural) / (high - STYLE_F0[-1])
        male = min(max(male, 0.0), 1.05)
        return (*(round(share * (1 - male), 4) for share in women[:-1]), round(male, 4))

    def _shares(self, half: str, male: float) -> tuple[float, ...]:
        """Shares of the female styles, drawn by FAVOUR, and the male one's."""
        drawn = [-FAVOUR[i] * math.log(1 - self._between(f"{half} {i}", 0, 1)) for i in WOMEN]
        return (*(round((1 - male) * d / sum(drawn), 4) for d in drawn), round(male, 4))

    def _between(self, what: str, low: float, high: float) -> float:
        return low + (high - low) * stable_unit(self._seed, "voice", self._number, what)


def _natural(prosody: tuple[float, ...]) -> float:
    """Hz of a blend of prosody without a scale."""
    return sum(share * hertz for share, hertz in zip(prosody, STYLE_F0, strict=True))
