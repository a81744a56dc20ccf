"""prefect.yaml against a real Prefect server and a real worker (marker `services`)."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from conftest import recipe_for
from hostile_server import Server

from flows.status import read_status
from storage import layout
from storage.object_store import LocalStore
from tasks.verify_corpus import verify_corpus

ROOT = Path(__file__).parents[2]
PREFECT = [sys.executable, "-m", "prefect"]
pytestmark = [pytest.mark.services, pytest.mark.timeout(600)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and the group it leads, by its id."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A Prefect server on loopback; the environment that leads to it."""
    home, port = tmp_path_factory.mktemp("prefect"), free_port()
    url = f"http://127.0.0.1:{port}/api"
    env = {
        **os.environ,
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLI_PROMPT": "false",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    start = [*PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (home / "server.log").open("wb") as log:
        server = subprocess.Popen(start, env=env, stdout=log, stderr=log, start_new_session=True)
        try:
            for _ in range(240):
                try:
                    urllib.request.urlopen(f"{url}/health", timeout=2).close()
                    break
                except OSError:
                    time.sleep(0.5)
            yield env
        finally:
            stop(server)


def prefect(environment: dict[str, str], *words: str, cwd: Path = ROOT) -> str:
    command = [*PREFECT, "--no-prompt", *words]
    env = {**environment, "PWD": str(cwd)}
    done = subprocess.run(
        command, env=env, cwd=cwd, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=400
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_deploy_all_and_a_worker_build_a_corpus(environment: dict[str, str], llm: Server, tmp_path: Path) -> None:
    prefect(environment, "work-pool", "create", "s2s", "--type", "process")
    # A copy, since `prefect deploy` may write beside it.
    shutil.copy(ROOT / "prefect.yaml", tmp_path / "prefect.yaml")
    prefect(environment, "deploy", "--all", cwd=tmp_path)
    listed = prefect(environment, "deployment", "ls")
    assert "demo" in listed and "nightly" in listed
    nightly = prefect(environment, "deployment", "inspect", "build-corpus/nightly")
    assert "'active': False" in nightly
    assert "Name of a built-in recipe" in nightly
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "run"
    recipe.write_text(yaml.safe_dump(recipe_for(llm.url)))
    worker_command = [*PREFECT, "worker", "start", "--pool", "s2s"]
    with (tmp_path / "worker.log").open("wb") as log:
        worker = subprocess.Popen(
            worker_command, env=environment, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True
        )
        try:
            run = ["deployment", "run", "build-corpus/demo", "--watch", "--watch-timeout", "300"]
            prefect(environment, *run, "--param", f'recipe="{recipe}"', "--param", f'out="{out}"')
        finally:
            stop(worker)
    status = read_status(LocalStore(out))
    assert status.state == "sealed", (tmp_path / "worker.log").read_text()[-3000:]
    assert status.seal
    assert verify_corpus(LocalStore(out), layout.seal_folder(status.seal)) == []
