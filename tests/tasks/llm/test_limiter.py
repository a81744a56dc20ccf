from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from contracts.errors import BreakerOpen, EndpointDown
from tasks.llm.limiter import MAX_PAUSE, Breaker, Limiter, Window


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


def limiter(clock: Clock, **options: float) -> Limiter:
    return Limiter(
        endpoint="http://e/v1", clock=clock, sleep=clock.sleep, **{"ceiling": 8, "breaker_seconds": 60} | options
    )  # type: ignore[arg-type]


def test_the_window_doubles_until_the_first_overload_and_then_grows_by_one() -> None:
    window = Window(start=2, ceiling=64)
    for _ in range(2 + 4 + 8):
        window.succeeded(0)
    assert window.limit == 16
    window.overloaded(0)
    assert window.limit == 8
    for _ in range(8 + 9):
        window.succeeded(window.epoch)
    assert window.limit == 10


def test_the_window_halves_once_per_round_trip() -> None:
    window = Window(start=32, ceiling=64)
    for _ in range(20):
        window.overloaded(0)
    assert (window.limit, window.epoch) == (16, 1)
    window.overloaded(1)
    assert window.limit == 8


def test_successes_of_requests_sent_before_a_cut_do_not_grow_the_window() -> None:
    window = Window(start=4, ceiling=64)
    window.overloaded(0)
    for _ in range(50):
        window.succeeded(0)
    assert window.limit == 2


def test_the_window_keeps_between_one_and_its_ceiling() -> None:
    window = Window(start=100, ceiling=4)
    assert window.limit == 4
    for epoch in range(10):
        window.overloaded(epoch)
    assert window.limit == 1
    for _ in range(100):
        window.succeeded(window.epoch)
    assert window.limit == 4


def test_the_breaker_counts_from_the_first_failure_after_a_success() -> None:
    breaker = Breaker(seconds=10)
    assert not breaker.due(1e9)
    breaker.failed(100, "a")
    breaker.failed(109, "b")
    assert not breaker.due(109.9) and breaker.due(110)
    breaker.succeeded()
    assert not breaker.due(1e9)


async def hold(gate: Limiter, release: asyncio.Event, seen: list[int]) -> None:
    async with gate.slot():
        seen.append(gate.in_flight)
        await release.wait()


def test_no_more_slots_than_the_window_allows() -> None:
    async def scene() -> None:
        gate, release, seen = limiter(Clock(), start=3), asyncio.Event(), list[int]()
        tasks = [asyncio.create_task(gate.guard(hold(gate, release, seen))) for _ in range(10)]
        await asyncio.sleep(0.01)
        assert len(seen) == 3
        release.set()
        await asyncio.gather(*tasks)
        assert len(seen) == 10 and max(seen) == 3 and gate.in_flight == 0

    asyncio.run(scene())


@pytest.mark.parametrize(("asked", "kept"), [(5.0, 5.0), (100_000.0, MAX_PAUSE)])
def test_retry_after_holds_everybody_back_but_not_for_ever(asked: float, kept: float) -> None:
    async def scene() -> None:
        clock = Clock()
        gate = limiter(clock)
        async with gate.slot() as slot:
            gate.failed(slot, "HTTP 429", retry_after=asked)
        before = clock.now
        async with gate.slot():
            assert clock.now - before == pytest.approx(kept)
        gate.end_all(EndpointDown("over"))

    asyncio.run(scene())


def failing(gate: Limiter, why: str) -> Callable[[], Awaitable[None]]:
    async def work() -> None:
        while True:
            async with gate.slot() as slot:
                gate.failed(slot, why)
            await gate.sleep(1.0)

    return work


def test_the_breaker_ends_every_waiting_call_and_says_why() -> None:
    async def scene() -> None:
        clock = Clock()
        gate = limiter(clock)
        calls = [asyncio.create_task(gate.guard(failing(gate, "HTTP 503: loading")())) for _ in range(20)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(result, BreakerOpen) for result in results)
        for part in ("http://e/v1", "60 seconds", "HTTP 503: loading", "breaker_seconds"):
            assert part in str(results[0])
        assert gate.in_flight == 0

    asyncio.run(scene())


def test_a_storm_shorter_than_the_breaker_is_survived() -> None:
    async def call(gate: Limiter, clock: Clock) -> float:
        while True:
            async with gate.slot() as slot:
                if clock.now >= 159:
                    gate.succeeded(slot)
                    return clock.now
                gate.failed(slot, "HTTP 429", retry_after=2.0)
            await gate.sleep(1.0)

    async def scene() -> None:
        clock = Clock()
        gate = limiter(clock)
        results = await asyncio.gather(*(gate.guard(call(gate, clock)) for _ in range(30)))
        assert len(results) == 30

    asyncio.run(scene())


def test_a_turn_given_to_a_cancelled_call_goes_to_the_next() -> None:
    async def scene() -> None:
        gate, release, seen = limiter(Clock(), ceiling=1), asyncio.Event(), list[int]()
        first, second, third = (asyncio.create_task(gate.guard(hold(gate, release, seen))) for _ in range(3))
        await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.sleep(0)
        second.cancel()
        release.set()
        await asyncio.wait_for(third, timeout=1)
        assert len(seen) >= 2

    asyncio.run(scene())


def test_idle_time_is_nobodys_failure() -> None:
    async def scene() -> None:
        clock = Clock()
        gate = limiter(clock)

        async def once(why: str) -> None:
            async with gate.slot() as slot:
                gate.failed(slot, why)

        await gate.guard(once("a"))
        clock.now += 1000
        await gate.guard(once("b"))
        gate.end_all(EndpointDown("over"))

    asyncio.run(scene())
