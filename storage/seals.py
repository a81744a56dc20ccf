"""Sealed corpora: a folder that never changes, named by the hash of its content.

    seals/1f3c09aa42de/
      train/demo-train-t02-00000.tar   shards, see shards.py
      val/... test/...
      index.parquet                    one row per turn
      recipe.yaml  stats.json  README.md
      manifest.json                    written last: every file with its sha256, every shard with its keys

The id is the sha256 over the shards' names and, in order, their samples' keys and members' hashes. It is known before
the first tar is written, so shards are written where they stay; it can be recomputed from what lies there; and the
same dialogues give the same id on any machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from contracts.errors import DamagedFile, NotARun
from contracts.records import Record, ShardManifest, Split
from storage.manifests import FileEntry
from storage.object_store import ObjectStore
from storage.shards import canonical_json

FORMAT_VERSION = 1
MANIFEST = "manifest.json"


class SealManifest(Record):
    """The manifest of a sealed corpus. Paths are relative to its folder."""

    format_version: int = FORMAT_VERSION
    seal: str
    """The corpus id: sha256 of its content."""
    name: str
    shards: tuple[ShardManifest, ...]
    files: tuple[FileEntry, ...]
    """All other files."""
    num_dialogues: int
    num_turns: int
    hours: float
    licenses: dict[str, str]
    """Voice or engine -> licence."""
    provenance: dict[str, str]
    """Engine, model or prompt -> revision or hash."""
    code_version: str
    sealed_at: str

    def entries(self, folder: str) -> list[FileEntry]:
        """Every file and shard with what it must contain, under its key in the store."""
        files = [*self.files, *(FileEntry(key=s.path, num_bytes=s.num_bytes, sha256=s.sha256) for s in self.shards)]
        return [f.model_copy(update={"key": within(folder, f.key)}) for f in files]


def within(folder: str, path: str) -> str:
    """Key of a path inside a corpus folder, which may be the store's root (an empty string)."""
    return f"{folder}/{path}" if folder else path


class PlannedSample(Record):
    """One dialogue on its way into a shard."""

    key: str
    part: int
    members: dict[str, str]
    """Suffix -> sha256."""


class PlannedShard(Record):
    """A tar before it is written."""

    path: str
    split: Split
    num_turns: int
    samples: tuple[PlannedSample, ...]


def seal_id(contents: Mapping[str, Sequence[tuple[str, Mapping[str, str]]]]) -> str:
    """The corpus id of shards given as path -> [(key, {suffix: sha256}), ...] in the order of the tar."""
    content = [FORMAT_VERSION, sorted(contents.items())]
    return hashlib.sha256(canonical_json(content)).hexdigest()


def read_seal(store: ObjectStore, folder: str) -> SealManifest:
    """The manifest of a sealed corpus.

    Raises:
        NotARun: the folder holds no seal.
        DamagedFile: its manifest cannot be read.
    """
    key = within(folder, MANIFEST)
    try:
        return SealManifest.model_validate_json(store.read(key))
    except FileNotFoundError:
        raise NotARun(f"{store.uri}/{folder} holds no sealed corpus (no {MANIFEST}).") from None
    except ValidationError as error:
        raise DamagedFile(f"{key} cannot be read: {error.errors()[0]['msg']}.") from error


def write_seal(store: ObjectStore, folder: str, manifest: SealManifest) -> None:
    """Seal the folder: its manifest is the last file."""
    store.write(f"{folder}/{MANIFEST}", manifest.model_dump_json(indent=1).encode())
