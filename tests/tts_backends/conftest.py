from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, cast

import pytest

from contracts.errors import MissingExtra
from contracts.plugins import PluginSpec, create, registered
from contracts.protocols import SpeechRequest, TTSBackend
from contracts.records import Delivery, Voice
from tests.tts_backends.served import served
from tts_backends.hibari import Hibari

NEUTRAL = Delivery(emotion="neutral", intensity=0.5)


def request_for(
    voice: Voice,
    text: str = "The weather is nice today.",
    *,
    language: str | None = None,
    seed: int = 7,
    **controls: float,
) -> SpeechRequest:
    delivery = NEUTRAL.model_copy(update=controls)
    language = language or voice.languages[0]
    return SpeechRequest(text=text, voice=voice, language=language, delivery=delivery, seed=seed)


@pytest.fixture(scope="session")
def entered() -> Iterator[Callable[[str], TTSBackend]]:
    """A registered backend, entered once for the whole session; skips where it cannot run.

    `openai_speech` speaks through a server of our own around hibari.
    """
    running: dict[str, TTSBackend] = {}
    with ExitStack() as stack:

        def get(name: str) -> TTSBackend:
            if name not in running:
                options: dict[str, Any] = {}
                if name == "openai_speech":
                    options = {
                        "base_url": stack.enter_context(served("hibari")),
                        "voices": {"heart": "female"},
                        "delivery_controls": sorted(Hibari.capabilities.controls - {"rate"}),
                        "send_seed": True,
                    }
                backend = cast(TTSBackend, create("tts_backends", PluginSpec(name=name, options=options)))
                try:
                    backend.check()
                except MissingExtra as missing:
                    pytest.skip(str(missing))
                running[name] = cast(TTSBackend, stack.enter_context(backend))
            return running[name]

        yield get


@pytest.fixture(params=sorted(registered("tts_backends")))
def backend(request: pytest.FixtureRequest, entered: Callable[[str], TTSBackend]) -> TTSBackend:
    return entered(request.param)
