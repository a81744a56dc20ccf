"""Speech to text by any OpenAI-compatible /v1/audio/transcriptions endpoint (vLLM, speaches, OpenAI, ...).

Each utterance is one request with 16 kHz FLAC, `max_concurrency` of them in flight. Retries with backoff are the openai
client's own (connection errors, timeouts, 408, 409, 429 and 5xx).
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NoReturn, Self

import numpy as np
import soundfile

from contracts.audio import Audio
from contracts.errors import ConfigError, EndpointDown, TranscriptionError
from contracts.protocols import Transcript
from tasks.scorers._shared import Workers, fault

SAMPLE_RATE = 16_000
CHECK_TIMEOUT = 10.0
"""Seconds that `check` waits for an answer."""


@dataclass(frozen=True, slots=True)
class _Open:
    client: Any
    workers: Workers


class OpenAITranscription:
    """An endpoint that transcribes.

    Args:
        base_url: up to and including `/v1`, e.g. `http://127.0.0.1:8000/v1`.
        model: as the endpoint names it.
        api_key_env: name of the environment variable with the key; without it a dummy is sent, as local servers want.
        max_concurrency: requests in flight.
        timeout: seconds per try.
        attempts: tries of one request.
        response_format: `verbose_json` also brings avg_logprob, no_speech_prob and compression_ratio, where the
            endpoint knows that format.
        num_threads: taken as every engine takes it; the work is the server's.
    """

    name = "openai_transcription"

    def __init__(
        self,
        *,
        base_url: str,
        model: str,
        api_key_env: str = "OPENAI_API_KEY",
        max_concurrency: int = 8,
        timeout: float = 60.0,
        attempts: int = 4,
        response_format: Literal["json", "verbose_json"] = "json",
        num_threads: int = 2,
    ) -> None:
        if max_concurrency < 1 or attempts < 1 or timeout <= 0:
            raise ConfigError("openai_transcription needs max_concurrency and attempts of 1 or more, timeout above 0")
        if response_format not in ("json", "verbose_json"):
            raise ConfigError(f"response_format must be 'json' or 'verbose_json', got {response_format!r}")
        self.base_url, self.model, self.api_key_env = base_url, model, api_key_env
        self.max_concurrency, self.timeout, self.attempts = max_concurrency, timeout, attempts
        self.response_format, self.num_threads = response_format, num_threads
        self.revision: str = f"v1 {model}"
        self._open: _Open | None = None

    def check(self) -> None:
        """See contracts.protocols.Engine.

        Raises:
            EndpointDown: nothing answers there, or it refuses our key.
        """
        import openai

        with self._client(attempts=1, timeout=CHECK_TIMEOUT) as client:
            try:
                client.models.list()
            except (openai.AuthenticationError, openai.PermissionDeniedError, openai.APIConnectionError) as error:
                self._fail(error)
            except openai.OpenAIError:
                return  # it answers; not every transcription server lists its models

    def __enter__(self) -> Self:
        self._open = _Open(self._client(attempts=self.attempts, timeout=self.timeout), Workers(self.max_concurrency))
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._open is not None:
            self._open.workers.close()
            self._open.client.close()
        self._open = None

    def transcribe(self, audio: Sequence[Audio], /, *, language: str) -> list[Transcript]:
        """See contracts.protocols.ASRBackend.

        Raises:
            TranscriptionError: empty or non-finite audio, or the endpoint refused this audio.
            EndpointDown: the endpoint does not answer, fails at every try, or refuses our key or model.
        """
        if self._open is None:
            raise TranscriptionError(f"The ASR backend {self.name!r} is not loaded: use it in a `with` block.")
        for index, one in enumerate(audio):
            if why := fault(one):
                raise TranscriptionError(f"Utterance {index + 1} of {len(audio)} cannot be transcribed: {why}.")
        return self._open.workers.map(partial(self._hear, self._open.client, language), audio)

    def _hear(self, client: Any, language: str, audio: Audio) -> Transcript:
        import openai

        try:
            answer = client.audio.transcriptions.create(
                file=("audio.flac", encode_flac(audio), "audio/flac"),
                model=self.model,
                language=language.partition("-")[0],
                response_format=self.response_format,
                temperature=0.0,
            )
        except openai.OpenAIError as error:
            self._fail(error)
        return _transcript(answer, self.base_url)

    def _client(self, *, attempts: int, timeout: float) -> Any:
        import openai

        key = os.environ.get(self.api_key_env) or "none"
        return openai.OpenAI(base_url=self.base_url, api_key=key, timeout=timeout, max_retries=attempts - 1)

    def _fail(self, error: Exception) -> NoReturn:
        """Turn the client's error into ours, in words."""
        import openai

        where = f"The transcription endpoint {self.base_url}"
        if isinstance(error, openai.APIConnectionError):
            raise EndpointDown(f"{where} does not answer: {error} Is the server up, and base_url right?") from error
        if not isinstance(error, openai.APIStatusError):
            raise TranscriptionError(f"{where} gave an answer that is no transcript: {error}") from error
        status, said = error.status_code, error.message[:300]
        if status in (401, 403):
            raise EndpointDown(f"{where} refuses our key (variable {self.api_key_env}): {said}") from error
        if status == 404:
            raise EndpointDown(f"{where} knows no model {self.model!r}, or is no /v1 address: {said}") from error
        if status == 429 or status >= 500:
            raise EndpointDown(f"{where} answered {status} at each of {self.attempts} tries: {said}") from error
        raise TranscriptionError(f"{where} refused the audio with {status}: {said}") from error


def encode_flac(audio: Audio) -> bytes:
    """16-bit FLAC at 16 kHz, which is what every such model hears in the end."""
    buffer = io.BytesIO()
    samples = np.clip(audio.resampled(SAMPLE_RATE).samples, -1.0, 1.0)
    soundfile.write(buffer, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def _transcript(answer: Any, base_url: str) -> Transcript:
    """The answer's text, with the figures of its segments where it has any."""
    text = getattr(answer, "text", None)
    if not isinstance(text, str):
        raise TranscriptionError(
            f"The transcription endpoint {base_url} gave an answer without `text`: {answer!r:.200}"
        )
    segments = getattr(answer, "segments", None) or []
    figures = {
        name: _mean([getattr(segment, name, None) for segment in segments])
        for name in ("avg_logprob", "no_speech_prob", "compression_ratio")
    }
    return Transcript(text=text.strip(), **figures)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
