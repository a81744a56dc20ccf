"""`s2s say`: one utterance by one voice into one file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import cast

from contracts.errors import ConfigError
from contracts.plugins import PluginSpec, create
from contracts.protocols import SpeechRequest, TTSBackend
from contracts.records import Delivery, Reason, Record, Voice
from storage.audio_files import write_audio
from tasks.engine_room import with_all_cores
from tasks.spoken_form import spoken_form


class Spoken(Record):
    """What was said."""

    voice: str
    seconds: float
    """Seconds of speech."""
    real_time_factor: float
    """Seconds of speech per second of work."""


def speak(text: str, *, backend: str, voice: str | None, rate: float | None, seed: int, out: Path) -> Spoken:
    """Say a text and write it.

    Raises:
        ConfigError: an unknown backend or voice, or a control that the backend does not have.
        SynthesisError: it could not be spoken.
    """
    engine = cast(TTSBackend, create("tts_backends", with_all_cores("tts_backends", PluginSpec(name=backend))))
    engine.check()
    chosen = _voice(engine, voice)
    if rate is not None and "rate" not in engine.capabilities.controls:
        raise ConfigError(f"{backend} cannot change its rate; leave --rate away or take another backend.")
    language = chosen.languages[0]
    spoken = spoken_form(text, language)
    if isinstance(spoken, Reason):
        raise ConfigError(f"This text cannot be spoken: {spoken.detail}")
    request = SpeechRequest(
        text=spoken,
        voice=chosen,
        language=language,
        delivery=Delivery(emotion="neutral", intensity=0.0, rate=rate),
        seed=seed,
    )
    with engine:
        began = time.perf_counter()
        audio = engine.synthesize([request])[0]
        seconds = time.perf_counter() - began
    write_audio(out, audio)
    return Spoken(voice=chosen.id, seconds=audio.duration, real_time_factor=audio.duration / seconds)


def _voice(engine: TTSBackend, wanted: str | None) -> Voice:
    voices = engine.voices()
    if wanted is None:
        return voices[0]
    for voice in voices:
        if wanted in (voice.id, voice.name):
            return voice
    listed = ", ".join(v.name for v in voices)
    raise ConfigError(f"{engine.name} has no voice {wanted!r}; choose one of: {listed}.")
