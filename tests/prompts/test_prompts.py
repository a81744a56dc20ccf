from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pytest

import prompts
from contracts.errors import RecipeError
from prompts.taxonomies import Topics, parse

HERE = Path(prompts.__file__).parent
SITUATIONS = [s for topic in prompts.topics().topics.values() for s in topic.situations.values()]


@pytest.mark.parametrize("name", prompts.prompt_names())
def test_prompt_carries_the_hash_of_its_file(name: str) -> None:
    content = (HERE / f"{name}.md").read_bytes()
    prompt = prompts.load_prompt(name)
    assert (prompt.text, prompt.sha256) == (content.decode(), hashlib.sha256(content).hexdigest())


def test_unknown_prompt_lists_those_that_exist() -> None:
    with pytest.raises(RecipeError, match="No prompt named 'dialog_en'; prompts that exist: .*"):
        prompts.load_prompt("dialog_en")


@pytest.mark.parametrize("name", ["emotions", "topics", "ages", "delivery"])
def test_taxonomy_is_plain_data_with_the_hash_of_its_file(name: str) -> None:
    assert isinstance(prompts.load_taxonomy(name), dict)
    assert prompts.taxonomy_sha256(name) == hashlib.sha256((HERE / f"{name}.yaml").read_bytes()).hexdigest()


def test_changing_a_loaded_taxonomy_changes_nobody_elses() -> None:
    prompts.load_taxonomy("emotions")["emotions"].clear()
    assert prompts.load_taxonomy("emotions")["emotions"]


def test_unknown_taxonomy_lists_those_that_exist() -> None:
    with pytest.raises(RecipeError, match="taxonomies that exist: ages, delivery, emotions, topics"):
        prompts.load_taxonomy("moods")


@pytest.mark.parametrize("name", ["../pyproject", "emotions.yaml", ""])
def test_a_name_is_no_path(name: str) -> None:
    with pytest.raises(RecipeError):
        prompts.load_taxonomy(name)


def test_the_nine_emotions_and_three_levels() -> None:
    known = prompts.emotions()
    assert set(known.emotions) == {
        "neutral", "happy", "sad", "angry", "excited", "frustrated", "fearful", "surprised", "disgusted",
    }  # fmt: skip
    assert {name: level.value for name, level in known.intensities.items()} == {
        "mild": 0.35,
        "moderate": 0.65,
        "strong": 1.0,
    }
    assert known.words_for(0.7) == known.intensities["moderate"].words


def test_there_are_many_topics_and_each_has_three_situations() -> None:
    topics = prompts.topics().topics
    assert len(topics) >= 60
    assert all(len(topic.situations) >= 3 for topic in topics.values())


def test_no_two_situations_are_the_same() -> None:
    keys = [key for topic in prompts.topics().topics.values() for key in topic.situations]
    assert len(set(keys)) == len(keys)
    assert len({s.text for s in SITUATIONS}) == len(SITUATIONS)


def test_every_emotion_fits_at_least_forty_situations() -> None:
    fitting = Counter(emotion for s in SITUATIONS for emotion in s.emotions)
    assert min(fitting[emotion] for emotion in prompts.emotions().emotions) >= 40


def test_every_situation_allows_three_to_seven_emotions() -> None:
    assert {len(s.emotions) for s in SITUATIONS} <= set(range(3, 8))
    assert all(len(set(s.emotions)) == len(s.emotions) for s in SITUATIONS)


def test_situations_are_in_the_first_person_and_speakable_clauses() -> None:
    assert all(not s.text.endswith(".") and not any(ch.isdigit() for ch in s.text) for s in SITUATIONS)


def test_a_third_to_a_half_of_the_situations_are_paralinguistic_in_every_emotion() -> None:
    assert 1 / 3 <= sum(s.paralinguistic for s in SITUATIONS) / len(SITUATIONS) <= 1 / 2
    flagged = Counter(emotion for s in SITUATIONS if s.paralinguistic for emotion in s.emotions)
    assert min(flagged[emotion] for emotion in prompts.emotions().emotions) >= 12


def test_users_feelings_can_be_heard_and_the_assistants_tones_are_gentle() -> None:
    table = prompts.deliveries()
    for part, low, high in ((table.user, 0.6, 1.6), (table.assistant, 0.9, 1.2)):
        factors = [factor for controls in part.values() for factor in controls.model_dump().values()]
        assert low <= min(factors) and max(factors) <= high


def test_happy_sad_angry_and_fearful_lie_where_the_literature_puts_them() -> None:
    table = prompts.deliveries().user
    sides = {  # rate, F0 mean, F0 range, intensity: Juslin & Laukka (2003)
        "happy": (1, 1, 1, 1),
        "sad": (-1, -1, -1, -1),
        "angry": (1, 1, 1, 1),
        "fearful": (1, 1, -1, -1),
    }
    for emotion, wanted in sides.items():
        controls = table[emotion]
        found = (controls.rate, controls.pitch, controls.pitch_range, controls.energy)
        assert [1 if factor > 1 else -1 for factor in found] == list(wanted), emotion


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("emotions", {"emotions": {"sad": {"valence": -3}}}, r"prompts/emotions.yaml is wrong at emotions.sad"),
        (
            "ages",
            {"ages": {"old": {"years": [60, 90], "words": "x"}, "young": {"years": [1, 9], "words": "y"}}},
            "oldest",
        ),
        ("topics", {"topics": {}}, "prompts/topics.yaml is wrong at topics"),
        ("topics", [], r"wrong at \(top\)"),
        ("moods", {}, "No taxonomy of kind 'moods'"),
    ],
)
def test_a_wrong_taxonomy_says_where_it_is_wrong(name: str, data: object, says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        parse(name, data)


def test_a_situation_with_an_unknown_emotion_is_named() -> None:
    situation = {"text": "it rains on my birthday", "emotions": ["gloomy"]}
    topics = parse("topics", {"topics": {"weather": {"words": "weather", "situations": {"rain": situation}}}})
    assert isinstance(topics, Topics)
    with pytest.raises(RecipeError, match=r"unknown emotion 'gloomy'; choose one of: sad \(.*weather.rain\)"):
        topics.check_names(emotions=["sad"], ages=["child"])


def test_a_delivery_table_with_a_gap_is_refused() -> None:
    with pytest.raises(RecipeError, match="user: bored must be in this table"):
        prompts.deliveries().check_names(
            emotions=[*prompts.emotions().emotions, "bored"], reply_tones=prompts.emotions().reply_tones
        )
