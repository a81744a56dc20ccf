from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from contracts.errors import NoSpace, NotWritable
from storage.request_cache import RequestCache


def test_a_response_is_found_by_an_equal_payload_only(tmp_path: Path) -> None:
    with RequestCache(tmp_path / "deep" / "cache.sqlite") as cache:
        cache.put({"a": 1, "b": [1, 2]}, '"yes"')
        assert cache.get({"b": [1, 2], "a": 1}) == '"yes"'
        assert cache.get({"a": 1, "b": [2, 1]}) is None
        assert (cache.hits, cache.misses) == (1, 1)


def test_responses_outlive_the_process(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    with RequestCache(path) as cache:
        cache.put({"a": 1}, "old")
        cache.put({"a": 1}, "new")
    with RequestCache(path) as cache:
        assert cache.get({"a": 1}) == "new"


def test_what_was_put_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    code = (
        "import os, signal, sys; from pathlib import Path; from storage.request_cache import RequestCache\n"
        "cache = RequestCache(Path(sys.argv[1]))\n"
        "for i in range(50): cache.put({'i': i}, str(i))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -9
    with RequestCache(path) as cache:
        assert [cache.get({"i": i}) for i in range(50)] == [str(i) for i in range(50)]


def test_threads_share_one_cache(tmp_path: Path) -> None:
    with RequestCache(tmp_path / "cache.sqlite") as cache:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda i: cache.put({"i": i % 50}, str(i % 50)), range(200)))
            assert list(pool.map(lambda i: cache.get({"i": i}), range(50))) == [str(i) for i in range(50)]
        assert cache.hits == 50


@pytest.mark.parametrize("content", [b"this is no database at all, not even nearly" * 50, b"SQLite format 3\x00" * 300])
def test_a_damaged_file_is_moved_aside_with_a_warning(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "cache.sqlite"
    for number in (1, 2):
        path.write_bytes(content)
        with caplog.at_level(logging.WARNING), RequestCache(path) as cache:
            cache.put({"a": number}, "x")
            assert cache.get({"a": number}) == "x"
        assert (tmp_path / f"cache.sqlite.damaged-{number}").read_bytes() == content
        assert "is damaged" in caplog.text


def test_damage_inside_a_file_is_found_while_reading(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    with RequestCache(path) as cache:
        for i in range(2000):
            cache.put({"i": i}, "x" * 200)
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)
    with RequestCache(path) as cache:
        assert all(cache.get({"i": i}) is None for i in range(20))
        cache.put({"i": 1}, "again")
        assert cache.get({"i": 1}) == "again"


def test_a_file_of_another_shape_is_moved_aside(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE responses (other INTEGER)")
    connection.close()
    with RequestCache(path) as cache:
        assert cache.get({"a": 1}) is None
    assert (tmp_path / "cache.sqlite.damaged-1").exists()


def test_a_full_disk_is_said_in_our_words(tmp_path: Path) -> None:
    with RequestCache(tmp_path / "cache.sqlite") as cache:
        cache._open().execute("PRAGMA max_page_count = 2")
        with pytest.raises(NoSpace, match="it resumes"):
            cache.put({"a": 1}, "x" * 100_000)


def test_a_place_that_cannot_be_written_is_said_in_our_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotWritable, match="folder"):
        RequestCache(tmp_path / "file" / "cache.sqlite")


def test_an_empty_cache_in_memory_is_still_true() -> None:
    cache = RequestCache.in_memory()
    assert cache and cache.count() == 0
    cache.put({"a": 1}, "x")
    assert cache.get({"a": 1}) == "x"
    cache.close()
