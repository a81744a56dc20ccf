"""What goes to an LLM and what comes back, free of any library's types."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, TypedDict

from contracts.errors import EndpointError


class Message(TypedDict):
    """One message of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """One completion to ask for. What is None is taken from the LLM's config."""

    messages: tuple[Message, ...]
    seed: int
    """Always part of the cache's key; sent only to engines that take it."""
    max_tokens: int | None = None
    temperature: float | None = None
    json_schema: Mapping[str, Any] | None = None
    """Binds the answer to this schema."""
    stop: tuple[str, ...] = ()
    opening: str = ""
    """How the answer begins; it is part of the completion's text. Only for clients that take one, see there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """One answer."""

    text: str
    finish_reason: str
    """`stop`, `length` (cut at max_tokens), or `oversized`: far more bytes than asked for, and thrown away."""
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def to_json(self) -> str:
        """For the cache."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self | None:
        """Back from the cache; None for text that another version wrote."""
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError):
            return None


class RequestFailed(EndpointError):
    """One request got no answer, although the endpoint serves others; only this request is lost."""


class RequestRefused(RequestFailed):
    """The endpoint refuses this one request as malformed or too long (400, 413, 422); asking again changes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a client has done so far."""

    requests: int = 0
    """Sent over the wire, retries included."""
    cache_hits: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    """Sum over the answered requests, from sending to the last byte."""

    @property
    def tokens_per_request(self) -> float:
        """Mean length of an answer, in tokens."""
        return self.completion_tokens / max(1, self.requests - self.retries)
