from __future__ import annotations

from collections import Counter

import pytest

from contracts.errors import RecipeError
from contracts.records import Scenario
from prompts import Prompt, emotions, load_prompt
from tasks.llm.dialogue_merit import merit, merits
from tasks.llm.dialogue_prompt import (
    attempt_seed,
    build_messages,
    choose_examples,
    deck,
    dialogue_prompt,
    json_keys,
    json_schema,
    opening,
)
from tasks.llm.dialogue_text import Line, find_faults, read_answer

PROMPT = dialogue_prompt(load_prompt("dialogue_en"))


def scenario(**more: object) -> Scenario:
    base: dict[str, object] = {
        "id": "d000001", "index": 1, "group": "g", "seed": 5, "language": "en", "emotion": "sad", "intensity": 1.0,
        "topic": "pets", "situation": "my cat ran away and i cannot find her", "speaker_gender": "female",
        "speaker_age": "teenager", "num_turns": 2, "paralinguistic": False,
    }  # fmt: skip
    return Scenario.model_validate(base | more)


def test_every_emotion_has_examples_enough_and_one_of_six_turns() -> None:
    assert len(PROMPT.examples) >= 24
    per_emotion = Counter(example.emotion for example in PROMPT.examples)
    assert set(per_emotion) == set(emotions().emotions) and min(per_emotion.values()) >= 3
    assert {example.emotion for example in PROMPT.examples if len(example.lines) == 6} == set(per_emotion)


def test_the_examples_keep_the_rules_that_answers_are_held_to() -> None:
    for example in PROMPT.examples:
        lines = list(example.lines)
        assert not find_faults(lines, "", num_turns=len(lines), language="en", cut=False)
        assert all(line.tone in emotions().reply_tones for line in lines if line.role == "assistant")
        of_it = scenario(situation=example.situation, emotion=example.emotion)
        assert merit(lines, of_it) >= 0.85, (example.situation, merits(lines, of_it))


@pytest.mark.parametrize("num_turns", [2, 4, 6, 8])
@pytest.mark.parametrize("as_json", [False, True])
def test_the_chat_shows_examples_of_the_form_it_asks_for(num_turns: int, as_json: bool) -> None:
    messages = build_messages(scenario(num_turns=num_turns), PROMPT, attempt=0, as_json=as_json)
    assert [m["role"] for m in messages] == ["system", *["user", "assistant"] * 3, "user"]
    for message in messages[2::2]:
        assert len(read_answer(message["content"])) == min(num_turns, 6)
    last = messages[-1]["content"]
    assert "my cat ran away" in last and "very strongly sad" in last and "teenager" in last and str(num_turns) in last
    assert not any("{" in m["content"] for m in messages) or as_json


def test_the_last_example_shares_the_emotion_and_the_others_do_not() -> None:
    for emotion in emotions().emotions:
        *others, last = choose_examples(scenario(emotion=emotion), PROMPT.examples, attempt=0)
        assert last.emotion == emotion and emotion not in {example.emotion for example in others}


def test_examples_turn_with_the_seed_and_with_the_attempt_and_repeat_exactly() -> None:
    chosen = {choose_examples(scenario(seed=seed), PROMPT.examples, attempt=0) for seed in range(40)}
    assert len(chosen) == 4
    first, second = (choose_examples(scenario(), PROMPT.examples, attempt=n) for n in (0, 1))
    assert first != second
    assert first == choose_examples(scenario(), PROMPT.examples, attempt=0)
    assert deck(scenario(seed=1), 0) == deck(scenario(seed=0), 1)


def test_braces_in_a_situation_stay_what_they_are() -> None:
    messages = build_messages(scenario(situation="I wrote {tones} {feeling} {x}"), PROMPT, attempt=0, as_json=False)
    assert "I wrote {tones} {feeling} {x}." in messages[-1]["content"]


def test_the_voice_is_mentioned_only_where_it_matters() -> None:
    plain, by_voice = (
        build_messages(scenario(paralinguistic=p), PROMPT, attempt=0, as_json=False) for p in (False, True)
    )
    assert PROMPT.voice not in plain[0]["content"] and PROMPT.voice in by_voice[0]["content"]


def test_the_schema_asks_for_every_turn_and_a_known_tone() -> None:
    assert json_keys(4) == ("user_1", "tone", "assistant_1", "user_2", "assistant_2")
    schema = json_schema(2)
    assert schema["required"] == ["user_1", "tone", "assistant_1"] and not schema["additionalProperties"]
    assert schema["properties"]["tone"]["enum"] == sorted(emotions().reply_tones)


def test_seeds_of_attempts_differ_and_fit_every_engine() -> None:
    seeds = {attempt_seed(scenario(seed=seed), attempt) for seed in (0, 1, 2**63) for attempt in range(3)}
    assert len(seeds) == 9 and max(seeds) < 2**31


def test_the_opening_is_the_situation_as_the_user_says_it() -> None:
    assert opening(scenario()) == "User: My cat ran away and I cannot find her"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# System\nx\n# Request\ny\n", "no section `# Voice`"),
        (
            "# System\nx\n# Request\ny\n# Voice\nv\n# Repair\nr\n# Examples\n## sad | a\nSituation: s\nUser: x\n",
            "sad | a",
        ),
    ],
)
def test_a_wrong_prompt_file_is_refused_with_the_place(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message.replace("|", r"\|")):
        dialogue_prompt(Prompt(name="mine", text=text, sha256="0"))


GOOD = [Line("user", "My cat ran away and I miss her."), Line("assistant", "I'm sorry about your cat.", "soothing")]


@pytest.mark.parametrize(
    ("user", "reply", "broken"),
    [
        (GOOD[0].text, GOOD[1].text, set()),
        ("You lost a cat.", GOOD[1].text, {"user_in_first_person", "user_speaks_of_self", "user_on_topic"}),
        (GOOD[0].text, "How wonderful, your cat!", {"reply_fits_the_feeling"}),
        (GOOD[0].text, "My cat ran away from us.", {"reply_to_the_user", "reply_not_of_itself"}),
        (GOOD[0].text, "I'm so sorry for you. I'm so sorry for you.", {"no_loops", "reply_takes_up_a_word"}),
    ],
)
def test_merits_by_name(user: str, reply: str, broken: set[str]) -> None:
    rules = merits([Line("user", user), Line("assistant", reply)], scenario())
    assert {name for name, holds in rules.items() if not holds} == broken


def test_a_sentence_of_an_example_lowers_the_merit() -> None:
    shown = [Line("user", "Yes. I miss her more than ever, today.")]
    borrowed = [Line("user", "My cat ran away. I miss her more than ever today!"), GOOD[1]]
    assert not merits(borrowed, scenario(), shown=shown)["no_borrowed_sentence"]
    assert merits(GOOD, scenario(), shown=shown)["no_borrowed_sentence"]
