"""The build as a command runs it: an interrupt ends it at once, and trouble with Prefect is said in words."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any, NoReturn

import httpx
import psutil

from contracts.errors import EngineError
from flows.build_corpus import build_corpus

SHOW_CURSOR = "\x1b[?25h"


class PrefectDown(EngineError):
    """Prefect's API cannot be used."""


def run_build(recipe: str, out: str, settings: Mapping[str, Any]) -> str | None:
    """Build a corpus; the id of its seal.

    Raises:
        PrefectDown: Prefect's API does not answer, or stopped answering.
        S2SError: whatever ended the build.
    """
    signal.signal(signal.SIGINT, _leave)
    try:
        return build_corpus(recipe=recipe, out=out, settings=dict(settings))
    except (httpx.TransportError, RuntimeError) as error:
        # Prefect tells an API out of reach by a bare RuntimeError; errors of ours that are RuntimeErrors pass.
        if isinstance(error, httpx.TransportError) or "API" in str(error) or "server" in str(error).lower():
            if isinstance(error, EngineError):
                raise
            raise PrefectDown(_advice(error)) from error
        raise


def _advice(error: Exception) -> str:
    url = os.environ.get("PREFECT_API_URL")
    if url:
        return (
            f"Prefect's API at {url} (PREFECT_API_URL) does not answer: {error}. Start it with `prefect server start`, "
            "or unset PREFECT_API_URL to have one started for the length of the run. Finished parts are kept."
        )
    return f"Prefect's server for this run failed: {error}. Run the same command again; finished parts are kept."


def _leave(_signal: int, _frame: FrameType | None) -> NoReturn:
    """End here and now: threads deep in an engine would take minutes, and a run is safe to kill at any moment."""
    if sys.stderr.isatty():
        sys.stderr.write(SHOW_CURSOR)
    sys.stderr.write("\nInterrupted. Finished parts are kept: run the same command again to go on.\n")
    sys.stderr.flush()
    # Prefect's server of this run is a child; nobody else would end it.
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            child.terminate()
    os._exit(130)
