"""One POST to /v1/audio/speech over the wire: what is tried again, when it is given up, what each answer means.

    bytes and their type      spoken
    Refused                   this request is wrong, or its answer useless; asking again changes nothing
    EndpointDown              no request will succeed: nothing answers, the key is refused, there is never room

A try ends `timeout` seconds after it began, however its bytes trickle in, and as soon as more than `max_bytes` came.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import logging
import random
import time
from collections.abc import Mapping
from typing import Any

import httpx2

from contracts.errors import EndpointDown

BACKOFF = 0.5
"""Seconds before the second try; twice as long before each further one, and up to half of it off by chance."""
MAX_BACKOFF = 20.0
MAX_RETRY_AFTER = 120.0
"""Seconds; an endpoint that asks for more is given up instead of being asked too early."""
CONNECT_TIMEOUT = 10.0
CHECK_TIMEOUT = 10.0
MAX_TOLD = 300
"""Characters of an endpoint's own message that ours repeats."""


class Refused(Exception):
    """This request cannot be served; the text is one clause that says why."""


class _TryAgain(Exception):
    """A failure that may pass.

    Args:
        why: one clause.
        retry_after: seconds that the endpoint asks for.
        down: True when it says nothing about this request: nobody answered, or there was no room.
    """

    def __init__(self, why: str, *, retry_after: float = 0.0, down: bool = False) -> None:
        self.why, self.retry_after, self.down = why, retry_after, down
        super().__init__(why)


class SpeechEndpoint:
    """An OpenAI-compatible speech endpoint. Belongs to one event loop.

    Args:
        base_url: up to and including `/v1`.
        api_key: sent as a bearer token; never part of a message. None sends none.
        timeout: seconds per try, from its beginning to its last byte.
        attempts: tries of one request.
        max_connections: kept open at most.
        max_bytes: of one answer.
    """

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str | None,
        timeout: float,
        attempts: int,
        max_connections: int,
        max_bytes: int,
    ) -> None:
        self.base_url, self.timeout, self.attempts, self.max_bytes = base_url, timeout, attempts, max_bytes
        # Uncompressed, so that a small body cannot unpack into a large one.
        headers = {"Accept-Encoding": "identity"}
        if api_key:
            headers["Authorization"] = f"Bearer {api_key}"
        # It would log one line per utterance.
        logging.getLogger("httpx2").setLevel(logging.WARNING)
        self._client = httpx2.AsyncClient(
            headers=headers,
            follow_redirects=True,
            timeout=httpx2.Timeout(timeout, connect=min(timeout, CONNECT_TIMEOUT)),
            limits=httpx2.Limits(max_connections=max_connections, max_keepalive_connections=max_connections),
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def speak(self, payload: Mapping[str, Any]) -> tuple[bytes, str]:
        """Audio as it came, and its content type.

        Raises:
            Refused: this request cannot be served.
            EndpointDown: no request can.
        """
        for attempt in range(1, self.attempts + 1):
            try:
                async with asyncio.timeout(self.timeout):
                    return await self._try(payload)
            except TimeoutError:
                problem = _TryAgain(f"the answer was not complete after {self.timeout:g} s")
            except _TryAgain as found:
                problem = found
            if problem.retry_after > MAX_RETRY_AFTER:
                asked = f"it asks for {problem.retry_after:.0f} s of patience ({problem.why})"
                raise EndpointDown(f"The speech endpoint {self.base_url} is given up: {asked}. Run it again later.")
            if attempt < self.attempts:
                await asyncio.sleep(max(problem.retry_after, backoff(attempt)))
        why = f"{problem.why}, at the last of {self.attempts} tries"
        if problem.down:
            raise EndpointDown(f"The speech endpoint {self.base_url} cannot be used: {why}. Is the server up?")
        raise Refused(f"{self.base_url} failed: {why}")

    async def _try(self, payload: Mapping[str, Any]) -> tuple[bytes, str]:
        try:
            async with self._client.stream("POST", f"{self.base_url}/audio/speech", json=payload) as response:
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > self.max_bytes:
                        raise Refused(f"{self.base_url} sent more than {self.max_bytes} bytes for it")
                if response.is_success:
                    return bytes(body), response.headers.get("content-type", "")
                raise self._failure(response, bytes(body))
        except (httpx2.ReadTimeout, httpx2.WriteTimeout):
            raise TimeoutError from None
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise _TryAgain(f"no connection ({type(error).__name__}: {error})", down=True) from None
        except httpx2.RequestError as error:
            raise _TryAgain(f"the answer broke off ({type(error).__name__}: {error})") from None

    def _failure(self, response: httpx2.Response, body: bytes) -> Exception:
        status, told = response.status_code, message(body)
        why = f"{status}{': ' if told else ''}{told}"
        if status in (401, 403):
            return EndpointDown(f"The speech endpoint {self.base_url} refuses our key ({why}). See api_key_env.")
        patience = retry_after(response.headers.get("retry-after"))
        if status in (429, 502, 503, 504):
            return _TryAgain(f"it answered {why}", retry_after=patience, down=True)
        if status >= 500 or status in (408, 409, 425):
            return _TryAgain(f"it answered {why}", retry_after=patience)
        return Refused(f"{self.base_url} refused it with {why}")


def answers(base_url: str, api_key: str | None) -> str | None:
    """Why `GET /models` there gets no answer that a server would give; None when it does.

    Any status but 401 and 403 will do: not every speech server lists its models.
    """
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        # Only the head is read: a body without end must not hold up a check.
        with httpx2.Client(timeout=CHECK_TIMEOUT, headers=headers, follow_redirects=True) as client:
            with client.stream("GET", f"{base_url}/models") as response:
                status = response.status_code
    except httpx2.HTTPError as error:
        return f"does not answer ({type(error).__name__}: {error})"
    return f"refuses our key ({status})" if status in (401, 403) else None


def backoff(attempt: int) -> float:
    """Seconds to wait after the attempt of this number, counted from 1."""
    longest = min(MAX_BACKOFF, BACKOFF * 2 ** (attempt - 1))
    return float(random.uniform(0.5, 1.0) * longest)


def retry_after(value: str | None) -> float:
    """Seconds from a Retry-After header, which holds seconds or a date; 0 where it says nothing of use."""
    if not value:
        return 0.0
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return 0.0


def message(body: bytes) -> str:
    """The endpoint's own words in an error's body, whatever its form, on one line."""
    text = body[:20_000].decode("utf-8", "replace")
    try:
        found = json.loads(text)
        for key in ("error", "detail", "message"):
            if isinstance(found, dict) and key in found:
                found = found[key]
        text = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
    except ValueError:
        pass
    return " ".join(text.split())[:MAX_TOLD]
