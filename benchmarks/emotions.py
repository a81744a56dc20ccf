"""Can the feelings be heard? Forty voices say ten sentences in five ways, and figures and a blind classifier judge.

1. **Prosody**: F0 mean, F0 range, rate and loudness of each rendering against the same voice's neutral rendering of the
   same sentence. A cell is (voice, emotion, figure), averaged over the sentences; it holds when it lies on the side
   that prompts/delivery.yaml states. Cells for which the table states nothing are not counted.
2. **Cost**: WER and DistillMOS of the feelings against neutral.
3. **Blind check**: a plain classifier (standardised features, logistic regression, scikit-learn) on features of the
   sound alone learns the five ways on some voices and is asked on others, in four folds by voice. It is asked twice: on
   speech as a corpus holds it, and with every utterance brought to one loudness.

Rows are kept in `runs/bench-emotions/`, keyed by what made them, so that a run that was ended early goes on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

import prompts
from contracts.audio import Audio
from contracts.config import FinishConfig
from contracts.config_base import fingerprint
from contracts.errors import ConfigError
from contracts.plugins import PluginGroup, PluginSpec, create
from contracts.protocols import CONTROLS, SpeechRequest, TTSBackend
from contracts.records import Delivery, Record, Voice
from prompts.taxonomies import Controls
from storage.object_store import LocalStore
from tasks.cast_voices import delivery as delivery_of
from tasks.decks import stable_int
from tasks.engine_room import available_cores, with_all_cores
from tasks.prosody import semitones
from tasks.voices.measure import Meter
from tts_backends.voice_bank import load_bank

BACKEND = "kokoro"
NUM_VOICES = 40
EMOTIONS = ("neutral", "happy", "sad", "angry", "fearful")
INTENSITY = 1.0
SENTENCES = (
    "I got the letter this morning.",
    "They are coming back tomorrow night.",
    "She told me about it on the phone.",
    "We have to leave the house now.",
    "My brother is waiting at the door.",
    "You never said that to me before.",
    "The doctor called about the results.",
    "It was the last train of the day.",
    "He took the keys and went outside.",
    "Nobody knew what was in the box.",
)
"""Words without a feeling of their own, so that only the voice can tell."""
FIGURES = ("f0", "f0_range", "rate", "loudness")
FIGURE_OF = {"pitch": "f0", "pitch_range": "f0_range", "rate": "rate", "energy": "loudness"}
FOLDS = 4
OUT = Path("runs/bench-emotions")
CODE = "3"
"""Raise it when what is measured changes."""


class EmotionRow(Record):
    """An emotion's shift against neutral, mean over all voices and sentences, and how often it lies as stated."""

    emotion: str
    f0_semitones: float
    f0_range_ratio: float
    rate_ratio: float
    loudness_db: float
    cells: int
    """(voice, figure) for which the delivery table states a direction."""
    as_stated: float
    """Share of them that lie on that side."""
    wer: float
    mos: float
    mos_drop: float
    """Neutral's DistillMOS minus this one's; positive is worse."""


class EmotionsBench(Record):
    """What was measured."""

    voices: int
    sentences: int
    renderings: int
    as_stated: float
    """Share of all stated cells."""
    wer: float
    mos_drop: float
    """Mean over the feelings."""
    accuracy: float
    """Blind check, voices not heard before; chance is 1 / 5."""
    accuracy_same_loudness: float
    confusion: dict[str, dict[str, int]]
    """Asked for -> heard -> renderings."""
    rows: tuple[EmotionRow, ...]

    def print(self, console: Console) -> None:
        """The tables, for a person."""
        table = Table(box=None, padding=(0, 2))
        columns = ("emotion", "F0 st", "range x", "rate x", "loud dB", "as stated", "cells", "WER", "MOS", "MOS drop")
        for name in columns:
            table.add_column(name, justify="left" if name == "emotion" else "right")
        for r in self.rows:
            shifts = (
                f"{r.f0_semitones:+.2f}",
                f"{r.f0_range_ratio:.2f}",
                f"{r.rate_ratio:.2f}",
                f"{r.loudness_db:+.1f}",
            )
            cost = (f"{r.wer:.3f}", f"{r.mos:.2f}", f"{r.mos_drop:+.2f}")
            table.add_row(r.emotion, *shifts, f"{r.as_stated:.1%}", str(r.cells), *cost)
        console.print(table)
        console.print(
            f"\n{self.voices} voices x {self.sentences} sentences x {len(EMOTIONS)} ways: {self.as_stated:.1%} of the "
            f"cells as stated, WER {self.wer:.3f}, DistillMOS {self.mos_drop:+.2f} lower"
        )
        console.print(
            f"blind check on unheard voices: {self.accuracy:.1%} right, {self.accuracy_same_loudness:.1%} with all at "
            "one loudness\n"
        )
        asked = Table("asked \\ heard", *EMOTIONS, box=None, padding=(0, 2))
        for emotion, heard in self.confusion.items():
            asked.add_row(emotion, *(str(heard.get(e, 0)) for e in EMOTIONS))
        console.print(asked)


