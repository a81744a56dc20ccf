"""Cards for the voices that a backend brings with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from contracts.errors import ConfigError
from contracts.plugins import PluginSpec, create
from contracts.protocols import SpeechRequest, TTSBackend
from contracts.records import Voice
from tasks.engine_room import with_all_cores
from tasks.voices.measure import NEUTRAL, PROBES, Meter, card_of, voice_embedding
from tts_backends.voice_bank import VoiceBank


def measure_backend(name: str, *, num_threads: int, options: Mapping[str, Any] | None = None) -> VoiceBank:
    """Let every voice of a backend speak the probes and measure it.

    Raises:
        ConfigError: no such backend, or kokoro, whose cards hold the recipes that only the building of a bank knows.
        MissingExtra: it cannot run here.
    """
    if name == "kokoro":
        raise ConfigError("kokoro's voices are measured while they are made: use `s2s voices build`.")
    spec = with_all_cores("tts_backends", PluginSpec(name=name, options=dict(options or {})))
    backend = cast(TTSBackend, create("tts_backends", spec))
    backend.check()
    cards, embeddings = {}, {}
    with backend, Meter(num_threads=num_threads) as meter:
        for voice in backend.voices():
            language = next((known for known in voice.languages if known in PROBES), None)
            if language is None:
                continue
            audios = backend.synthesize([_request(voice, text, language) for text in PROBES[language]])
            measured = meter.measure(audios, PROBES[language], language=language)
            cards[voice.id] = card_of(voice, measured, {})
            embeddings[voice.id] = voice_embedding(measured)
    return VoiceBank(cards, embeddings)


def _request(voice: Voice, text: str, language: str) -> SpeechRequest:
    return SpeechRequest(text=text, voice=voice, language=language, delivery=NEUTRAL)
