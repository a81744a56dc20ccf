"""A fake ASR for tests of what comes after it: it hears nothing and says what it was told to say."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Self

from contracts.audio import Audio
from contracts.errors import ConfigError, TranscriptionError
from contracts.protocols import Transcript


class Scripted:
    """Fake: gives its transcripts one after another, and begins again after the last.

    Args:
        transcripts: what to answer, utterance by utterance; None in place of a text fails with TranscriptionError.
        num_threads: taken as every engine takes it.
    """

    name = "scripted"
    revision = "v1"

    def __init__(self, *, transcripts: Sequence[str | None] = ("hello",), num_threads: int = 2) -> None:
        if not transcripts or isinstance(transcripts, str):
            raise ConfigError(f"transcripts must be a list of one text or more, got {transcripts!r}")
        self.transcripts = tuple(transcripts)
        self.num_threads = num_threads
        self._num_said = 0
        self._lock = Lock()

    def check(self) -> None:
        """It needs nothing that could be missing."""

    def __enter__(self) -> Self:
        self._num_said = 0
        return self

    def __exit__(self, *exc_info: object) -> None:
        return None

    def transcribe(self, audio: Sequence[Audio], /, *, language: str) -> list[Transcript]:
        """See contracts.protocols.ASRBackend.

        Raises:
            TranscriptionError: the script says so at this point.
        """
        return [Transcript(text=self._next()) for _ in audio]

    def _next(self) -> str:
        with self._lock:
            text = self.transcripts[self._num_said % len(self.transcripts)]
            self._num_said += 1
        if text is None:
            raise TranscriptionError(f"The script fails at utterance {self._num_said}.")
        return text
