"""FLAC bytes <-> Audio, and the tar that holds the audio of a part.

A part's audio is one object, so that a corpus of a million utterances is a few thousand objects; a turn is read by its
byte range. FLAC is encoded once, at synthesis: packing copies bytes.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

from contracts.audio import Audio
from contracts.errors import ConfigError, DamagedFile
from contracts.records import AudioRef
from storage import layout
from storage.manifests import FileEntry
from storage.object_store import HashingWriter, LocalStore, ObjectStore

FULL_SCALE = 32767 / 32768
"""The largest sample that 16 bits hold; a sample of 1.0 would wrap in some decoders and clip in others."""


def encode_flac(audio: Audio) -> bytes:
    """Encode as 16-bit FLAC; samples outside [-1, 1] are clipped."""
    buffer = io.BytesIO()
    samples = np.clip(audio.samples, -1.0, FULL_SCALE)
    soundfile.write(buffer, samples, audio.sample_rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def decode_audio(data: bytes, name: str) -> Audio:
    """Decode a FLAC or WAV file; several channels are averaged.

    Raises:
        DamagedFile: the bytes are no audio; `name` says which file.
    """
    try:
        samples, sample_rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise DamagedFile(f"{name} cannot be decoded as audio: {error.error_string}.") from error
    return Audio(samples.mean(axis=1, dtype=np.float32), sample_rate)


class PartAudioWriter:
    """Adds utterances to the tar of a part and says where each one lies."""

    def __init__(self, file: HashingWriter, key: str) -> None:
        self._file, self._key = file, key
        self._tar = tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)  # type: ignore[call-overload]

    def add(self, utterance_id: str, flac: bytes) -> AudioRef:
        """Append one utterance."""
        info = tarfile.TarInfo(f"{utterance_id}.flac")
        info.size, info.mode = len(flac), 0o444
        offset = self._file.tell() + tarfile.BLOCKSIZE
        self._tar.addfile(info, io.BytesIO(flac))
        return AudioRef(path=self._key, offset=offset, size=len(flac), sha256=hashlib.sha256(flac).hexdigest())

    def close(self) -> FileEntry:
        """End the tar."""
        self._tar.close()
        return FileEntry(key=self._key, num_bytes=self._file.tell(), sha256=self._file.sha256)


@contextmanager
def part_audio_writer(store: ObjectStore, part: int) -> Iterator[PartAudioWriter]:
    """The tar of a part, open for writing; it appears when the block ends without an exception."""
    key = layout.audio_key(part)
    with store.writer(key) as file:
        yield PartAudioWriter(file, key)


def read_flac(store: ObjectStore, ref: AudioRef) -> bytes:
    """The encoded bytes of an utterance, checked by hash.

    Raises:
        DamagedFile: they are not what was written.
    """
    try:
        data = store.read_range(ref.path, ref.offset, ref.size)
    except FileNotFoundError:
        raise DamagedFile(f"{ref.path} is missing.") from None
    if hashlib.sha256(data).hexdigest() != ref.sha256:
        raise DamagedFile(f"{ref.path} was altered at bytes {ref.offset} to {ref.offset + ref.size}.")
    return data


def read_audio(store: ObjectStore, ref: AudioRef) -> Audio:
    """An utterance as sound."""
    return decode_audio(read_flac(store, ref), ref.path)


def write_audio(path: Path, audio: Audio) -> None:
    """Write a sound file for a person; the format follows the name (.wav, .flac, .ogg).

    Raises:
        ConfigError: the name has another ending.
        NotWritable: the place cannot be written.
    """
    formats = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG"}
    if path.suffix not in formats:
        raise ConfigError(f"{path} must end in one of {', '.join(formats)}.")
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(audio.samples, -1.0, FULL_SCALE), audio.sample_rate, format=formats[path.suffix])
    LocalStore(path.parent).write(path.name, buffer.getvalue())
