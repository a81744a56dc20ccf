"""`s2s serve-tts`: any of our TTS backends behind OpenAI's /v1/audio/speech.

    POST /v1/audio/speech    model, input, voice, response_format, speed, instructions; beyond OpenAI's: language, seed,
                             and `delivery` with the factors rate, pitch, pitch_range, energy, expressiveness
    GET  /v1/models          the one model: the backend's name
    GET  /v1/audio/voices    its voices with gender, age, languages and license
    GET  /health             200 when it can speak

What a backend cannot do is refused, not left out in silence. English text is brought into spoken form first, as in the
pipeline. Errors have the form of OpenAI's.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException

from contracts.audio import Audio
from contracts.errors import ConfigError, EngineError, SynthesisError
from contracts.plugins import PluginSpec, create
from contracts.protocols import SpeechRequest, TTSBackend
from contracts.records import Delivery, Reason, Voice
from flows.speech_formats import encoded, writable_formats
from flows.speech_queue import Full, SpeechQueue
from tasks.engine_room import with_all_cores
from tasks.spoken_form import LANGUAGES, spoken_form

MAX_CHARACTERS = 4096
"""OpenAI's limit of one input."""
MAX_BODY = 200_000
"""Bytes of one request: four for each character of input and instructions, escaped, and room to spare."""
MAX_LISTED = 20
"""Voices that an error names."""
OPENAI_MODELS = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")
"""Taken for the backend's own name, since many clients know no others."""
GRACE = 10
"""Seconds that requests have to end in after ctrl-C."""


class DeliveryFields(BaseModel):
    """Our extension `delivery`: factors against the voice's own neutral."""

    model_config = ConfigDict(extra="forbid")

    rate: float | None = Field(default=None, ge=0.25, le=4)
    pitch: float | None = Field(default=None, gt=0, le=4)
    pitch_range: float | None = Field(default=None, ge=0, le=4)
    energy: float | None = Field(default=None, gt=0, le=10)
    expressiveness: float | None = Field(default=None, ge=0, le=4)


class VoiceId(BaseModel):
    """OpenAI's other way to name a voice."""

    id: str


class SpeechBody(BaseModel):
    """Body of POST /v1/audio/speech. Fields of OpenAI's API that do not change the sound are ignored."""

    model: str
    input: str = Field(max_length=MAX_CHARACTERS)
    voice: str | VoiceId
    response_format: str | None = None
    speed: float | None = Field(default=None, ge=0.25, le=4)
    instructions: str | None = Field(default=None, max_length=MAX_CHARACTERS)
    stream_format: Literal["audio"] | None = None
    language: str | None = None
    seed: Annotated[int, Field(ge=0)] | None = None
    delivery: DeliveryFields = DeliveryFields()


