"""Requests of many clients, one engine: what waits when the engine is free is one batch."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from contracts.audio import Audio
from contracts.errors import EngineError, SynthesisError
from contracts.protocols import SpeechRequest, TTSBackend


class Full(Exception):
    """As many requests wait as may."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    request: SpeechRequest
    spoken: asyncio.Future[Audio]


class SpeechQueue:
    """Belongs to one event loop; the engine works in a thread of its own and never blocks the loop.

    Args:
        engine: entered already.
        max_batch: requests given to it at once.
        max_waiting: requests that may wait.
    """

    def __init__(self, engine: TTSBackend, *, max_batch: int = 16, max_waiting: int = 256) -> None:
        self.engine, self.max_batch, self.max_waiting = engine, max_batch, max_waiting
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="speech-queue")

    @property
    def num_waiting(self) -> int:
        """Requests that have not been begun."""
        return self._queue.qsize()

    async def speak(self, request: SpeechRequest) -> Audio:
        """Wait for one's turn and be spoken. Cancelled while it waits, a request is never begun.

        Raises:
            Full: too many wait.
            EngineError: it could not be spoken.
        """
        if self.num_waiting >= self.max_waiting:
            raise Full
        waiting = _Waiting(request, asyncio.get_running_loop().create_future())
        self._queue.put_nowait(waiting)
        return await waiting.spoken

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            while True:
                batch = [await self._queue.get()]
                while len(batch) < self.max_batch and not self._queue.empty():
                    batch.append(self._queue.get_nowait())
                await self._serve([waiting for waiting in batch if not waiting.spoken.cancelled()])
        finally:
            # The engine must not be unloaded while it works.
            self._thread.shutdown(wait=True, cancel_futures=True)

    async def _serve(self, batch: Sequence[_Waiting]) -> None:
        if not batch:
            return
        loop = asyncio.get_running_loop()
        try:
            work = loop.run_in_executor(self._thread, self.engine.synthesize, [w.request for w in batch])
            audios = await work
            if len(audios) != len(batch):
                raise SynthesisError(f"{self.engine.name} returned {len(audios)} renderings for {len(batch)} requests.")
        # A plugin may raise anything; it must cost no more than the request that caused it.
        except Exception as error:
            if len(batch) > 1:
                for waiting in batch:
                    await self._serve([waiting])
            elif not batch[0].spoken.done():
                known = isinstance(error, EngineError)
                batch[0].spoken.set_exception(error if known else SynthesisError(f"{type(error).__name__}: {error}"))
            return
        for waiting, audio in zip(batch, audios, strict=True):
            if not waiting.spoken.done():
                waiting.spoken.set_result(audio)
