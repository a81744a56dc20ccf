"""What all tests share. The engines are real unless a test's name says otherwise."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator

import pytest

# A database of our own: tests never touch the user's Prefect, nor a server that PREFECT_API_URL names.
_PREFECT_HOME = tempfile.mkdtemp(prefix="s2s-prefect-")
os.environ["PREFECT_HOME"] = _PREFECT_HOME
os.environ.pop("PREFECT_API_URL", None)
os.environ.setdefault("PREFECT_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import candidates  # noqa: E402

from contracts.records import Candidate  # noqa: E402
from flows import prefect_settings  # noqa: E402

prefect_settings.apply()


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """One Prefect server for all tests that run flows."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def make_candidate() -> Callable[..., Candidate]:
    """Builds a candidate as it stands after `cast`, or after `assess`; audio is the business of `store_audio`."""
    return candidates.make_candidate
