"""Verify: read a sealed corpus again from its first byte to its last and name every fault.

What is checked: each file against its hash in the manifest; each tar as a tar; each sample's JSON against its audio
(members there, decodable, as long and at the rate that the JSON says); the index against the samples; that no scenario
group and no user voice is in two splits; and the corpus id against the content.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from contracts.errors import DamagedFile, S2SError
from contracts.records import ShardManifest
from storage.audio_files import decode_audio
from storage.corpus_index import read_index
from storage.manifests import FileEntry, damage
from storage.object_store import ObjectStore
from storage.seals import SealManifest, read_seal, seal_id, within
from storage.shards import Members, member_hashes, read_shard

DURATION_TOLERANCE = 0.001
"""Seconds between the JSON's duration and the decoded one."""

Turns = dict[tuple[str, int], dict[str, Any]]
"""(dialogue, turn index) -> the facts that the index must repeat."""


def verify_corpus(store: ObjectStore, folder: str, tick: Callable[[], None] = lambda: None) -> list[str]:
    """All faults of a sealed corpus, in words; an empty list means that it is whole.

    Args:
        store: where it lies.
        folder: its folder there.
        tick: called after each shard, for a progress display.

    Raises:
        NotARun: there is no seal.
    """
    try:
        manifest = read_seal(store, folder)
    except DamagedFile as error:
        return [str(error)]
    expected = {entry.key: entry for entry in manifest.entries(folder)}
    faults = [w for w in (damage(store, [expected[within(folder, f.key)]]) for f in manifest.files) if w]
    contents: dict[str, list[tuple[str, dict[str, str]]]] = {}
    turns: Turns = {}
    for shard in manifest.shards:
        faults += _shard_faults(store, expected[within(folder, shard.path)], shard, contents, turns)
        tick()
    faults += _duplicate_faults(manifest)
    faults += _total_faults(store, folder, manifest, turns)
    if not faults:
        faults += _index_faults(store, folder, turns) + _leaks(turns)
        if seal_id(contents) != manifest.seal:
            faults.append(
                "the corpus id is not the hash of the content: the manifest and the shards are of two corpora"
            )
    return faults


def _shard_faults(
    store: ObjectStore,
    entry: FileEntry,
    shard: ShardManifest,
    contents: dict[str, list[tuple[str, dict[str, str]]]],
    turns: Turns,
) -> list[str]:
    wrong = damage(store, [entry])
    faults = [wrong] if wrong else []
    if wrong and wrong.endswith("missing"):
        return faults
    own = contents.setdefault(shard.path, [])
    try:
        with store.open(entry.key) as file:
            for sample_key, members in read_shard(file, shard.path):
                own.append((sample_key, member_hashes(members)))
                faults += [f"{shard.path}: {fault}" for fault in _sample_faults(sample_key, members, shard, turns)]
    except S2SError as error:
        faults.append(str(error))
    if tuple(k for k, _ in own) != shard.sample_keys and not faults:
        faults.append(f"{shard.path}: its samples are not those of the manifest")
    return faults


def _sample_faults(key: str, members: Members, shard: ShardManifest, turns: Turns) -> Iterator[str]:
    try:
        sample = json.loads(members["json"])
        listed = sample["turns"]
        if sample["dialogue_id"] != key or len(listed) != shard.num_turns or sample["split"] != shard.split:
            yield f"{key}: its JSON is of another dialogue, split or number of turns"
        if set(members) != {"json", *(turn["audio"] for turn in listed)}:
            yield f"{key}: its members are not those that its JSON names"
        for index, turn in enumerate(listed):
            audio = decode_audio(members[turn["audio"]], f"{key}.{turn['audio']}")
            if audio.sample_rate != turn["sample_rate"]:
                yield f"{key}.{turn['audio']}: {audio.sample_rate} Hz instead of {turn['sample_rate']} Hz"
            if abs(audio.duration - turn["duration"]) > DURATION_TOLERANCE:
                yield f"{key}.{turn['audio']}: {audio.duration:.3f} s instead of {turn['duration']:.3f} s"
            turns[key, index] = {
                "split": shard.split,
                "shard": shard.path,
                "group": sample["scenario"]["group"],
                "role": turn["role"],
                "spoken_text": turn["spoken_text"],
                "voice_id": turn["voice_id"],
            }
    except DamagedFile as error:
        yield str(error)
    except (KeyError, TypeError, ValueError) as error:
        yield f"{key}: its JSON or its members are not those of a sample ({type(error).__name__}: {error})"


def _total_faults(store: ObjectStore, folder: str, manifest: SealManifest, turns: Turns) -> list[str]:
    faults = []
    known = {entry.key for entry in manifest.entries(folder)}
    for key in store.list(folder):
        if key.endswith(".tar") and key not in known:
            faults.append(f"{key} lies in the corpus and is not in its manifest")
    counted = (len({dialogue for dialogue, _ in turns}), len(turns))
    if counted != (manifest.num_dialogues, manifest.num_turns) and not faults:
        faults.append(
            f"the manifest counts {manifest.num_dialogues} dialogues and {manifest.num_turns} turns, the shards have "
            f"{counted[0]} and {counted[1]}"
        )
    return faults


def _duplicate_faults(manifest: SealManifest) -> list[str]:
    seen: dict[str, str] = {}
    faults = []
    for shard in manifest.shards:
        for key in shard.sample_keys:
            if key in seen:
                faults.append(f"{key} is in {seen[key]} and in {shard.path}")
            seen[key] = shard.path
    return faults


def _index_faults(store: ObjectStore, folder: str, turns: Turns) -> list[str]:
    try:
        rows = read_index(store, folder).to_pylist()
    except DamagedFile as error:
        return [str(error)]
    indexed = {(row["dialogue_id"], row["turn_index"]): row for row in rows}
    if len(rows) != len(turns) or set(indexed) != set(turns):
        return [f"index.parquet has {len(rows)} turns, the shards have {len(turns)}"]
    return [
        f"index.parquet: {field} of {key[0]} turn {key[1]} is {indexed[key][field]!r}, the shard says {value!r}"
        for key, facts in turns.items()
        for field, value in facts.items()
        if indexed[key][field] != value
    ]


def _leaks(turns: Turns) -> list[str]:
    splits: dict[tuple[str, str], set[str]] = defaultdict(set)
    for facts in turns.values():
        splits["scenario group", facts["group"]].add(facts["split"])
        if facts["role"] == "user":
            splits["user voice", facts["voice_id"]].add(facts["split"])
    return [
        f"{kind} {name} is in {' and '.join(sorted(found))}" for (kind, name), found in splits.items() if len(found) > 1
    ]
