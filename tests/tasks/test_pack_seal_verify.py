"""Packing, sealing and verifying, on candidates made by hand (no engine is needed to move bytes)."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from sealed_by_hand import make_run, seal

from contracts.errors import DamagedFile, NotARun
from storage import layout, manifests
from storage.corpus_index import read_index
from storage.object_store import LocalStore
from storage.seals import SealManifest
from storage.shards import read_shard
from tasks.pack_shards import accepted_candidates, pack_shard, plan_shards, planned_id, write_plan
from tasks.verify_corpus import verify_corpus


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SealManifest]:
    root = tmp_path_factory.mktemp("run")
    return root, seal(*make_run(root))


def folder(manifest: SealManifest) -> str:
    return layout.seal_folder(manifest.seal)


def test_sealed_corpus_verifies(sealed: tuple[Path, SealManifest]) -> None:
    root, manifest = sealed
    assert verify_corpus(LocalStore(root), folder(manifest)) == []
    assert (manifest.num_dialogues, manifest.num_turns) == (18, 48)


def test_copy_of_the_folder_alone_verifies(sealed: tuple[Path, SealManifest], tmp_path: Path) -> None:
    import shutil

    root, manifest = sealed
    shutil.copytree(root / folder(manifest), tmp_path / "copy")
    assert verify_corpus(LocalStore(tmp_path / "copy"), "") == []


def test_same_dialogues_give_the_same_bytes_and_id(sealed: tuple[Path, SealManifest], tmp_path: Path) -> None:
    root, manifest = sealed
    again = seal(*make_run(tmp_path))
    assert again.seal == manifest.seal
    assert [s.sha256 for s in again.shards] == [s.sha256 for s in manifest.shards]
    for shard in manifest.shards:
        assert (root / folder(manifest) / shard.path).read_bytes() == (
            tmp_path / folder(again) / shard.path
        ).read_bytes()


def test_every_tar_holds_one_split_and_one_number_of_turns(sealed: tuple[Path, SealManifest]) -> None:
    root, manifest = sealed
    for shard in manifest.shards:
        with tarfile.open(root / folder(manifest) / shard.path) as tar:
            names = tar.getnames()
            assert {i.mtime for i in tar} == {0}
        per_sample = {name.partition(".")[0]: [] for name in names}
        for name in names:
            per_sample[name.partition(".")[0]].append(name.partition(".")[2])
        expected = ["json", *(f"t{i:02d}.flac" for i in range(shard.num_turns))]
        assert all(suffixes == expected for suffixes in per_sample.values())
        assert shard.split in shard.path


def test_shards_are_even_and_below_the_limit(tmp_path: Path) -> None:
    store, record = make_run(tmp_path, shard_megabytes=0.03)
    manifest = seal(store, record)
    assert max(s.num_bytes for s in manifest.shards) < 0.03e6 + 20_000
    by_stratum: dict[tuple[str, int], list[int]] = {}
    for shard in manifest.shards:
        by_stratum.setdefault((shard.split, shard.num_turns), []).append(shard.num_samples)
    assert any(len(sizes) > 1 for sizes in by_stratum.values())
    assert all(max(sizes) - min(sizes) <= 1 and min(sizes) >= 1 for sizes in by_stratum.values())
    assert verify_corpus(store, folder(manifest)) == []


READER = """
import base64, json, sys, webdataset
for sample in webdataset.WebDataset(sys.argv[1], shardshuffle=False):
    magic = {k: v[:4].decode("latin-1") for k, v in sample.items() if k.endswith("flac")}
    print(json.dumps({"key": sample["__key__"], "json": json.loads(sample["json"]), "magic": magic}))
