"""One run: what it is (`run.json`), who holds it (the lock), where its parts stand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import Field, ValidationError

from contracts.config import CorpusConfig
from contracts.errors import NotARun
from contracts.records import Record, StageName
from storage import layout
from storage.object_store import ObjectStore, open_store

RunState = Literal["running", "sealed", "empty", "failed"]
"""`sealed` and `empty` (nothing was accepted) are ends; the others can be gone on with."""
FORMAT_VERSION = 1


class RunRecord(Record):
    """The content of run.json: always says what the directory is."""

    format_version: int = FORMAT_VERSION
    state: RunState
    recipe: dict[str, Any]
    """The frozen recipe, all defaults written out."""
    fingerprints: dict[StageName, str]
    """Stage -> fingerprint of what decides its output, without the data."""
    engines: dict[str, str]
    """Engine -> package version or model revision."""
    prompts: dict[str, str]
    """Prompt or taxonomy -> sha256 of its text."""
    code_version: str
    started_at: str
    updated_at: str
    num_parts: int
    """Parts that the candidate budget allows."""
    parts_used: int = 0
    """The corpus is made of parts 0 to parts_used - 1; later ones, where there are any, were not needed."""
    outcome: str | None = None
    """In words: target met, budget spent, or what went wrong."""
    seal: str | None = None
    """Id of the sealed corpus."""
    seconds: float = 0.0
    """Wall time of building, all attempts together."""
    reports: dict[str, str] = Field(default_factory=dict)
    """What there is to look at -> key."""

    @property
    def config(self) -> CorpusConfig:
        """The recipe as its type."""
        return CorpusConfig.model_validate(self.recipe)


def now() -> str:
    """The time as it stands in our files: UTC, seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_run(store: ObjectStore) -> RunRecord:
    """What the directory is.

    Raises:
        NotARun: it holds no run, or one of another version.
    """
    try:
        return RunRecord.model_validate_json(store.read(layout.RUN))
    except FileNotFoundError:
        raise NotARun(
            f"{store.uri} holds no run (no {layout.RUN}). Give the directory that `s2s build ... --out` made."
        ) from None
    except ValidationError as error:
        problem = error.errors()[0]
        raise NotARun(
            f"{store.uri}/{layout.RUN} cannot be read: {problem['msg']}. It is damaged or of another version of "
            "this program. Where it is damaged, delete it and run the same build again: finished parts are kept."
        ) from error


def write_run(store: ObjectStore, record: RunRecord) -> None:
    """Replace run.json."""
    record = record.model_copy(update={"updated_at": now()})
    store.write(layout.RUN, record.model_dump_json(indent=1).encode())


def open_run(uri: str) -> tuple[ObjectStore, RunRecord]:
    """A run that exists."""
    store = open_store(uri)
    return store, read_run(store)
