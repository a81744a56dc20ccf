"""The Parquet index of a sealed corpus: one row per turn, to look things up without opening a tar."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.errors import DamagedFile
from storage.object_store import HashingWriter, ObjectStore
from storage.seals import within

INDEX = "index.parquet"
FIXED = {
    "dialogue_id": pa.string(),
    "turn_index": pa.int32(),
    "split": pa.string(),
    "shard": pa.string(),
    "member": pa.string(),
    "group": pa.string(),
    "language": pa.string(),
    "topic": pa.string(),
    "situation": pa.string(),
    "emotion": pa.string(),
    "intensity": pa.float32(),
    "paralinguistic": pa.bool_(),
    "speaker_gender": pa.string(),
    "speaker_age": pa.string(),
    "num_turns": pa.int32(),
    "role": pa.string(),
    "text": pa.string(),
    "spoken_text": pa.string(),
    "turn_emotion": pa.string(),
    "voice_id": pa.string(),
    "backend": pa.string(),
    "duration": pa.float64(),
    "sample_rate": pa.int32(),
    "transcript": pa.string(),
    "audio_sha256": pa.string(),
}
"""Columns that every corpus has; each score adds one called `score_{name}`."""


def index_schema(scores: Iterable[str]) -> pa.Schema:
    """The columns of an index with these scores."""
    return pa.schema([*FIXED.items(), *((f"score_{name}", pa.float64()) for name in scores)])


def write_index(file: HashingWriter, batches: Iterable[list[dict[str, Any]]], scores: Iterable[str]) -> int:
    """Write rows, one row group a batch; returns the number of rows."""
    schema, count = index_schema(scores), 0
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in batches:
            if batch:
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))
                count += len(batch)
    return count


def read_index(store: ObjectStore, folder: str) -> pa.Table:
    """The whole index of a sealed corpus.

    Raises:
        DamagedFile: it cannot be read.
    """
    key = within(folder, INDEX)
    try:
        return pq.read_table(pa.BufferReader(store.read(key)))
    except (pa.ArrowInvalid, OSError) as error:
        raise DamagedFile(f"{key} is no intact Parquet file: {error}.") from error
