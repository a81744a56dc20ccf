"""An OpenAI-compatible transcription endpoint on loopback: it decodes the audio and asks a function what to answer."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

import soundfile

from contracts.audio import Audio

Answer = tuple[int, dict[str, Any]]


@dataclass
class Server:
    """`respond(audio, fields)` gives status and body of each answer; what was asked is kept."""

    respond: Callable[[Audio, dict[str, str]], Answer]
    base_url: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    most_at_once: int = 0
    at_once: int = 0
    lock: Lock = field(default_factory=Lock)


@contextmanager
def serve(respond: Callable[[Audio, dict[str, str]], Answer]) -> Iterator[Server]:
    """The server, for as long as the block runs."""
    server = Server(respond)
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
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
        def do_GET(self) -> None:
            self._send(*((401, {"error": "bad key"}) if "bad" in self._key() else (200, {"data": []})))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            fields, flac = _parts(self.headers["Content-Type"], body)
            samples, sample_rate = soundfile.read(io.BytesIO(flac), dtype="float32")
            with server.lock:
                server.asked.append(fields)
                server.keys.append(self._key())
                server.at_once += 1
                server.most_at_once = max(server.most_at_once, server.at_once)
            status, answer = server.respond(Audio(samples, sample_rate), fields)
            with server.lock:
                server.at_once -= 1
            self._send(status, answer)

        def _key(self) -> str:
            return self.headers.get("Authorization", "").removeprefix("Bearer ")

        def _send(self, status: int, answer: dict[str, Any]) -> None:
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Retry-After", "0.01")
            # A client that has run out of patience is gone by now.
            with suppress(ConnectionError):
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            return None

    return Handler


def _parts(content_type: str, body: bytes) -> tuple[dict[str, str], bytes]:
    """Form fields, and the bytes of the file."""
    message = BytesParser().parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    fields: dict[str, str] = {}
    file = b""
    for part in message.walk():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if name == "file" and isinstance(content, bytes):
            file = content
        elif isinstance(name, str) and isinstance(content, bytes):
            fields[name] = content.decode()
    return fields, file