class ApiError(Exception):
    """An answer other than 200, in OpenAI's form.

    Args:
        status: of HTTP.
        message: what was wrong, what is expected, what to do.
        param: the field at fault.
        code: countable.
    """

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None) -> None:
        self.status, self.message, self.param, self.code = status, message, param, code
        super().__init__(message)

    def answer(self) -> JSONResponse:
        """The HTTP response."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        headers = {"Retry-After": "1"} if self.status == 429 else None
        return JSONResponse({"error": error}, self.status, headers=headers)


@dataclass(frozen=True, slots=True)
class Speaker:
    """An engine with the voices that it is to serve: turns what a client wrote into a request, or refuses it."""

    engine: TTSBackend
    voices: tuple[Voice, ...]

    def request(self, body: SpeechBody) -> SpeechRequest:
        """What to ask of the engine.

        Raises:
            ApiError: the engine cannot do this.
        """
        if body.model not in (self.engine.name, *OPENAI_MODELS):
            message = f"There is no model {body.model!r}; choose {self.engine.name}."
            raise ApiError(404, message, param="model", code="model_not_found")
        voice = self._voice(body.voice if isinstance(body.voice, str) else body.voice.id)
        language = body.language or voice.languages[0]
        if language not in voice.languages:
            message = f"Voice {voice.name!r} does not speak {language!r}; it speaks: {', '.join(voice.languages)}."
            raise ApiError(400, message, param="language", code="language_not_spoken")
        text = self._text(body.input, language)
        return SpeechRequest(
            text=text, voice=voice, language=language, delivery=self._delivery(body), seed=body.seed or 0
        )

    def _voice(self, wanted: str) -> Voice:
        for voice in self.voices:
            if wanted in (voice.name, voice.id):
                return voice
        more = len(self.voices) - MAX_LISTED
        listed = ", ".join(v.name for v in self.voices[:MAX_LISTED])
        beyond = f" and {more} more (GET /v1/audio/voices lists them)" if more > 0 else ""
        message = f"There is no voice {wanted!r}; choose one of: {listed}{beyond}."
        raise ApiError(400, message, param="voice", code="voice_not_found")

    def _text(self, text: str, language: str) -> str:
        if not text.strip():
            raise ApiError(400, "The input is empty; give it some text.", param="input", code="empty_input")
        if language not in LANGUAGES:
            return text
        spoken = spoken_form(text, language)
        if isinstance(spoken, Reason):
            message = f"This input cannot be spoken: {spoken.detail}"
            raise ApiError(400, message, param="input", code=spoken.code)
        return spoken

    def _delivery(self, body: SpeechBody) -> Delivery:
        asked = {name: value for name, value in body.delivery.model_dump().items() if value is not None}
        if body.speed is not None and "rate" in asked:
            raise ApiError(400, "speed and delivery.rate are the same thing; send one of them.", param="speed")
        # Clients send OpenAI's default with every request.
        if body.speed not in (None, 1.0):
            asked["rate"] = body.speed
        can = self.engine.capabilities
        if missing := sorted(set(asked) - can.controls):
            has = ", ".join(sorted(can.controls)) or "none"
            message = f"{self.engine.name} cannot change the {missing[0]}; its controls are: {has}."
            param = "speed" if missing[0] == "rate" and body.speed is not None else f"delivery.{missing[0]}"
            raise ApiError(400, message, param=param, code="control_not_supported")
        instruct = (body.instructions or "").strip() or None
        if instruct and can.emotion != "instruct":
            message = f"{self.engine.name} follows no instructions; leave them away."
            raise ApiError(400, message, param="instructions", code="instructions_not_supported")
        return Delivery(emotion="neutral", intensity=0.0, instruct=instruct, **asked)


def create_app(engine: TTSBackend, voices: Sequence[Voice]) -> FastAPI:
    """The API around an engine that is entered already."""
    speaker, formats = Speaker(engine, tuple(voices)), writable_formats()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.queue = SpeechQueue(engine)
        worker = asyncio.create_task(app.state.queue.run())
        yield
        worker.cancel()
        with suppress(asyncio.CancelledError):
            await worker

    # No pages of documentation: they load their scripts from elsewhere.
    app = FastAPI(title="s2s serve-tts", lifespan=lifespan, docs_url=None, redoc_url=None)

    @app.exception_handler(ApiError)
    async def refused(_: Request, error: ApiError) -> Response:
        return error.answer()

    @app.exception_handler(HTTPException)
    async def not_served(request: Request, error: HTTPException) -> Response:
        message = f"{request.method} {request.url.path}: {error.detail}. POST /v1/audio/speech speaks."
        return ApiError(error.status_code, message).answer()

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> Response:
        return ApiError(500, f"The server failed ({type(error).__name__}); its log has more.").answer()

    @app.get("/health")
    async def health() -> dict[str, Any]:
        waiting = app.state.queue.num_waiting
        return {"status": "ok", "backend": engine.name, "revision": engine.revision, "waiting": waiting}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        model = {"id": engine.name, "object": "model", "created": 0, "owned_by": "opens2s-forge"}
        return {"object": "list", "data": [model | {"revision": engine.revision}]}

    @app.get("/v1/audio/voices")
    async def all_voices() -> dict[str, Any]:
        shown = {"id", "name", "gender", "age", "languages", "license"}
        return {"voices": [voice.model_dump(include=shown) for voice in speaker.voices]}

    @app.post("/v1/audio/speech")
    async def speech(request: Request) -> Response:
        body = await _body(request)
        wanted = body.response_format or ("mp3" if "mp3" in formats else "wav")
        if wanted not in formats:
            message = f"There is no response_format {wanted!r} here; choose one of: {', '.join(formats)}."
            raise ApiError(400, message, param="response_format", code="format_not_supported")
        asked = speaker.request(body)
        audio = await _unless_gone(request, app.state.queue, asked)
        data = await asyncio.to_thread(encoded, audio, wanted)
        return Response(data, media_type=formats[wanted].media_type)

    return app


async def _body(request: Request) -> SpeechBody:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BODY:
            raise ApiError(413, f"The request has more than {MAX_BODY} bytes; send less text at once.")
    try:
        return SpeechBody.model_validate_json(bytes(data))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        message = f"{place or 'The body'}: {first['msg']}."
        raise ApiError(400, message, param=place or None, code=first["type"]) from None


async def _unless_gone(request: Request, queue: SpeechQueue, asked: SpeechRequest) -> Audio:
    """The audio; given up when the client hangs up, so that one that has tried again is not spoken for twice."""
    speaking = asyncio.ensure_future(queue.speak(asked))
    gone = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait({speaking, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not speaking.done():
            raise ApiError(499, "The client hung up.")
        return speaking.result()
    except Full:
        message = f"{queue.max_waiting} requests wait already; try again soon."
        raise ApiError(429, message, code="rate_limit_exceeded") from None
    except SynthesisError as error:
        raise ApiError(400, str(error), param="input", code="not_spoken") from None
    except EngineError as error:
        raise ApiError(503, str(error), code="engine_failed") from None
    finally:
        gone.cancel()
        speaking.cancel()


class _Server(uvicorn.Server):
    """Says when it listens."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._ready()


