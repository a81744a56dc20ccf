"""A stage, and what it takes to run it over a part: reuse or redo, keep every candidate, write rows and manifest.

A stage's own code is a function from candidates to candidates. Everything that all stages need alike happens here once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from contracts.config import CorpusConfig
from contracts.config_base import fingerprint
from contracts.records import STAGES, Candidate, Record, StageName
from storage import manifests
from storage.manifests import FileEntry, StageManifest
from storage.object_store import ObjectStore
from storage.run_directory import open_run
from tasks.engine_room import EngineRoom, engine_room

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class StageContext:
    """What a stage's code may use."""

    config: CorpusConfig
    store: ObjectStore
    part: int
    room: EngineRoom
    engine_seconds: dict[str, float] = field(default_factory=dict)
    """Filled by `room.use(..., engine_seconds)`."""
    files: list[FileEntry] = field(default_factory=list)
    """Files that the stage wrote beside its rows."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step of the pipeline."""

    name: StageName
    version: int
    """Raise it when the code changes what comes out."""
    identity: Callable[[CorpusConfig], Any]
    """What decides the output besides the incoming candidates: own config, engines' revisions, prompts, seed."""
    run: Callable[[list[Candidate], StageContext], list[Candidate]]
    """Same candidates in the same order, each with this stage's field filled in or rejected."""

    def fingerprint(self, config: CorpusConfig) -> str:
        """Of everything that decides the output, but the data."""
        return fingerprint(self.name, self.version, self.identity(config))


class StageOutcome(Record):
    """What a stage of a part came to; small enough to pass between Prefect tasks."""

    stage: StageName
    part: int
    reused: bool
    content: str
    num_candidates: int
    num_alive: int
    seconds_alive: float
    seconds: float


def part_range(config: CorpusConfig, part: int) -> range:
    """The candidates of a part, by number."""
    size = config.plan.part_size
    return range(part * size, min((part + 1) * size, config.target.max_candidates))


def num_parts(config: CorpusConfig) -> int:
    """Parts that the candidate budget allows."""
    return -(-config.target.max_candidates // config.plan.part_size)


def run_stage(stage: Stage, run_uri: str, part: int) -> StageOutcome:
    """Run a stage over a part of a run, or find it done.

    Raises:
        S2SError: an engine or the storage failed; what the stage had made is discarded.
    """
    store, record = open_run(run_uri)
    config = record.config
    previous = STAGES.index(stage.name) - 1
    parent = manifests.read_manifest(store, part, STAGES[previous]) if previous >= 0 else None
    wanted = fingerprint(
        record.fingerprints[stage.name],
        parent.content if parent else [part_range(config, part).start, part_range(config, part).stop],
    )
    done = manifests.reusable(store, part, stage.name, wanted)
    if done:
        return _outcome(done, reused=True)
    candidates = manifests.read_rows(store, part, STAGES[previous]) if previous >= 0 else []
    return _outcome(
        _redo(stage, StageContext(config=config, store=store, part=part, room=engine_room()), candidates, wanted),
        reused=False,
    )


def _redo(stage: Stage, context: StageContext, candidates: list[Candidate], wanted: str) -> StageManifest:
    began = time.perf_counter()
    manifests.begin(context.store, context.part, stage.name)
    after = stage.run(candidates, context)
    if candidates:
        assert [c.id for c in after] == [c.id for c in candidates], f"{stage.name} lost or reordered candidates"
    return manifests.finish(
        context.store,
        part=context.part,
        stage=stage.name,
        fingerprint=wanted,
        candidates=after,
        files=context.files,
        seconds=time.perf_counter() - began,
        engine_seconds=context.engine_seconds,
    )


def _outcome(manifest: StageManifest, *, reused: bool) -> StageOutcome:
    return StageOutcome(
        stage=manifest.stage,
        part=manifest.part,
        reused=reused,
        content=manifest.content,
        num_candidates=manifest.num_candidates,
        num_alive=manifest.num_alive,
        seconds_alive=manifest.seconds_alive,
        seconds=manifest.seconds,
    )
