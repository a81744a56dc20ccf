"""Bytes under keys, behind one interface for every place a run can lie in.

An object appears whole or not at all: it is written beside its place, flushed to the disk and then renamed. That is
also all that an object store such as S3 offers, so nothing above relies on appending, renaming or links. What a killed
process leaves behind lies under `.tmp/` and is cleared by the next one that takes the lock.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol
from uuid import uuid4

import filelock
import psutil

from contracts.errors import ConfigError, NoSpace, NotWritable, RunLocked, StorageError

SCRATCH = ".tmp"
REFUSALS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENOENT}
LOCK = "run.lock"
HOLDER = "run.holder"


class HashingWriter:
    """A binary file that knows the sha256 and the length of what went through it."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path, self._hash, self._size = file, path, hashlib.sha256(), 0

    def write(self, data: bytes, /) -> int:
        """Write all of data."""
        self._hash.update(data)
        self._size += len(data)
        with explained("writing", self._path):
            return self._file.write(data)

    def tell(self) -> int:
        """Bytes written so far."""
        return self._size

    def flush(self) -> None:
        """Flush the file beneath."""
        self._file.flush()

    def writable(self) -> bool:
        """True, for libraries that ask."""
        return True

    @property
    def closed(self) -> bool:
        """Whether the file beneath is closed."""
        return self._file.closed

    @property
    def sha256(self) -> str:
        """Of everything written so far, in hex."""
        return self._hash.hexdigest()


class ObjectStore(Protocol):
    """A place for objects. Keys are relative POSIX paths, e.g. `parts/00003/generate/rows.jsonl`."""

    uri: str
    """Opens the same place again, in any process."""

    def read(self, key: str) -> bytes:
        """The whole object; FileNotFoundError when there is none."""

    def read_range(self, key: str, offset: int, size: int) -> bytes:
        """Part of an object."""

    def open(self, key: str) -> BufferedReader:
        """The object as a stream; close it."""

    def exists(self, key: str) -> bool:
        """Whether the object is there."""

    def size(self, key: str) -> int:
        """Length in bytes; FileNotFoundError when there is none."""

    def list(self, prefix: str) -> Iterator[str]:
        """Keys below a prefix, sorted."""

    def write(self, key: str, data: bytes) -> None:
        """Put an object, whole or not at all."""

    def writer(self, key: str) -> AbstractContextManager[HashingWriter]:
        """Put a large object piece by piece; it appears when the block ends without an exception."""

    def delete(self, key: str) -> None:
        """Remove an object; no error when there is none."""

    def lock(self) -> AbstractContextManager[None]:
        """Hold the place alone for the length of a block, or raise RunLocked; clears what killed writers left."""

    def holder(self) -> str | None:
        """Who holds the lock, in words; None when nobody does."""

    def local_folder(self, name: str) -> Path:
        """A folder on this machine's disk that belongs to this place, for what cannot live in objects (SQLite)."""


def open_store(uri: str) -> ObjectStore:
    """The store behind a URI or path.

    Raises:
        ConfigError: a scheme that no store here speaks.
    """
    scheme, separator, rest = uri.partition("://")
    if separator and scheme == "file":
        return LocalStore(Path(rest))
    if separator:
        raise ConfigError(f"No storage for {scheme}:// (in {uri!r}); give a local directory.")
    return LocalStore(Path(uri))


@contextmanager
def explained(what: str, path: Path) -> Iterator[None]:
    """Turn the operating system's refusals into errors that say what to do."""
    try:
        yield
    except OSError as error:
        if isinstance(error, StorageError) or (isinstance(error, FileNotFoundError) and what == "reading"):
            raise
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(
                f"No disk space left while {what} {path}. Nothing half-written was kept: free some space and run the "
                "same command again, it goes on where it stopped."
            ) from error
        if what != "reading" and error.errno in REFUSALS:
            raise NotWritable(
                f"Cannot write {path}: {error.strerror}. Choose a directory that you may write to."
            ) from error
        raise StorageError(f"{error.strerror or error} while {what} {path}.") from error


