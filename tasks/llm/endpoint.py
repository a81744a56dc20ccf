"""One call over the wire: an OpenAI-compatible endpoint, and what each of its answers means for us.

    Completion        usable, or `oversized`
    RequestRefused    400, 413, 422: this request is wrong, the endpoint is well
    EndpointDown      401, 403, 404: no request will ever succeed
    TryAgain          everything else, in three kinds; see there

The `openai` client is used without its own retries: those know nothing of the limiter.
"""

from __future__ import annotations

import email.utils
import json
import logging
import time
from collections.abc import AsyncIterator
from typing import Any, Literal

import httpx2
import openai

from contracts.errors import EndpointDown
from tasks.llm.messages import Completion, RequestRefused

MAX_BYTES = 1_000_000
"""Of one response; some hundred times what a dialogue takes."""
_REFUSED = (400, 413, 422)
_FATAL = (401, 403, 404)
_THROTTLED = (429, 503)
_GATEWAY = (502, 504)


class TryAgain(Exception):
    """A failure that may pass.

    Args:
        kind: `throttled`: the endpoint asks for patience (429, 503); `unreachable`: it or its gateway does not answer
            (refused or cut connections, timeouts, 502, 504); `broken`: it answers nonsense (500, bad JSON, no choices).
        why: one clause for messages.
        retry_after: seconds that the endpoint asks for; 0 when it does not say.
    """

    def __init__(self, kind: Literal["throttled", "unreachable", "broken"], why: str, retry_after: float = 0.0) -> None:
        self.kind, self.why, self.retry_after = kind, why, retry_after
        super().__init__(why)


class _Oversized(Exception):
    """More bytes came than MAX_BYTES."""


class _CappedStream(httpx2.AsyncByteStream):
    """A response's body that ends in `_Oversized` before it can fill the memory."""

    def __init__(self, stream: httpx2.AsyncByteStream, max_bytes: int) -> None:
        self._stream, self._max_bytes = stream, max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > self._max_bytes:
                raise _Oversized
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


