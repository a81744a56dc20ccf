from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import cast

import pytest

from contracts.errors import MissingExtra
from contracts.plugins import PluginSpec, create, registered
from contracts.protocols import SpeechRequest, TTSBackend
from contracts.records import Delivery, Voice

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
    """A registered backend, entered once for the whole session; skips where it cannot run."""
    running: dict[str, TTSBackend] = {}

    def get(name: str) -> TTSBackend:
        if name not in running:
            backend = cast(TTSBackend, create("tts_backends", PluginSpec(name=name)))
            try:
                backend.check()
            except MissingExtra as missing:
                pytest.skip(str(missing))
            backend.__enter__()
            running[name] = backend
        return running[name]

    yield get
    for backend in running.values():
        backend.__exit__(None, None, None)


@pytest.fixture(params=sorted(registered("tts_backends")))
def backend(request: pytest.FixtureRequest, entered: Callable[[str], TTSBackend]) -> TTSBackend:
    return entered(request.param)
