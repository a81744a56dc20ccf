"""The pipeline's stages as Prefect tasks: one task run is one stage of one part, with a name a person understands."""

from __future__ import annotations

from typing import Any

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from contracts.config import RunConfig
from contracts.errors import BreakerOpen, ConfigError, StorageError
from contracts.records import STAGES, ShardManifest, StageName
from tasks.pack_shards import pack_shard
from tasks.stage import StageOutcome, run_stage
from tasks.stages import PIPELINE

WORTHLESS_TO_RETRY = (ConfigError, BreakerOpen, StorageError)
"""Errors that the same call meets again at once: the user has to do something first."""


async def _worth_retrying(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    error = await state.aresult(raise_on_failure=False)
    return not isinstance(error, WORTHLESS_TO_RETRY)


def _options(settings: RunConfig) -> dict[str, Any]:
    delays = [settings.retry_delay * 2**attempt for attempt in range(settings.task_retries)]
    return {
        "retries": settings.task_retries,
        "retry_delay_seconds": delays or None,
        "retry_condition_fn": _worth_retrying,
        # Prefect's cache key holds the flow run's id, so it does not resume across runs; our manifests do.
        "cache_policy": NO_CACHE,
        "persist_result": False,
    }


def stage_task(stage: StageName, settings: RunConfig) -> Task[[str, int], StageOutcome]:
    """The Prefect task of a stage."""

    @task(
        name=stage,
        task_run_name=f"{stage} part {{part}}",
        description=f"Stage {stage} of one part.",
        **_options(settings),
    )
    def run_one(run_uri: str, part: int) -> StageOutcome:
        return run_stage(PIPELINE[stage], run_uri, part)

    return run_one


def stage_tasks(settings: RunConfig) -> dict[StageName, Task[[str, int], StageOutcome]]:
    """All stages as tasks, in order."""
    return {stage: stage_task(stage, settings) for stage in STAGES}


def pack_task(settings: RunConfig) -> Task[[str, str, int], ShardManifest]:
    """The Prefect task that writes a shard."""

    @task(
        name="pack", task_run_name="pack shard {index}", description="Write one WebDataset tar.", **_options(settings)
    )
    def pack_one(run_uri: str, seal: str, index: int) -> ShardManifest:
        return pack_shard(run_uri, seal, index)

    return pack_one
