"""The DAG: plan -> generate -> screen -> cast -> synthesize -> assess -> accept, part by part; then pack and seal.

`build_corpus` is the Prefect flow that the command `s2s build` calls and that prefect.yaml deploys.
"""

from __future__ import annotations

import time
from typing import Any

from flows import prefect_settings

prefect_settings.apply()

from more_itertools import batched  # noqa: E402
from prefect import flow  # noqa: E402  (the settings above must be there first)
from prefect.events import emit_event  # noqa: E402

from contracts.config import CorpusConfig  # noqa: E402
from contracts.errors import S2SError  # noqa: E402
from contracts.records import ShardManifest  # noqa: E402
from flows.artifacts import ProgressArtifact, publish  # noqa: E402
from flows.part_window import PartWindow, Settlement  # noqa: E402
from flows.progress import BuildProgress, shown  # noqa: E402
from flows.recipes import load_recipe  # noqa: E402
from flows.stage_tasks import pack_task  # noqa: E402
from storage import layout  # noqa: E402
from storage.manifests import damage  # noqa: E402
from storage.object_store import ObjectStore, open_store  # noqa: E402
from storage.run_directory import RunRecord, RunState, write_run  # noqa: E402
from storage.seals import read_seal  # noqa: E402
from tasks.begin_run import begin_run  # noqa: E402
from tasks.engine_room import engine_room  # noqa: E402
from tasks.funnel import Funnel, read_funnel  # noqa: E402
from tasks.pack_shards import accepted_candidates, plan_shards, planned_id, write_plan  # noqa: E402
from tasks.seal_corpus import seal_corpus  # noqa: E402

SHARDS_AT_ONCE = 16
"""Tars that are open for writing at the same time."""


@flow(name="build-corpus", flow_run_name="build {recipe} in {out}", persist_result=False)
def build_corpus(recipe: str = "demo", out: str = "runs/demo", settings: dict[str, Any] | None = None) -> str | None:
    """Build a sealed corpus of spoken dialogues, or go on with one that was begun.

    Args:
        recipe: Name of a built-in recipe (demo, nightly, ...) or path of a YAML file.
        out: Directory of the run. The same directory again resumes it; finished stages are reused.
        settings: Values laid over the recipe, by dotted key, e.g. {"target.dialogues": 100}.

    Returns:
        The id of the sealed corpus; None when not one dialogue was accepted.
    """
    config = load_recipe(recipe, settings)
    store = open_store(out)
    began = time.perf_counter()
    with store.lock():
        record = begin_run(store, config)
        try:
            settlement = run_parts(store, config)
            record = record.model_copy(update={"parts_used": settlement.parts_used, "outcome": settlement.outcome})
            funnel = read_funnel(store, range(settlement.parts_used))
            record = record.model_copy(update={"seal": pack_and_seal(store, record, config, funnel)})
        except BaseException as error:
            _close(store, record, "failed", _in_words(error), began)
            raise
        _close(store, record, "sealed" if record.seal else "empty", settlement.outcome, began)
    publish(record, funnel)
    return record.seal


def run_parts(store: ObjectStore, config: CorpusConfig) -> Settlement:
    """All stages over as many parts as the target needs."""
    progress = BuildProgress(config)
    with shown(progress):
        bar = ProgressArtifact(config.name)

        def on_part(outcome: Any) -> None:
            progress.part_done(outcome)
            bar.update(progress.share)

        settlement = PartWindow(store.uri, config, on_stage=progress.stage_done, on_part=on_part).run()
        bar.update(1.0)
        return settlement


def pack_and_seal(store: ObjectStore, record: RunRecord, config: CorpusConfig, funnel: Funnel) -> str | None:
    """Shards and seal of the accepted dialogues; the id of the corpus, None when there is none to seal."""
    planned = plan_shards(accepted_candidates(store, range(record.parts_used)), config)
    if not planned:
        return None
    seal = planned_id(planned)
    if _sealed_already(store, seal):
        return seal
    write_plan(store, seal, planned)
    pack, shards = pack_task(config.run), list[ShardManifest]()
    for window in batched(range(len(planned)), SHARDS_AT_ONCE):
        shards += pack.map(store.uri, seal, list(window)).result()
    manifest = seal_corpus(store, record, seal=seal, shards=shards, funnel=funnel)
    emit_event(
        event="corpus.sealed",
        resource={"prefect.resource.id": f"s2s.corpus.{seal[:12]}", "prefect.resource.name": config.name},
        payload={"seal": seal, "uri": f"{store.uri}/{layout.seal_folder(seal)}", "hours": manifest.hours},
    )
    return seal


def _sealed_already(store: ObjectStore, seal: str) -> bool:
    """Whether this very corpus lies there, every file with its hash."""
    folder = layout.seal_folder(seal)
    try:
        manifest = read_seal(store, folder)
    except S2SError:
        return False
    return damage(store, manifest.entries(folder)) is None


def _in_words(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "Interrupted; run the same command again to go on."
    return str(error) if isinstance(error, S2SError) else f"{type(error).__name__}: {error}"


def _close(store: ObjectStore, record: RunRecord, state: RunState, outcome: str, began: float) -> None:
    seconds = record.seconds + time.perf_counter() - began
    write_run(store, record.model_copy(update={"state": state, "outcome": outcome, "seconds": round(seconds, 2)}))
    engine_room().close()
