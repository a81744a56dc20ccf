"""What a taxonomy file may hold. A wrong file is refused with the place of the fault, never half-read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import Field, ValidationError, model_validator

from contracts.config_base import Config
from contracts.errors import RecipeError


class Taxonomy(Config):
    """Base of all taxonomy files."""


class Emotion(Config):
    """A feeling of the user, and what it asks of the assistant."""

    description: str
    """One line for the prompt, e.g. `has lost something that mattered`."""
    valence: float = Field(ge=-1, le=1)
    arousal: float = Field(ge=-1, le=1)
    reply_tone: str
    """A key of `reply_tones`."""
    graded: bool = True
    """False when it has no degrees (neutral): it then always takes the mildest level."""


class Intensity(Config):
    """How strongly it is felt."""

    value: float = Field(gt=0, le=1)
    words: str
    """An adverb for the prompt, e.g. `clearly`."""


class Emotions(Taxonomy):
    """prompts/emotions.yaml."""

    emotions: dict[str, Emotion] = Field(min_length=1)
    intensities: dict[str, Intensity] = Field(min_length=1)
    reply_tones: dict[str, str] = Field(min_length=1)
    """Tone of the assistant -> words for the prompt, e.g. `gentle and unhurried`."""

    @model_validator(mode="after")
    def _tones_exist(self) -> Emotions:
        _refuse_unknown("reply tone", (e.reply_tone for e in self.emotions.values()), self.reply_tones)
        return self

    def words_for(self, intensity: float) -> str:
        """The words of the level nearest to a number."""
        return min(self.intensities.values(), key=lambda level: abs(level.value - intensity)).words


class Situation(Config):
    """One concrete thing that happened, as a clause that the user could say."""

    text: str = Field(min_length=10)
    emotions: tuple[str, ...] = Field(min_length=1)
    """Those that a person may well feel about it."""
    youngest: str | None = None
    """Age band from which on it can happen to a person; None: any."""
    oldest: str | None = None
    paralinguistic: bool = False
    """True when the right answer depends on who says it or how."""


class Topic(Config):
    """A field of everyday life."""

    words: str
    situations: dict[str, Situation] = Field(min_length=1)


class Topics(Taxonomy):
    """prompts/topics.yaml."""

    topics: dict[str, Topic] = Field(min_length=1)

    def check_names(self, *, emotions: Iterable[str], ages: Iterable[str]) -> None:
        """Refuse a situation that names an emotion or age band which does not exist.

        Raises:
            RecipeError: the text names the first such word and the choices.
        """
        emotions, ages = tuple(emotions), tuple(ages)
        for topic_name, topic in self.topics.items():
            for key, situation in topic.situations.items():
                place = f" (prompts/topics.yaml, {topic_name}.{key})"
                bounds = (a for a in (situation.youngest, situation.oldest) if a is not None)
                try:
                    _refuse_unknown("emotion", situation.emotions, emotions)
                    _refuse_unknown("age band", bounds, ages)
                except ValueError as error:
                    raise RecipeError(f"{error}{place}") from None


class Age(Config):
    """An age band."""

    years: tuple[int, int]
    """From and to, inclusive."""
    words: str
    """For the prompt, e.g. `a teenager`."""


class Ages(Taxonomy):
    """prompts/ages.yaml, youngest first."""

    ages: dict[str, Age] = Field(min_length=1)

    @model_validator(mode="after")
    def _in_order(self) -> Ages:
        years = [year for age in self.ages.values() for year in age.years]
        if years != sorted(set(years)):
            raise ValueError("age bands must be listed from the youngest to the oldest and not overlap")
        return self

    def between(self, youngest: str | None, oldest: str | None) -> tuple[str, ...]:
        """The bands from one to another, both included; None leaves an end open."""
        names = tuple(self.ages)
        first = names.index(youngest) if youngest else 0
        last = names.index(oldest) if oldest else len(names) - 1
        return names[first : last + 1]


class Controls(Config):
    """Factors against the voice's own neutral, at full intensity; see contracts.records.Delivery."""

    rate: float = Field(default=1.0, gt=0)
    pitch: float = Field(default=1.0, gt=0)
    pitch_range: float = Field(default=1.0, gt=0)
    energy: float = Field(default=1.0, gt=0)
    expressiveness: float = Field(default=1.0, gt=0)


class Deliveries(Taxonomy):
    """prompts/delivery.yaml."""

    user: dict[str, Controls]
    """By emotion."""
    assistant: dict[str, Controls]
    """By reply tone."""

    def check_names(self, *, emotions: Iterable[str], reply_tones: Iterable[str]) -> None:
        """Refuse a table that leaves an emotion or a tone out, or names one that does not exist.

        Raises:
            RecipeError: the text names what is missing or too much.
        """
        for part, found, wanted in (
            ("user", self.user, set(emotions)),
            ("assistant", self.assistant, set(reply_tones)),
        ):
            if wrong := sorted(set(found) ^ wanted):
                raise RecipeError(
                    f"prompts/delivery.yaml, {part}: {', '.join(wrong)} must be in this table and in "
                    "prompts/emotions.yaml alike."
                )


TAXONOMIES: dict[str, type[Taxonomy]] = {
    "emotions": Emotions,
    "topics": Topics,
    "ages": Ages,
    "delivery": Deliveries,
}


def parse(name: str, data: Any) -> Taxonomy:
    """A taxonomy from what its file holds.

    Raises:
        RecipeError: no taxonomy of that kind, or wrong content; the text says where.
    """
    if name not in TAXONOMIES:
        raise RecipeError(f"No taxonomy of kind {name!r}; choose one of: {', '.join(TAXONOMIES)}.")
    try:
        return TAXONOMIES[name].model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"]) or "(top)"
        raise RecipeError(f"prompts/{name}.yaml is wrong at {place}: {first['msg']}.") from None


def _refuse_unknown(what: str, names: Iterable[str], known: Iterable[str]) -> None:
    known = tuple(known)
    for name in names:
        if name not in known:
            raise ValueError(f"unknown {what} {name!r}; choose one of: {', '.join(known)}")