class LocalStore:
    """Objects as files below a directory, which is made when the first one is written."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().absolute()
        self.uri = str(self.root)

    def path(self, key: str) -> Path:
        """The file behind a key.

        Raises:
            ConfigError: the key would leave the store.
        """
        parts = PurePosixPath(key)
        if parts.is_absolute() or ".." in parts.parts or not parts.parts:
            raise ConfigError(f"{key!r} is no key: expected a relative path without '..'.")
        return self.root / parts

    def read(self, key: str) -> bytes:
        """See ObjectStore."""
        path = self.path(key)
        with explained("reading", path):
            return path.read_bytes()

    def read_range(self, key: str, offset: int, size: int) -> bytes:
        """See ObjectStore."""
        with self.open(key) as file:
            file.seek(offset)
            return file.read(size)

    def open(self, key: str) -> BufferedReader:
        """See ObjectStore."""
        path = self.path(key)
        with explained("reading", path):
            return path.open("rb")

    def exists(self, key: str) -> bool:
        """See ObjectStore."""
        return self.path(key).is_file()

    def size(self, key: str) -> int:
        """See ObjectStore."""
        return self.path(key).stat().st_size

    def list(self, prefix: str) -> Iterator[str]:
        """See ObjectStore."""
        base = self.path(prefix) if prefix else self.root
        for path in sorted(p for p in base.rglob("*") if p.is_file()):
            key = path.relative_to(self.root).as_posix()
            if not key.startswith(f"{SCRATCH}/") and key not in (LOCK, HOLDER):
                yield key

    def write(self, key: str, data: bytes) -> None:
        """See ObjectStore."""
        with self.writer(key) as file:
            file.write(data)

    @contextmanager
    def writer(self, key: str) -> Iterator[HashingWriter]:
        """See ObjectStore. Only what the store itself does is explained as a fault of writing."""
        target = self.path(key)
        scratch = self.root / SCRATCH / uuid4().hex
        with explained("writing", target):
            scratch.parent.mkdir(parents=True, exist_ok=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            file = scratch.open("wb")
        try:
            with file:
                yield HashingWriter(file, target)
                with explained("writing", target):
                    file.flush()
                    os.fsync(file.fileno())
            with explained("writing", target):
                os.replace(scratch, target)
        finally:
            scratch.unlink(missing_ok=True)

    def delete(self, key: str) -> None:
        """See ObjectStore."""
        path = self.path(key)
        with explained("deleting", path):
            path.unlink(missing_ok=True)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """See ObjectStore. The operating system frees the lock of a killed process by itself."""
        path = self.root / LOCK
        lock = filelock.FileLock(path, blocking=False)
        with explained("locking", path):
            self.root.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire()
            except filelock.Timeout:
                raise RunLocked(
                    f"{self.root} is being worked on by {self.holder() or 'another process'}. "
                    "Wait for it to end, or choose another --out."
                ) from None
        try:
            with explained("locking", path):
                (self.root / HOLDER).write_text(f"{os.getpid()} {socket.gethostname()}")
                shutil.rmtree(self.root / SCRATCH, ignore_errors=True)
            yield
        finally:
            (self.root / HOLDER).unlink(missing_ok=True)
            lock.release()

    def holder(self) -> str | None:
        """See ObjectStore. A note left by a killed process of this machine is not believed."""
        try:
            pid, host = (self.root / HOLDER).read_text().split()
        except (FileNotFoundError, ValueError):
            return None
        if host == socket.gethostname() and not psutil.pid_exists(int(pid)):
            return None
        return f"process {pid} on {host}"

    def local_folder(self, name: str) -> Path:
        """See ObjectStore."""
        path = self.path(name)
        with explained("making", path):
            path.mkdir(parents=True, exist_ok=True)
        return path


def read_text(uri: str) -> str:
    """The text of one file that lies anywhere, e.g. a recipe.

    Raises:
        FileNotFoundError: there is none.
        StorageError: it is no UTF-8 text, or cannot be read.
    """
    path = Path(uri.removeprefix("file://"))
    try:
        return open_store(str(path.parent)).read(path.name or ".").decode("utf-8")
    except UnicodeDecodeError as error:
        raise StorageError(f"{uri} is no UTF-8 text: {error.reason} at byte {error.start}.") from error
