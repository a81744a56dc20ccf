"""Answers of the LLM kept on disk, so that a run which is resumed, or re-decided, pays for no completion twice.

One SQLite file in WAL mode: an answer is there from the moment that `put` returns, also after kill -9. A power cut may
lose the last few, which are then asked for again. A cache holds nothing that cannot be had again, so a damaged file is
moved aside and begun afresh.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from contracts.config_base import fingerprint
from contracts.errors import NoSpace, NotWritable, StorageError

logger = logging.getLogger(__name__)
T = TypeVar("T")

_SCHEMA = "CREATE TABLE IF NOT EXISTS responses (key TEXT PRIMARY KEY, response TEXT NOT NULL) WITHOUT ROWID"
_BUSY_SECONDS = 30.0


class RequestCache:
    """Payload -> response, on disk. Any number of threads may use one instance.

    Args:
        path: the SQLite file; it and its folder are made when they do not exist.

    Raises:
        NotWritable: the file cannot be opened for writing.
        NoSpace: the disk is full.
    """

    def __init__(self, path: Path) -> None:
        self.path: Path | None = path
        self.hits = self.misses = 0
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._guarded(lambda _: None)

    @classmethod
    def in_memory(cls) -> Self:
        """A cache that is forgotten with the process, for tests."""
        cache = cls.__new__(cls)
        cache.path, cache.hits, cache.misses = None, 0, 0
        cache._lock, cache._connection = threading.RLock(), None
        return cache

    def get(self, payload: Mapping[str, Any]) -> str | None:
        """The response to an equal payload, or None."""
        key = fingerprint(dict(payload))
        row = self._guarded(
            lambda db: db.execute("SELECT response FROM responses WHERE key = ?", (key,)).fetchone(),
        )
        with self._lock:
            self.hits += row is not None
            self.misses += row is None
        return None if row is None else str(row[0])

    def put(self, payload: Mapping[str, Any], response: str) -> None:
        """Keep a response; the last one for a payload counts.

        Raises:
            NoSpace: the disk is full.
        """
        row = (fingerprint(dict(payload)), response)
        self._guarded(lambda db: db.execute("INSERT OR REPLACE INTO responses VALUES (?, ?)", row))

    def close(self) -> None:
        """Let go of the file. A later call opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def count(self) -> int:
        """Number of responses kept. Not `__len__`: an empty cache would then be false in `cache or default`."""
        return int(self._guarded(lambda db: db.execute("SELECT count(*) FROM responses").fetchone())[0])

    def _guarded(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do some work on the open database; begin afresh, once, when the file turns out to be damaged."""
        with self._lock:
            try:
                return work(self._open())
            except sqlite3.Error as error:
                if not _is_damage(error):
                    raise self._translated(error) from error
                self._move_aside(error)
            try:
                return work(self._open())
            except sqlite3.Error as error:
                raise self._translated(error) from error

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            if self.path is not None:
                _make_folder(self.path.parent)
            connection = sqlite3.connect(
                self.path or ":memory:", timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute(_SCHEMA)
            except sqlite3.Error:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _move_aside(self, error: sqlite3.Error) -> None:
        # In memory there is no file, and nothing to save.
        self.close()
        if self.path is None:
            return
        number = 1
        while (aside := self.path.with_name(f"{self.path.name}.damaged-{number}")).exists():
            number += 1
        logger.warning("The request cache %s is damaged (%s): moved to %s, begun afresh.", self.path, error, aside)
        self.path.rename(aside)
        for suffix in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                self.path.with_name(self.path.name + suffix).unlink()

    def _translated(self, error: sqlite3.Error) -> StorageError:
        code = _primary_code(error)
        if code == sqlite3.SQLITE_FULL:
            return NoSpace(f"No space left for the request cache {self.path}. Free some, then run again: it resumes.")
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
            return NotWritable(f"The request cache {self.path} cannot be written ({error}). Check its permissions.")
        return StorageError(f"The request cache {self.path} failed: {error}.")


def _primary_code(error: sqlite3.Error) -> int:
    # SQLite's extended codes keep the primary one in the low byte.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _is_damage(error: sqlite3.Error) -> bool:
    # A file of another schema (no such table or column) says SQLITE_ERROR; to a cache that is damage as well.
    return _primary_code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotWritable(f"The request cache's folder {folder} cannot be made: {error}.") from error
