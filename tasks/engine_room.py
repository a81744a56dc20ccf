"""Where the engines live: each is loaded once per process, used by one part at a time, and its busy time is metered.

The LLM is the exception: its server takes requests of several parts at once. Time in which n parts use an engine counts
one n-th for each, so that the figures of all parts add up to the time in which the engine was busy.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from inspect import signature
from typing import Any

from contracts.config import LLMConfig
from contracts.config_base import fingerprint
from contracts.plugins import PluginGroup, PluginSpec, create, factory
from contracts.protocols import Engine
from storage.object_store import ObjectStore
from storage.request_cache import RequestCache
from tasks.llm.client import LLMClient

Stopwatch = dict[str, float]
"""Engine -> seconds it was busy for one part."""


class Meter:
    """Shares the busy time of one engine among those who use it at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shares: dict[int, float] = {}
        self._since = 0.0
        self._next = 0
        self.busy = 0.0

    def _settle(self, now: float) -> None:
        if self._shares:
            elapsed = now - self._since
            self.busy += elapsed
            for user in self._shares:
                self._shares[user] += elapsed / len(self._shares)
        self._since = now

    def enter(self) -> int:
        """Start using the engine; returns a ticket."""
        with self._lock:
            self._settle(time.perf_counter())
            self._next += 1
            self._shares[self._next] = 0.0
            return self._next

    def leave(self, ticket: int) -> float:
        """Stop using it; returns this user's share in seconds."""
        with self._lock:
            self._settle(time.perf_counter())
            return self._shares.pop(ticket)


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def with_all_cores(group: PluginGroup, spec: PluginSpec) -> PluginSpec:
    """The spec with `num_threads` set to all cores, where the plugin takes it and the recipe does not say."""
    if "num_threads" in spec.options or "num_threads" not in signature(factory(group, spec.name)).parameters:
        return spec
    return spec.model_copy(update={"options": {**spec.options, "num_threads": available_cores()}})


class EngineRoom:
    """All engines of this process."""

    def __init__(self) -> None:
        self._engines: dict[str, Engine] = {}
        self._clients: dict[str, LLMClient] = {}
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._meters: defaultdict[str, Meter] = defaultdict(Meter)
        self._any = Meter()
        self._guard = threading.Lock()
        self.uses: Counter[str] = Counter()
        """Engine -> how often it was used; a reused stage uses none."""
        self.load_seconds: defaultdict[str, float] = defaultdict(float)

    @property
    def busy_seconds(self) -> dict[str, float]:
        """Engine -> seconds it was busy since this room was opened."""
        return {name: meter.busy for name, meter in self._meters.items()}

    @property
    def any_busy_seconds(self) -> float:
        """Seconds in which at least one engine was busy since this room was opened."""
        return self._any.busy

    @contextmanager
    def use(self, group: PluginGroup, spec: PluginSpec, stopwatch: Stopwatch) -> Iterator[Any]:
        """The engine of this spec, loaded, for one user at a time."""
        spec = with_all_cores(group, spec)
        key = fingerprint(group, spec.name, sorted(spec.options.items(), key=str))
        with self._guard:
            lock = self._locks[key]
        with lock:
            engine = self._engines.get(key) or self._load(key, group, spec)
            with self._metered(spec.name, stopwatch):
                yield engine

    def _load(self, key: str, group: PluginGroup, spec: PluginSpec) -> Engine:
        began = time.perf_counter()
        engine = create(group, spec)
        engine.check()
        engine.__enter__()
        self.load_seconds[spec.name] += time.perf_counter() - began
        self._engines[key] = engine
        return engine

    @contextmanager
    def _metered(self, name: str, stopwatch: Stopwatch) -> Iterator[None]:
        with self._guard:
            meter = self._meters[name]
            self.uses[name] += 1
        ticket, any_ticket = meter.enter(), self._any.enter()
        try:
            yield
        finally:
            self._any.leave(any_ticket)
            stopwatch[name] = stopwatch.get(name, 0.0) + meter.leave(ticket)

    @contextmanager
    def llm(self, config: LLMConfig, store: ObjectStore, stopwatch: Stopwatch) -> Iterator[LLMClient]:
        """The client of this endpoint, its request cache in the run's folder; several users at a time."""
        key = fingerprint(store.uri, config.model_dump(mode="json"))
        with self._guard:
            lock = self._locks[key]
        with lock:
            client = self._clients.get(key)
            if client is None:
                began = time.perf_counter()
                client = LLMClient(config, RequestCache(store.local_folder("cache") / "llm.sqlite"))
                client.__enter__()
                self.load_seconds["llm"] += time.perf_counter() - began
                self._clients[key] = client
        with self._metered("llm", stopwatch):
            yield client

    def close(self) -> None:
        """Unload everything; the room can be used again."""
        for client in self._clients.values():
            client.__exit__(None, None, None)
            client.cache.close()
        for engine in self._engines.values():
            engine.__exit__(None, None, None)
        self._clients.clear()
        self._engines.clear()


@cache
def engine_room() -> EngineRoom:
    """The room of this process."""
    room = EngineRoom()
    atexit.register(room.close)
    return room
