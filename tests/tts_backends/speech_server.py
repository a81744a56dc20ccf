"""A speech endpoint on loopback that answers as it is told: well, late, cut short, or with nonsense."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

import numpy as np
import soundfile

from contracts.audio import Samples


@dataclass(frozen=True)
class Reply:
    """What to answer."""

    body: bytes = b""
    status: int = 200
    content_type: str = "audio/wav"
    headers: dict[str, str] = field(default_factory=dict)
    send: int | None = None
    """Bytes of the body that are sent; then the connection is closed."""
    wait: float = 0.0
    """Seconds before the answer begins."""
    pause: float = 0.0
    """Seconds between two bytes of the body."""
    length: bool = True
    """Whether Content-Length is told."""


@dataclass
class Server:
    """`respond(fields)` gives each answer; what was asked is kept."""

    respond: Callable[[dict[str, Any]], Reply]
    base_url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    lock: Lock = field(default_factory=Lock)


def tone(seconds: float = 0.5, sample_rate: int = 24_000) -> Samples:
    """440 Hz at half scale; float32, shape (num_samples,)."""
    time_axis = np.arange(int(seconds * sample_rate)) / sample_rate
    return (0.5 * np.sin(2 * np.pi * 440 * time_axis)).astype(np.float32)


def file_of(samples: Samples, form: str = "wav", sample_rate: int = 24_000) -> bytes:
    """Bytes of a file of this format, 16 bits."""
    if form == "pcm":
        return np.round(samples * 32768).astype("<i2").tobytes()
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, sample_rate, format=form.upper(), subtype="PCM_16")
    return buffer.getvalue()


def error(status: int, message: str = "no such luck", **headers: str) -> Reply:
    """An error in OpenAI's form."""
    body = json.dumps({"error": {"message": message, "type": "x", "param": None, "code": None}}).encode()
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(body, status, "application/json", headers=told)


@contextmanager
def serve(respond: Callable[[dict[str, Any]], Reply]) -> Iterator[Server]:
    """The server, for as long as the block runs."""
    server = Server(respond)
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
    http.daemon_threads = True
    server.base_url = f"http://127.0.0.1:{http.server_port}/v1"
    thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            refused = "bad" in self.headers.get("Authorization", "")
            self._send(error(401) if refused else Reply(b'{"data": []}', content_type="application/json"))

        def do_POST(self) -> None:
            assert self.path == "/v1/audio/speech"
            fields = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with server.lock:
                server.asked.append(fields)
                server.keys.append(self.headers.get("Authorization"))
                server.times.append(time.monotonic())
                server.at_once += 1
                server.most_at_once = max(server.most_at_once, server.at_once)
            reply = server.respond(fields)
            time.sleep(reply.wait)
            with server.lock:
                server.at_once -= 1
            self._send(reply)

        def _send(self, reply: Reply) -> None:
            cut = reply.body if reply.send is None else reply.body[: reply.send]
            self.close_connection = len(cut) < len(reply.body) or not reply.length
            # A client that has run out of patience is gone by now.
            with suppress(OSError):
                self.send_response(reply.status)
                self.send_header("Content-Type", reply.content_type)
                if reply.length:
                    self.send_header("Content-Length", str(len(reply.body)))
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                for piece in [cut[i : i + 1] for i in range(len(cut))] if reply.pause else [cut]:
                    self.wfile.write(piece)
                    self.wfile.flush()
                    time.sleep(reply.pause)

        def log_message(self, format: str, *args: Any) -> None:
            return None

    return Handler
