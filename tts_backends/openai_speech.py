"""Text to speech by any OpenAI-compatible /v1/audio/speech server: OpenAI's own, vLLM, Kokoro-FastAPI, `s2s serve-tts`.

What it gives away: the contract's promise that equal requests sound equal is the server's to keep. Ours keeps it;
hosted models do not.
"""

from __future__ import annotations

import io
import os
import re
import struct
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, Literal, NoReturn, get_args
from urllib.parse import urlsplit

import numpy as np
import soundfile
from anyio.from_thread import start_blocking_portal
from pydantic import ValidationError

from contracts.audio import Audio, Samples
from contracts.errors import ConfigError, EndpointDown
from contracts.protocols import CONTROLS, Capabilities, Control, SpeechRequest
from contracts.records import Gender, Record, Voice
from tts_backends.base import LocalBackend, speaking_rate
from tts_backends.speech_endpoint import Refused, SpeechEndpoint, answers

ResponseFormat = Literal["wav", "flac", "pcm"]
PCM_SAMPLE_RATE = 24_000
"""Hz of OpenAI's `pcm`: headerless, 16 bits, little-endian, mono."""
MAX_BYTES = 64_000_000
"""Of one answer: over ten minutes at 48 kHz."""

OPENAI_VOICES: dict[str, Gender] = {
    "ash": "male",
    "ballad": "male",
    "cedar": "male",
    "coral": "female",
    "echo": "male",
    "marin": "female",
    "nova": "female",
    "onyx": "male",
    "sage": "female",
    "shimmer": "female",
    "verse": "male",
}
"""OpenAI's published voices with the gender that listeners commonly hear; OpenAI itself states none. `alloy` and
`fable`, on which listeners differ, are left out: whoever wants them says their gender."""
_KOKORO_NAME = re.compile(r"(?P<language>[abefhijpz])(?P<gender>[fm])_\w+")
_KOKORO_LANGUAGES = {"a": "en", "b": "en", "e": "es", "f": "fr", "h": "hi", "i": "it", "j": "ja", "p": "pt", "z": "zh"}


class SpeechVoice(Record):
    """What is known of a voice of the server; the fields are the keys of an entry in the option `voices`."""

    gender: Gender
    age: str | None = None
    languages: tuple[str, ...] = ("en",)
    license: str = "unknown: see the terms of the server's operator"


