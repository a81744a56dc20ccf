"""WebDataset tars with reproducible bytes: the same samples give the same file on any machine.

A sample is `{key}.json` and `{key}.t00.flac`, `{key}.t01.flac`, ...; keys hold no dots, since a reader splits a
member's name at the first one. All samples of a tar have the same members: Hugging Face's reader asks for it.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

import webdataset
from pydantic import BaseModel

from contracts.errors import DamagedFile
from storage.object_store import HashingWriter

Members = dict[str, bytes]
"""Suffix (`json`, `t00.flac`) -> bytes."""


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys and no spaces, so that equal values are equal bytes."""

    def plain(item: Any) -> Any:
        return item.model_dump(mode="json") if isinstance(item, BaseModel) else str(item)

    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=plain).encode()


def audio_member(turn_index: int) -> str:
    """Suffix of a turn's audio."""
    return f"t{turn_index:02d}.flac"


def write_shard(file: HashingWriter, samples: Iterable[tuple[str, Members]]) -> int:
    """Write samples (key, members) as a tar; returns how many there were."""
    count = 0
    # mtime, owner and mode are fixed: they are part of the bytes.
    with webdataset.TarWriter(file, user="", group="", mode=0o444, mtime=0, compress=False, encoder=False) as tar:
        for key, members in samples:
            tar.write({"__key__": key, **members})
            count += 1
    return count


def read_shard(file: BinaryIO, name: str) -> Iterator[tuple[str, Members]]:
    """Read a tar back, sample by sample.

    Raises:
        DamagedFile: it is no intact tar of samples; `name` says which.
    """
    key, members = "", Members()
    try:
        with tarfile.open(fileobj=file, mode="r|") as tar:
            for info in tar:
                own_key, _, suffix = info.name.partition(".")
                content = tar.extractfile(info)
                if content is None or not suffix:
                    raise DamagedFile(f"{name}: member {info.name!r} is no file of a sample.")
                if own_key != key and members:
                    yield key, members
                    members = Members()
                key = own_key
                members[suffix] = content.read()
    except tarfile.TarError as error:
        raise DamagedFile(f"{name} is no intact tar: {error}.") from error
    if members:
        yield key, members


def member_hashes(members: Mapping[str, bytes]) -> dict[str, str]:
    """Sha256 of each member."""
    return {suffix: hashlib.sha256(data).hexdigest() for suffix, data in members.items()}
