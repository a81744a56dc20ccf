"""`s2s doctor`: what works on this machine, what does not, and the command that mends it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version

import psutil

from contracts.errors import MissingExtra, S2SError
from contracts.plugins import PLUGIN_GROUPS, PluginGroup, PluginSpec, create, registered
from contracts.records import Record
from flows.recipes import load_recipe
from tasks.begin_run import check_engines
from tasks.llm.embedded import EmbeddedEngine


class Finding(Record):
    """One thing that was looked at."""

    area: str
    name: str
    ok: bool
    detail: str
    fix: str = ""
    needed: bool = False
    """True when `make demo` cannot do without it."""


def examine() -> list[Finding]:
    """Look at everything; loads no weights."""
    return [*_machine(), *_demo(), *_plugins(), *_servers()]


def _machine() -> Iterator[Finding]:
    yield Finding(area="machine", name="python", ok=True, detail=platform.python_version())
    cores, memory = len(psutil.Process().cpu_affinity()), psutil.virtual_memory()
    yield Finding(area="machine", name="cores", ok=True, detail=str(cores))
    enough = memory.available > 3e9
    yield Finding(
        area="machine",
        name="memory",
        ok=enough,
        detail=f"{memory.available / 1e9:.1f} GB free of {memory.total / 1e9:.1f} GB",
        fix="" if enough else "close other programs: the demo's engines take about 3 GB",
    )
    free = shutil.disk_usage(".").free
    yield Finding(
        area="machine",
        name="disk",
        ok=free > 2e9,
        detail=f"{free / 1e9:.1f} GB free here",
        fix="" if free > 2e9 else "free some space, or build into another place with --out",
    )
    yield _gpu()


def _gpu() -> Finding:
    program = shutil.which("nvidia-smi")
    if program is None:
        return Finding(area="machine", name="gpu", ok=True, detail="none seen (no nvidia-smi); the demo needs none")
    query = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    listed = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    return Finding(
        area="machine", name="gpu", ok=listed.returncode == 0, detail=listed.stdout.strip() or listed.stderr.strip()
    )


def _attempt(area: str, name: str, check: Callable[[], str], *, needed: bool = False) -> Finding:
    """A finding from a check that returns what it found or raises what is wrong."""
    try:
        return Finding(area=area, name=name, ok=True, detail=check(), needed=needed)
    except MissingExtra as error:
        return Finding(
            area=area, name=name, ok=False, detail=f"{error.missing} is missing", fix=error.fix, needed=needed
        )
    except S2SError as error:
        return Finding(area=area, name=name, ok=False, detail=str(error), needed=needed)


def _demo() -> Iterator[Finding]:
    def embedded() -> str:
        EmbeddedEngine().check()
        return "SmolLM2-135M-Instruct on llama.cpp, in this process"

    def demo() -> str:
        check_engines(load_recipe("demo"))
        return "every engine of the demo can run here"

    yield _attempt("demo", "embedded LLM", embedded, needed=True)
    yield _attempt("demo", "recipe demo", demo, needed=True)


def plugin_finding(group: PluginGroup, name: str) -> Finding:
    """Whether a plugin with its default options can run here."""

    def check() -> str:
        engine = create(group, PluginSpec(name=name))
        engine.check()
        return engine.revision

    try:
        return _attempt(group, name, check)
    # Some plugins have no defaults (an endpoint must be named); that is no fault of the machine.
    except TypeError as error:
        return Finding(area=group, name=name, ok=True, detail=f"needs options: {error}")


def _plugins() -> Iterator[Finding]:
    for group in PLUGIN_GROUPS:
        for name in registered(group):
            yield plugin_finding(group, name)


def _servers() -> Iterator[Finding]:
    url = os.environ.get("PREFECT_API_URL")
    if url is None:
        detail = "PREFECT_API_URL is not set: a server is started for the length of each run"
        yield Finding(area="servers", name="prefect", ok=True, detail=detail)
    else:
        yield _answers("prefect", f"{url.rstrip('/')}/health", "prefect server start")
    try:
        detail = (
            f"vllm {version('vllm')}: `vllm serve MODEL`, then --set generate.llm.base_url=http://127.0.0.1:8000/v1"
        )
    except PackageNotFoundError:
        detail = "not installed here; any OpenAI-compatible endpoint serves (generate.llm.base_url)"
    yield Finding(area="servers", name="vllm", ok=True, detail=detail)


def _answers(name: str, url: str, fix: str) -> Finding:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310
            return Finding(area="servers", name=name, ok=True, detail=f"{url} answers {response.status}")
    except (urllib.error.URLError, TimeoutError, ValueError) as error:
        return Finding(area="servers", name=name, ok=False, detail=f"{url} does not answer: {error}", fix=fix)