class OpenAISpeech(LocalBackend):
    """A server that speaks.

    Args:
        base_url: up to and including `/v1`.
        model: as the server names it.
        voices: names, or name -> the fields of SpeechVoice. A bare name will do for OpenAI's voices and for those
            that are named as Kokoro's are (`af_heart`); of any other, the gender must be told.
        sample_rate: Hz; what comes is resampled to it.
        response_format: what is asked of the server.
        instruct: send `Delivery.instruct` as `instructions`.
        speed: send `Delivery.rate` as `speed`; false for models that ignore it, such as gpt-4o-mini-tts.
        delivery_controls: controls beside rate that the server takes under `delivery`, as `s2s serve-tts` does.
        send_seed: send the request's seed as `seed`, which is no field of OpenAI's own.
        max_concurrency: requests in flight.
        timeout: seconds per try.
        request_attempts: tries of one request, with growing pauses between them.
        api_key_env: name of the environment variable with the key; nothing is sent where it is not set.
        num_threads: taken as every engine takes it; the work is the server's.
    """

    name = "openai_speech"

    def __init__(
        self,
        *,
        base_url: str = "http://127.0.0.1:8880/v1",
        model: str = "tts-1",
        voices: Sequence[str] | Mapping[str, Mapping[str, Any]] | None = None,
        sample_rate: int = 24_000,
        response_format: ResponseFormat = "wav",
        instruct: bool = False,
        speed: bool = True,
        delivery_controls: Sequence[Control] = (),
        send_seed: bool = False,
        max_concurrency: int = 8,
        timeout: float = 120.0,
        request_attempts: int = 5,
        api_key_env: str = "OPENAI_API_KEY",
        num_threads: int = 2,
    ) -> None:
        super().__init__(num_threads=num_threads)
        _check_options(base_url, response_format, max_concurrency, request_attempts, timeout, sample_rate)
        if unknown := sorted(set(delivery_controls) - set(CONTROLS)):
            raise ConfigError(f"openai_speech: no control {unknown[0]!r}; choose from: {', '.join(CONTROLS)}.")
        # The threads only wait for the server, so there is one for each request in flight.
        self.num_threads = max_concurrency
        self.base_url, self.model = base_url.rstrip("/"), model
        self.response_format, self.instruct, self.send_seed = response_format, instruct, send_seed
        self.timeout, self.request_attempts, self.api_key_env = timeout, request_attempts, api_key_env
        self.delivery_controls = tuple(delivery_controls)
        self._known = known_voices(OPENAI_VOICES if voices is None else voices)
        self.capabilities = Capabilities(
            sample_rate=sample_rate,
            languages=tuple(dict.fromkeys(code for voice in self._known.values() for code in voice.languages)),
            emotion="instruct" if instruct else "prosody" if self.delivery_controls else "none",
            controls=frozenset(self.delivery_controls) | ({"rate"} if speed else frozenset()),
        )
        self.revision = f"v1 {model}"

    def voices(self) -> Sequence[Voice]:
        """The voices of the option `voices`, in its order; the server is not asked."""
        return tuple(
            Voice(
                id=f"{self.name}/{name}",
                backend=self.name,
                name=name,
                gender=known.gender,
                age=known.age,
                languages=known.languages,
                license=known.license,
                source=f"model {self.model} of an OpenAI-compatible server",
            )
            for name, known in self._known.items()
        )

    def check(self) -> None:
        """Ask the server whether it is there.

        Raises:
            EndpointDown: it does not answer, or refuses our key.
        """
        if why := answers(self.base_url, self._key):
            port = urlsplit(self.base_url).port or 8880
            start = f"`s2s serve-tts --backend kokoro --port {port}`"
            raise EndpointDown(
                f"The speech endpoint {self.base_url} {why}. Start one, e.g. with {start}, or mend the options "
                f"base_url and api_key_env (now {self.api_key_env})."
            )

    @property
    def _key(self) -> str | None:
        return os.environ.get(self.api_key_env) or None

    def _load(self) -> None:
        with ExitStack() as stack:
            self._portal = stack.enter_context(start_blocking_portal())
            self._endpoint = self._portal.call(self._connect)
            stack.callback(self._portal.call, self._endpoint.close)
            self._stack = stack.pop_all()

    def _unload(self) -> None:
        self._stack.close()

    async def _connect(self) -> SpeechEndpoint:
        return SpeechEndpoint(
            base_url=self.base_url,
            api_key=self._key,
            timeout=self.timeout,
            attempts=self.request_attempts,
            max_connections=self.num_threads,
            max_bytes=MAX_BYTES,
        )

    def _speak(self, request: SpeechRequest, /) -> Samples:
        if not request.text.strip():
            self._refuse(request, "there is nothing to say", "give it a text with words in its language")
        try:
            body, content_type = self._portal.call(partial(self._endpoint.speak, self._payload(request)))
            return decoded(body, content_type, self.response_format).resampled(self.capabilities.sample_rate).samples
        except Refused as refused:
            self._refuse(request, str(refused), "reject or rewrite this text, or look into the server's log")

    def _speak_checked(self, request: SpeechRequest) -> Audio:
        try:
            return super()._speak_checked(request)
        # The base makes a SynthesisError of everything, which would blame the text for a server that is down.
        except Exception as error:
            if isinstance(error.__cause__, EndpointDown):
                raise error.__cause__ from None
            raise

    def _payload(self, request: SpeechRequest) -> dict[str, Any]:
        delivery = request.delivery
        payload: dict[str, Any] = {
            "model": self.model,
            "input": request.text,
            "voice": request.voice.name,
            "response_format": self.response_format,
        }
        if "rate" in self.capabilities.controls and delivery.rate is not None:
            payload["speed"] = speaking_rate(request)
        if self.instruct and delivery.instruct:
            payload["instructions"] = delivery.instruct
        controls = {name: getattr(delivery, name) for name in self.delivery_controls if name != "rate"}
        if asked := {name: value for name, value in controls.items() if value is not None}:
            payload["delivery"] = asked
        if self.send_seed:
            payload["seed"] = request.seed
        return payload


def known_voices(voices: Sequence[str] | Mapping[str, Any]) -> dict[str, SpeechVoice]:
    """The option `voices`, checked: name -> what is known of the voice.

    Raises:
        ConfigError: no voice at all, a bad name or entry, or a bare name of which nothing is known.
    """
    if not voices or isinstance(voices, str):
        raise ConfigError("openai_speech: `voices` is a list of names or name -> {gender: ...}, and not empty.")
    named = voices if isinstance(voices, Mapping) else dict.fromkeys(voices)
    return {name: _known(name, entry) for name, entry in named.items()}


