"""What a plugin must do. A factory's keyword arguments are its options; construction is cheap.

Weights load on `__enter__` and go on `__exit__`. Between the two, a call may come from any thread, one at a time.
Every engine takes `num_threads` and keeps to it. `check()` says, without loading anything, whether it can run here.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol, get_args, runtime_checkable

from contracts.audio import Audio
from contracts.records import Delivery, Score, Utterance, Voice

Control = Literal["rate", "pitch", "pitch_range", "energy", "expressiveness"]
CONTROLS: tuple[Control, ...] = get_args(Control)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a TTS backend can do; casting and planning rely on it."""

    sample_rate: int
    """Hz, of every Audio that it returns."""
    languages: tuple[str, ...]
    emotion: Literal["none", "prosody", "instruct", "reference"] = "none"
    """How it can be made to sound like a feeling."""
    controls: frozenset[Control] = frozenset()
    """The fields of Delivery that it renders."""
    cloning: bool = False
    fake: bool = False
    """True for a stand-in that produces no speech."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechRequest:
    """One utterance to be spoken."""

    text: str
    """Spoken form, plain words and punctuation."""
    voice: Voice
    language: str
    delivery: Delivery
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """What an ASR heard."""

    text: str
    avg_logprob: float | None = None
    """Mean log-probability per token, where the engine tells it."""
    no_speech_prob: float | None = None
    compression_ratio: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringItem:
    """An utterance as a scorer sees it."""

    utterance: Utterance
    audio: Audio
    transcript: Transcript


@runtime_checkable
class Engine(AbstractContextManager["Engine"], Protocol):
    """What all engines share."""

    name: str
    """As registered, e.g. `kokoro`."""
    revision: str
    """Package version or content hash of code and weights; part of every fingerprint. Cheap to read."""

    def check(self) -> None:
        """Say whether it can run here, without loading weights.

        Raises:
            MissingExtra: a package, program or file is missing; the text says how to get it.
            EngineError: an endpoint does not answer.
        """


@runtime_checkable
class TTSBackend(Engine, Protocol):
    """Text to speech."""

    capabilities: Capabilities

    def voices(self) -> Sequence[Voice]:
        """All voices, in a fixed order; reads no weights."""

    def synthesize(self, requests: Sequence[SpeechRequest], /) -> Sequence[Audio]:
        """Speak a batch: one Audio per request, in order, at `capabilities.sample_rate`.

        Deterministic for equal requests on one machine, whatever else is in the batch.

        Raises:
            SynthesisError: a request could not be spoken. The caller then tries them one by one.
        """


@runtime_checkable
class ASRBackend(Engine, Protocol):
    """Speech to text."""

    def transcribe(self, audio: Sequence[Audio], /, *, language: str) -> Sequence[Transcript]:
        """Transcribe a batch: one Transcript per Audio, in order; any sample rate is taken.

        Raises:
            TranscriptionError: one could not be heard. The caller then tries them one by one.
        """


@runtime_checkable
class Scorer(Engine, Protocol):
    """Measures utterances. Scores are facts; whether they suffice is the gates' business."""

    def score(self, batch: Sequence[ScoringItem], /) -> Sequence[Score]:
        """One Score per item, in order; `Score.failed(...)` for one that could not be taken."""
