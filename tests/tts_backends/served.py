"""`s2s serve-tts` as a process of its own on loopback."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 90.0
"""Seconds until it must answer."""
ROOT = Path(__file__).parents[2]


@contextmanager
def served(backend: str, *arguments: str) -> Iterator[str]:
    """The base URL of a server around a backend, for as long as the block runs."""
    command = [sys.executable, "-m", "flows.cli", "serve-tts", "--backend", backend, "--port", "0", *arguments]
    with tempfile.NamedTemporaryFile("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT)
        try:
            base_url = _address(process, Path(log.name))
            with urllib.request.urlopen(base_url.removesuffix("/v1") + "/health", timeout=10) as answer:
                assert answer.status == 200
            yield base_url
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(20)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """Where it says that it listens."""
    deadline = time.monotonic() + PATIENCE
    while True:
        text = log.read_text(encoding="utf-8")
        if found := re.search(r"served at (http://\S+/v1)", text):
            return found[1]
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"serve-tts did not start within {PATIENCE:.0f} s:\n{text}")
        time.sleep(0.1)
