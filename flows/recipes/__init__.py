"""Recipes: YAML files of the type `contracts.config.CorpusConfig`; built-in ones lie beside this file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from importlib.resources import files
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from contracts.config import CorpusConfig
from contracts.errors import RecipeError
from storage.object_store import read_text


def builtin_recipes() -> dict[str, str]:
    """Name -> YAML text of the recipes that come with the program."""
    found = (f for f in files(__name__).iterdir() if f.name.endswith(".yaml"))
    return {f.name.removesuffix(".yaml"): f.read_text(encoding="utf-8") for f in sorted(found, key=lambda f: f.name)}


def load_recipe(recipe: str, settings: Mapping[str, Any] | None = None) -> CorpusConfig:
    """A built-in recipe by name or any recipe by path, with settings laid over it.

    Args:
        recipe: name of a built-in recipe, or path of a YAML file.
        settings: dotted key -> value, e.g. `{"target.dialogues": 100}`.

    Raises:
        RecipeError: no such recipe, no YAML, or a key or value that is not allowed; the text names it.
    """
    raw = _parse(recipe, _text(recipe))
    for key, value in (settings or {}).items():
        _lay_over(raw, key, value)
    try:
        return CorpusConfig.model_validate(raw)
    except ValidationError as error:
        raise RecipeError(f"Recipe {recipe!r} is not valid:\n" + "\n".join(_problems(error))) from None


def parse_settings(pairs: Iterable[str]) -> dict[str, Any]:
    """`key=value` words as given on the command line; values are read as YAML.

    Raises:
        RecipeError: a word without `=`, or a value that is no YAML.
    """
    settings = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key:
            raise RecipeError(f"--set takes key=value, e.g. --set target.dialogues=100; got {pair!r}.")
        try:
            settings[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise RecipeError(f"--set {key}: {value!r} is no YAML value: {error}") from None
    return settings


def _text(recipe: str) -> str:
    known = builtin_recipes()
    if recipe in known:
        return known[recipe]
    try:
        return read_text(recipe)
    except FileNotFoundError:
        listed = ", ".join(known)
        raise RecipeError(f"No recipe {recipe!r}: it is no file, and the built-in ones are: {listed}.") from None


def _parse(recipe: str, text: str) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"Recipe {recipe!r} is no YAML: {error}") from None
    if not isinstance(raw, dict):
        raise RecipeError(f"Recipe {recipe!r} must be a mapping of keys to values, got {type(raw).__name__}.")
    return raw


def _lay_over(raw: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    for name in path:
        child = raw.setdefault(name, {})
        if not isinstance(child, dict):
            raise RecipeError(f"--set {key}: {name} is a value in this recipe, not a group of keys.")
        raw = child
    raw[last] = value


def _problems(error: ValidationError) -> list[str]:
    lines = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"]) or "recipe"
        if problem["type"] == "extra_forbidden":
            lines.append(f"  {where}: unknown key{_suggestion(problem['loc'])}")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            shown = "" if isinstance(problem["input"], dict) else f" (got {problem['input']!r})"
            lines.append(f"  {where}: {message}{shown}")
    return lines


def _suggestion(location: tuple[int | str, ...]) -> str:
    model: Any = CorpusConfig
    for name in location[:-1]:
        field = model.model_fields.get(str(name)) if isinstance(model, type) and issubclass(model, BaseModel) else None
        if field is None:
            return ""
        model = field.annotation
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return ""
    near = get_close_matches(str(location[-1]), model.model_fields, n=1)
    return f"; did you mean {near[0]}?" if near else f"; known are: {', '.join(model.model_fields)}"
