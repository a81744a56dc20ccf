"""Plan: which dialogues shall be written. Scenario i follows from (plan config, seed, i) alone, on any machine.

Each axis is dealt evenly (tasks.decks), so that any stretch of the plan is a small picture of the whole: emotions,
genders, intensities and numbers of turns come by their weights, hand by hand. The situations that fit an emotion are
gone through one by one, topic after topic, and none comes again with the same emotion before all have been used.
What this trades away: an age must fit the situation, so ages are met in the long run, not in every hand.

Editing prompts/topics.yaml changes the plan: `prompts.taxonomy_sha256` belongs into this stage's fingerprint.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import prompts
from contracts.config import CorpusConfig, PlanConfig
from contracts.errors import RecipeError
from contracts.records import Scenario
from tasks.decks import Deck, shuffled, stable_int, stable_unit

AGE_STRATA = 8
"""The age's chance is stratified by so many; see `_pick`."""


def plan_scenarios(config: CorpusConfig, start: int, count: int) -> list[Scenario]:
    """The scenarios of candidates start, start + 1, ..., start + count - 1.

    Raises:
        RecipeError: no situation of the plan's topics and ages fits one of its emotions.
    """
    planner = _Planner(config.plan, config.seed)
    return [planner.scenario(i) for i in range(start, start + count)]


def validate_plan(config: CorpusConfig) -> None:
    """Refuse a plan that names what does not exist or cannot be had; cheap, starts nothing.

    Raises:
        RecipeError: an unknown emotion, topic, age, intensity or language, or an emotion that no situation fits.
    """
    plan = config.plan
    _require("emotions", plan.emotions, prompts.emotions().emotions)
    _require("intensities", plan.intensities, prompts.emotions().intensities)
    _require("topics", plan.topics, prompts.topics().topics)
    _require("ages", plan.ages, prompts.ages().ages)
    _require("languages", plan.languages, _languages(config))
    _Planner(plan, config.seed)


def _require(field: str, asked: Iterable[str] | None, known: Iterable[str]) -> None:
    choices = tuple(known)
    for name in asked or ():
        if name not in choices:
            raise RecipeError(f"plan.{field}: {name!r} is unknown; choose from: {', '.join(choices) or '(none)'}.")


def _languages(config: CorpusConfig) -> tuple[str, ...]:
    """The languages that a dialogue prompt exists for: dialogue_{language}[_variant].md and the recipe's own."""
    names = {name for name in prompts.prompt_names() if name.startswith("dialogue_")}
    names.add(prompts.load_prompt(config.generate.prompt).name)
    return tuple(sorted({name.split("_")[1] for name in names if "_" in name}))


@dataclass(frozen=True, slots=True)
class _Cell:
    """A situation that the plan may ask for."""

    topic: str
    key: str
    text: str
    paralinguistic: bool
    emotions: tuple[str, ...]
    ages: tuple[str, ...]
    """Those of the plan's ages that fit."""


class _Planner:
    """A plan's decks, laid out once and then asked for any scenario."""

    def __init__(self, plan: PlanConfig, seed: int) -> None:
        self._seed = seed
        known = prompts.emotions()
        emotions = plan.emotions or dict.fromkeys(known.emotions, 1.0)
        levels = plan.intensities or dict.fromkeys(known.intensities, 1.0)
        self._ungraded = {name for name in emotions if not known.emotions[name].graded}
        self._levels = {name: known.intensities[name].value for name in levels}
        self._emotions = Deck(seed, "emotion", emotions)
        self._intensities = {name: Deck(seed, f"intensity/{name}", levels) for name in emotions}
        self._languages = Deck(seed, "language", plan.languages)
        self._genders = {name: Deck(seed, f"gender/{name}", plan.genders) for name in emotions}
        self._num_turns = Deck(seed, "num_turns", plan.num_turns)
        self._age_strata = Deck(seed, "age", dict.fromkeys(range(AGE_STRATA), 1.0))
        self._pools = _pools(plan, seed, tuple(sorted(emotions)))
        self._kinds = {name: self._deck_of_kinds(name, plan.paralinguistic_share) for name in emotions}
        self._ages = _age_weights(plan, self._pools)

    def _deck_of_kinds(self, emotion: str, share: float) -> Deck[bool]:
        """Whether a dialogue is paralinguistic: by the share, as far as there are such situations."""
        shares = {True: share, False: 1 - share}
        there = {kind: weight for kind, weight in shares.items() if weight and (emotion, kind) in self._pools}
        if not there:
            raise RecipeError(
                f"plan: the topics and ages asked for have no situation that fits the emotion {emotion!r} at "
                f"paralinguistic_share {share:g}; add to plan.topics or plan.ages, leave the emotion out of "
                "plan.emotions, or choose a share between 0 and 1."
            )
        return Deck(self._seed, f"paralinguistic/{emotion}", there)

    def scenario(self, i: int) -> Scenario:
        """Candidate i's scenario."""
        emotion, nth = self._emotions.deal(i)
        paralinguistic, nth_of_kind = self._kinds[emotion].deal(nth)
        pool = self._pools[emotion, paralinguistic]
        cell = pool[nth_of_kind % len(pool)]
        language = self._languages.value(i)
        return Scenario(
            id=f"d{i:06d}",
            index=i,
            group=f"{language}/{cell.topic}/{cell.key}",
            seed=stable_int(self._seed, "scenario", i) % 2**31,  # llama.cpp and numpy take no more bits than these
            language=language,
            emotion=emotion,
            intensity=self._intensity(emotion, nth),
            topic=cell.topic,
            situation=cell.text,
            speaker_gender=self._genders[emotion].value(nth),
            speaker_age=self._age(cell, i),
            num_turns=self._num_turns.value(i),
            paralinguistic=paralinguistic,
        )

    def _intensity(self, emotion: str, nth: int) -> float:
        if emotion in self._ungraded:
            return min(self._levels.values())
        return self._levels[self._intensities[emotion].value(nth)]

    def _age(self, cell: _Cell, i: int) -> str:
        chance = (self._age_strata.value(i) + stable_unit(self._seed, "age", i)) / AGE_STRATA
        return _pick({age: self._ages[age] for age in cell.ages}, chance)