class Rendering(Record):
    """One utterance of the benchmark, measured."""

    voice: str
    emotion: str
    sentence: int
    f0: float
    f0_range: float
    rate: float
    loudness: float
    errors: int
    words: int
    mos: float
    features: tuple[float, ...]
    """Of the sound as a corpus holds it."""
    features_levelled: tuple[float, ...]
    """Of the same at one loudness for all."""


def measure() -> EmotionsBench:
    """Render, measure, judge.

    Raises:
        ConfigError: there is no bank of voices to choose from.
    """
    return judged(list(_renderings()))


def _renderings() -> Iterator[Rendering]:
    voices = bench_voices()
    engine = cast(TTSBackend, create("tts_backends", with_all_cores("tts_backends", PluginSpec(name=BACKEND))))
    deliveries = {emotion: _delivery(emotion, engine) for emotion in EMOTIONS}
    made_by = (engine.revision, SENTENCES, [d.model_dump() for d in deliveries.values()], FinishConfig(), _ears())
    keys = {v.id: fingerprint(v.sha256, *made_by) for v in voices}
    missing = [v for v in voices if not _file(keys[v.id]).is_file()]
    if missing:
        with engine, Meter(num_threads=available_cores()) as meter:
            for voice in track(missing, "rendering", console=Console(stderr=True)):
                rows = _of_voice(voice, engine, meter, deliveries)
                text = "".join(json.dumps(r.model_dump(mode="json")) + "\n" for r in rows)
                LocalStore(OUT).write(_file(keys[voice.id]).name, text.encode())
    for voice in voices:
        for line in _file(keys[voice.id]).read_text(encoding="utf-8").splitlines():
            yield Rendering.model_validate(json.loads(line))


def bench_voices() -> list[Voice]:
    """Forty voices of the bank, evenly over genders and ages."""
    cards = list(load_bank().of(BACKEND))
    if len(cards) < NUM_VOICES:
        raise ConfigError(
            f"The bank holds {len(cards)} {BACKEND} voices, {NUM_VOICES} are needed; see `s2s voices build`."
        )
    kinds: dict[str, list[Voice]] = {}
    for card in sorted(cards, key=lambda c: stable_int("bench emotions", c.voice.id)):
        kinds.setdefault(f"{card.voice.gender} {card.voice.age}", []).append(card.voice)
    chosen: list[Voice] = []
    while len(chosen) < NUM_VOICES:
        for kind in sorted(kinds):
            if kinds[kind] and len(chosen) < NUM_VOICES:
                chosen.append(kinds[kind].pop())
    return chosen


def _delivery(emotion: str, engine: TTSBackend) -> Delivery:
    return delivery_of(emotion, INTENSITY, prompts.deliveries().user[emotion], engine.capabilities, "")


def _ears() -> list[str]:
    """Revisions of what measures, and the code of the features."""
    plugins: tuple[tuple[PluginGroup, str], ...] = (("asr_backends", "faster_whisper"), ("scorers", "distillmos"))
    return [*(create(group, PluginSpec(name=name)).revision for group, name in plugins), version("swift-f0"), CODE]


def _file(key: str) -> Path:
    return OUT / f"{key[:24]}.jsonl"


def _of_voice(voice: Voice, engine: TTSBackend, meter: Meter, deliveries: dict[str, Delivery]) -> list[Rendering]:
    jobs = [(emotion, i) for emotion in EMOTIONS for i in range(len(SENTENCES))]
    requests = [SpeechRequest(text=SENTENCES[i], voice=voice, language="en", delivery=deliveries[e]) for e, i in jobs]
    raw = engine.synthesize(requests)
    texts = [SENTENCES[i] for _, i in jobs]
    measured = meter.measure(raw, texts, language="en")
    rows = []
    for (emotion, i), audio, m in zip(jobs, raw, measured, strict=True):
        kept = _as_kept(audio, deliveries[emotion])
        rows.append(
            Rendering(
                voice=voice.id,
                emotion=emotion,
                sentence=i,
                f0=m.prosody.f0 or 0.0,
                f0_range=m.prosody.f0_range or 0.0,
                rate=m.prosody.rate,
                loudness=m.prosody.loudness,
                errors=m.errors,
                words=m.words,
                mos=m.mos,
                features=features(kept),
                features_levelled=features(_levelled(kept)),
            )
        )
    return rows


def _as_kept(audio: Audio, delivery: Delivery) -> Audio:
    """The utterance as synthesis would store it."""
    from tasks.finish_speech import finish_speech

    return finish_speech(audio, FinishConfig(), energy=delivery.energy)[0]


def _levelled(audio: Audio) -> Audio:
    """At an RMS of 0.05, whatever it was."""
    rms = float(np.sqrt(np.mean(np.square(audio.samples))))
    return Audio((audio.samples * np.float32(0.05 / max(rms, 1e-6))).astype(np.float32), audio.sample_rate)


