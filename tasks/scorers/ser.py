"""Speech emotion recognition: whether a classifier hears the emotion that was asked for.

No classifier comes with us: name the folder of one (emotion2vec by funasr, or any audio-classification model of the
transformers library). Without one the scorer refuses to start, and a report says that this was not tested.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

from contracts.errors import ConfigError
from contracts.protocols import ScoringItem
from contracts.records import Score
from prompts import emotions
from tasks.scorers._emotion_models import (
    KINDS,
    SAMPLE_RATE,
    Classifier,
    Kind,
    check_model,
    labels_of,
    load_classifier,
    model_revision,
)
from tasks.scorers._shared import Workers, fault, positive_threads, versions
from tasks.scorers._torch_workers import one_core_workers

MIN_SECONDS = 0.1
OTHER = "other"
"""What the model says beside our emotions."""
SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "neutral": ("neu", "calm"),
    "happy": ("hap", "happiness", "joy"),
    "sad": ("sadness",),
    "angry": ("ang", "anger"),
    "excited": ("exc", "excitement"),
    "frustrated": ("fru", "frustration"),
    "fearful": ("fea", "fear"),
    "surprised": ("sur", "surprise"),
    "disgusted": ("dis", "disgust"),
}
"""Emotion -> how the models of common corpora call it, beside its own name."""


class SER:
    """Probability, in [0, 1], of the emotion that the delivery asks for.

    Details: p_EMOTION for each emotion that the model tells apart (and p_other), and right (1 where the asked one has
    the highest). Where a label stands for several emotions, each has its whole probability, so they may add up to more
    than 1. A delivery whose emotion the model does not know (the assistant's tones, mostly) cannot be scored: gate
    `roles: [user]`, and say `unscored: pass` or map a label to it.

    Args:
        model: folder of the model.
        kind: what reads it, `transformers` or `funasr`.
        label_map: label of the model -> our emotion or a list of them; labels that are not in it are matched by name.
        num_threads: utterances classified at once.
    """

    name = "ser"

    def __init__(
        self,
        *,
        model: str | None = None,
        kind: Kind = "transformers",
        label_map: Mapping[str, str | Sequence[str]] | None = None,
        num_threads: int = 2,
    ) -> None:
        if kind not in KINDS:
            raise ConfigError(f"The scorer 'ser' has no kind {kind!r}; choose one of: {', '.join(KINDS)}.")
        self.num_threads = positive_threads(num_threads)
        self.model, self.kind = model, kind
        given = (label_map or {}).items()
        self.label_map = {label: (own,) if isinstance(own, str) else tuple(own) for label, own in given}
        self.revision: str = f"{versions(1, (kind,))} {model_revision(model)}"
        self._labels: dict[str, tuple[str, ...]] = {}
        self._classify: Classifier | None = None
        self._workers: Workers | None = None

    def check(self) -> None:
        """See contracts.protocols.Engine.

        Raises:
            MissingExtra: the model or the package that reads it is missing; the text says how to get it.
            ConfigError: `label_map` and the model's labels do not fit each other or our emotions.
        """
        folder = check_model(self.model, self.kind)
        self._labels = mapped_labels(labels_of(folder, self.kind), self.label_map)

    def __enter__(self) -> Self:
        self.check()
        self._classify = load_classifier(check_model(self.model, self.kind), self.kind)
        self._workers = one_core_workers(self.num_threads)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._workers is not None:
            self._workers.close()
        self._workers = self._classify = None

    def score(self, batch: Sequence[ScoringItem], /) -> list[Score]:
        """See contracts.protocols.Scorer."""
        assert self._workers is not None, "use SER in a `with` block"
        return self._workers.map(self._score, batch)

    def _score(self, item: ScoringItem) -> Score:
        why = fault(item.audio)
        if not why and item.audio.duration < MIN_SECONDS:
            why = f"{item.audio.duration:.3f} s are too short to be classified; it takes {MIN_SECONDS} s"
        if why:
            return Score.failed(self.name, why)
        asked = item.utterance.delivery.emotion
        known = sorted({emotion for own in self._labels.values() for emotion in own} - {OTHER})
        if asked not in known:
            return Score.failed(
                self.name,
                f"the classifier does not know {asked!r}, it tells apart: {', '.join(known)}; map one of its labels to "
                "it (option `label_map`), or let the gate pass such turns with `unscored: pass`",
            )
        assert self._classify is not None
        heard = by_emotion(self._classify(item.audio.resampled(SAMPLE_RATE).samples), self._labels)
        details = {f"p_{emotion}": p for emotion, p in heard.items()}
        details["right"] = float(heard[asked] >= max(heard.values()))
        return Score(name=self.name, value=heard[asked], details=details)


def mapped_labels(labels: Sequence[str], label_map: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Label of a model -> our emotions; OTHER for what is none of them.

    Raises:
        ConfigError: `label_map` names a label or an emotion that does not exist, or nothing fits.
    """
    ours = tuple(emotions().emotions)
    for label, own in label_map.items():
        if label not in labels:
            raise ConfigError(f"label_map: the model has no label {label!r}; its labels are: {', '.join(labels)}.")
        if unknown := sorted(set(own) - {*ours, OTHER}):
            raise ConfigError(f"label_map.{label}: there is no emotion {unknown[0]!r}; choose from: {', '.join(ours)}.")
    found = {label: label_map.get(label) or _by_name(label, ours) for label in labels}
    if all(own == (OTHER,) for own in found.values()):
        raise ConfigError(
            f"None of the model's labels ({', '.join(labels)}) is known as an emotion. Say what they mean with the "
            f"option `label_map`, from label to one of: {', '.join(ours)}."
        )
    return found


def _by_name(label: str, ours: Sequence[str]) -> tuple[str, ...]:
    # emotion2vec writes Chinese and English, with a slash between.
    plain = label.rpartition("/")[2].strip().lower()
    return tuple(e for e in ours if plain == e or plain in SYNONYMS.get(e, ())) or (OTHER,)


def by_emotion(probabilities: Mapping[str, float], labels: Mapping[str, tuple[str, ...]]) -> dict[str, float]:
    """Emotion -> probability: the sum over the labels that stand for it."""
    heard: dict[str, float] = {}
    for label, probability in probabilities.items():
        for emotion in labels.get(label, (OTHER,)):
            heard[emotion] = heard.get(emotion, 0.0) + probability
    return heard
