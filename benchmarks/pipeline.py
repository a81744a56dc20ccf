"""Efficiency of the pipeline: (engines' own time for the same batches, alone, all cores) / (wall time of the pipeline).

First the fixed recipe in pipeline.yaml is built with all stages overlapping. Then the very batches that it made are
given to the same engines again, one engine after the other, nothing else running: that is what the hardware could do at
best if orchestration, waiting and sharing cost nothing. Overlap can make the pipeline faster than that, since a single
engine does not always fill all cores; so the ratio may exceed 1.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from contracts.config import CorpusConfig
from contracts.protocols import ScoringItem, Transcript
from contracts.records import Candidate, Record
from flows.recipes import load_recipe
from storage import manifests
from storage.audio_files import read_audio
from storage.object_store import LocalStore
from storage.run_directory import read_run
from tasks.assess_speech import hear, score_all
from tasks.engine_room import EngineRoom, engine_room
from tasks.funnel import read_funnel
from tasks.generate_dialogues import generate_dialogues
from tasks.stage import num_parts
from tasks.synthesize_speech import render, request_of

Alone = dict[str, float]
"""Engine -> seconds."""


class PipelineBench(Record):
    """What was measured. Ratios are what to trust; seconds drift with the machine."""

    efficiency: float
    """engines_alone_seconds / wall_seconds."""
    wall_seconds: float
    """Of the flow's work: from taking the run's lock to the seal, loading of the engines included."""
    server_start_seconds: float
    """Prefect's ephemeral server and the flow run's registration, before the work begins; not in wall_seconds."""
    engines_alone_seconds: float
    alone: Alone
    busy: Alone
    """Engine -> seconds it was busy in the pipeline."""
    wall_share: dict[str, float]
    """Engine -> busy / wall_seconds; they add up to more than 1 where engines overlap."""
    load_seconds: float
    """Loading of all engines, in the pipeline; it overlaps with work."""
    orchestration_seconds: float
    """Wall time in which no engine was busy: Prefect, storage, packing, loading."""
    candidates: int
    accepted: int
    accepted_audio_seconds: float
    accepted_audio_seconds_per_wall_second: float

    def print(self, console: Console) -> None:
        """The benchmark for a person."""
        table = Table(box=None, padding=(0, 2))
        for column in ("engine", "alone s", "busy in the pipeline s", "share of wall"):
            table.add_column(column, justify="left" if column == "engine" else "right")
        for name in sorted(self.alone, key=lambda n: -self.alone[n]):
            busy, share = self.busy.get(name, 0.0), self.wall_share.get(name, 0.0)
            table.add_row(name, f"{self.alone[name]:.1f}", f"{busy:.1f}", f"{100 * share:.0f} %")
        console.print(table)
        console.print(
            f"pipeline {self.wall_seconds:.1f} s (+ {self.server_start_seconds:.1f} s for Prefect to start), engines "
            f"alone {self.engines_alone_seconds:.1f} s, no engine busy for {self.orchestration_seconds:.1f} s\n"
            f"{self.accepted_audio_seconds_per_wall_second:.2f} accepted audio seconds per wall second\n"
            f"efficiency {self.efficiency:.2f}"
        )


def measure(recipe: str | None = None) -> PipelineBench:
    """Run the benchmark; takes minutes.

    Args:
        recipe: path of another recipe than the fixed one.
    """
    from flows.build_corpus import build_corpus

    recipe = recipe or str(files("benchmarks").joinpath("pipeline.yaml"))
    config = load_recipe(recipe)
    room = engine_room()
    with tempfile.TemporaryDirectory(prefix="s2s-bench-") as folder:
        before, any_before = dict(room.busy_seconds), room.any_busy_seconds
        began = time.perf_counter()
        build_corpus(recipe=recipe, out=folder)
        total = time.perf_counter() - began
        store = LocalStore(Path(folder))
        wall = read_run(store).seconds
        busy = {name: seconds - before.get(name, 0.0) for name, seconds in room.busy_seconds.items()}
        any_busy = room.any_busy_seconds - any_before
        loading = sum(room.load_seconds.values())
        funnel = read_funnel(store, range(num_parts(config)))
        alone = engines_alone(store, config)
    return PipelineBench(
        efficiency=sum(alone.values()) / wall,
        wall_seconds=wall,
        server_start_seconds=total - wall,
        engines_alone_seconds=sum(alone.values()),
        alone=alone,
        busy=busy,
        wall_share={name: seconds / wall for name, seconds in busy.items()},
        load_seconds=loading,
        orchestration_seconds=wall - any_busy,
        candidates=funnel.candidates,
        accepted=funnel.accepted,
        accepted_audio_seconds=funnel.accepted_seconds,
        accepted_audio_seconds_per_wall_second=funnel.accepted_seconds / wall,
    )


def engines_alone(store: LocalStore, config: CorpusConfig) -> Alone:
    """Give the batches of a finished run to its engines again, one after the other; loading is not counted."""
    room = EngineRoom()
    try:
        parts = range(num_parts(config))
        alone = {"llm": _llm_alone(store, config, room)}
        for name in sorted({*config.cast.users, config.cast.assistant_backend}):
            alone[name] = sum(_tts_alone(store, config, room, name, part) for part in parts)
        alone.update(_assess_alone(store, config, room))
        return alone
    finally:
        room.close()


def _seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _llm_alone(store: LocalStore, config: CorpusConfig, room: EngineRoom) -> float:
    planned = [manifests.read_rows(store, part, "plan") for part in range(num_parts(config))]
    # A store of its own: the run's request cache would answer everything at once.
    with tempfile.TemporaryDirectory(prefix="s2s-bench-llm-") as folder:
        with room.llm(config.generate.llm, LocalStore(Path(folder)), {}) as client:
            return _seconds(lambda: [generate_dialogues(p, config=config.generate, client=client) for p in planned])


def _spoken(store: LocalStore, part: int) -> list[Candidate]:
    return [c for c in manifests.read_rows(store, part, "synthesize") if c.alive]


def _tts_alone(store: LocalStore, config: CorpusConfig, room: EngineRoom, name: str, part: int) -> float:
    own = [u for c in _spoken(store, part) for u in c.utterances if u.backend == name]
    if not own:
        return 0.0
    with room.use("tts_backends", config.cast.plugin(name), {}) as backend:
        voices = {v.id: v for v in backend.voices()}
        requests = [request_of(u, voices) for u in own]
        return _seconds(lambda: render(requests, backend, batch_size=config.synthesize.batch_size))


def _assess_alone(store: LocalStore, config: CorpusConfig, room: EngineRoom) -> Alone:
    alone: Alone = {config.assess.asr.name: 0.0, **{spec.name: 0.0 for spec in config.assess.scorers}}
    for part in range(num_parts(config)):
        candidates = [c for c in manifests.read_rows(store, part, "assess") if c.alive]
        items = _items(store, candidates)
        audios = [item.audio for item in items]
        settings = config.assess
        with room.use("asr_backends", settings.asr, {}) as asr:
            alone[settings.asr.name] += _seconds(
                lambda: hear(audios, asr, language="en", batch_size=settings.batch_size)  # noqa: B023
            )
        for spec in settings.scorers:
            with room.use("scorers", spec, {}) as scorer:
                alone[spec.name] += _seconds(lambda: score_all(items, scorer))  # noqa: B023
    return alone


def _items(store: LocalStore, candidates: Sequence[Candidate]) -> list[ScoringItem]:
    return [
        ScoringItem(utterance=u, audio=read_audio(store, u.audio), transcript=Transcript(text=a.transcript))
        for c in candidates
        for u, a in zip(c.utterances, c.assessments, strict=True)
        if u.audio
    ]