def features(audio: Audio) -> tuple[float, ...]:
    """What a classifier may know of an utterance: functionals of librosa's and SwiftF0's contours, no text.

    F0 mean and spread (log), voiced share, level mean and spread, MFCC 0 to 12 mean and spread, spectral centroid,
    roll-off and flatness, onset rate, length: 36 numbers.
    """
    import librosa
    from librosa.onset import onset_detect

    from tasks.prosody import pitch_track

    track_ = pitch_track(audio)
    x = audio.resampled(16_000).samples
    frames: dict[str, Any] = {"y": x, "sr": 16_000, "n_fft": 512, "hop_length": 160}
    mfcc = librosa.feature.mfcc(**frames, n_mfcc=13)
    level = librosa.amplitude_to_db(librosa.feature.rms(y=x, frame_length=512, hop_length=160)[0], ref=1.0)
    loud = level > level.max() - 35
    shape = [
        librosa.feature.spectral_centroid(**frames)[0][loud].mean() / 1000,
        librosa.feature.spectral_rolloff(**frames)[0][loud].mean() / 1000,
        np.log(librosa.feature.spectral_flatness(y=x, n_fft=512, hop_length=160)[0][loud] + 1e-8).mean(),
    ]
    onsets = len(onset_detect(y=x, sr=16_000, hop_length=160)) / max(0.1, loud.sum() * 0.01)
    pitch = [np.log(track_.mean or 100.0), track_.range or 0.0, track_.f0.size * 0.016 / max(0.1, loud.sum() * 0.01)]
    values = [*pitch, level[loud].mean(), level[loud].std(), *mfcc[:, loud].mean(1), *mfcc[:, loud].std(1), *shape]
    return tuple(round(float(v), 5) for v in (*values, onsets, loud.sum() * 0.01))


def judged(renderings: Sequence[Rendering]) -> EmotionsBench:
    """The figures of all renderings."""
    rows = tuple(_row(emotion, renderings) for emotion in EMOTIONS)
    accuracy, confusion = blind_check(renderings, levelled=False)
    cells = sum(r.cells for r in rows)
    feelings = rows[1:]
    return EmotionsBench(
        voices=len({r.voice for r in renderings}),
        sentences=len({r.sentence for r in renderings}),
        renderings=len(renderings),
        as_stated=sum(r.as_stated * r.cells for r in rows) / cells,
        wer=sum(r.errors for r in renderings) / sum(r.words for r in renderings),
        mos_drop=float(np.mean([r.mos_drop for r in feelings])),
        accuracy=accuracy,
        accuracy_same_loudness=blind_check(renderings, levelled=True)[0],
        confusion=confusion,
        rows=rows,
    )


def _row(emotion: str, renderings: Sequence[Rendering]) -> EmotionRow:
    own = [r for r in renderings if r.emotion == emotion]
    neutral = {(r.voice, r.sentence): r for r in renderings if r.emotion == "neutral"}
    shifts = np.array([_shift(r, neutral[r.voice, r.sentence]) for r in own])
    voices = np.array([r.voice for r in own])
    stated = _stated(prompts.deliveries().user[emotion])
    holds = [
        sign * shifts[voices == voice, FIGURES.index(figure)].mean() > 0
        for voice in sorted(set(voices))
        for figure, sign in stated.items()
    ]
    f0, spread, rate, loud = shifts.mean(axis=0)
    mos, quiet = np.mean([r.mos for r in own]), np.mean([r.mos for r in neutral.values()])
    return EmotionRow(
        emotion=emotion,
        f0_semitones=f0,
        f0_range_ratio=float(np.exp(spread)),
        rate_ratio=float(np.exp(rate)),
        loudness_db=loud,
        cells=len(holds),
        as_stated=float(np.mean(holds)) if holds else 1.0,
        wer=sum(r.errors for r in own) / sum(r.words for r in own),
        mos=float(mos),
        mos_drop=float(quiet - mos),
    )


def _shift(one: Rendering, neutral: Rendering) -> tuple[float, float, float, float]:
    """Semitones, log ratio of ranges, log ratio of rates, dB."""
    spread = np.log(max(one.f0_range, 1e-3) / max(neutral.f0_range, 1e-3))
    pitch = semitones(one.f0 / neutral.f0) if one.f0 and neutral.f0 else 0.0
    return pitch, float(spread), float(np.log(one.rate / neutral.rate)), one.loudness - neutral.loudness


def _stated(controls: Controls) -> dict[str, int]:
    """Figure -> the side on which the table wants it."""
    factors = {c: getattr(controls, c) for c in CONTROLS if c in FIGURE_OF}
    return {FIGURE_OF[c]: 1 if factor > 1 else -1 for c, factor in factors.items() if factor != 1.0}


def blind_check(renderings: Sequence[Rendering], *, levelled: bool) -> tuple[float, dict[str, dict[str, int]]]:
    """Accuracy on voices that the classifier has not heard, and what it took for what."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x: NDArray[Any] = np.array([r.features_levelled if levelled else r.features for r in renderings])
    y = np.array([r.emotion for r in renderings])
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, C=0.3))
    heard = cross_val_predict(model, x, y, groups=[r.voice for r in renderings], cv=GroupKFold(FOLDS))
    confusion = {e: {h: int(((y == e) & (heard == h)).sum()) for h in EMOTIONS} for e in EMOTIONS}
    return float((heard == y).mean()), confusion
