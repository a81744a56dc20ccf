from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from contracts.errors import ConfigError, NoSpace, NotWritable, RunLocked
from storage.object_store import SCRATCH, LocalStore, open_store, read_text


def test_object_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.write("a/b.txt", b"old")
    with pytest.raises(RuntimeError), store.writer("a/b.txt") as file:
        file.write(b"half of the new")
        raise RuntimeError("killed")
    assert store.read("a/b.txt") == b"old"
    assert not list((tmp_path / SCRATCH).iterdir())


def test_writer_knows_hash_and_length(tmp_path: Path) -> None:
    with LocalStore(tmp_path).writer("x") as file:
        file.write(b"ab")
        file.write(b"c")
    assert file.tell() == 3
    assert file.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_read_range_and_list(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.write("p/2", b"0123456789")
    store.write("p/1", b"")
    assert store.read_range("p/2", 3, 4) == b"3456"
    assert list(store.list("p")) == ["p/1", "p/2"]
    assert list(store.list("nothing")) == []


@pytest.mark.parametrize("key", ["../x", "/etc/passwd", "a/../../x", ""])
def test_key_cannot_leave_the_store(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError):
        LocalStore(tmp_path).read(key)


def test_unknown_scheme_says_what_to_give() -> None:
    with pytest.raises(ConfigError, match=r"gs://.*local directory"):
        open_store("gs://bucket/x")


def test_full_disk_is_said_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    store = LocalStore(tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NoSpace, match="free some space and run the same command again"):
        store.write("big", b"x" * 1000)
    assert not store.exists("big")
    assert list(store.list("")) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is a Linux device")
def test_real_enospc_from_the_kernel_becomes_no_space(tmp_path: Path) -> None:
    from storage.object_store import explained

    with pytest.raises(NoSpace), explained("writing", tmp_path), open("/dev/full", "wb", buffering=0) as file:
        file.write(b"x")


def test_place_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    store = LocalStore(tmp_path / "file" / "run")
    with pytest.raises(NotWritable, match="Choose a directory"):
        store.write("a", b"x")


def test_second_lock_is_refused_and_names_the_holder(tmp_path: Path) -> None:
    first, second = LocalStore(tmp_path), LocalStore(tmp_path)
    with first.lock():
        assert str(os.getpid()) in (first.holder() or "")
        with pytest.raises(RunLocked, match=f"process {os.getpid()}"), second.lock():
            pass
    assert first.holder() is None
    with second.lock():
        pass


def _hold(root: str, ready: str) -> None:
    store = LocalStore(Path(root))
    with store.lock(), store.writer("half") as file:
        file.write(b"x" * 100)
        Path(ready).touch()
        time.sleep(60)


def test_killed_holder_frees_the_lock_and_its_scratch_is_cleared(tmp_path: Path) -> None:
    root, ready = tmp_path / "run", tmp_path / "ready"
    holder = multiprocessing.get_context("spawn").Process(target=_hold, args=(str(root), str(ready)))
    holder.start()
    deadline = time.monotonic() + 30
    while not ready.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    store = LocalStore(root)
    with pytest.raises(RunLocked), store.lock():
        pass
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    assert store.holder() is None
    assert list((root / SCRATCH).iterdir())
    with store.lock():
        assert not (root / SCRATCH).exists()
        assert not store.exists("half")


def test_text_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(OSError, match="no UTF-8"):
        read_text(str(tmp_path / "r.yaml"))
