"""When one request is tried again, and when it has had enough. The endpoint as a whole is the limiter's business."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from contracts.config import LLMConfig
from tasks.llm.endpoint import TryAgain
from tasks.llm.messages import RequestFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential backoff with full jitter: before try k, wait anything up to base * 2^k seconds."""

    base: float = 0.5
    cap: float = 30.0

    def seconds(self, num_failures: int) -> float:
        """How long to wait after so many failures."""
        return random.uniform(0.0, min(self.cap, self.base * 2.0 ** min(num_failures, 30)))


class Tries:
    """Whose fault the failures of one request are, and when it has had enough of them.

    Patience that the endpoint asks for (429) costs no try, nor does an outage: an unreachable endpoint blames the
    request only if others got through meanwhile. Ending an outage is the breaker's business.
    """

    def __init__(self, config: LLMConfig) -> None:
        self._max_blamed = config.request_attempts
        # A backstop against an endpoint that throttles one request for ever and serves all others.
        self._give_up_at = time.monotonic() + 10 * config.breaker_seconds
        self.num_failures = self._num_blamed = 0

    def note(self, failure: TryAgain, *, others_succeeded: bool) -> None:
        """Count a failure.

        Raises:
            RequestFailed: it was one too many.
        """
        self.num_failures += 1
        self._num_blamed += failure.kind == "broken" or (failure.kind == "unreachable" and others_succeeded)
        if self._num_blamed >= self._max_blamed or (time.monotonic() > self._give_up_at):
            raise RequestFailed(f"No answer after {self.num_failures} tries; the last one: {failure.why}.") from None
