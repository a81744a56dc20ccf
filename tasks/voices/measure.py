"""What is measured of a voice: it speaks the probe sentences, and every figure of its card is taken from the sound.

The probes are two sentences of everyday words that hold all vowels of English and most of its consonants, short enough
that hundreds of voices are measured in minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, cast

import jiwer
import numpy as np

from contracts.audio import Audio
from contracts.errors import EngineError
from contracts.plugins import PluginSpec, create
from contracts.protocols import ASRBackend, Scorer, ScoringItem, Transcript
from contracts.records import Delivery, Prosody, Score, Utterance, Voice, VoiceCard
from tasks.prosody import measure_prosody
from tasks.scorers._torch_workers import one_core_workers
from tasks.scorers.error_rates import normalized
from tasks.speaker_embedding import Embedding, SpeakerEncoder, mean_embedding

PROBES = {
    "en": ("The boy took his father's shoes down to the river.", "Please bring me a cup of warm tea tonight."),
    "zh": ("今天下午我们去公园散步吧。", "请给我一杯热茶，谢谢你。"),
}
"""Language -> sentences."""
NEUTRAL = Delivery(emotion="neutral", intensity=0.0)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A voice on one probe sentence."""

    prosody: Prosody
    mos: float
    errors: int
    """Words that were heard wrongly (characters where the language writes no blanks)."""
    words: int
    """Words of the probe."""
    embedding: Embedding


class Meter:
    """The engines that listen, loaded: Whisper, DistillMOS and the speaker encoder.

    Args:
        num_threads: utterances measured at once.
    """

    def __init__(self, *, num_threads: int) -> None:
        self._num_threads = num_threads
        options = {"num_threads": num_threads}
        self._asr = cast(ASRBackend, create("asr_backends", PluginSpec(name="faster_whisper", options=options)))
        self._mos = cast(Scorer, create("scorers", PluginSpec(name="distillmos", options=options)))

    def __enter__(self) -> Self:
        self._asr.__enter__()
        self._mos.__enter__()
        self._encoder = SpeakerEncoder()
        self._workers = one_core_workers(self._num_threads)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._workers.close()
        self._mos.__exit__(kind, error, trace)
        self._asr.__exit__(kind, error, trace)

    def measure(self, audios: Sequence[Audio], texts: Sequence[str], *, language: str) -> list[Measured]:
        """Measure utterances, each by itself.

        Raises:
            EngineError: one could not be measured.
        """
        heard = self._asr.transcribe(audios, language=language)
        items = [_item(audio, text, h, language) for audio, text, h in zip(audios, texts, heard, strict=True)]
        scores = self._mos.score(items)
        for score in scores:
            if score.value is None:
                raise EngineError(f"DistillMOS could not rate a probe: {score.error}")
        return self._workers.map(lambda pair: self._measured(*pair), zip(items, scores, strict=True))

    def _measured(self, item: ScoringItem, mos: Score) -> Measured:
        text, language = item.utterance.text, item.utterance.language
        errors, words = count_errors(text, item.transcript.text, language)
        return Measured(
            prosody=measure_prosody(item.audio, text),
            mos=mos.value or 0.0,
            errors=errors,
            words=words,
            embedding=self._encoder.embed(item.audio),
        )


def count_errors(text: str, heard: str, language: str) -> tuple[int, int]:
    """Words heard wrongly, and words there are; characters where the language writes no blanks."""
    reference, hypothesis = normalized(text, language), normalized(heard, language)
    if language == "zh":
        reference, hypothesis = (" ".join(side.replace(" ", "")) for side in (reference, hypothesis))
    found = jiwer.process_words(reference, hypothesis)
    return found.substitutions + found.deletions + found.insertions, len(reference.split())


def card_of(voice: Voice, measured: Sequence[Measured], recipe: dict[str, tuple[float, ...]]) -> VoiceCard:
    """The card of a voice from what was measured on each probe."""
    return VoiceCard(
        voice=voice,
        neutral=mean_prosody([m.prosody for m in measured]),
        mos=round(float(np.mean([m.mos for m in measured])), 3),
        wer=round(sum(m.errors for m in measured) / sum(m.words for m in measured), 4),
        recipe=recipe,
    )


def mean_prosody(measured: Sequence[Prosody]) -> Prosody:
    """The mean of several utterances; F0 geometric, as within one."""
    pitches = [p.f0 for p in measured if p.f0]
    ranges = [p.f0_range for p in measured if p.f0_range is not None]
    return Prosody(
        f0=round(float(np.exp(np.mean(np.log(pitches)))), 2) if pitches else None,
        f0_range=round(float(np.mean(ranges)), 3) if ranges else None,
        rate=round(float(np.mean([p.rate for p in measured])), 3),
        loudness=round(float(np.mean([p.loudness for p in measured])), 2),
    )


def voice_embedding(measured: Sequence[Measured]) -> Embedding:
    """The voice's vector: the mean over its probes."""
    return mean_embedding([m.embedding for m in measured])


def _item(audio: Audio, text: str, heard: Transcript, language: str) -> ScoringItem:
    probe = Utterance(
        id="probe-t00",
        turn_index=0,
        role="user",
        text=text,
        language=language,
        voice_id="(probe)",
        backend="(probe)",
        delivery=NEUTRAL,
        seed=0,
    )
    return ScoringItem(utterance=probe, audio=audio, transcript=heard)
