"""The bounded window: how parts are sent through the stages until the target is met or the budget is spent.

Stages of different parts overlap, so that the slowest engine always has work; at most `max_parts_in_flight` parts are
under way, so that no queue grows. A part beyond what the target is expected to need is not begun. The corpus is made of
the first parts, in order, that together meet the target: which they are depends on the data, never on timing.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping
from typing import Any

from prefect.futures import PrefectFuture

from contracts.config import CorpusConfig
from contracts.errors import EngineError, S2SError
from contracts.records import STAGES, Record, StageName
from flows.stage_tasks import stage_tasks
from storage.object_store import open_store
from tasks.funnel import read_funnel
from tasks.stage import StageOutcome, num_parts, part_range

Chain = dict[StageName, PrefectFuture[StageOutcome]]


class Settlement(Record):
    """How the parts came out."""

    parts_used: int
    accepted: int
    accepted_seconds: float
    met: bool
    outcome: str
    """In words."""


class PartWindow:
    """Drives the parts of one run.

    Args:
        run_uri: the run.
        config: its recipe.
        on_stage: called with each finished stage of a part, from any thread.
        on_part: called with each finished part's last outcome, from the flow's thread.
    """

    def __init__(
        self,
        run_uri: str,
        config: CorpusConfig,
        *,
        on_stage: Callable[[StageOutcome], None],
        on_part: Callable[[StageOutcome], None],
    ) -> None:
        self._uri, self._config = run_uri, config
        self._on_stage, self._on_part = on_stage, on_part
        self._tasks = stage_tasks(config.run)
        self._chains: dict[int, Chain] = {}
        self._done: dict[int, StageOutcome] = {}
        self._ended: queue.Queue[int] = queue.Queue()
        self._next = 0

    def run(self) -> Settlement:
        """Send parts through until it is decided.

        Raises:
            S2SError: a stage failed for good; parts under way have ended by then.
        """
        while True:
            settlement = self._settled()
            if settlement is not None and not self._chains:
                return settlement
            # With nothing under way a part is begun whatever the estimate says: waiting would have no end.
            while settlement is None and (self._wants_more() or not self._chains):
                self._begin(self._next)
                self._next += 1
            self._collect(self._ended.get())
            self._give_up_if_barren()

    def _begin(self, part: int) -> None:
        chain: Chain = {}
        previous: list[PrefectFuture[Any]] = []
        for stage, stage_task in self._tasks.items():
            future = stage_task.submit(self._uri, part, return_state=False, wait_for=previous)
            future.add_done_callback(self._stage_done)
            chain[stage], previous = future, [future]
        self._chains[part] = chain
        chain[STAGES[-1]].add_done_callback(lambda _: self._ended.put(part))

    def _stage_done(self, future: PrefectFuture[StageOutcome]) -> None:
        # Not `future.state`: until the result was asked for, that is what the API knows, and it lags behind.
        outcome = future.result(raise_on_failure=False)
        if isinstance(outcome, StageOutcome):
            self._on_stage(outcome)

    def _collect(self, part: int) -> None:
        chain = self._chains.pop(part)
        for future in chain.values():
            future.wait()
        for future in chain.values():
            if not future.state.is_completed():
                self._drain()
                future.result(raise_on_failure=True)
                raise EngineError(f"part {part} ended as {future.state.name}; run the same command again.")
        self._done[part] = chain[STAGES[-1]].result()
        self._on_part(self._done[part])

    def _drain(self) -> None:
        for chain in self._chains.values():
            for future in chain.values():
                future.wait()

    def _wants_more(self) -> bool:
        if self._next >= num_parts(self._config) or len(self._chains) >= self._config.run.max_parts_in_flight:
            return False
        return self._expected() < self._goal()

    def _goal(self) -> float:
        target = self._config.target
        return float(target.dialogues) if target.dialogues else (target.hours or 0.0) * 3600

    def _gain(self, outcome: StageOutcome) -> float:
        return float(outcome.num_alive) if self._config.target.dialogues else outcome.seconds_alive

    def _expected(self) -> float:
        """What the parts done and under way will bring, at the yield seen so far."""
        gained = sum(self._gain(o) for o in self._done.values())
        candidates = sum(o.num_candidates for o in self._done.values())
        if not candidates:
            # Nothing is known yet. Every candidate may be accepted; of hours there is no guess worth making.
            under_way = sum(len(part_range(self._config, p)) for p in self._chains)
            return float(under_way) if self._config.target.dialogues else 0.0
        under_way = sum(len(part_range(self._config, p)) for p in self._chains)
        return gained + under_way * gained / candidates

    def _settled(self) -> Settlement | None:
        target, gained, accepted, seconds = self._config.target, 0.0, 0, 0.0
        for part in range(num_parts(self._config)):
            if part not in self._done:
                return None
            outcome = self._done[part]
            gained += self._gain(outcome)
            accepted += outcome.num_alive
            seconds += outcome.seconds_alive
            if gained >= self._goal():
                words = f"Target met: {accepted} dialogues, {seconds / 3600:.3f} hours accepted."
                return Settlement(
                    parts_used=part + 1, accepted=accepted, accepted_seconds=seconds, met=True, outcome=words
                )
        wanted = f"{target.dialogues} dialogues" if target.dialogues else f"{target.hours} hours"
        words = (
            f"Budget spent: all {target.max_candidates} candidates were tried, {accepted} dialogues "
            f"({seconds / 3600:.3f} hours) were accepted and {wanted} were wanted. "
            "Raise target.max_candidates, or loosen accept.gates, and run the same command again."
        )
        return Settlement(
            parts_used=num_parts(self._config), accepted=accepted, accepted_seconds=seconds, met=False, outcome=words
        )

    def _give_up_if_barren(self) -> None:
        limit = self._config.run.give_up_after
        if len(self._done) >= limit and not any(o.num_alive for o in self._done.values()):
            self._drain()
            raise BarrenRun(len(self._done), read_funnel(open_store(self._uri), self._done).rejected)


class BarrenRun(S2SError):
    """Nothing is accepted, and going on would not change that."""

    def __init__(self, parts: int, rejected: Mapping[str, int]) -> None:
        reasons = ", ".join(f"{code} {count}" for code, count in list(rejected.items())[:5])
        super().__init__(
            f"None of the first {parts} parts brought a single accepted dialogue, so the run was ended. They were "
            f"rejected for: {reasons}. Mend that (an engine, the prompt, a gate that nothing can pass) and run the "
            "same command again, or raise run.give_up_after."
        )
