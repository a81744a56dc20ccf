"""`s2s say`: one utterance by one voice into one file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import cast

from pydantic import Field

import prompts
from contracts.errors import ConfigError
from contracts.plugins import PluginSpec, create
from contracts.protocols import CONTROLS, SpeechRequest, TTSBackend
from contracts.records import Delivery, Reason, Record, Voice
from storage.audio_files import write_audio
from tasks.cast_voices import delivery as delivery_of
from tasks.engine_room import with_all_cores
from tasks.spoken_form import spoken_form


class Manner(Record):
    """How something is to be said: a feeling from the delivery table, and single controls laid over it."""

    emotion: str = "neutral"
    intensity: float = Field(default=0.65, ge=0, le=1)
    rate: float | None = None
    pitch: float | None = None
    pitch_range: float | None = None
    energy: float | None = None
    expressiveness: float | None = None


class Spoken(Record):
    """What was said."""

    voice: str
    seconds: float
    """Seconds of speech."""
    real_time_factor: float
    """Seconds of speech per second of work."""
    delivery: Delivery


def speak(
    text: str, *, backend: str, voice: str | None, manner: Manner, seed: int, out: Path, bank: Path | None = None
) -> Spoken:
    """Say a text and write it.

    Args:
        text: what to say.
        backend: name of the TTS backend.
        voice: name or id; None takes the first.
        manner: how.
        seed: of what is random in the engine.
        out: file to write.
        bank: folder of a voice bank, for a backend that takes one.

    Raises:
        ConfigError: an unknown backend, voice or emotion, or a control that the backend does not have.
        SynthesisError: it could not be spoken.
    """
    spec = PluginSpec(name=backend, options={"bank": str(bank)} if bank else {})
    engine = cast(TTSBackend, create("tts_backends", with_all_cores("tts_backends", spec)))
    engine.check()
    chosen = _voice(engine, voice)
    delivery = _delivery(manner, engine)
    language = chosen.languages[0]
    spoken = spoken_form(text, language)
    if isinstance(spoken, Reason):
        raise ConfigError(f"This text cannot be spoken: {spoken.detail}")
    request = SpeechRequest(text=spoken, voice=chosen, language=language, delivery=delivery, seed=seed)
    with engine:
        began = time.perf_counter()
        audio = engine.synthesize([request])[0]
        seconds = time.perf_counter() - began
    write_audio(out, audio)
    return Spoken(voice=chosen.id, seconds=audio.duration, real_time_factor=audio.duration / seconds, delivery=delivery)


def _delivery(manner: Manner, engine: TTSBackend) -> Delivery:
    table = prompts.deliveries().user
    if manner.emotion not in table:
        raise ConfigError(f"No emotion {manner.emotion!r}; choose one of: {', '.join(table)}.")
    can = engine.capabilities
    single: dict[str, float] = {name: value for name in CONTROLS if (value := getattr(manner, name)) is not None}
    for name in single:
        if name not in can.controls:
            have = ", ".join(f"--{c.replace('_', '-')}" for c in CONTROLS if c in can.controls) or "none"
            raise ConfigError(f"{engine.name} cannot change its {name.replace('_', ' ')}; its controls are: {have}.")
    words = f"The speaker {prompts.emotions().emotions[manner.emotion].description}."
    asked = delivery_of(manner.emotion, manner.intensity, table[manner.emotion], can, words)
    return asked.model_copy(update=single)


def _voice(engine: TTSBackend, wanted: str | None) -> Voice:
    voices = engine.voices()
    if wanted is None:
        return voices[0]
    for voice in voices:
        if wanted in (voice.id, voice.name):
            return voice
    listed = ", ".join(v.name for v in voices[:40]) + (" ... (see `s2s voices list`)" if len(voices) > 40 else "")
    raise ConfigError(f"{engine.name} has no voice {wanted!r}; choose one of: {listed}.")
