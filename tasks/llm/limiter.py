"""How many requests may be in flight, found out by itself, and when to give up on an endpoint altogether.

`Window` and `Breaker` decide and know neither clocks nor asyncio; `Limiter` ties them to an event loop. The window
doubles until the first sign of overload (TCP's slow start), then grows by one per window of successes and halves on
overload: additive increase, multiplicative decrease. It belongs to one event loop and is not thread-safe.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from contracts.errors import BreakerOpen, EndpointError

T = TypeVar("T")
MAX_PAUSE = 60.0
"""Seconds; a longer Retry-After is cut to this, so that one wrong header cannot stop a run."""


class Window:
    """Additive increase, multiplicative decrease.

    Args:
        start: limit to begin with.
        ceiling: it never grows beyond this.
    """

    def __init__(self, *, start: int, ceiling: int) -> None:
        self.ceiling = ceiling
        self.limit = max(1, min(start, ceiling))
        self.epoch = 0
        self._slow_start = True
        self._successes = 0

    def succeeded(self, epoch: int) -> None:
        """Count a success; grow after a whole window of them."""
        if epoch != self.epoch:
            return
        self._successes += 1
        if self._successes >= self.limit:
            self._successes = 0
            self.limit = min(self.ceiling, self.limit * 2 if self._slow_start else self.limit + 1)

    def overloaded(self, epoch: int) -> None:
        """Halve, once per round trip: requests sent before the last cut tell nothing new about the limit after it."""
        if epoch != self.epoch:
            return
        self.epoch += 1
        self.limit = max(1, self.limit // 2)
        self._successes, self._slow_start = 0, False


class Breaker:
    """Opens when nothing has succeeded for some time although it was tried.

    Args:
        seconds: for how long; counted from the first failure after the last success.
    """

    def __init__(self, *, seconds: float) -> None:
        self.seconds = seconds
        self.failing_since: float | None = None
        self.last_failure = ""

    def succeeded(self) -> None:
        """All is well again."""
        self.failing_since = None

    def failed(self, now: float, why: str) -> None:
        """Note a failure and what the endpoint answered."""
        self.last_failure = why
        if self.failing_since is None:
            self.failing_since = now

    def due(self, now: float) -> bool:
        """Whether to give up."""
        return self.failing_since is not None and now - self.failing_since >= self.seconds


@dataclass(slots=True)
class Slot:
    """Leave to send one request."""

    epoch: int


class Limiter:
    """Hands out slots under the window and ends all waiting calls when the breaker opens.

    Args:
        endpoint: as a person would name it, for messages.
        ceiling: most requests in flight.
        breaker_seconds: see `Breaker`.
        start: requests in flight at first.
        clock: seconds, monotonic.
        sleep: as asyncio.sleep.
    """

    def __init__(
        self,
        *,
        endpoint: str,
        ceiling: int,
        breaker_seconds: float,
        start: int = 4,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.endpoint = endpoint
        self.window = Window(start=start, ceiling=ceiling)
        self.breaker = Breaker(seconds=breaker_seconds)
        self.in_flight = 0
        self.num_successes = 0
        self._clock, self._sleep = clock, sleep
        self._not_before = 0.0
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._guarded: set[asyncio.Future[object]] = set()
        self._error: EndpointError | None = None
        self._timer: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[Slot]:
        """Wait for leave to send, first come first served, and give it back at the end."""
        await self._enter()
        try:
            yield Slot(self.window.epoch)
        finally:
            self.in_flight -= 1
            self._wake()

    def succeeded(self, slot: Slot) -> None:
        """The endpoint answered."""
        self.num_successes += 1
        self.window.succeeded(slot.epoch)
        self.breaker.succeeded()
        self._disarm()
        self._wake()

    def failed(self, slot: Slot, why: str, *, retry_after: float = 0.0) -> None:
        """The endpoint is overloaded or broken: send less, and nothing at all for `retry_after` seconds."""
        now = self._clock()
        self.window.overloaded(slot.epoch)
        self.breaker.failed(now, why)
        self._not_before = max(self._not_before, now + min(retry_after, MAX_PAUSE))
        if self.breaker.due(now):
            self.end_all(self._breaker_open())
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.breaker.seconds, self._on_timer)

    def end_all(self, error: EndpointError) -> None:
        """End every call that is under way with this error; a call made once they are all gone starts afresh."""
        self._error = error
        self._disarm()
        for task in tuple(self._guarded):
            task.cancel()

    async def guard(self, work: Awaitable[T]) -> T:
        """Await some work, cut short by `end_all`.

        Raises:
            EndpointError: the one that `end_all` was given.
        """
        self._begin()
        task: asyncio.Future[T] = asyncio.ensure_future(work)
        self._guarded.add(task)  # type: ignore[arg-type]
        try:
            return await task
        except asyncio.CancelledError:
            if self._error is not None and task.cancelled():
                raise self._error from None
            raise
        finally:
            self._guarded.discard(task)

    def _begin(self) -> None:
        # Idle time is nobody's failure, so a call that comes after silence finds the breaker closed.
        if not self._guarded:
            self._error = None
            self.breaker.succeeded()
            self._disarm()

    async def sleep(self, seconds: float) -> None:
        """Wait, as between two tries."""
        await self._sleep(seconds)

    async def _enter(self) -> None:
        try:
            while not self._may_send():
                if (pause := self._not_before - self._clock()) > 0:
                    await self._sleep(pause)
                else:
                    await self._queue()
        except asyncio.CancelledError:
            # A turn that was given to a call which is ending goes to the next in the queue.
            self._wake()
            raise
        self.in_flight += 1

    def _may_send(self) -> bool:
        return self.in_flight < self.window.limit and self._clock() >= self._not_before

    async def _queue(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def _wake(self) -> None:
        free = self.window.limit - self.in_flight
        while self._waiters and free > 0:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                free -= 1

    def _on_timer(self) -> None:
        self._timer = None
        self.end_all(self._breaker_open())

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _breaker_open(self) -> BreakerOpen:
        return BreakerOpen(
            f"The LLM endpoint {self.endpoint} has answered nothing usable for {self.breaker.seconds:g} seconds; its "
            f"last answer: {self.breaker.last_failure}. Nothing that was finished is lost. Check that the server is up "
            "and not overloaded, then run again: it resumes. To be more patient, raise generate.llm.breaker_seconds."
        )
