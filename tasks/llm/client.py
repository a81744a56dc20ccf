"""The one way to an LLM: many threads ask, one event loop sends, an adaptive limiter paces, a cache remembers.

All parts' worker threads share one client, so that they share one idea of what the endpoint bears. A request that is
answered is in the cache before its caller sees it; so whatever ends a run, nothing that was paid for is lost.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from contracts.config import LLMConfig
from contracts.errors import EndpointDown, EndpointError
from storage.request_cache import RequestCache
from tasks.llm.embedded import SAMPLING, STOP, EmbeddedEngine
from tasks.llm.endpoint import Endpoint, TryAgain
from tasks.llm.limiter import Limiter
from tasks.llm.loop_thread import LoopThread
from tasks.llm.messages import ChatRequest, Completion, RequestFailed, RequestRefused, Usage
from tasks.llm.retries import Backoff, Tries

_EMBEDDED_TIMEOUT = 900.0
"""Seconds. Nothing can be lost between us and the embedded engine; it is only slow when the cores are busy."""


class LLMClient:
    """Context manager around an OpenAI-compatible endpoint, or around the embedded engine.

    Args:
        config: where and how to ask.
        cache: where answers are kept.
        backoff: pause between two tries of one request.
        start_tries: how often the endpoint is tried on entry.

    Raises:
        EndpointDown: on entry, when the endpoint does not answer, refuses the key or does not have the model.
        MissingExtra: on entry, when the embedded engine is asked for and not installed.
    """

    def __init__(
        self, config: LLMConfig, cache: RequestCache, *, backoff: Backoff | None = None, start_tries: int = 4
    ) -> None:
        self.config, self.cache = config, cache
        self._backoff, self._start_tries = backoff or Backoff(), start_tries
        self._usage, self._usage_lock = Usage(), threading.Lock()
        self._stack = ExitStack()
        self._model, self._revision = "", ""
        self._extra = config.extra if config.base_url else {**SAMPLING, **config.extra}
        self._loop: LoopThread
        self._endpoint: Endpoint
        self._limiter: Limiter

    @property
    def identity(self) -> str:
        """`model@revision`, as written into records and fingerprints; `unknown` where an endpoint does not tell."""
        return f"{self._model}@{self._revision}"

    @property
    def takes_openings(self) -> bool:
        """Whether the engine goes on from a given start of its answer; among OpenAI-compatible servers few do."""
        return self.config.base_url is None

    @property
    def usage(self) -> Usage:
        """What was done so far."""
        with self._usage_lock:
            return self._usage

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._loop = stack.enter_context(LoopThread("llm-client"))
            self._endpoint = self._open(stack)
            stack.callback(lambda: self._loop.run(self._endpoint.close()))
            self._model, self._revision = self._loop.run(self._find_model())
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        closed = EndpointError("The LLM client was closed while requests were under way.")
        self._loop.soon(lambda: self._limiter.end_all(closed))
        self._stack.close()

    def complete(self, requests: Sequence[ChatRequest]) -> list[Completion | Exception]:
        """Answer all requests, concurrently, in their order. Blocks; any number of threads may call it.

        Returns:
            For each request its completion, or the `RequestFailed` that befell it alone.

        Raises:
            EndpointDown: the endpoint refuses every request.
            BreakerOpen: nothing has succeeded for `breaker_seconds`.
            StorageError: the cache cannot be written.
        """
        answers: dict[int, Completion | Exception] = {}
        for index, request in enumerate(requests):
            if (known := self._recall(request)) is not None:
                answers[index] = known
        missing = [index for index in range(len(requests)) if index not in answers]
        if missing:
            answers.update(zip(missing, self._loop.run(self._all([requests[i] for i in missing])), strict=True))
        return [answers[index] for index in range(len(requests))]

    def _open(self, stack: ExitStack) -> Endpoint:
        ceiling, start = self.config.max_concurrency, 4
        timeout = self.config.timeout
        if self.config.base_url is None:
            engine = stack.enter_context(EmbeddedEngine(num_threads=self.config.num_threads))
            base_url, key = engine.base_url, engine.api_key
            # What it bears is known: its slots. A request that waits inside it only runs down its own timeout.
            ceiling = start = min(ceiling, engine.num_slots)
            timeout = max(timeout, _EMBEDDED_TIMEOUT)
            self._revision = engine.revision
        else:
            base_url, key = self.config.base_url, os.environ.get(self.config.api_key_env) or "no-key"
        self._limiter = Limiter(
            endpoint=base_url, ceiling=ceiling, start=start, breaker_seconds=self.config.breaker_seconds
        )
        return Endpoint(base_url=base_url, api_key=key, timeout=timeout, max_connections=ceiling)

    async def _find_model(self) -> tuple[str, str]:
        listed = await self._list_models()
        model = self.config.model or next(iter(listed), "")
        if model not in listed:
            names = ", ".join(sorted(listed)[:20]) or "(none)"
            raise EndpointDown(
                f"The LLM endpoint {self._endpoint.base_url} does not serve the model {model!r}; it lists: {names}. "
                "Set generate.llm.model to one of these, or load the model there."
            )
        return model, self._revision or listed[model]

    async def _list_models(self) -> dict[str, str]:
        failure: TryAgain | None = None
        for number in range(self._start_tries):
            try:
                return await self._endpoint.models()
            except TryAgain as error:
                failure = error
                await asyncio.sleep(self._backoff.seconds(number) if number + 1 < self._start_tries else 0.0)
        raise EndpointDown(
            f"The LLM endpoint {self._endpoint.base_url} does not answer: {failure}. Start the server, or correct "
            "generate.llm.base_url; without a base_url the embedded engine is used."
        )

    async def _all(self, requests: Sequence[ChatRequest]) -> list[Completion | Exception]:
        work = (self._limiter.guard(self._answer(request)) for request in requests)
        answers: list[Completion | Exception] = []
        for answer in await asyncio.gather(*work, return_exceptions=True):
            if not isinstance(answer, (Completion, RequestFailed)):
                raise answer
            answers.append(answer)
        return answers

    async def _answer(self, request: ChatRequest) -> Completion:
        tries = Tries(self.config)
        while True:
            async with self._limiter.slot() as slot:
                num_successes = self._limiter.num_successes
                try:
                    completion = await self._ask(request)
                except TryAgain as error:
                    self._limiter.failed(slot, error.why, retry_after=error.retry_after)
                    failure = error
                except RequestRefused:
                    # The endpoint is well: it judged the request.
                    self._limiter.succeeded(slot)
                    raise
                except EndpointDown as error:
                    self._limiter.end_all(error)
                    raise
                else:
                    self._limiter.succeeded(slot)
                    return completion
            tries.note(failure, others_succeeded=self._limiter.num_successes > num_successes)
            self._count(retries=1)
            await self._limiter.sleep(self._backoff.seconds(tries.num_failures))

    async def _ask(self, request: ChatRequest) -> Completion:
        started = time.monotonic()
        self._count(requests=1)
        completion = await self._endpoint.ask(self._payload(request), self._extra)
        if not completion.text.startswith(request.opening):
            completion = replace(completion, text=request.opening + completion.text)
        self._count(
            prompt_tokens=completion.prompt_tokens,
            completion_tokens=completion.completion_tokens,
            seconds=time.monotonic() - started,
        )
        self.cache.put(self._cache_key(request), completion.to_json())
        return completion

    def _payload(self, request: ChatRequest) -> dict[str, Any]:
        config = self.config
        messages = list(request.messages)
        if request.opening:
            assert self.takes_openings, "this engine would answer to the opening, not go on from it"
            messages.append({"role": "assistant", "content": request.opening})
        payload: dict[str, Any] = {
            "model": self._model,
            "messages": messages,
            "max_tokens": min(request.max_tokens or config.max_tokens, config.max_tokens),
            "temperature": config.temperature if request.temperature is None else request.temperature,
            "top_p": config.top_p,
        }
        if config.send_seed:
            payload["seed"] = request.seed
        if stop := request.stop or (STOP if config.base_url is None and request.json_schema is None else ()):
            payload["stop"] = list(stop)
        if request.json_schema is not None:
            schema = {"name": "answer", "strict": True, "schema": dict(request.json_schema)}
            payload["response_format"] = {"type": "json_schema", "json_schema": schema}
        return payload

    def _cache_key(self, request: ChatRequest) -> dict[str, Any]:
        # The seed counts also where it is not sent: two attempts at one scenario must not become one answer.
        return {
            "identity": self.identity,
            "nonce": request.seed,
            "payload": self._payload(request),
            "extra": self._extra,
        }

    def _recall(self, request: ChatRequest) -> Completion | None:
        text = self.cache.get(self._cache_key(request))
        completion = Completion.from_json(text) if text is not None else None
        self._count(cache_hits=int(completion is not None))
        return completion

    def _count(self, **more: float) -> None:
        with self._usage_lock:
            self._usage = replace(self._usage, **{k: getattr(self._usage, k) + v for k, v in more.items()})
