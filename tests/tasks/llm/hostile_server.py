"""An OpenAI-compatible server on a real socket that misbehaves by script. The fake beside the real engines."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Act = Callable[["Handler", dict[str, Any]], None]


class Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, act: Act, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.act = act
        self.models = ["model-a", "model-b"]
        self.payloads: list[dict[str, Any]] = []
        self.num_calls = self.in_flight = self.peak = 0
        self.lock = threading.Lock()
        self.sockets: list[socket.socket] = []
        self.started = time.monotonic()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def get_request(self) -> Any:
        connection, address = super().get_request()
        self.sockets.append(connection)
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass

    def die(self) -> None:
        """As kill -9 does it: the port and all connections are gone at once."""
        self.shutdown()
        self.server_close()
        for connection in self.sockets:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            connection.close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.reply({"object": "list", "data": [{"id": name} for name in self.server.models]})

    def do_POST(self) -> None:
        payload = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.server.lock:
            self.server.payloads.append(payload)
            self.server.num_calls += 1
            self.server.in_flight += 1
            self.server.peak = max(self.server.peak, self.server.in_flight)
        try:
            self.server.act(self, payload)
        except OSError:
            self.close_connection = True
        finally:
            with self.server.lock:
                self.server.in_flight -= 1

    def reply(self, body: Any, status: int = 200, **headers: str) -> None:
        self.send(json.dumps(body).encode(), status, **headers)

    def send(self, data: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)


def answer(text: str, finish_reason: str = "stop") -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant", "content": text}}
    return {"id": "x", "choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}


def echo(handler: Handler, payload: dict[str, Any]) -> None:
    """The well-behaved act: says the last message again."""
    handler.reply(answer("echo " + payload["messages"][-1]["content"]))


def failing(times: int, bad: Act, then: Act = echo) -> Act:
    """Misbehaves for the first so many calls."""
    left, lock = [times], threading.Lock()

    def act(handler: Handler, payload: dict[str, Any]) -> None:
        with lock:
            left[0] -= 1
            misbehave = left[0] >= 0
        (bad if misbehave else then)(handler, payload)

    return act


def status(code: int, message: str = "scripted", **headers: str) -> Act:
    return lambda handler, _: handler.reply({"error": {"message": message}}, code, **headers)


def raw(data: bytes) -> Act:
    return lambda handler, _: handler.send(data)


def cut_body(handler: Handler, _: dict[str, Any]) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [{"mess')
    handler.wfile.flush()
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def stall(seconds: float) -> Act:
    def act(handler: Handler, payload: dict[str, Any]) -> None:
        time.sleep(seconds)
        echo(handler, payload)

    return act


@contextmanager
def serving(act: Act = echo, port: int = 0) -> Iterator[Server]:
    server = Server(act, port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.die()
        thread.join()
