"""Dealing user voices to the plan's candidates, one after the other, so that uses can be counted.

Each candidate gets, of the voices of its split, language and gender that can make its emotion heard and are not used
up, first those nearest to its age (tasks.voice_ages); of these a backend by the recipe's shares; of its voices the
one used least so far. So of two voices that are alike in split, backend, gender, age and languages, neither is ever
ahead of the other by more than one use, and a voice is used up only when all that are alike are at their last.

Backends are dealt by steps of the golden ratio around a line that they share by weight, from a start of its own for
each cell: of n candidates each backend gets its share to within a few (the sequence's discrepancy grows as log n), and
in a cell of few candidates it gets its chance.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from contracts.records import Scenario, Split, Voice
from tasks.decks import stable_int, stable_unit
from tasks.ensemble import Ensemble
from tasks.voice_ages import by_nearness

GOLDEN = (math.sqrt(5) - 1) / 2

Cell = tuple[str, ...]


class VoiceDealer:
    """Deals the voices of an ensemble; what it has dealt decides what it deals next.

    Args:
        ensemble: who may speak.
        backends: backend -> share.
        max_casts: how often a voice may be dealt; None: without end.
    """

    def __init__(self, ensemble: Ensemble, backends: Mapping[str, float], max_casts: int | None) -> None:
        self._ensemble, self._backends = ensemble, backends
        self._max = math.inf if max_casts is None else max_casts
        self._ranks: dict[Cell, list[list[Voice]]] = {}
        self._dealt: Counter[Cell] = Counter()
        self._uses = {v.id: 0 for v in ensemble.users}
        self._turns = {v.id: self._turn(v.id) for v in ensemble.users}

    def deal(self, scenario: Scenario, split: Split) -> Voice | None:
        """The next candidate's voice; None when all that fit are used up.

        Raises:
            RecipeError: nobody has the scenario's language and gender at all.
        """
        place = (split, scenario.language, scenario.speaker_gender, scenario.speaker_age)
        for rank in self._ranks_of(place, scenario, split):
            free = [v for v in rank if self._uses[v.id] < self._max]
            if free:
                backend = self._backend(place, free)
                voice = min((v for v in free if v.backend == backend), key=lambda v: self._turns[v.id])
                self._uses[voice.id] += 1
                self._turns[voice.id] = self._turn(voice.id)
                return voice
        return None

    def _ranks_of(self, place: Cell, scenario: Scenario, split: Split) -> list[list[Voice]]:
        cell = (*place, scenario.emotion)
        if cell not in self._ranks:
            fit = self._ensemble.eligible(split, scenario.language, scenario.speaker_gender, scenario.emotion)
            self._ranks[cell] = by_nearness(fit, scenario.speaker_age)
        return self._ranks[cell]

    def _turn(self, voice_id: str) -> tuple[int, int]:
        # Shuffled anew for each round of uses, or the order of the voices would beat with the plan's.
        uses = self._uses[voice_id]
        return uses, stable_int(self._ensemble.seed, "voice", voice_id, uses)

    def _backend(self, place: Cell, free: Sequence[Voice]) -> str:
        names = sorted({v.backend for v in free})
        if len(names) == 1:
            return names[0]
        key = (*place, *names)
        start, step = stable_unit(self._ensemble.seed, "backend", key), self._dealt[key]
        self._dealt[key] += 1
        left = (start + step * GOLDEN) % 1 * math.fsum(self._backends[name] for name in names)
        for name in names:
            left -= self._backends[name]
            if left < 0:
                return name
        return names[-1]
