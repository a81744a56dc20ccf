"""Speaker embeddings of utterances, each computed once for all scorers that want it."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from functools import cache
from pathlib import Path

import numpy as np

from contracts.audio import Audio
from contracts.errors import ConfigError, DamagedFile
from storage.audio_files import decode_audio
from tasks.prosody import audible_span
from tasks.scorers._shared import fault
from tasks.speaker_embedding import Embedding, SpeakerEncoder

MODULES = {"resemblyzer": "resemblyzer", "torch": "torch", "librosa": "librosa"}
MIN_SECONDS = 0.1
"""Of audible speech; with less nobody could tell who speaks."""
REMEMBERED = 8192
"""Embeddings kept, 1 kB each: far more than the utterances of the parts under way."""


class _Memory:
    """The embeddings that were computed last, by the sound's content."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, Embedding] = OrderedDict()
        self._guard = threading.Lock()

    def get(self, key: bytes) -> Embedding | None:
        with self._guard:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: bytes, embedding: Embedding) -> None:
        with self._guard:
            self._kept[key] = embedding
            while len(self._kept) > REMEMBERED:
                self._kept.popitem(last=False)


_memory = _Memory()
_loading = threading.Lock()


def encoder() -> SpeakerEncoder:
    """The encoder of this process, 17 MB; loaded at the first call.

    Raises:
        MissingExtra: resemblyzer is not installed.
    """
    with _loading:
        return _loaded_encoder()


@cache
def _loaded_encoder() -> SpeakerEncoder:
    return SpeakerEncoder()


def speaker_vector(audio: Audio) -> Embedding | str:
    """Who speaks, float32 of shape (256,) and length 1; or why that cannot be told, in words."""
    why = fault(audio)
    if why:
        return why
    begin, end = audible_span(audio.samples)
    if end == begin:
        return "the audio is silent"
    if end - begin < MIN_SECONDS * audio.sample_rate:
        seconds = (end - begin) / audio.sample_rate
        return f"{seconds:.3f} s of audible speech are too little to tell a voice by; it takes {MIN_SECONDS} s"
    key = hashlib.sha256(audio.samples.tobytes() + str(audio.sample_rate).encode()).digest()
    known = _memory.get(key)
    if known is not None:
        return known
    found = encoder().embed(Audio(audio.samples[begin:end], audio.sample_rate))
    if not np.isfinite(found).all():
        return "the speaker encoder returned numbers that are not finite"
    _memory.put(key, found)
    return found


def clip_vector(path: Path) -> Embedding:
    """The speaker of a reference clip.

    Raises:
        ConfigError: the file is missing, no audio, or without speech.
    """
    try:
        found = speaker_vector(decode_audio(path.read_bytes(), str(path)))
    except (OSError, DamagedFile) as error:
        raise ConfigError(f"The reference clip {path} cannot be read: {error}") from error
    if isinstance(found, str):
        raise ConfigError(f"The reference clip {path} cannot be used: {found}. Give one with some seconds of speech.")
    return found
