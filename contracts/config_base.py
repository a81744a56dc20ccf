"""The base of all configs: strict, frozen, and able to say what of it decides the output."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict


class _Runtime:
    """Marks a field that changes how fast or where work is done, never what comes out."""


RUNTIME = _Runtime()
"""`Annotated[int, RUNTIME]`: the field is left out of fingerprints (concurrency, timeouts, addresses, retries)."""

RUNTIME_OPTIONS = frozenset({"num_threads", "timeout", "max_concurrency", "request_attempts", "api_key_env"})
"""The same for plugins' free-form options."""


class Config(BaseModel):
    """Strict: unknown keys are refused, values are not silently converted between kinds, instances are frozen."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


def semantic(config: Any) -> Any:
    """The part of a config that decides the output, as plain JSON-able data: runtime fields left out."""
    if isinstance(config, BaseModel):
        return {
            name: semantic(getattr(config, name))
            for name, field in type(config).model_fields.items()
            if RUNTIME not in field.metadata
        }
    if isinstance(config, dict):
        return {str(k): semantic(v) for k, v in config.items() if k not in RUNTIME_OPTIONS}
    if isinstance(config, (list, tuple)):
        return [semantic(v) for v in config]
    return config


def fingerprint(*parts: Any) -> str:
    """Sha256, in hex, of JSON-able parts or configs; equal parts give equal fingerprints on every machine."""
    canonical = json.dumps([semantic(p) for p in parts], sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()
