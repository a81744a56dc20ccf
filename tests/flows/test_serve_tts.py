"""Over real sockets: the API around the fake engine, and once the command around a real one."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
import soundfile
import uvicorn

from contracts.audio import Audio
from contracts.errors import ConfigError, EngineError
from contracts.protocols import SpeechRequest
from flows import serve_tts
from flows.serve_tts import create_app, serve
from flows.speech_formats import writable_formats
from tts_backends.tone import Tone

Answer = tuple[int, bytes, Any]


class Watched(Tone):
    """Tone that notes its batches, and waits with them while `go` is not set."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.batches: list[list[str]] = []
        self.requests: list[SpeechRequest] = []
        self.go = threading.Event()
        self.go.set()
        self.broken = False

    def synthesize(self, requests: Sequence[SpeechRequest], /) -> Sequence[Audio]:
        self.batches.append([request.text for request in requests])
        self.requests += requests
        assert self.go.wait(20)
        if self.broken:
            raise EngineError("the engine has no more memory")
        return super().synthesize(requests)


@contextmanager
def running(engine: Tone) -> Iterator[str]:
    """The address of a server in a thread."""
    with engine, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(create_app(engine, engine.voices()), log_level="critical"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)


@pytest.fixture(scope="module")
def engine() -> Watched:
    return Watched(fault="raise", fault_on="forbidden")


@pytest.fixture(scope="module")
def address(engine: Watched) -> Iterator[str]:
    with running(engine) as address:
        yield address