class Endpoint:
    """An OpenAI-compatible endpoint. Belongs to one event loop.

    Args:
        base_url: as `http://127.0.0.1:8000/v1`.
        api_key: sent as a bearer token; never part of a message.
        timeout: seconds per request.
        max_connections: most requests in flight.
    """

    def __init__(self, *, base_url: str, api_key: str, timeout: float, max_connections: int) -> None:
        self.base_url = base_url
        self._timeout = timeout
        _quiet("httpx2", "openai")
        # A hook, not a transport of our own: with one, proxies named in the environment would be ignored.
        http_client = httpx2.AsyncClient(
            timeout=httpx2.Timeout(timeout, connect=min(timeout, 10.0)),
            limits=httpx2.Limits(max_connections=max_connections + 4, max_keepalive_connections=max_connections),
            # Uncompressed, so that a small body cannot unpack into a large one.
            headers={"Accept-Encoding": "identity"},
            event_hooks={"response": [_cap]},
        )
        self._client = openai.AsyncOpenAI(
            base_url=base_url, api_key=api_key, max_retries=0, timeout=timeout, http_client=http_client
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def models(self) -> dict[str, str]:
        """Model -> revision, in the endpoint's own order; `unknown` where it does not tell.

        Raises:
            EndpointDown: it refuses us.
            TryAgain: it does not answer, or not with a list of models.
        """
        try:
            response = await self._client.with_options(timeout=min(self._timeout, 15.0)).models.with_raw_response.list()
        except (openai.OpenAIError, httpx2.HTTPError) as error:
            raise self._meaning(error) from None
        except _Oversized:
            raise TryAgain("broken", f"the list of models has more than {MAX_BYTES} bytes") from None
        try:
            return {str(m["id"]): _revision(m) for m in json.loads(response.http_response.content)["data"]}
        except (ValueError, KeyError, TypeError):
            raise TryAgain("broken", "the list of models is not JSON of the OpenAI form") from None

    async def ask(self, payload: dict[str, Any], extra: dict[str, Any]) -> Completion:
        """One completion.

        Raises:
            RequestRefused: the endpoint does not take this request.
            EndpointDown: it refuses every request.
            TryAgain: it may work later.
        """
        try:
            create = self._client.chat.completions.with_raw_response.create
            response = await create(**payload, extra_body=extra or None)
        except _Oversized:
            return Completion(text="", finish_reason="oversized")
        except (openai.OpenAIError, httpx2.HTTPError) as error:
            if isinstance(error.__cause__, _Oversized):
                return Completion(text="", finish_reason="oversized")
            raise self._meaning(error) from None
        return _parse(response.http_response.content)

    def _meaning(self, error: openai.OpenAIError | httpx2.HTTPError) -> Exception:
        if isinstance(error, openai.APIStatusError):
            return self._meaning_of_status(error.status_code, _excerpt(error), error.response)
        if isinstance(error, (openai.APITimeoutError, httpx2.TimeoutException)):
            return TryAgain("unreachable", f"no answer within {self._timeout:g} seconds")
        cause = error.__cause__ or error
        return TryAgain("unreachable", f"no connection ({type(cause).__name__}: {str(cause)[:200]})")

    def _meaning_of_status(self, status: int, text: str, response: httpx2.Response) -> Exception:
        why = f"HTTP {status}{': ' if text else ''}{text}"
        if status in _FATAL:
            return EndpointDown(f"The LLM endpoint {self.base_url} refuses every request ({why}). {_advice(status)}")
        if status in _THROTTLED:
            return TryAgain("throttled", why, _retry_after(response.headers))
        if status in _GATEWAY:
            return TryAgain("unreachable", why, _retry_after(response.headers))
        if status in _REFUSED or (400 <= status < 500 and status not in (408, 409, 425)):
            return RequestRefused(f"The LLM endpoint {self.base_url} refuses this request ({why}).")
        return TryAgain("broken", why, _retry_after(response.headers))


async def _cap(response: httpx2.Response) -> None:
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    response.stream = _CappedStream(response.stream, MAX_BYTES)


def _parse(body: bytes) -> Completion:
    try:
        data = json.loads(body)
        choice = data["choices"][0]
        text = choice["message"]["content"]
        usage = data.get("usage") or {}
        return Completion(
            text=text if isinstance(text, str) else "",
            finish_reason=str(choice.get("finish_reason") or "stop"),
            prompt_tokens=int(usage.get("prompt_tokens") or 0),
            completion_tokens=int(usage.get("completion_tokens") or 0),
        )
    except IndexError:
        raise TryAgain("broken", "an answer without choices") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise TryAgain("broken", f"an answer that is no chat completion: {_printable(body[:80])}") from None


def _revision(model: dict[str, Any]) -> str:
    # vLLM tells in `root` what it loaded, where that differs from the name it serves it under.
    root = model.get("root")
    return str(root) if root and root != model["id"] else "unknown"


def _retry_after(headers: httpx2.Headers) -> float:
    """Seconds of a Retry-After header, which holds seconds or a date; 0 without one."""
    value = headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        moment = email.utils.parsedate_tz(value)
        return max(0.0, email.utils.mktime_tz(moment) - time.time()) if moment else 0.0


def _advice(status: int) -> str:
    if status == 404:
        return "Check generate.llm.base_url (most end in /v1) and generate.llm.model."
    return "Check the key in the environment variable that generate.llm.api_key_env names."


def _excerpt(error: openai.APIStatusError) -> str:
    body = error.body
    if isinstance(body, dict):
        body = body.get("message") or body
    return _printable(str(body or "").encode()[:300])


def _printable(data: bytes) -> str:
    text = data.decode("utf-8", "replace")
    return "".join(c if c.isprintable() else " " for c in text).strip()


def _quiet(*loggers: str) -> None:
    # One line of INFO per request would drown everything else; a level that somebody has set stays.
    for name in loggers:
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.WARNING)
