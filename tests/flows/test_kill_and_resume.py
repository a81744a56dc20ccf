"""kill -9 at any moment, the same command again: nothing is lost, doubled or half-written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Pipeline

from contracts.records import STAGES
from flows.status import read_status
from storage import layout
from storage.manifests import damage, read_manifest
from storage.object_store import LocalStore
from tasks.verify_corpus import verify_corpus

LAST_BREATH = {
    "first rows": "parts/*/plan/manifest.json",
    "while writing text": "parts/*/generate/manifest.json",
    "while speaking": "parts/*/synthesize/manifest.json",
    "while packing": "packing/*/shard-*.json",
}


def start(pipeline: Pipeline) -> subprocess.Popen[bytes]:
    """`s2s build` as its own process, with the test's Prefect server."""
    from prefect.settings import PREFECT_API_URL

    command = [sys.executable, "-m", "flows.cli", "build", str(pipeline.recipe), "--out", str(pipeline.out)]
    environment = {**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value())}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def kill_at(process: subprocess.Popen[bytes], out: Path, pattern: str) -> None:
    """SIGKILL as soon as a file of this kind is there, or never if the process is faster."""
    deadline = time.monotonic() + 90
    while process.poll() is None and not list(out.glob(pattern)) and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def assert_nothing_half_written(store: LocalStore, num_parts: int) -> None:
    for part in range(num_parts):
        for stage in STAGES:
            manifest = read_manifest(store, part, stage)
            assert manifest is None or damage(store, manifest.files) is None


def test_killed_at_every_stage_the_run_ends_in_the_same_corpus(pipeline: Pipeline, tmp_path: Path) -> None:
    undisturbed = pipeline.build()
    assert undisturbed is not None
    pipeline.out = tmp_path / "killed"
    store = LocalStore(pipeline.out)
    for pattern in LAST_BREATH.values():
        kill_at(start(pipeline), pipeline.out, pattern)
        assert_nothing_half_written(store, 6)
        assert read_status(store).state in ("interrupted", "sealed")
    assert pipeline.build() == undisturbed
    assert verify_corpus(store, layout.seal_folder(undisturbed)) == []
    found = read_status(store)
    assert found.candidates == found.accepted + sum(found.rejected.values())


def test_interrupt_ends_at_once_with_words_and_is_resumed(pipeline: Pipeline) -> None:
    process = start(pipeline)
    deadline = time.monotonic() + 90
    while not list(pipeline.out.glob("parts/*/plan/manifest.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"run the same command again" in said
    assert b"Traceback" not in said
    store = LocalStore(pipeline.out)
    assert read_status(store).state == "interrupted"
    seal = pipeline.build()
    assert seal is not None
    assert verify_corpus(store, layout.seal_folder(seal)) == []


def test_prefect_that_does_not_answer_is_said_in_words(pipeline: Pipeline) -> None:
    command = [sys.executable, "-m", "flows.cli", "build", str(pipeline.recipe), "--out", str(pipeline.out)]
    environment = {**os.environ, "PREFECT_API_URL": "http://127.0.0.1:9/api"}
    done = subprocess.run(command, env=environment, capture_output=True, timeout=200, check=False)
    assert done.returncode == 1
    assert b"prefect server start" in done.stderr
    assert b"Traceback" not in done.stderr


def test_second_process_on_the_same_directory_is_refused_with_words(pipeline: Pipeline) -> None:
    with LocalStore(pipeline.out).lock():
        process = start(pipeline)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert b"is being worked on by process" in said
    assert b"Traceback" not in said


@pytest.mark.parametrize(
    ("setting", "code", "words"),
    [
        ("plan.part_sise=3", 2, b"did you mean part_size"),
        ("generate.llm.base_url=http://127.0.0.1:9/v1", 1, b"127.0.0.1:9"),
        ("cast.assistant_voice=tone/nobody", 2, b"tone/nobody"),
        ("accept.gates.wre={max: 0.1}", 2, b"accept.gates.wre: no scorer of this recipe measures it"),
        ("assess.asr=whisperx", 2, b"No asr_backends plugin named 'whisperx'; choose one of"),
    ],
)
def test_command_ends_with_one_clear_message(pipeline: Pipeline, setting: str, code: int, words: bytes) -> None:
    from prefect.settings import PREFECT_API_URL

    command = [sys.executable, "-m", "flows.cli", "build", str(pipeline.recipe), "--out", str(pipeline.out)]
    environment = {**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value())}
    done = subprocess.run([*command, "--set", setting], env=environment, capture_output=True, timeout=200, check=False)
    assert done.returncode == code
    assert words in done.stderr.replace(b"\n", b" ")
    assert b"Traceback" not in done.stderr
