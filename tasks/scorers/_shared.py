"""What the engines that listen have in common: threads over a batch, checks of packages and audio, ONNX sessions.

Each item of a batch is computed alone, on one thread of a pool of `num_threads`. That trades a little speed of large
matrix products (which short utterances do not have) for three things: a score never depends on what else is in the
batch, no library's global thread setting is touched, and the same code is as fast on 2 cores as on 64.
"""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np

from contracts.audio import Audio
from contracts.errors import ConfigError, MissingExtra
from contracts.protocols import ScoringItem
from contracts.records import Score

DEMO_EXTRA = "make install"

Item = TypeVar("Item")
Result = TypeVar("Result")
Loaded = TypeVar("Loaded")


def versions(code: int, distributions: Iterable[str]) -> str:
    """A revision: the version of our own code and of the packages that decide the output; reads metadata only."""
    return " ".join([f"v{code}", *(f"{name}=={_version(name)}" for name in distributions)])


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "absent"


def require(what: str, modules: Mapping[str, str]) -> None:
    """Make sure that packages are there, without importing them.

    Args:
        what: the plugin, as a person names it.
        modules: import name -> name on PyPI.

    Raises:
        MissingExtra: one of them is not installed.
    """
    for module, distribution in modules.items():
        if not is_importable(module):
            raise MissingExtra(what, distribution, DEMO_EXTRA)


def is_importable(module: str) -> bool:
    """Whether a package is installed, without importing it."""
    return importlib.util.find_spec(module) is not None


def package_file(module: str, *parts: str) -> Path:
    """Path of a file that a package carries, found without importing the package.

    Raises:
        ModuleNotFoundError: there is no such package; `require` says so in better words beforehand.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"no package named {module!r}")
    return Path(spec.submodule_search_locations[0]).joinpath(*parts)


def positive_threads(num_threads: int) -> int:
    """`num_threads` itself.

    Raises:
        ConfigError: it is below 1.
    """
    if num_threads < 1:
        raise ConfigError(f"num_threads must be 1 or more, got {num_threads}")
    return num_threads


def fault(audio: Audio) -> str | None:
    """Why nothing can be measured on this audio, in words; None when it is sound."""
    if len(audio.samples) == 0:
        return "the audio is empty"
    if not np.isfinite(audio.samples).all():
        return "the audio holds samples that are not finite (NaN or infinity)"
    return None


def onnx_session(path: Path) -> Any:
    """An ONNX session of one thread that never spins; several threads may run it at once.

    Denormals are flushed to zero: silence in the input otherwise slows convolutions down several times.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class Workers:
    """A pool of threads that maps a function over a batch and keeps its order.

    Args:
        num_threads: how many items are worked on at once.
        prepare: called once in each thread before its first item.
    """

    def __init__(self, num_threads: int, prepare: Callable[[], None] | None = None) -> None:
        self._pool = ThreadPoolExecutor(num_threads, thread_name_prefix="s2s-engine", initializer=prepare)

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """`[function(item) for item in items]`, several at once; the first exception is raised as it is."""
        return list(self._pool.map(function, items))

    def close(self) -> None:
        """Wait for what runs and end the threads."""
        self._pool.shutdown()


class AudioScorer(ABC, Generic[Loaded]):
    """A scorer that looks at one utterance's audio at a time.

    A subclass says what it needs (`modules`), how to `load` it, and how to `measure` one sound audio; empty or
    non-finite audio has become a failed score before.

    Args:
        num_threads: utterances measured at once.
    """

    name: str
    modules: ClassVar[Mapping[str, str]] = {}
    """Import name -> name on PyPI of the packages it needs."""
    code: ClassVar[int] = 1
    """Raise it when a change of our own code changes a value."""

    def __init__(self, *, num_threads: int = 2) -> None:
        self.num_threads = positive_threads(num_threads)
        self.revision: str = versions(self.code, self.modules.values())
        self._workers: Workers | None = None
        self._loaded: Loaded | None = None

    @abstractmethod
    def load(self) -> Loaded:
        """Weights and sessions; called once on entering."""

    @abstractmethod
    def measure(self, loaded: Loaded, audio: Audio, /) -> Score:
        """The score of one audio, not empty and finite. Called from several threads at once."""

    def check(self) -> None:
        """See contracts.protocols.Engine.

        Raises:
            MissingExtra: a package is missing.
        """
        require(f"The scorer {self.name!r}", self.modules)

    def __enter__(self) -> Self:
        self.check()
        self._loaded = self.load()
        self._workers = self.make_workers()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._workers is not None:
            self._workers.close()
        self._workers = self._loaded = None

    def make_workers(self) -> Workers:
        """The threads; a subclass may want to prepare each."""
        return Workers(self.num_threads)

    def score(self, batch: Sequence[ScoringItem], /) -> list[Score]:
        """See contracts.protocols.Scorer."""
        assert self._workers is not None, f"use {type(self).__name__} in a `with` block"
        return self._workers.map(self._score, (item.audio for item in batch))

    def _score(self, audio: Audio) -> Score:
        why = fault(audio)
        assert self._loaded is not None
        return Score.failed(self.name, why) if why else self.measure(self._loaded, audio)
