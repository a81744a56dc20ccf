"""An event loop in a thread of its own, so that synchronous threads can share asynchronous work."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from contracts.errors import EndpointError

T = TypeVar("T")


class LoopThread:
    """Context manager: the loop runs inside it.

    Args:
        name: of the thread, for debuggers.
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def soon(self, work: Callable[[], object]) -> None:
        """Have the loop call this; from any thread."""
        self._loop.call_soon_threadsafe(work)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and wait for it; from any other thread.

        Raises:
            EndpointError: it was cancelled, as happens when the client is closed.
        """
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise EndpointError("The LLM client was closed while requests were under way.") from None
        except BaseException:
            # Ctrl-C in this thread: nobody waits for the answers any more.
            future.cancel()
            raise