def _known(name: str, entry: Any) -> SpeechVoice:
    if not isinstance(name, str) or not name or set(name) & {".", "/"}:
        raise ConfigError(f"openai_speech: a voice's name is not empty and holds no dot and no slash, got {name!r}.")
    given = {"gender": entry} if isinstance(entry, str) else dict(entry or {})
    try:
        return SpeechVoice(**_told_by_name(name) | given)
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}" for e in error.errors())
        fields = ", ".join(SpeechVoice.model_fields)
        raise ConfigError(
            f"openai_speech: voices[{name!r}] is wrong ({told}). Write it as {{{name}: {{gender: female}}}}; "
            f"its keys are {fields}."
        ) from None


def _told_by_name(name: str) -> dict[str, Any]:
    if name in OPENAI_VOICES:
        return {"gender": OPENAI_VOICES[name]}
    if match := _KOKORO_NAME.fullmatch(name):
        gender = "female" if match["gender"] == "f" else "male"
        return {"gender": gender, "languages": (_KOKORO_LANGUAGES[match["language"]],)}
    return {}


def _check_options(
    base_url: str, response_format: str, max_concurrency: int, attempts: int, timeout: float, sample_rate: int
) -> None:
    if urlsplit(base_url).scheme not in ("http", "https") or not urlsplit(base_url).netloc:
        raise ConfigError(f"openai_speech: base_url is like http://127.0.0.1:8880/v1, got {base_url!r}.")
    if response_format not in get_args(ResponseFormat):
        choices = ", ".join(get_args(ResponseFormat))
        raise ConfigError(f"openai_speech: response_format is one of {choices}, got {response_format!r}.")
    if max_concurrency < 1 or attempts < 1 or timeout <= 0 or not 8_000 <= sample_rate <= 192_000:
        raise ConfigError(
            "openai_speech needs max_concurrency and request_attempts of 1 or more, timeout above 0 and a sample_rate "
            f"from 8000 to 192000; got {max_concurrency}, {attempts}, {timeout} and {sample_rate}."
        )


def decoded(body: bytes, content_type: str, response_format: ResponseFormat) -> Audio:
    """An answer's audio, mixed down to mono, at the rate that it came in.

    Raises:
        Refused: the bytes are not whole audio of this format.
    """
    # An error page with status 200 would pass for a second of noise as PCM.
    if content_type.split(";")[0].strip().lower() in ("application/json", "text/html", "text/plain"):
        _useless(f"is {content_type}, no audio", body)
    if response_format == "pcm":
        if len(body) % 2 or body[:4] in (b"RIFF", b"fLaC", b"OggS"):
            _useless("is no 16-bit PCM", body)
        samples = np.frombuffer(body, "<i2").astype(np.float32) / np.float32(32768)
        return Audio(samples, PCM_SAMPLE_RATE)
    if _ends_early(body):
        _useless("ends before its header says", body)
    try:
        with soundfile.SoundFile(io.BytesIO(body)) as file:
            blocks = list(file.blocks(blocksize=1 << 16, dtype="float32", always_2d=True))
            frames, sample_rate = file.frames, file.samplerate
    except (soundfile.SoundFileError, ValueError) as error:
        _useless(f"cannot be decoded ({error})", body)
    samples = np.concatenate(blocks).mean(axis=1) if blocks else np.zeros(0, np.float32)
    if body.startswith(b"fLaC") and len(samples) < frames:
        _useless("ends before its header says", body)
    return Audio(samples.astype(np.float32, copy=False), sample_rate)


def _ends_early(body: bytes) -> bool:
    """Whether a WAV's data chunk is cut; the sizes that servers write when they stream, not knowing better, pass."""
    if body[:4] != b"RIFF":
        return False
    place = 12
    while place + 8 <= len(body):
        kind, size = struct.unpack_from("<4sI", body, place)
        if kind == b"data":
            return place + 8 + int(size) > len(body) and size < 0x7FFF_0000
        place += 8 + int(size) + size % 2
    return True


def _useless(what: str, body: bytes) -> NoReturn:
    raise Refused(f"the answer {what}; it begins with {body[:40]!r}")
