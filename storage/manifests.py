"""A stage of a part on disk: rows first, manifest last. The manifest's existence is the one truth of progress.

A stage is reused when its manifest carries the wanted fingerprint and every file still has the hash that the manifest
says. The fingerprint of a stage covers its parent's CONTENT (hash of the rows), not the parent's fingerprint: a parent
that was redone and came out the same leaves its children valid.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import Field, ValidationError

from contracts.errors import DamagedFile
from contracts.records import Candidate, Record, StageName
from storage import layout
from storage.object_store import ObjectStore

FORMAT_VERSION = 1
logger = logging.getLogger(__name__)


class FileEntry(Record):
    """A file with what it must contain."""

    key: str
    num_bytes: int
    sha256: str


class StageManifest(Record):
    """What a finished stage of a part did."""

    format_version: int = FORMAT_VERSION
    stage: StageName
    part: int
    fingerprint: str
    content: str
    """Sha256 over the hashes of the files: equal content, equal children."""
    files: tuple[FileEntry, ...]
    num_candidates: int
    num_alive: int
    rejected_here: dict[str, int]
    """First reason's code -> candidates that this stage rejected; the counts add up to the candidates."""
    reasons_here: dict[str, int]
    """Reason code -> candidates that this stage rejected for it; one with two reasons counts in both."""
    seconds_alive: float
    """Seconds of speech in the candidates alive."""
    seconds: float
    """Wall time of the stage, waiting for its engines included."""
    engine_seconds: dict[str, float] = Field(default_factory=dict)
    """Engine -> seconds that it was busy with this part."""
    finished_at: str


def file_sha256(store: ObjectStore, key: str) -> str:
    """Sha256 of an object, read in pieces."""
    with store.open(key) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def damage(store: ObjectStore, files: Sequence[FileEntry]) -> str | None:
    """The first thing wrong with these files, in words; None when all are as they should be."""
    for entry in files:
        try:
            size = store.size(entry.key)
        except FileNotFoundError:
            return f"{entry.key} is missing"
        if size != entry.num_bytes:
            return f"{entry.key} has {size} bytes instead of {entry.num_bytes}"
        if file_sha256(store, entry.key) != entry.sha256:
            return f"{entry.key} was altered: its sha256 is not the one in its manifest"
    return None


def read_manifest(store: ObjectStore, part: int, stage: StageName) -> StageManifest | None:
    """The manifest of a stage; None when the stage is not done or the manifest cannot be read (which is said)."""
    key = layout.manifest_key(part, stage)
    try:
        return StageManifest.model_validate_json(store.read(key))
    except FileNotFoundError:
        return None
    except ValidationError:
        logger.warning("%s cannot be read as a manifest; this stage of the part is done again.", key)
        return None


def reusable(store: ObjectStore, part: int, stage: StageName, fingerprint: str) -> StageManifest | None:
    """The manifest of a stage whose result can stand for this fingerprint, its files checked by hash."""
    manifest = read_manifest(store, part, stage)
    if manifest is None or manifest.fingerprint != fingerprint:
        return None
    wrong = damage(store, manifest.files)
    if wrong:
        logger.warning("%s; %s of part %d is done again.", wrong, stage, part)
        return None
    return manifest


def read_rows(store: ObjectStore, part: int, stage: StageName) -> list[Candidate]:
    """The candidates after a stage.

    Raises:
        DamagedFile: they are missing, or a line is no Candidate.
    """
    key = layout.rows_key(part, stage)
    try:
        lines = store.read(key).splitlines()
    except FileNotFoundError:
        raise DamagedFile(f"{key} is missing; run the same build again, it is made anew.") from None
    try:
        return [Candidate.model_validate_json(line) for line in lines]
    except ValidationError as error:
        raise DamagedFile(f"{key} holds a line that is no candidate: {error.errors()[0]['msg']}.") from error


def write_rows(store: ObjectStore, part: int, stage: StageName, candidates: Sequence[Candidate]) -> FileEntry:
    """Write the candidates after a stage."""
    key = layout.rows_key(part, stage)
    with store.writer(key) as file:
        for candidate in candidates:
            file.write(candidate.model_dump_json(exclude_defaults=True).encode() + b"\n")
    return FileEntry(key=key, num_bytes=file.tell(), sha256=file.sha256)


def begin(store: ObjectStore, part: int, stage: StageName) -> None:
    """Make room for a new result: without its manifest, the old one counts as not done."""
    store.delete(layout.manifest_key(part, stage))


def finish(
    store: ObjectStore,
    *,
    part: int,
    stage: StageName,
    fingerprint: str,
    candidates: Sequence[Candidate],
    files: Sequence[FileEntry],
    seconds: float,
    engine_seconds: dict[str, float],
) -> StageManifest:
    """Write the rows and then, last, the manifest."""
    files = (write_rows(store, part, stage, candidates), *files)
    content = hashlib.sha256(json.dumps([f.sha256 for f in files]).encode()).hexdigest()
    here = [c.rejection for c in candidates if c.rejection and c.rejection.stage == stage]
    first = Counter(rejection.reasons[0].code for rejection in here)
    every = Counter(code for rejection in here for code in {reason.code for reason in rejection.reasons})
    alive = [c for c in candidates if c.alive]
    manifest = StageManifest(
        stage=stage,
        part=part,
        fingerprint=fingerprint,
        content=content,
        files=tuple(files),
        num_candidates=len(candidates),
        num_alive=len(alive),
        rejected_here=dict(sorted(first.items())),
        reasons_here=dict(sorted(every.items())),
        seconds_alive=sum(c.duration for c in alive),
        seconds=seconds,
        engine_seconds=engine_seconds,
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    store.write(layout.manifest_key(part, stage), manifest.model_dump_json(indent=1).encode())
    return manifest
