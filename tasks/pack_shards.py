"""Pack: accepted dialogues, in the order of the plan, into even-sized tars of one split and one number of turns each.

Which dialogue goes where is planned first, from hashes alone; that plan is the corpus id. Then every shard can be
written by itself, in any order, on any machine.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from contracts.config import CorpusConfig
from contracts.errors import DamagedFile
from contracts.records import Candidate, ShardManifest, Split
from storage import layout, manifests
from storage.audio_files import read_flac
from storage.object_store import ObjectStore
from storage.run_directory import open_run
from storage.seals import PlannedSample, PlannedShard, seal_id
from storage.shards import Members, audio_member, canonical_json, member_hashes, write_shard

TAR_OVERHEAD = 1024
"""Bytes that a member costs beside its content: header and padding, at most."""


def sample_json(candidate: Candidate, corpus: str) -> dict[str, Any]:
    """The JSON member of a sample: everything known of the dialogue."""
    dialogue = candidate.dialogue
    assert dialogue is not None and candidate.accepted, "only accepted dialogues are packed"
    asr = sorted({a.asr for a in candidate.assessments})
    return {
        "dialogue_id": candidate.id,
        "language": candidate.scenario.language,
        "split": candidate.split,
        "scenario": candidate.scenario.model_dump(mode="json"),
        "turns": [_turn_json(candidate, index) for index in range(len(dialogue.turns))],
        "provenance": {
            "corpus": corpus,
            "llm": dialogue.model,
            "prompt_sha256": dialogue.prompt_sha256,
            "seed": dialogue.seed,
            "tts": sorted({u.engine or u.backend for u in candidate.utterances}),
            "asr": asr[0] if len(asr) == 1 else asr,
        },
    }


def _turn_json(candidate: Candidate, index: int) -> dict[str, Any]:
    assert candidate.dialogue is not None
    turn, utterance, assessment = (
        candidate.dialogue.turns[index],
        candidate.utterances[index],
        candidate.assessments[index],
    )
    return {
        "role": turn.role,
        "text": turn.text,
        "spoken_text": turn.spoken_text,
        "emotion": turn.emotion,
        "style": turn.style,
        "audio": audio_member(index),
        "duration": utterance.duration,
        "sample_rate": utterance.sample_rate,
        "voice_id": utterance.voice_id,
        "delivery": utterance.delivery.model_dump(mode="json"),
        "finish": utterance.finish and utterance.finish.model_dump(mode="json"),
        "transcript": assessment.transcript,
        "scores": {s.name: s.value for s in assessment.scores},
        "score_details": {s.name: s.details for s in assessment.scores if s.details},
    }


def accepted_candidates(store: ObjectStore, parts: Iterable[int]) -> Iterator[tuple[int, Candidate]]:
    """Part and candidate of every accepted dialogue, in the order of the plan."""
    for part in parts:
        yield from ((part, c) for c in manifests.read_rows(store, part, "accept") if c.accepted)


def plan_shards(accepted: Iterable[tuple[int, Candidate]], config: CorpusConfig) -> list[PlannedShard]:
    """Spread dialogues over shards, as few as stay below the wished size, as even as can be."""
    strata: dict[tuple[Split, int], list[tuple[PlannedSample, int]]] = defaultdict(list)
    for part, candidate in accepted:
        assert candidate.split is not None
        text = canonical_json(sample_json(candidate, config.name))
        hashes = member_hashes({"json": text})
        refs = [u.audio for u in candidate.utterances if u.audio]
        hashes |= {audio_member(i): ref.sha256 for i, ref in enumerate(refs)}
        size = len(text) + sum(r.size for r in refs) + TAR_OVERHEAD * len(hashes)
        sample = PlannedSample(key=candidate.id, part=part, members=hashes)
        strata[candidate.split, candidate.scenario.num_turns].append((sample, size))
    return [
        shard
        for split, num_turns in sorted(strata)
        for shard in _plan_stratum(config, split, num_turns, strata[split, num_turns])
    ]


def _plan_stratum(
    config: CorpusConfig, split: Split, num_turns: int, samples: Sequence[tuple[PlannedSample, int]]
) -> list[PlannedShard]:
    total = sum(size for _, size in samples)
    limit = config.pack.shard_megabytes * 1e6
    count = min(len(samples), int(-(-total // limit)))
    bounds = [len(samples) * i // count for i in range(count + 1)]
    return [
        PlannedShard(
            path=f"{split}/{config.name}-{split}-t{num_turns:02d}-{index:05d}.tar",
            split=split,
            num_turns=num_turns,
            samples=tuple(sample for sample, _ in samples[begin:end]),
        )
        for index, (begin, end) in enumerate(zip(bounds, bounds[1:], strict=False))
    ]


def planned_id(shards: Sequence[PlannedShard]) -> str:
    """The id that a corpus of these shards has."""
    return seal_id({shard.path: [(s.key, s.members) for s in shard.samples] for shard in shards})


def write_plan(store: ObjectStore, seal: str, shards: Sequence[PlannedShard]) -> None:
    """Write down what goes into each shard, for the tasks that write them."""
    for index, shard in enumerate(shards):
        store.write(layout.shard_plan_key(seal, index), shard.model_dump_json().encode())


def read_plan(store: ObjectStore, seal: str, index: int) -> PlannedShard:
    """What goes into a shard."""
    return PlannedShard.model_validate_json(store.read(layout.shard_plan_key(seal, index)))


def pack_shard(run_uri: str, seal: str, index: int) -> ShardManifest:
    """Write one shard where it stays.

    Raises:
        DamagedFile: a candidate or its audio is no longer what was planned.
    """
    store, record = open_run(run_uri)
    shard = read_plan(store, seal, index)
    with store.writer(f"{layout.seal_folder(seal)}/{shard.path}") as file:
        write_shard(file, _samples(store, shard, record.config.name))
    return ShardManifest(
        path=shard.path,
        split=shard.split,
        num_turns=shard.num_turns,
        num_samples=len(shard.samples),
        num_bytes=file.tell(),
        sha256=file.sha256,
        sample_keys=tuple(s.key for s in shard.samples),
    )


def _samples(store: ObjectStore, shard: PlannedShard, corpus: str) -> Iterator[tuple[str, Members]]:
    for part, planned in groupby(shard.samples, key=lambda s: s.part):
        candidates = {c.id: c for c in manifests.read_rows(store, part, "accept")}
        for sample in planned:
            candidate = candidates[sample.key]
            members = {"json": canonical_json(sample_json(candidate, corpus))}
            members |= {
                audio_member(i): read_flac(store, u.audio) for i, u in enumerate(candidate.utterances) if u.audio
            }
            if member_hashes(members) != sample.members:
                raise DamagedFile(
                    f"{sample.key} in part {part} changed while it was packed; run the same command again."
                )
            yield sample.key, members
