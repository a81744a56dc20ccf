from __future__ import annotations

import pytest

from contracts.errors import ConfigError, UnknownPlugin
from contracts.plugins import PLUGIN_GROUPS, PluginSpec, create, registered


def test_every_built_in_plugin_loads_and_has_its_registered_name() -> None:
    for group in PLUGIN_GROUPS:
        assert registered(group)
        for name in registered(group):
            try:
                engine = create(group, PluginSpec(name=name))
            except TypeError as error:
                assert "required" in str(error)  # noqa: PT017  (a plugin that must be told an endpoint)
                continue
            assert engine.name == name
            assert engine.revision


def test_unknown_plugin_lists_the_choices() -> None:
    with pytest.raises(UnknownPlugin, match="No tts_backends plugin named 'cosy'; choose one of: .*kokoro"):
        create("tts_backends", PluginSpec(name="cosy"))


def test_unknown_option_lists_the_options() -> None:
    with pytest.raises(ConfigError, match="'tone' has no option 'volume'; its options are: "):
        create("tts_backends", PluginSpec(name="tone", options={"volume": 3}))
