"""The client against a hostile endpoint on a real socket: nothing is lost, nothing hangs, the order holds."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hostile_server as hostile
import pytest

from contracts.config import LLMConfig
from contracts.errors import BreakerOpen, EndpointDown, EndpointError, NoSpace
from storage.request_cache import RequestCache
from tasks.llm.client import LLMClient
from tasks.llm.messages import ChatRequest, Completion, RequestFailed
from tasks.llm.retries import Backoff

QUICK = Backoff(base=0.002, cap=0.05)


@pytest.fixture(autouse=True)
def nothing_leaks() -> Iterator[None]:
    yield
    gc.collect()
    assert "llm-client" not in {thread.name for thread in threading.enumerate()}


def client(server: hostile.Server, cache: RequestCache | None = None, **config: Any) -> LLMClient:
    config = {"base_url": server.url, "breaker_seconds": 20.0, "timeout": 10.0} | config
    return LLMClient(LLMConfig(**config), cache or RequestCache.in_memory(), backoff=QUICK)


def ask(*texts: str, seed: int = 1, **more: Any) -> list[ChatRequest]:
    return [ChatRequest(messages=({"role": "user", "content": text},), seed=seed, **more) for text in texts]


def texts(answers: list[Completion | Exception]) -> list[str]:
    return [a.text if isinstance(a, Completion) else repr(a) for a in answers]


NUMBERS = [str(number) for number in range(40)]
ECHOES = [f"echo {number}" for number in NUMBERS]


def test_answers_come_in_the_order_of_the_requests() -> None:
    with hostile.serving() as server, client(server) as llm:
        assert texts(llm.complete(ask(*NUMBERS))) == ECHOES
        assert (llm.usage.requests, llm.usage.retries, llm.usage.completion_tokens) == (40, 0, 120)


@pytest.mark.parametrize(
    "bad",
    [
        hostile.status(429),
        hostile.status(429, Retry_After="0.05"),
        hostile.status(500),
        hostile.status(503),
        hostile.cut_body,
        hostile.raw(b"<html>garbage"),
        hostile.raw(b'{"choices": []}'),
        hostile.raw(b'{"choices": [{"message": 3}]}'),
        hostile.raw(b"[[[["),
        hostile.raw(b""),
    ],
    ids=["429", "429-retry-after", "500", "503", "cut", "html", "no-choices", "wrong-types", "half-json", "empty"],
)
def test_passing_trouble_loses_nothing(bad: hostile.Act) -> None:
    with hostile.serving(hostile.failing(25, bad)) as server, client(server, request_attempts=30) as llm:
        assert texts(llm.complete(ask(*NUMBERS))) == ECHOES
        assert llm.usage.retries == 25


def test_a_stalled_request_is_asked_again() -> None:
    with hostile.serving(hostile.failing(2, hostile.stall(1.5))) as server, client(server, timeout=0.3) as llm:
        assert texts(llm.complete(ask(*NUMBERS[:6]))) == ECHOES[:6]


def test_a_storm_of_429_longer_than_all_tries_is_survived() -> None:
    def act(handler: hostile.Handler, payload: dict[str, Any]) -> None:
        storm = time.monotonic() - handler.server.started < 1.5
        (hostile.status(429) if storm else hostile.echo)(handler, payload)

    with hostile.serving(act) as server, client(server, request_attempts=2) as llm:
        assert texts(llm.complete(ask(*NUMBERS))) == ECHOES


def test_retry_after_is_honoured_by_all() -> None:
    moments: list[float] = []

    def act(handler: hostile.Handler, payload: dict[str, Any]) -> None:
        moments.append(time.monotonic())
        first = len(moments) == 1
        (hostile.status(429, Retry_After="0.5") if first else hostile.echo)(handler, payload)

    with hostile.serving(act) as server, client(server, max_concurrency=1) as llm:
        assert texts(llm.complete(ask(*NUMBERS[:3]))) == ECHOES[:3]
    assert moments[1] - moments[0] >= 0.5


def test_the_ceiling_of_requests_in_flight_holds() -> None:
    with hostile.serving(hostile.stall(0.02)) as server, client(server, max_concurrency=6) as llm:
        with ThreadPoolExecutor(3) as pool:
            parts = list(pool.map(lambda part: llm.complete(ask(*(f"{part}.{n}" for n in range(15)))), range(3)))
        assert [len(part) for part in parts] == [15, 15, 15]
        assert 1 < server.peak <= 6


def test_megabytes_are_thrown_away_and_not_asked_for_again() -> None:
    huge = hostile.raw(b'{"choices": [{"message": {"content": "' + b"x" * 8_000_000 + b'"}}]}')
    with hostile.serving(hostile.failing(1, huge)) as server, client(server, max_concurrency=1) as llm:
        first, second = llm.complete(ask("a", "b"))
        assert isinstance(first, Completion) and (first.finish_reason, first.text) == ("oversized", "")
        assert isinstance(second, Completion) and second.text == "echo b"
        assert server.num_calls == 2


def test_a_refused_request_fails_alone() -> None:
    def act(handler: hostile.Handler, payload: dict[str, Any]) -> None:
        bad = payload["messages"][0]["content"] == "1"
        (hostile.status(400, "context too long") if bad else hostile.echo)(handler, payload)

    with hostile.serving(act) as server, client(server) as llm:
        answers = llm.complete(ask("0", "1", "2"))
        assert texts([answers[0], answers[2]]) == ["echo 0", "echo 2"]
        assert isinstance(answers[1], RequestFailed) and "context too long" in str(answers[1])
        assert server.num_calls == 3


def test_a_request_that_always_breaks_the_server_fails_alone() -> None:
    def act(handler: hostile.Handler, payload: dict[str, Any]) -> None:
        (hostile.status(500) if payload["messages"][0]["content"] == "1" else hostile.echo)(handler, payload)

    with hostile.serving(act) as server, client(server, request_attempts=3) as llm:
        answers = llm.complete(ask("0", "1", "2"))
        assert isinstance(answers[1], RequestFailed) and "3 tries" in str(answers[1])
        assert server.num_calls == 5


@pytest.mark.parametrize("code", [401, 403, 404])
def test_a_refusal_of_all_requests_ends_every_call_at_once(code: int) -> None:
    with hostile.serving(hostile.status(code, "no")) as server, client(server) as llm:
        with pytest.raises(EndpointDown, match=rf"refuses every request \(HTTP {code}: no\)"):
            llm.complete(ask(*NUMBERS))
        assert server.num_calls <= 4


def test_dying_midway_opens_the_breaker_and_ends_every_waiting_call() -> None:
    with hostile.serving(hostile.stall(0.05)) as server, client(server, breaker_seconds=0.6) as llm:
        with ThreadPoolExecutor(3) as pool:
            calls = [pool.submit(llm.complete, ask(*(f"{part}.{n}" for n in range(200)))) for part in range(3)]
            time.sleep(0.3)
            server.die()
            started = time.monotonic()
            errors = [call.exception(timeout=10) for call in calls]
        assert time.monotonic() - started < 3
        assert all(isinstance(error, BreakerOpen) for error in errors)
        message = str(errors[0])
        assert server.url in message and "0.6 seconds" in message and "run again" in message
        assert "no connection" in message


def test_an_endpoint_that_comes_back_loses_nothing() -> None:
    with hostile.serving(hostile.stall(0.02)) as server, client(server, request_attempts=2) as llm:
        port = server.server_address[1]
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(llm.complete, ask(*NUMBERS))
            time.sleep(0.05)
            server.die()
            time.sleep(0.8)
            with hostile.serving(port=port):
                assert texts(call.result(timeout=20)) == ECHOES


def test_after_the_breaker_a_new_call_starts_afresh() -> None:
    with hostile.serving(hostile.status(503)) as server, client(server, breaker_seconds=0.2) as llm:
        with pytest.raises(BreakerOpen, match="HTTP 503"):
            llm.complete(ask("a"))
        server.act = hostile.echo
        assert texts(llm.complete(ask("a"))) == ["echo a"]


def test_an_endpoint_that_is_down_at_the_start_is_named() -> None:
    with hostile.serving() as server:
        url = server.url
    with pytest.raises(EndpointDown, match=r"does not answer: no connection.*Start the server"):
        LLMClient(LLMConfig(base_url=url), RequestCache.in_memory(), backoff=QUICK).__enter__()


def test_a_model_that_is_not_served_is_named_with_the_choices() -> None:
    with hostile.serving() as server, pytest.raises(EndpointDown, match="'gpt-9'; it lists: model-a, model-b"):
        client(server, model="gpt-9").__enter__()


def test_the_first_listed_model_is_taken_and_named() -> None:
    with hostile.serving() as server, client(server) as llm:
        assert llm.identity == "model-a@unknown"


def test_a_second_run_calls_nothing(tmp_path: Path) -> None:
    with hostile.serving() as server:
        for _ in range(2):
            with RequestCache(tmp_path / "llm.sqlite") as cache, client(server, cache) as llm:
                assert texts(llm.complete(ask(*NUMBERS))) == ECHOES
        assert server.num_calls == 40
        assert llm.usage.cache_hits == 40


def test_what_was_answered_before_a_crash_is_kept() -> None:
    cache = RequestCache.in_memory()
    with hostile.serving() as server:
        server.act = hostile.failing(10, hostile.echo, then=hostile.status(401))
        with client(server, cache, max_concurrency=1) as llm, pytest.raises(EndpointDown):
            llm.complete(ask(*NUMBERS))
        assert cache.count() == 10


def test_seeds_tell_answers_apart_also_where_they_are_not_sent() -> None:
    with hostile.serving() as server, client(server, send_seed=False) as llm:
        llm.complete([*ask("a", seed=1), *ask("a", seed=2)])
        llm.complete([*ask("a", seed=1), *ask("a", seed=2)])
        assert server.num_calls == 2
        assert all("seed" not in payload for payload in server.payloads)


def test_the_payload_is_what_the_config_says() -> None:
    schema = {"type": "object"}
    with hostile.serving() as server, client(server, extra={"min_p": 0.1}, temperature=0.3, max_tokens=50) as llm:
        llm.complete(ask("a", seed=7, json_schema=schema, stop=("END",), max_tokens=999))
        payload = server.payloads[0]
    assert payload["response_format"]["json_schema"]["schema"] == schema
    expected = {"model": "model-a", "seed": 7, "stop": ["END"], "min_p": 0.1, "temperature": 0.3, "max_tokens": 50}
    assert {key: payload[key] for key in expected} == expected


def test_a_full_disk_stops_the_call_with_a_clear_word(tmp_path: Path) -> None:
    with hostile.serving() as server, RequestCache(tmp_path / "llm.sqlite") as cache, client(server, cache) as llm:
        cache._open().execute("PRAGMA max_page_count = 2")
        with pytest.raises(NoSpace, match="No space left"):
            llm.complete(ask("x" * 20_000))


def test_closing_ends_calls_that_are_under_way() -> None:
    with hostile.serving(hostile.stall(5.0)) as server, ThreadPoolExecutor(1) as pool:
        with client(server) as llm:
            call = pool.submit(llm.complete, ask(*NUMBERS))
            time.sleep(0.1)
        with pytest.raises(EndpointError, match="closed"):
            call.result(timeout=5)


def test_the_key_is_sent_and_never_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret")
    seen: list[str | None] = []

    def act(handler: hostile.Handler, payload: dict[str, Any]) -> None:
        seen.append(handler.headers["authorization"])
        hostile.status(401)(handler, payload)

    with hostile.serving(act) as server, client(server, api_key_env="MY_KEY") as llm:
        with pytest.raises(EndpointDown) as caught:
            llm.complete(ask("a"))
    assert seen == ["Bearer sk-secret"] and "sk-secret" not in str(caught.value)