def get(url: str, body: Any = None) -> Answer:
    """Status, body and headers; POST when there is a body."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=20) as response:
            return response.status, response.read(), response.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), error.headers


def speech(address: str, **changes: Any) -> Answer:
    body = {"model": "tone", "voice": "low", "input": "Good morning.", "response_format": "wav"} | changes
    return get(f"{address}/v1/audio/speech", {key: value for key, value in body.items() if value is not None})


def told(answer: Answer) -> dict[str, Any]:
    error = json.loads(answer[1])["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == ("invalid_request_error" if answer[0] < 500 else "server_error")
    return dict(error)


def test_models_voices_and_health_are_told(address: str) -> None:
    _, models, _ = get(f"{address}/v1/models")
    assert [model["id"] for model in json.loads(models)["data"]] == ["tone"]
    _, voices, _ = get(f"{address}/v1/audio/voices")
    assert [voice["id"] for voice in json.loads(voices)["voices"]] == [
        "tone/low",
        "tone/mid",
        "tone/high",
        "tone/bright",
    ]
    assert json.loads(voices)["voices"][2]["gender"] == "female"
    status, health, _ = get(f"{address}/health")
    assert status == 200
    assert json.loads(health) == {"status": "ok", "backend": "tone", "revision": "tone 1", "waiting": 0}


def test_wav_flac_and_pcm_hold_the_same_sound(address: str) -> None:
    heard = {}
    for name, rate in (("wav", 16_000), ("flac", 16_000)):
        status, body, headers = speech(address, response_format=name)
        heard[name], sample_rate = soundfile.read(io.BytesIO(body), dtype="int16")
        assert (status, headers["Content-Type"], sample_rate) == (200, f"audio/{name}", rate)
    assert np.array_equal(heard["wav"], heard["flac"])
    status, body, headers = speech(address, response_format="pcm")
    pcm = Audio(np.frombuffer(body, "<i2").astype(np.float32) / 32768, 24_000).resampled(16_000).samples
    assert headers["Content-Type"] == "audio/pcm"
    assert abs(len(pcm) - len(heard["wav"])) <= 1
    assert np.abs(pcm[: len(heard["wav"])] - heard["wav"][: len(pcm)] / 32768).max() < 0.02


@pytest.mark.parametrize("name", ["mp3", "opus"])
def test_lossy_formats_are_written_where_libsndfile_can(address: str, name: str) -> None:
    if name not in writable_formats():
        pytest.skip(f"this libsndfile writes no {name}")
    status, body, _ = speech(address, response_format=name, input="aaa " * 200)
    samples, sample_rate = soundfile.read(io.BytesIO(body))
    assert status == 200
    assert len(samples) / sample_rate == pytest.approx(200 * 0.18 + 0.25, abs=0.1)


def test_formats_that_cannot_be_written_are_refused_with_the_choices(
    engine: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {name: form for name, form in writable_formats().items() if name in ("wav", "pcm")}
    monkeypatch.setattr(serve_tts, "writable_formats", lambda: few)
    with running(Watched()) as address:
        assert told(speech(address, response_format="mp3"))["message"].endswith("choose one of: wav, pcm.")
        _, _, headers = speech(address, response_format=None)
        assert headers["Content-Type"] == "audio/wav"


def test_the_openai_client_can_use_it(address: str) -> None:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        assert [model.id for model in client.models.list()] == ["tone"]
        spoken = client.audio.speech.create(model="tts-1", voice="tone/high", input="Hello.", response_format="flac")
        assert soundfile.info(io.BytesIO(spoken.content)).samplerate == 16_000
        with pytest.raises(
            openai.BadRequestError, match="There is no voice 'alloy'; choose one of: low, mid"
        ) as refused:
            client.audio.speech.create(model="tts-1", voice="alloy", input="Hello.")
    assert (refused.value.param, refused.value.code) == ("voice", "voice_not_found")


def test_controls_seed_and_language_reach_the_engine(address: str, engine: Watched) -> None:
    factors = {"pitch": 1.2, "pitch_range": 0.0, "energy": 0.5}
    status, *_ = speech(address, speed=1.5, seed=5, delivery=factors, voice={"id": "high"}, language="zh", input="你好")
    assert status == 200
    asked = engine.requests[-1]
    assert (asked.seed, asked.language, asked.voice.id, asked.delivery.rate) == (5, "zh", "tone/high", 1.5)
    assert asked.delivery.model_dump(include=set(factors)) == factors
    speech(address, speed=1.0)
    assert engine.requests[-1].delivery.rate is None


def test_english_is_brought_into_spoken_form(address: str, engine: Watched) -> None:
    speech(address, input="It costs $42 :-)")
    assert engine.requests[-1].text == "It costs forty-two dollars."


@pytest.mark.parametrize(
    ("changes", "status", "param", "words"),
    [
        ({"voice": "nobody"}, 400, "voice", "choose one of: low, mid, high, bright."),
        ({"voice": None}, 400, "voice", "voice: Field required"),
        ({"input": " \n"}, 400, "input", "empty"),
        ({"input": "x" * 4097}, 400, "input", "at most 4096 characters"),
        ({"input": "the forbidden word."}, 400, "input", "'the forbidden word.'"),
        ({"input": "{code}"}, 400, "input", "cannot be spoken"),
        ({"model": "gpt"}, 404, "model", "choose tone"),
        ({"response_format": "aac"}, 400, "response_format", "choose one of: wav, flac, pcm"),
        ({"speed": 9}, 400, "speed", "less than or equal to 4"),
        ({"speed": 1.5, "delivery": {"rate": 1.5}}, 400, "speed", "one of them"),
        ({"delivery": {"expressiveness": 1.5}}, 400, "delivery.expressiveness", "its controls are: energy, pitch"),
        ({"delivery": {"loudness": 1}}, 400, "delivery.loudness", "not permitted"),
        ({"instructions": "Be sad."}, 400, "instructions", "follows no instructions"),
        ({"language": "fr"}, 400, "language", "it speaks: en, zh"),
        ({"stream_format": "sse"}, 400, "stream_format", "audio"),
    ],
)
def test_a_bad_request_is_told_in_openais_form(
    address: str, changes: dict[str, Any], status: int, param: str, words: str
) -> None:
    answer = speech(address, **changes)
    error = told(answer)
    assert (answer[0], error["param"]) == (status, param)
    assert words in error["message"]


def test_what_is_no_request_at_all_is_told_too(address: str) -> None:
    url = f"{address}/v1/audio/speech"
    assert "Invalid JSON" in told(get(url, b"{"))["message"]
    assert told(get(url, b"[]"))["message"].startswith("The body: ")
    assert get(url, b'{"input": "' + b"x" * 300_000)[0] == 413
    assert get(f"{address}/v1/nothing")[0] == 404
    answer = get(url)
    assert answer[0] == 405 and "POST /v1/audio/speech speaks" in told(answer)["message"]


def test_many_voices_are_not_all_listed(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setattr(serve_tts, "MAX_LISTED", 3)
    assert "low, mid, high and 1 more (GET /v1/audio/voices" in told(speech(address, voice="x"))["message"]


def waits(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_waits_is_one_batch_and_the_loop_stays_free_meanwhile() -> None:
    engine = Watched(fault="raise", fault_on="forbidden")
    texts = ["one.", "two.", "the forbidden one.", "four."]
    with running(engine) as address, ThreadPoolExecutor(8) as pool:
        engine.go.clear()
        first = pool.submit(speech, address, input="first.")
        waits(lambda: len(engine.batches) == 1)
        others = [pool.submit(speech, address, input=text) for text in texts]
        waits(lambda: json.loads(get(f"{address}/health")[1])["waiting"] == 4)
        engine.go.set()
        assert first.result()[0] == 200
        assert [other.result()[0] for other in others] == [200, 200, 400, 200]
        assert sorted(engine.batches[1]) == sorted(texts)
        # Alone, each is as it was in the batch.
        assert speech(address, input="four.")[1] == others[3].result()[1]


def test_a_client_that_hangs_up_is_not_spoken_for() -> None:
    engine = Watched()
    with running(engine) as address, ThreadPoolExecutor(2) as pool:
        engine.go.clear()
        first = pool.submit(speech, address, input="first.")
        waits(lambda: len(engine.batches) == 1)
        body = json.dumps({"model": "tone", "voice": "low", "input": "gone."}).encode()
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as gone:
            head = f"POST /v1/audio/speech HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            gone.sendall(head.encode() + body)
            waits(lambda: json.loads(get(f"{address}/health")[1])["waiting"] == 1)
        time.sleep(0.2)
        engine.go.set()
        assert first.result()[0] == 200
        assert speech(address, input="next.")[0] == 200
        assert engine.batches == [["first."], ["next."]]


def test_a_queue_that_is_full_asks_for_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Watched()
    queue = serve_tts.SpeechQueue
    monkeypatch.setattr(serve_tts, "SpeechQueue", lambda engine: queue(engine, max_waiting=1))
    with running(engine) as address, ThreadPoolExecutor(2) as pool:
        engine.go.clear()
        begun = [pool.submit(speech, address)]
        waits(lambda: len(engine.batches) == 1)
        begun.append(pool.submit(speech, address))
        waits(lambda: json.loads(get(f"{address}/health")[1])["waiting"] == 1)
        status, body, headers = speech(address)
        engine.go.set()
        assert (status, headers["Retry-After"]) == (429, "1")
        assert "1 requests wait already" in told((status, body, headers))["message"]
        assert [one.result()[0] for one in begun] == [200, 200]


def test_an_engine_that_fails_is_the_servers_fault() -> None:
    engine = Watched()
    engine.broken = True
    with running(engine) as address:
        answer = speech(address)
        assert answer[0] == 503
        assert "no more memory" in told(answer)["message"]


def test_what_cannot_be_served_is_told_before_anything_is_loaded() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match="Cannot listen at 127.0.0.1 port .*--port"):
            serve("tone", port=taken.getsockname()[1])
    with pytest.raises(ConfigError, match="no voice 'nobody'; choose from: low, mid"):
        serve("tone", port=0, voices=["nobody"])
    with pytest.raises(ConfigError, match="no option 'size'"):
        serve("tone", port=0, options={"size": 1})


def test_the_command_tells_its_address_and_an_interrupt_ends_it_in_good_order(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [
        sys.executable,
        "-m",
        "flows.cli",
        "serve-tts",
        "--backend",
        "tone",
        "--port",
        "0",
        "--voices",
        "mid,low",
    ]
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=Path(__file__).parents[2])
    try:
        deadline = time.monotonic() + 60
        while "curl" not in log.read_text() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        said = log.read_text()
        assert said.startswith("tone with 2 voices is served at http://127.0.0.1:"), said
        # The line that it prints works as it stands.
        curl = said.split("Try:")[1].replace("hello.wav", str(tmp_path / "hello.wav"))
        assert subprocess.run(["sh", "-c", f"{curl.strip()} -sf"], check=False).returncode == 0
        assert soundfile.info(str(tmp_path / "hello.wav")).duration > 0.2
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(20) == 0
        assert log.read_text().endswith("Stopped.\n")
    finally:
        process.kill()
        process.wait()
