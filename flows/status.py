"""What a run stands at: the object behind `s2s status`, and how it is printed."""

from __future__ import annotations

from rich.console import Console, Group
from rich.table import Table

from contracts.records import Record
from storage import layout
from storage.object_store import ObjectStore
from storage.run_directory import RunRecord, read_run
from tasks.funnel import Funnel, read_funnel


class Status(Record):
    """A run in figures; `candidates = accepted + sum(rejected)` over the candidates decided so far."""

    run: str
    name: str
    state: str
    """running, interrupted, sealed, empty (nothing was accepted) or failed."""
    outcome: str | None
    seal: str | None
    corpus: str | None
    """Folder of the sealed corpus."""
    candidates: int
    accepted: int
    rejected: dict[str, int]
    accepted_hours: float
    target_dialogues: int | None
    target_hours: float | None
    seconds: float
    """Wall time of building."""
    funnel: Funnel


def read_status(store: ObjectStore) -> Status:
    """The status of a run.

    Raises:
        NotARun: there is none.
    """
    record = read_run(store)
    ended = record.state in ("sealed", "empty")
    funnel = read_funnel(store, range(record.parts_used if ended else record.num_parts))
    state = "interrupted" if record.state == "running" and store.holder() is None else record.state
    target = record.config.target
    return Status(
        run=store.uri,
        name=str(record.recipe["name"]),
        state=state,
        outcome=record.outcome,
        seal=record.seal,
        corpus=f"{store.uri}/{layout.seal_folder(record.seal)}" if record.seal else None,
        candidates=funnel.candidates,
        accepted=funnel.accepted,
        rejected=funnel.rejected,
        accepted_hours=round(funnel.accepted_hours, 6),
        target_dialogues=target.dialogues,
        target_hours=target.hours,
        seconds=record.seconds,
        funnel=funnel,
    )


def print_status(status: Status, console: Console) -> None:
    """The status for a person: the funnel, what it cost, where things are."""
    console.print(_facts(status))
    if status.candidates:
        console.print(Group("", _funnel_table(status.funnel), "", _engine_table(status)))


def _facts(status: Status) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2))
    goal = f"{status.target_dialogues} dialogues" if status.target_dialogues else f"{status.target_hours} hours"
    minutes = f"{60 * status.accepted_hours:.1f} minutes of speech"
    rows = {
        "run": status.run,
        "state": status.state,
        "target": goal,
        "accepted": f"{status.accepted} of {status.candidates} candidates, {minutes}",
        "outcome": status.outcome or "",
        "seal": status.seal or "(not sealed yet)",
        "corpus": status.corpus or "",
    }
    for name, value in rows.items():
        if value:
            table.add_row(name, value)
    return table


def _funnel_table(funnel: Funnel) -> Table:
    table = Table(box=None, padding=(0, 2))
    table.add_column("stage")
    table.add_column("alive", justify="right")
    table.add_column("")
    table.add_column("rejected for")
    for step in funnel.steps:
        bar = "█" * round(24 * step.num_alive / max(1, funnel.candidates))
        table.add_row(step.stage, str(step.num_alive), bar, ", ".join(f"{c} {n}" for c, n in step.rejected.items()))
    return table


def _engine_table(status: Status) -> Table:
    table = Table(box=None, padding=(0, 2))
    table.add_column("engine")
    table.add_column("busy s", justify="right")
    table.add_column("s per accepted hour", justify="right")
    for engine, seconds in status.funnel.engine_seconds.items():
        per_hour = f"{seconds / status.accepted_hours:,.0f}" if status.accepted_hours else "-"
        table.add_row(engine, f"{seconds:.1f}", per_hour)
    return table


def corpus_place(store: ObjectStore, record: RunRecord | None) -> str:
    """Folder of the sealed corpus of a run, or the store's root when it is a corpus itself."""
    return layout.seal_folder(record.seal) if record and record.seal else ""
