from __future__ import annotations

from collections import Counter
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import prompts
from contracts.config import CorpusConfig
from contracts.errors import RecipeError
from contracts.records import Scenario
from tasks.plan_scenarios import plan_scenarios, validate_plan

SEEDS = st.integers(0, 2**32)
STARTS = st.integers(0, 200_000)
NUM_EMOTIONS = 9


def recipe(seed: int = 0, **plan: Any) -> CorpusConfig:
    return CorpusConfig.model_validate(
        {"name": "test", "seed": seed, "target": {"dialogues": 1, "max_candidates": 10**6}, "plan": plan}
    )


@cache
def scenarios(seed: int, count: int) -> list[Scenario]:
    return plan_scenarios(recipe(seed), 0, count)


@settings(deadline=None, max_examples=8)
@given(SEEDS, STARTS, st.integers(0, 40), st.integers(0, 40))
def test_parts_have_no_say_in_the_plan(seed: int, start: int, first: int, second: int) -> None:
    config = recipe(seed)
    whole = plan_scenarios(config, start, first + second)
    assert whole == plan_scenarios(config, start, first) + plan_scenarios(config, start + first, second)
    assert [s.index for s in whole] == list(range(start, start + first + second))


def test_the_plan_is_the_same_on_every_machine() -> None:
    s = plan_scenarios(recipe(7), 42, 1)[0]
    assert (s.id, s.emotion, s.intensity, s.speaker_gender, s.seed) == ("d000042", "neutral", 0.35, "male", 1992140113)


def test_another_seed_gives_another_plan() -> None:
    assert [s.group for s in scenarios(1, 50)] != [s.group for s in scenarios(2, 50)]
    assert len({s.seed for s in scenarios(1, 500)}) == 500


@settings(deadline=None, max_examples=10)
@given(SEEDS, STARTS)
def test_every_situation_fits_its_emotion_and_age(seed: int, start: int) -> None:
    topics, bands = prompts.topics().topics, prompts.ages()
    for s in plan_scenarios(recipe(seed), start, 60):
        _, topic, key = s.group.split("/")
        situation = topics[topic].situations[key]
        assert s.emotion in situation.emotions and s.situation == situation.text and s.topic == topic
        assert s.speaker_age in bands.between(situation.youngest, situation.oldest)
        assert s.paralinguistic == situation.paralinguistic


@settings(deadline=None, max_examples=10)
@given(SEEDS, STARTS)
def test_any_eighteen_in_a_row_have_every_emotion(seed: int, start: int) -> None:
    run = plan_scenarios(recipe(seed), start, 2 * NUM_EMOTIONS)
    counts = Counter(s.emotion for s in run)
    assert len(counts) == NUM_EMOTIONS and max(counts.values()) <= 3


@settings(deadline=None, max_examples=8)
@given(SEEDS, STARTS)
def test_seventy_two_candidates_are_a_small_picture_of_the_whole(seed: int, start: int) -> None:
    run = plan_scenarios(recipe(seed), start, 72)
    assert len({s.topic for s in run}) >= 36
    assert len({s.speaker_age for s in run}) == 5
    assert 28 <= sum(s.speaker_gender == "female" for s in run) <= 44
    assert 28 <= sum(s.paralinguistic for s in run) <= 44
    assert all(16 <= sum(s.intensity == value for s in run if s.emotion != "neutral") <= 30 for value in (0.65, 1.0))


@settings(deadline=None, max_examples=5)
@given(SEEDS)
def test_every_emotion_is_crossed_evenly_with_gender_and_intensity(seed: int) -> None:
    run = plan_scenarios(recipe(seed), 0, 6 * NUM_EMOTIONS * 5)
    genders = Counter((s.emotion, s.speaker_gender) for s in run)
    assert set(genders.values()) == {15}
    levels = Counter((s.emotion, s.intensity) for s in run if s.emotion != "neutral")
    assert set(levels.values()) == {10}
    assert {s.intensity for s in run if s.emotion == "neutral"} == {0.35}


