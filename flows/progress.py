"""Progress of a build: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from contracts.config import CorpusConfig
from contracts.records import STAGES, StageName
from tasks.stage import StageOutcome

SHOWN: tuple[StageName, ...] = ("generate", "synthesize", "assess", "accept")
"""Stages that take time, for the one-line form."""


class BuildProgress:
    """What is known of a build while it runs; thread-safe."""

    def __init__(self, config: CorpusConfig) -> None:
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self.config = config
        self.parts_done: Counter[StageName] = Counter()
        self.alive: Counter[StageName] = Counter()
        self.reused = 0
        self.candidates = self.accepted = 0
        self.accepted_seconds = 0.0
        self.message = "starting"

    def stage_done(self, outcome: StageOutcome) -> None:
        """Count a finished stage of a part."""
        with self._lock:
            self.message = ""
            self.parts_done[outcome.stage] += 1
            self.alive[outcome.stage] += outcome.num_alive
            self.reused += outcome.reused

    def part_done(self, outcome: StageOutcome) -> None:
        """Count a part that is decided."""
        with self._lock:
            self.candidates += outcome.num_candidates
            self.accepted += outcome.num_alive
            self.accepted_seconds += outcome.seconds_alive

    @property
    def share(self) -> float:
        """How much of the target is reached, 0 to 1."""
        target = self.config.target
        goal = float(target.dialogues) if target.dialogues else (target.hours or 1.0) * 3600
        return min(1.0, (self.accepted if target.dialogues else self.accepted_seconds) / goal)

    @property
    def elapsed(self) -> float:
        """Seconds since the build began."""
        return time.monotonic() - self._began

    @property
    def eta(self) -> float | None:
        """Seconds to go at the pace so far, to the target or the end of the budget; None while nothing is decided."""
        done = max(self.share, self.candidates / self.config.target.max_candidates)
        return self.elapsed * (1 - done) / done if done else None

    def line(self) -> str:
        """Everything in one line."""
        target = self.config.target
        goal = f"{target.dialogues} dialogues" if target.dialogues else f"{target.hours} h"
        eta = "" if self.eta is None else f", about {clock(self.eta)} to go"
        parts = ", ".join(f"{stage} {self.parts_done[stage]}" for stage in SHOWN if self.parts_done[stage])
        return (
            f"{clock(self.elapsed)}  {self.accepted} accepted of {self.candidates} decided "
            f"({self.accepted_seconds / 3600:.3f} h), target {goal}{eta}" + (f"; parts done: {parts}" if parts else "")
        )


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss or m:ss."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def _panel(progress: BuildProgress) -> Group:
    table = Table(box=None, padding=(0, 2))
    table.add_column("stage")
    table.add_column("parts", justify="right")
    table.add_column("alive", justify="right")
    for stage in STAGES:
        table.add_row(stage, str(progress.parts_done[stage]), str(progress.alive[stage]))
    bar = Progress(TextColumn("{task.description}"), BarColumn(bar_width=40), TextColumn("{task.percentage:>3.0f} %"))
    bar.add_task("target", total=1000, completed=round(1000 * progress.share))
    return Group(table, bar, progress.message or progress.line())


@contextmanager
def shown(progress: BuildProgress, console: Console | None = None) -> Iterator[None]:
    """Show the progress for the length of a block."""
    console = console or Console(file=sys.stderr)
    stop = threading.Event()
    if console.is_terminal:
        with Live(get_renderable=lambda: _panel(progress), console=console, refresh_per_second=4):
            yield
        return
    reporter = threading.Thread(target=_report, args=(progress, console, stop), daemon=True)
    reporter.start()
    try:
        yield
    finally:
        stop.set()
        reporter.join()


def _report(progress: BuildProgress, console: Console, stop: threading.Event, *, every: float = 15.0) -> None:
    said = ""
    while not stop.wait(every):
        line = progress.message or progress.line()
        if line != said:
            console.print(line, highlight=False, soft_wrap=True)
            said = line
    console.print(progress.line(), highlight=False, soft_wrap=True)
