"""Plugins by entry point: `PluginSpec(name, options)` becomes an instance. Built-ins register like outsiders.

To add an engine, put this into your own package's pyproject.toml and install it; no line of this project changes:

    [project.entry-points."s2s.tts_backends"]
    my_engine = "my_package.my_module:MyBackend"

The factory's keyword arguments are the plugin's options in the recipe.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, cast

from pydantic import Field, field_validator

from contracts.config_base import Config
from contracts.errors import ConfigError, UnknownPlugin
from contracts.protocols import Engine

PluginGroup = Literal["tts_backends", "asr_backends", "scorers"]
PLUGIN_GROUPS: tuple[PluginGroup, ...] = ("tts_backends", "asr_backends", "scorers")


class PluginSpec(Config):
    """Which plugin, with which options. In a recipe, a bare string is a plugin with its defaults."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        if not name.replace("_", "").isalnum():
            raise ValueError(f"a plugin's name is letters, digits and underscores, got {name!r}")
        return name


@cache
def registered(group: PluginGroup) -> dict[str, EntryPoint]:
    """Every plugin of a group, by name."""
    return {point.name: point for point in entry_points(group=f"s2s.{group}")}


def factory(group: PluginGroup, name: str) -> Callable[..., Engine]:
    """The callable behind a plugin's name.

    Raises:
        UnknownPlugin: no such name; the text lists the choices.
    """
    try:
        point = registered(group)[name]
    except KeyError:
        raise UnknownPlugin(group, name, registered(group)) from None
    return cast(Callable[..., Engine], point.load())


def create(group: PluginGroup, spec: PluginSpec) -> Engine:
    """An instance of the plugin, its weights not yet loaded.

    Raises:
        UnknownPlugin: no such name.
        ConfigError: an option that the plugin does not take; the text lists those that it does.
    """
    make = factory(group, spec.name)
    accepted = set(inspect.signature(make).parameters)
    unknown = sorted(set(spec.options) - accepted)
    if unknown:
        raise ConfigError(
            f"{group} plugin {spec.name!r} has no option {unknown[0]!r}; "
            f"its options are: {', '.join(sorted(accepted)) or '(none)'}."
        )
    return make(**spec.options)
