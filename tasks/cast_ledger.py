"""Which user voice each candidate of the plan gets, counted from the first candidate on.

Uses can be counted because the plan is known: the ledger plans candidates 0 to i anew (tasks.plan_scenarios) and deals
the voices to them in order, whatever became of them in a run. So the answer for i follows from the recipe and the
voices alone, and a part can be cast by itself, on any machine and in any order, with the same result. No formula gives
it, for a cell is crossed from several decks, the group's split and the voices that are used up.

A process keeps its ledgers and carries them on from part to part, so each candidate is planned once more than without.
Cost: about 0.1 ms and 4 bytes a candidate. A process that began at candidate 1,000,000 with 200 voices counted for 102
seconds of one core, once.
"""

from __future__ import annotations

import threading
from array import array
from collections import OrderedDict

from contracts.config import CorpusConfig
from contracts.config_base import fingerprint
from contracts.records import Voice
from tasks.ensemble import Ensemble
from tasks.plan_scenarios import plan_scenarios
from tasks.voice_dealer import VoiceDealer
from tasks.voice_quotas import max_casts

STRETCH = (128, 8192)
"""Candidates planned at a time, at the least and at most. Laying out a plan costs as much as some hundred of them, so
in between it is as many as are counted already."""
KEPT = 4
"""Ledgers that a process keeps: as many recipes as it is likely to build in turn."""
NOBODY = -1


class CastLedger:
    """The user voices of a plan, candidate by candidate. Safe to ask from any thread."""

    def __init__(self, config: CorpusConfig, ensemble: Ensemble) -> None:
        self._config, self._ensemble = config, ensemble
        self._dealer = VoiceDealer(ensemble, config.cast.users, max_casts(config))
        self._number = {voice.id: n for n, voice in enumerate(ensemble.users)}
        self._dealt = array("i")
        self._lock = threading.Lock()

    def voice(self, index: int) -> Voice | None:
        """The user voice of candidate `index`; None when all that fit are used up before it.

        Raises:
            RecipeError: nobody has the language and gender of a candidate up to this one.
        """
        with self._lock:
            while len(self._dealt) <= index:
                self._carry_on(index + 1 - len(self._dealt))
            number = self._dealt[index]
        return None if number == NOBODY else self._ensemble.users[number]

    def _carry_on(self, missing: int) -> None:
        least, most = STRETCH
        count = min(max(missing, len(self._dealt), least), most)
        for scenario in plan_scenarios(self._config, len(self._dealt), count):
            voice = self._dealer.deal(scenario, self._ensemble.split(scenario.group, scenario.language))
            self._dealt.append(NOBODY if voice is None else self._number[voice.id])


_ledgers: OrderedDict[str, CastLedger] = OrderedDict()
_ledgers_lock = threading.Lock()


def cast_ledger(config: CorpusConfig, ensemble: Ensemble) -> CastLedger:
    """The ledger of a recipe and its voices; the same one again in the same process."""
    users = [v.model_dump(mode="json") for v in ensemble.users]
    renders = {backend: sorted(emotions) for backend, emotions in ensemble.renders.items()}
    key = fingerprint(config.seed, config.plan, config.cast, max_casts(config), users, renders)
    with _ledgers_lock:
        if key not in _ledgers:
            _ledgers[key] = CastLedger(config, ensemble)
        _ledgers.move_to_end(key)
        while len(_ledgers) > KEPT:
            _ledgers.popitem(last=False)
        return _ledgers[key]