def serve(
    backend: str,
    *,
    host: str = "127.0.0.1",
    port: int = 8880,
    voices: Sequence[str] | None = None,
    options: Mapping[str, Any] | None = None,
    tell: Callable[[str], None] = print,
) -> None:
    """Serve a backend until ctrl-C.

    Args:
        backend: as registered.
        host: address to listen at; any but a loopback address opens it to the network, and it asks for no key.
        port: 0 takes a free one.
        voices: names or ids of those to serve; None serves all.
        options: of the backend.
        tell: takes the lines for people.

    Raises:
        ConfigError: an unknown backend, option or voice, or a port that cannot be had.
        MissingExtra: the backend cannot run here.
    """
    spec = with_all_cores("tts_backends", PluginSpec(name=backend, options=dict(options or {})))
    engine = cast(TTSBackend, create("tts_backends", spec))
    engine.check()
    chosen = _chosen(engine, voices)
    with _bound(host, port) as listener, engine:
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listener.getsockname()[1]}"
        config = uvicorn.Config(
            create_app(engine, chosen), log_level="warning", access_log=False, timeout_graceful_shutdown=GRACE
        )
        server = _Server(config, lambda: tell(_welcome(engine, chosen, address, host)))
        # uvicorn ends its requests first, and raises the signal that it caught thereafter.
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
    tell("Stopped.")


def _chosen(engine: TTSBackend, names: Sequence[str] | None) -> tuple[Voice, ...]:
    known = engine.voices()
    if names is None:
        return tuple(known)
    by_name = {key: voice for voice in known for key in (voice.name, voice.id)}
    if unknown := [name for name in names if name not in by_name]:
        listed = ", ".join(voice.name for voice in known)
        raise ConfigError(f"{engine.name} has no voice {unknown[0]!r}; choose from: {listed}.")
    return tuple({by_name[name].id: by_name[name] for name in names}.values())


def _bound(host: str, port: int) -> socket.socket:
    """A socket that listens already, so that a port that is taken is told before any weights are loaded."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # only a socket that listens keeps a second server away
    except OSError as error:
        listener.close()
        raise ConfigError(f"Cannot listen at {host} port {port}: {error}. Choose another with --port.") from None
    return listener


def _welcome(engine: TTSBackend, voices: Sequence[Voice], address: str, host: str) -> str:
    voice, count = voices[0].name, "1 voice" if len(voices) == 1 else f"{len(voices)} voices"
    lines = [
        f"{engine.name} with {count} is served at {address}/v1 (ctrl-C ends it). Try:",
        f"  curl {address}/v1/audio/speech -H 'Content-Type: application/json' -o hello.wav \\",
        f'    -d \'{{"model": "{engine.name}", "voice": "{voice}", "input": "Hello.", "response_format": "wav"}}\'',
    ]
    if host not in ("127.0.0.1", "::1", "localhost"):
        lines.append("It asks for no key: whoever reaches this address can use it.")
    return "\n".join(lines)
