"""A run whose dialogues were accepted by hand, and its sealed corpus: real files, no engine."""

from __future__ import annotations

from pathlib import Path

from candidates import store_accepted

from contracts.config import CorpusConfig, PackConfig, TargetConfig
from storage.object_store import LocalStore
from storage.run_directory import RunRecord, now, write_run
from storage.seals import SealManifest
from tasks.funnel import funnel_of
from tasks.pack_shards import accepted_candidates, pack_shard, plan_shards, planned_id, write_plan
from tasks.seal_corpus import seal_corpus


def make_run(root: Path, *, shard_megabytes: float = 256.0) -> tuple[LocalStore, RunRecord]:
    store = LocalStore(root)
    config = CorpusConfig(
        name="hand",
        target=TargetConfig(dialogues=12, max_candidates=18),
        pack=PackConfig(shard_megabytes=shard_megabytes),
        assess={"asr": "scripted", "scorers": ["wer"]},
        cast={"users": {"tone": 1.0}, "assistant_voice": "tone/low"},
    )
    record = RunRecord(
        state="running", recipe=config.model_dump(mode="json"), fingerprints={}, engines={"tone": "1"}, prompts={},
        code_version="test", started_at=now(), updated_at=now(), num_parts=3, parts_used=3,
    )  # fmt: skip
    write_run(store, record)
    store_accepted(store, 0, range(0, 6))
    store_accepted(store, 1, range(6, 12), num_turns=4)
    store_accepted(store, 2, range(12, 18))
    return store, record


def seal(store: LocalStore, record: RunRecord) -> SealManifest:
    planned = plan_shards(accepted_candidates(store, range(3)), record.config)
    identity = planned_id(planned)
    write_plan(store, identity, planned)
    shards = [pack_shard(store.uri, identity, i) for i in range(len(planned))]
    return seal_corpus(store, record, seal=identity, shards=shards, funnel=funnel_of([]))