@settings(deadline=None, max_examples=5)
@given(SEEDS)
def test_no_situation_comes_again_with_an_emotion_before_all_were_used(seed: int) -> None:
    run = plan_scenarios(recipe(seed), 0, 1200)
    situations = [s for topic in prompts.topics().topics.values() for s in topic.situations.values()]
    used = Counter((s.emotion, s.paralinguistic, s.group) for s in run)
    for emotion in prompts.emotions().emotions:
        for kind in (False, True):
            fitting = sum(emotion in s.emotions and s.paralinguistic is kind for s in situations)
            times = [n for (e, k, _), n in used.items() if (e, k) == (emotion, kind)]
            times += [0] * (fitting - len(times))
            assert max(times) - min(times) <= 1


def test_ages_come_by_their_shares_although_few_situations_befall_a_child() -> None:
    counts = Counter(s.speaker_age for s in scenarios(3, 1800))
    assert all(abs(n / 1800 - 0.2) < 0.04 for n in counts.values()), counts


def test_weights_are_followed() -> None:
    config = recipe(
        emotions={"sad": 3, "happy": 1},
        genders={"female": 0.9, "male": 0.1},
        num_turns={2: 1, 4: 1},
        ages={"senior": 1},
    )
    run = plan_scenarios(config, 0, 800)
    assert abs(sum(s.emotion == "sad" for s in run) - 600) <= 8
    assert abs(sum(s.speaker_gender == "female" for s in run) - 720) <= 12
    assert sum(s.num_turns == 4 for s in run) == 400
    assert {s.speaker_age for s in run} == {"senior"}


def test_a_tiny_weight_is_still_planned() -> None:
    run = plan_scenarios(recipe(emotions={"sad": 1000, "happy": 0.001}), 0, 130)
    assert {s.emotion for s in run} == {"sad", "happy"}


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_paralinguistic_share_of_nothing_or_all_is_kept(share: float) -> None:
    run = plan_scenarios(recipe(paralinguistic_share=share), 0, 100)
    assert {s.paralinguistic for s in run} == {bool(share)}


def test_the_plan_does_not_depend_on_the_order_in_which_a_recipe_names_things() -> None:
    there = recipe(emotions={"sad": 1, "happy": 1}, topics=["dogs", "cats"], ages={"child": 1, "senior": 2})
    back = recipe(emotions={"happy": 1, "sad": 1}, topics=["cats", "dogs"], ages={"senior": 2, "child": 1})
    assert plan_scenarios(there, 0, 60) == plan_scenarios(back, 0, 60)


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        ({"emotions": {"gloomy": 1}}, r"plan.emotions: 'gloomy' is unknown; choose from: neutral, happy"),
        ({"topics": ["spaceships"]}, r"plan.topics: 'spaceships' is unknown; choose from: renting"),
        ({"ages": {"toddler": 1}}, r"plan.ages: 'toddler' is unknown; choose from: child, teenager"),
        ({"intensities": {"huge": 1}}, r"plan.intensities: 'huge' is unknown; choose from: mild, moderate, strong"),
        ({"languages": {"tlh": 1}}, r"plan.languages: 'tlh' is unknown; choose from: en"),
        ({"topics": ["loneliness"]}, "no situation that fits the emotion '(angry|disgusted)'"),
        ({"topics": ["grandchildren"], "emotions": {"sad": 1}, "ages": {"child": 1}}, "fits the emotion 'sad'"),
        ({"topics": ["nursing"], "emotions": {"sad": 1}, "paralinguistic_share": 1}, "paralinguistic_share 1"),
    ],
)
def test_an_impossible_plan_is_refused_with_the_choices(plan: dict[str, Any], says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        validate_plan(recipe(**plan))


def test_the_default_plan_is_valid() -> None:
    validate_plan(recipe())


def test_an_unknown_prompt_is_refused() -> None:
    config = recipe().model_copy(update={"generate": recipe().generate.model_copy(update={"prompt": "nothing"})})
    with pytest.raises(RecipeError, match="No prompt named 'nothing'"):
        validate_plan(config)
