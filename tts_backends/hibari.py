"""Hibari: an 8 MB English voice, `heart`, distilled from Kokoro's af_heart. Fast and clean; one voice, no feelings.

It is the fit fixed voice for the assistant. The package knows four more voices, but fetches them from a hub that our
machines do not reach, so they are not offered.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from contracts.audio import Samples
from contracts.protocols import Capabilities, SpeechRequest
from contracts.records import Voice
from tts_backends.base import LocalBackend, join_chunks, onnx_session, package_revision, speaking_rate

SAMPLE_RATE = 24_000


class Hibari(LocalBackend):
    """Package hibari-tts (Apache-2.0), 24 kHz. Its noise branch is seeded from the request.

    Args:
        num_threads: utterances spoken at once.
    """

    name = "hibari"
    packages = ("hibari", "onnxruntime")
    capabilities = Capabilities(sample_rate=SAMPLE_RATE, languages=("en",), controls=frozenset({"rate"}))

    def __init__(self, *, num_threads: int = 2) -> None:
        super().__init__(num_threads=num_threads)
        self.revision = package_revision("hibari-tts")

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
        chunks: list[Samples] = [
            self._engine.from_phonemes(phonemes, speed=rate, seed=[request.seed, position])
            for position, phonemes in enumerate(self._frontend(request.text))
        ]
        return join_chunks(chunks, SAMPLE_RATE)


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