def _pools(plan: PlanConfig, seed: int, emotions: tuple[str, ...]) -> dict[tuple[str, bool], list[_Cell]]:
    """(emotion, paralinguistic) -> the situations that fit, in the order in which they are used."""
    cells = _cells(plan)
    order = shuffled(sorted({cell.topic for cell in cells}), seed, "topics")
    pools = {}
    kinds = [(emotion, kind) for emotion in emotions for kind in (False, True)]
    for n, (emotion, kind) in enumerate(kinds):
        fitting = [c for c in cells if emotion in c.emotions and c.paralinguistic is kind]
        # All pools walk the same round of topics, each from its own point, so that together they visit all of them.
        first = n * len(order) // len(kinds)
        if fitting:
            pools[emotion, kind] = _topic_by_topic(
                shuffled(fitting, seed, emotion, kind), order[first:] + order[:first]
            )
    return pools


def _topic_by_topic(cells: list[_Cell], order: list[str]) -> list[_Cell]:
    """One cell of each topic in turn, then the second of each, and so on."""
    by_topic = {topic: [c for c in cells if c.topic == topic] for topic in order}
    rounds = max(len(of_topic) for of_topic in by_topic.values())
    return [by_topic[topic][r] for r in range(rounds) for topic in order if r < len(by_topic[topic])]


def _cells(plan: PlanConfig) -> list[_Cell]:
    """Every situation of the plan's topics that can happen to somebody of the plan's ages."""
    bands, topics = prompts.ages(), prompts.topics().topics
    asked = plan.ages or bands.ages
    cells = [
        _Cell(
            topic=name,
            key=key,
            text=situation.text,
            paralinguistic=situation.paralinguistic,
            emotions=situation.emotions,
            ages=tuple(age for age in bands.between(situation.youngest, situation.oldest) if age in asked),
        )
        for name in sorted(plan.topics or topics)
        for key, situation in topics[name].situations.items()
    ]
    return [cell for cell in cells if cell.ages]


def _age_weights(plan: PlanConfig, pools: Mapping[tuple[str, bool], list[_Cell]]) -> dict[str, float]:
    """Weights that make the ages come out by the plan's shares although few situations befall, say, a child.

    Iterative proportional fitting (Deming & Stephan 1940): an age that comes out too rarely gains weight.
    """
    cells = [cell for pool in pools.values() for cell in pool]
    asked = plan.ages or dict.fromkeys(prompts.ages().ages, 1.0)
    possible = {age for cell in cells for age in cell.ages}
    wanted = {age: asked[age] for age in prompts.ages().ages if age in possible and age in asked}
    weights = dict(wanted)
    for _ in range(30):
        share = dict.fromkeys(weights, 0.0)
        for cell in cells:
            total = sum(weights[age] for age in cell.ages)
            for age in cell.ages:
                share[age] += weights[age] / total
        weights = {age: weights[age] * wanted[age] / share[age] for age in weights}
    return weights


def _pick(weights: Mapping[str, float], chance: float) -> str:
    """The value at `chance` in [0, 1) on a line that the values share by weight."""
    left = chance * sum(weights.values())
    for value, weight in weights.items():
        left -= weight
        if left < 0:
            return value
    return next(reversed(tuple(weights)))
