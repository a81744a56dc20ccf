"""What all our text-to-speech engines share: a batch is spread over single-threaded workers, and nothing bad gets out.

An engine says how to load itself (`_load`), how to let go (`_unload`) and how to speak one request (`_speak`). The
rest is here once: looking up the voice, balancing the batch, refusing silence and NaN, and turning whatever an engine
throws into a SynthesisError that names the text.

Why data parallelism: other engines run on the same cores at the same time. `num_threads` workers that never spin keep
to their share, and one utterance's samples cannot depend on what else is in the batch.

Measured on 2 cores that others loaded too. Kokoro, 4 texts, 3 interleaved rounds, CPU seconds per second of audio: 1
worker 0.65 to 0.71, 2 workers over one session 0.70 to 0.80, 2 workers with a session each 0.72 to 0.80, 1 worker
with 2 intra-op threads 0.69 to 0.77; the wall clock followed the neighbours and ranks none of them (spinning, tried
once, cost 35% more CPU than not). So the choice rests on memory (one session holds the weights once) and on keeping
to `num_threads`. Seconds of audio per second with 1 and with 2 workers: piper 13 -> 25, espeak_ng 280 -> 540, hibari
75 -> 72 to 90 (Python and numpy hold it back), tone 1080 -> 980, kokoro 0.9 to 1.2 -> 0.9 to 2.0 (the neighbours
again).
"""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import Any, ClassVar, NoReturn, Self, TypeVar

import numpy as np

from contracts.audio import Audio, Samples
from contracts.errors import ConfigError, MissingExtra, SynthesisError
from contracts.protocols import Capabilities, SpeechRequest
from contracts.records import Voice

Item = TypeVar("Item")
Result = TypeVar("Result")

SILENT_PEAK = 1e-3
"""An utterance whose loudest sample is below this (-60 dBFS) holds no speech."""
RATE_LIMITS = (0.5, 2.0)
"""Speaking rates that the neural engines bear; beyond them words get lost."""
INSTALL = "make install"