"""


def test_webdataset_reads_the_samples_without_code_of_ours(sealed: tuple[Path, SealManifest], tmp_path: Path) -> None:
    root, manifest = sealed
    shard = next(s for s in manifest.shards if s.num_turns == 4)
    command = [sys.executable, "-c", READER, str(root / folder(manifest) / shard.path)]
    out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    samples = [json.loads(line) for line in out.splitlines()]
    assert [s["key"] for s in samples] == list(shard.sample_keys)
    first = samples[0]["json"]
    assert first["dialogue_id"] == shard.sample_keys[0]
    assert [t["audio"] for t in first["turns"]] == ["t00.flac", "t01.flac", "t02.flac", "t03.flac"]
    promised = "role text spoken_text emotion audio duration sample_rate voice_id transcript scores".split()
    assert set(promised) <= set(first["turns"][0])
    assert {"dialogue_id", "language", "scenario", "turns", "provenance"} <= set(first)
    assert samples[0]["magic"]["t03.flac"] == "fLaC"


def test_index_has_a_row_per_turn(sealed: tuple[Path, SealManifest]) -> None:
    root, manifest = sealed
    table = read_index(LocalStore(root), folder(manifest))
    assert table.num_rows == manifest.num_turns
    assert table.column("score_wer").to_pylist() == [0.0] * manifest.num_turns
    assert set(table.column("shard").to_pylist()) == {s.path for s in manifest.shards}


def flip_byte(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def rewrite_tar(data: bytes, change: Callable[[str, bytes], bytes | None]) -> bytes:
    """The tar with its members changed; None leaves one out."""
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(data)) as old, tarfile.open(fileobj=out, mode="w") as new:
        for info in old:
            file = old.extractfile(info)
            assert file is not None
            content = change(info.name, file.read())
            if content is not None:
                info.size = len(content)
                new.addfile(info, io.BytesIO(content))
    return out.getvalue()


@pytest.mark.parametrize("where", [0, 600, 5000, -1])
def test_one_flipped_byte_is_found_and_the_shard_named(tmp_path: Path, where: int) -> None:
    store, record = make_run(tmp_path)
    manifest = seal(store, record)
    path = tmp_path / folder(manifest) / manifest.shards[0].path
    data = path.read_bytes()
    path.write_bytes(flip_byte(data, where % len(data)))
    faults = verify_corpus(store, folder(manifest))
    assert any(manifest.shards[0].path in fault for fault in faults)


@pytest.mark.parametrize("damage", ["truncated", "missing", "extra bytes", "index", "recipe", "manifest"])
def test_every_kind_of_damage_is_found(tmp_path: Path, damage: str) -> None:
    store, record = make_run(tmp_path)
    manifest = seal(store, record)
    base = tmp_path / folder(manifest)
    shard = base / manifest.shards[0].path
    target = {"index": base / "index.parquet", "recipe": base / "recipe.yaml", "manifest": base / "manifest.json"}.get(
        damage, shard
    )
    data = target.read_bytes()
    if damage == "missing":
        target.unlink()
    elif damage == "extra bytes":
        target.write_bytes(data + b"\0" * 512)
    else:
        target.write_bytes(data[: len(data) // 2])
    faults = verify_corpus(store, folder(manifest))
    assert faults
    assert any(target.name in fault for fault in faults)


def test_forged_manifest_hash_does_not_hide_a_swapped_sound(tmp_path: Path) -> None:
    """Someone who also mends the tar's hash in the manifest is found by the corpus id."""
    import hashlib

    store, record = make_run(tmp_path)
    manifest = seal(store, record)
    shard = manifest.shards[0]
    path = tmp_path / folder(manifest) / shard.path
    with path.open("rb") as file:
        sounds = {f"{key}.{suffix}": data for key, own in read_shard(file, "x") for suffix, data in own.items()}
    keys = list(shard.sample_keys)
    swap = {f"{keys[0]}.t00.flac": sounds[f"{keys[1]}.t00.flac"]}
    forged = rewrite_tar(path.read_bytes(), lambda name, content: swap.get(name, content))
    path.write_bytes(forged)
    lying = shard.model_copy(update={"num_bytes": len(forged), "sha256": hashlib.sha256(forged).hexdigest()})
    mended = manifest.model_copy(update={"shards": (lying, *manifest.shards[1:])})
    store.write(f"{folder(manifest)}/manifest.json", mended.model_dump_json().encode())
    assert any("corpus id" in fault for fault in verify_corpus(store, folder(manifest)))


def test_tar_that_nobody_sealed_and_forged_totals_are_found(tmp_path: Path) -> None:
    store, record = make_run(tmp_path)
    manifest = seal(store, record)
    store.write(f"{folder(manifest)}/train/stray.tar", b"x")
    assert any("stray.tar" in fault for fault in verify_corpus(store, folder(manifest)))
    store.delete(f"{folder(manifest)}/train/stray.tar")
    forged = manifest.model_copy(update={"num_dialogues": 999})
    store.write(f"{folder(manifest)}/manifest.json", forged.model_dump_json().encode())
    assert any("999 dialogues" in fault for fault in verify_corpus(store, folder(manifest)))


def test_leak_between_splits_is_found(tmp_path: Path) -> None:
    store, record = make_run(tmp_path)
    rows = manifests.read_rows(store, 0, "accept")
    moved = [c.model_copy(update={"split": "test"}) if c.id == "d000000" else c for c in rows]
    manifests.finish(
        store, part=0, stage="accept", fingerprint="x", candidates=moved, files=[], seconds=0.0, engine_seconds={}
    )
    manifest = seal(store, record)
    faults = verify_corpus(store, folder(manifest))
    assert any("scenario group en/topic/train0 is in test and train" in fault for fault in faults)
    assert any("user voice tone/user_train is in test and train" in fault for fault in faults)


def test_audio_that_changed_since_planning_is_not_packed(tmp_path: Path) -> None:
    store, record = make_run(tmp_path)
    planned = plan_shards(accepted_candidates(store, range(3)), record.config)
    identity = planned_id(planned)
    write_plan(store, identity, planned)
    hit = next(i for i, shard in enumerate(planned) if shard.samples[0].key == "d000000")
    audio = tmp_path / layout.audio_key(0)
    audio.write_bytes(flip_byte(audio.read_bytes(), 2000))
    with pytest.raises(DamagedFile, match="was altered"):
        pack_shard(store.uri, identity, hit)
    assert not (tmp_path / layout.seal_folder(identity) / planned[hit].path).exists()


def test_folder_without_a_seal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotARun):
        verify_corpus(LocalStore(tmp_path), "")
