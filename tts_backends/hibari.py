"""Hibari: an 8 MB English voice, `heart`, distilled from Kokoro's af_heart. Fast and clean; one voice.

It is the fit fixed voice for the assistant. Its network ends in a source-filter synthesis in numpy (`hibari.dsp`) that
takes the F0 contour apart from the spectral envelopes. So pitch and pitch range are changed between the two, as in
Kokoro's graph; vocal effort is a shelf on the result. The envelope is only meant to be read at the harmonics of the F0
that it was made for: at other pitches it is read there and drawn anew between (DistillMOS at pitch 1.25 with and
without that: 4.35 and 2.42; unchanged voice 4.58).

The package knows four more voices, but fetches them from a hub that our machines do not reach, so they are not offered.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.audio import Samples
from contracts.protocols import Capabilities, SpeechRequest
from contracts.records import Delivery, Voice
from tts_backends import vocal_effort
from tts_backends.base import LocalBackend, factor, join_chunks, onnx_session, package_revision, speaking_rate
from tts_backends.vocal_effort import with_effort

SAMPLE_RATE = 24_000
VOICED_ABOVE = 40.0
"""Hz, as hibari.dsp takes it."""
HIGHEST_HARMONIC = 11_000.0
"""Hz, as hibari.dsp takes it."""
HEADROOM = 0.7
"""Amplitude factor on all that the engine returns: room for a loud voice."""
CODE = 2
"""Raise it when our own part of the synthesis changes."""


class Hibari(LocalBackend):
    """Package hibari-tts (Apache-2.0), 24 kHz. Its noise branch is seeded from the request.

    Args:
        num_threads: utterances spoken at once.
    """

    name = "hibari"
    packages = ("hibari", "onnxruntime")
    capabilities = Capabilities(
        sample_rate=SAMPLE_RATE,
        languages=("en",),
        emotion="prosody",
        controls=frozenset({"rate", "pitch", "pitch_range", "energy"}),
    )

    def __init__(self, *, num_threads: int = 2) -> None:
        super().__init__(num_threads=num_threads)
        self.revision = f"{package_revision('hibari-tts')} code {CODE}.{vocal_effort.CODE}"

    def voices(self) -> Sequence[Voice]:
        """The one voice."""
        source = "package hibari-tts, distilled from Kokoro-82M af_heart"
        return (
            Voice(
                id="hibari/heart", backend=self.name, name="heart", gender="female", license="Apache-2.0", source=source
            ),
        )

    def _load(self) -> None:
        self._frontend = EnglishPhonemes()
        self._engine = self._frontend.engine
        self._engine.sess = onnx_session(self._engine.model_path)

    def _unload(self) -> None:
        del self._engine, self._frontend

    def _speak(self, request: SpeechRequest, /) -> Samples:
        rate = speaking_rate(request)
        chunks = [
            self._run(phonemes, rate, request.delivery, np.random.default_rng([request.seed, position]))
            for position, phonemes in enumerate(self._frontend(request.text))
        ]
        return with_effort(join_chunks(chunks, SAMPLE_RATE), max(factor(request.delivery.energy), 1e-3), SAMPLE_RATE)

    def _run(self, phonemes: str, rate: float, delivery: Delivery, noise: np.random.Generator) -> Samples:
        from hibari import dsp

        ids = np.array([self._engine.ids(phonemes)], np.int64)
        outputs = self._engine.sess.run(None, {"ids": ids, "speed": np.array([rate], np.float32)})
        level, phase, *noise_like, f0 = (output[0] for output in outputs)
        wanted = reshaped(f0, delivery)
        if wanted is not f0:
            level, phase = between_harmonics(level, phase, f0, bin_hz=SAMPLE_RATE / dsp.N_FFT)
        samples = dsp.synth(level, phase, *noise_like, wanted, noise)
        return np.asarray(samples, np.float32) * np.float32(HEADROOM)


def reshaped(f0: NDArray[np.float32], delivery: Delivery) -> NDArray[np.float32]:
    """An F0 contour with the delivery's pitch and range, on its voiced frames, about the mean of their logarithm.

    Args:
        f0: Hz, float32, shape (num_frames,).
        delivery: how it is to be said.
    """
    voiced = f0 > VOICED_ABOVE
    scale, spread = factor(delivery.pitch), factor(delivery.pitch_range)
    if (scale == 1.0 and spread == 1.0) or not voiced.any():
        return f0
    logs = np.log(f0[voiced])
    out = f0.copy()
    out[voiced] = np.exp(logs.mean() + spread * (logs - logs.mean())) * scale
    return out


def between_harmonics(
    level: NDArray[np.float32], phase: NDArray[np.float32], f0: NDArray[np.float32], *, bin_hz: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Envelopes that hold at any pitch: log level interpolated between the harmonics of `f0`, phase of the nearest one.

    Args:
        level: log amplitude, float32, shape (num_bins, num_frames).
        phase: of the same shape, as the network gives it.
        f0: Hz that the envelopes were made for, float32, shape (num_frames,).
        bin_hz: width of a bin.
    """
    level, phase = level.copy(), phase.copy()
    hertz = np.arange(len(level)) * bin_hz
    for frame in np.flatnonzero(f0 > VOICED_ABOVE):
        harmonics = np.arange(1, int(HIGHEST_HARMONIC / f0[frame]) + 1) * f0[frame]
        bins = np.clip(np.rint(harmonics / bin_hz).astype(int), 1, len(level) - 1)
        nearest = np.clip(np.rint(hertz / f0[frame]).astype(int) - 1, 0, len(bins) - 1)
        level[:, frame] = np.interp(hertz, harmonics, level[bins, frame])
        phase[:, frame] = phase[bins[nearest], frame]
    return level, phase


class EnglishPhonemes:
    """Text to phonemes in misaki's alphabet, which Hibari and Kokoro read. About 1.5 ms a sentence."""

    def __init__(self) -> None:
        from hibari import Hibari as Engine

        self.engine: Any = Engine(voice="heart", threads=1)
        # The network for unknown words loads at its first use: do that here, not in the midst of a batch.
        self.engine.phonemize("Zorblax.")
        self._lock = threading.Lock()

    def __call__(self, text: str) -> list[str]:
        """Phonemes of each sentence; a sentence beyond 400 phonemes is split at its clauses."""
        # The front end makes no promise about threads, and is too cheap to need any.
        with self._lock:
            return [str(phonemes) for phonemes in self.engine.phonemize(text)]