class LocalBackend(ABC):
    """A TTS engine inside this process (or a program that it starts), one utterance per worker."""

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    """Importable names that it needs; `check` looks for them."""
    capabilities: Capabilities
    revision: str

    def __init__(self, *, num_threads: int = 2) -> None:
        if not isinstance(num_threads, int) or num_threads < 1:
            raise ConfigError(f"{self.name}: num_threads must be a whole number, 1 or more, got {num_threads!r}.")
        self.num_threads = num_threads
        self._ready = False

    @abstractmethod
    def voices(self) -> Sequence[Voice]:
        """All voices, in a fixed order; reads no weights."""

    @abstractmethod
    def _speak(self, request: SpeechRequest, /) -> Samples:
        """Speak one request; called from several threads at once. Float32, shape (num_samples,)."""

    def _load(self) -> None:  # noqa: B027 - an engine without weights has nothing to do here
        """Load weights."""

    def _unload(self) -> None:  # noqa: B027 - likewise
        """Drop weights."""

    def check(self) -> None:
        """Say whether its packages are here, without importing them.

        Raises:
            MissingExtra: one is not.
        """
        for package in self.packages:
            if importlib.util.find_spec(package) is None:
                raise MissingExtra(f"TTS backend {self.name!r}", f"the Python package {package!r}", INSTALL)

    def __enter__(self) -> Self:
        """Load weights.

        Raises:
            MissingExtra: it cannot run here.
        """
        self.check()
        self._voices = {voice.id: voice for voice in self.voices()}
        self._load()
        self._ready = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Let go of the weights."""
        self._ready = False
        self._unload()

    def synthesize(self, requests: Sequence[SpeechRequest], /) -> Sequence[Audio]:
        """Speak a batch: one Audio per request, in order, at `capabilities.sample_rate`.

        Raises:
            SynthesisError: a request could not be spoken, or the backend was not entered.
        """
        if not self._ready:
            raise SynthesisError(f"{self.name} is not loaded; use it as `with backend: backend.synthesize(...)`.")
        for request in requests:
            self._check_request(request)
        return parallel_map(self._speak_checked, requests, num_threads=self.num_threads, cost=lambda r: len(r.text))

    def _check_request(self, request: SpeechRequest) -> None:
        voice = self._voices.get(request.voice.id)
        if voice is None:
            choices = ", ".join(self._voices)
            self._refuse(request, f"it has no voice {request.voice.id!r}", f"choose one of: {choices}")
        if request.language not in voice.languages:
            spoken = ", ".join(voice.languages)
            self._refuse(request, f"voice {voice.id!r} does not speak {request.language!r}", f"it speaks: {spoken}")

    def _speak_checked(self, request: SpeechRequest) -> Audio:
        try:
            samples = self._speak(request)
        except SynthesisError:
            raise
        except Exception as error:
            message = f"{self.name} could not speak {quoted(request.text)}: {type(error).__name__}: {error}."
            raise SynthesisError(f"{message} Reject or rewrite this text.") from error
        return self._checked(request, samples)

    def _checked(self, request: SpeechRequest, samples: Samples) -> Audio:
        if not samples.size:
            self._refuse(request, "it returned no samples", "give it a text with words in its language")
        if not np.isfinite(samples).all():
            self._refuse(request, "it returned samples that are not finite", "reject the text, or use another voice")
        if np.abs(samples).max() < SILENT_PEAK:
            self._refuse(request, "it returned silence", "give it a text with words in its language")
        return Audio(np.clip(samples, -1.0, 1.0).astype(np.float32, copy=False), self.capabilities.sample_rate)

    def _refuse(self, request: SpeechRequest, wrong: str, fix: str) -> NoReturn:
        raise SynthesisError(f"{self.name} could not speak {quoted(request.text)}: {wrong}; {fix}.")


def quoted(text: str) -> str:
    """The first 60 characters of a text, for a message."""
    return repr(text if len(text) <= 60 else text[:60] + "...")


def parallel_map(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    num_threads: int,
    cost: Callable[[Item], float],
) -> list[Result]:
    """Apply a function to all items on `num_threads` threads, the dearest first; results in the items' order.

    Starting with the dearest leaves the cheap ones to fill the gaps at the end.

    Raises:
        Exception: the first that the function raised; what has not started by then is not run.
    """
    order = sorted(range(len(items)), key=lambda i: -cost(items[i]))
    if num_threads == 1 or len(items) < 2:
        done = {i: function(items[i]) for i in order}
        return [done[i] for i in range(len(items))]
    with ThreadPoolExecutor(min(num_threads, len(items)), thread_name_prefix="tts") as pool:
        futures = {i: pool.submit(function, items[i]) for i in order}
        try:
            return [futures[i].result() for i in range(len(items))]
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def package_revision(*distributions: str) -> str:
    """Names and versions of installed packages, e.g. `piper-tts 1.8.0`; `unavailable` when one is missing."""
    try:
        return " + ".join(f"{name} {version(name)}" for name in distributions)
    except PackageNotFoundError:
        return "unavailable"


def onnx_session(model: str | bytes) -> Any:
    """An onnxruntime session on the CPU whose calls run on the calling thread alone and never spin."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_mem_pattern = False  # plans memory for a shape that never comes again: 2.5% slower on Kokoro
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def factor(control: float | None) -> float:
    """A control of a delivery as a factor: 1 where none is asked for; 0 is a factor like others."""
    return 1.0 if control is None else control


def speaking_rate(request: SpeechRequest) -> float:
    """The delivery's rate as a factor, kept within RATE_LIMITS; 1.0 where none is asked for."""
    low, high = RATE_LIMITS
    return min(max(factor(request.delivery.rate), low), high)


def join_chunks(chunks: Sequence[Samples], sample_rate: int, *, edge: float = 0.1, pause: float = 0.15) -> Samples:
    """Chunks of one utterance as one waveform: each keeps at most `edge` seconds of silence at its ends.

    Args:
        chunks: float32, shape (num_samples,) each.
        sample_rate: in Hz.
        edge: seconds kept before the first and after the last audible sample.
        pause: seconds of silence put between chunks.
    """
    gap = np.zeros(int(pause * sample_rate), np.float32)
    parts = [piece for chunk in chunks for piece in (gap, _trimmed(chunk, int(edge * sample_rate)))]
    return np.concatenate(parts[1:]) if parts else gap[:0]


def _trimmed(samples: Samples, keep: int) -> Samples:
    # 0.01 (-40 dBFS) is where both Kokoro's own code and our ears put the end of speech.
    audible = np.flatnonzero(np.abs(samples) > 0.01)
    if not audible.size:
        return samples
    return samples[max(0, audible[0] - keep) : audible[-1] + 1 + keep]
