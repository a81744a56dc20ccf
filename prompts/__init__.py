"""The words we put to models: prompts (one .md each) and taxonomies (.yaml), loaded by name with their hashes.

A prompt or taxonomy is part of the fingerprint of what it made, so both come with a sha256 of their bytes.
The typed view of a taxonomy is in `prompts.taxonomies`; `load_taxonomy` gives the same as plain data.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar

import yaml

from contracts.errors import RecipeError
from prompts.taxonomies import Ages, Deliveries, Emotions, Taxonomy, Topics, parse

__all__ = [
    "Prompt",
    "ages",
    "deliveries",
    "emotions",
    "load_prompt",
    "load_taxonomy",
    "prompt_names",
    "taxonomy_sha256",
    "topics",
]

T = TypeVar("T", bound=Taxonomy)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt's text and what identifies it."""

    name: str
    text: str
    sha256: str
    """Of the file's bytes."""


def prompt_names() -> tuple[str, ...]:
    """Every prompt that exists, sorted."""
    return _names(".md")


@cache
def load_prompt(name: str) -> Prompt:
    """The prompt of the file prompts/{name}.md.

    Raises:
        RecipeError: no such prompt; the text lists those that exist.
    """
    content = _read(name, ".md", kind="prompt")
    return Prompt(name=name, text=content.decode("utf-8"), sha256=hashlib.sha256(content).hexdigest())


def load_taxonomy(name: str) -> dict[str, Any]:
    """The taxonomy of prompts/{name}.yaml as plain data, validated, with defaults filled in.

    Raises:
        RecipeError: no such taxonomy, or its content is wrong; the text says what and where.
    """
    return _taxonomy(name).model_dump()


@cache
def taxonomy_sha256(name: str) -> str:
    """Sha256, in hex, of the file prompts/{name}.yaml.

    Raises:
        RecipeError: no such taxonomy.
    """
    return hashlib.sha256(_read(name, ".yaml", kind="taxonomy")).hexdigest()


def emotions() -> Emotions:
    """prompts/emotions.yaml: emotions, intensity levels and the assistant's tones."""
    return _typed("emotions", Emotions)


def topics() -> Topics:
    """prompts/topics.yaml, every name in it checked against the emotions and age bands."""
    loaded = _typed("topics", Topics)
    loaded.check_names(emotions=tuple(emotions().emotions), ages=tuple(ages().ages))
    return loaded


def ages() -> Ages:
    """prompts/ages.yaml: age bands, youngest first."""
    return _typed("ages", Ages)


def deliveries() -> Deliveries:
    """prompts/delivery.yaml: how an emotion or a tone sounds, every one of them covered."""
    loaded = _typed("delivery", Deliveries)
    loaded.check_names(emotions=tuple(emotions().emotions), reply_tones=tuple(emotions().reply_tones))
    return loaded


def _typed(name: str, kind: type[T]) -> T:
    loaded = _taxonomy(name)
    assert isinstance(loaded, kind)
    return loaded


@cache
def _taxonomy(name: str) -> Taxonomy:
    content = _read(name, ".yaml", kind="taxonomy")
    return parse(name, yaml.safe_load(content))


def _read(name: str, suffix: str, *, kind: str) -> bytes:
    if name not in _names(suffix):
        plural = "prompts" if kind == "prompt" else "taxonomies"
        listed = ", ".join(_names(suffix)) or "(none)"
        raise RecipeError(f"No {kind} named {name!r}; {plural} that exist: {listed}.")
    return (files(__name__) / f"{name}{suffix}").read_bytes()


@cache
def _names(suffix: str) -> tuple[str, ...]:
    names = (entry.name for entry in files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(suffix) for name in names if name.endswith(suffix)))
