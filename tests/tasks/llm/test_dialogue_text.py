from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.llm.dialogue_text import Line, clean, content_words, find_faults, is_language, overlap, read_answer

PAIR = [Line("user", "My cat ran away."), Line("assistant", "I'm so sorry.", "soothing")]


@pytest.mark.parametrize(
    "answer",
    [
        "User: My cat ran away.\nAssistant (soothing): I'm so sorry.",
        "user: My cat ran away.\n\nASSISTANT (Soothing):   I'm so sorry.\n\nUser:",
        "**User:** My cat ran away.\n**Assistant (soothing):** I'm so sorry.",
        "**User**: My cat\n  ran away.\n**Assistant** (soothing): I'm so\nsorry.",
        'Sure! Here it is:\n\n1. User: "My cat ran away."\n2. Assistant [soothing]: “I\'m so sorry.”',
        "<think>User: no.\nAssistant: no.</think>\nUser: My cat ran away.\nAssistant (soothing): I'm so sorry.",
        "User: My cat ran away. Assistant (soothing): I'm so sorry. user",
        "User: My cat ran away.\nAssistant (soothing): I'm so sorry.\n\nNote: this is a sad story.",
        "User: My\x00 cat\x1b ran away.\r\nAssistant (soothing):\tI'm so sorry.\u200b",
        '{"user_1": "My cat ran away.", "tone": "Soothing", "assistant_1": "I\'m so sorry."}',
        '```json\n{"tone": "soothing", "assistant_1": "I\'m so sorry.", "user_1": "User: My cat ran away."}\n```',
    ],
)
def test_every_form_of_the_answer_reads_the_same(answer: str) -> None:
    assert read_answer(answer)[:2] == PAIR


@pytest.mark.parametrize(
    "text",
    [
        "Wow 🎉🎉 great!",
        "Try this: 1. sleep 2. eat",
        "I (really) know [that]",
        "It is 7:30 - 5% off",
        "He said: wait, user!",
    ],
)
def test_what_the_screen_judges_passes_through(text: str) -> None:
    assert read_answer(f"User: a\nAssistant: {text}")[1].text == text


def test_emphasis_and_quotes_around_a_line_go_and_those_inside_stay() -> None:
    assert clean('"I *really* like **it**."') == "I really like it."
    assert clean('"Hi," she said, "you."') == '"Hi," she said, "you."'
    assert clean("5 * 3 * 2 and 'twas") == "5 * 3 * 2 and 'twas"


def codes(answer: str, *, num_turns: int = 2, language: str = "en", cut: bool = False) -> list[str]:
    faults = find_faults(read_answer(answer), answer, num_turns=num_turns, language=language, cut=cut)
    return [fault.code for fault in faults]


GOOD = "User: My cat ran away.\nAssistant: I'm so sorry."


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (GOOD, []),
        ("", ["unparsable"]),
        ("I cannot help with that.", ["unparsable"]),
        ('{"user_1": "My cat ran', ["unparsable"]),
        ("{" * 5000, ["unparsable"]),
        ("User: My cat ran away.", ["wrong_turns"]),
        ("Assistant: Hi.\nUser: My cat ran away.", ["wrong_turns"]),
        ("User: a b.\nUser: c d.\nAssistant: e.", ["wrong_turns"]),
        ("User:\nAssistant: I'm so sorry.", ["empty_text"]),
        ("User: ...\nAssistant: !!", ["empty_text", "empty_text"]),
        ("User: " + "word " * 5_000_000 + "\nAssistant: ok.", ["wrong_turns"]),
        ("User: hi.\nAssistant: " + "word " * 200, ["too_long"]),
        ("User: My cat.\nAssistant: " + "\x07" * 30 + "Sorry.", ["control_characters"]),
        ("User: 我的猫跑了。\nAssistant: 真遗憾，希望它能回来。", ["wrong_language", "wrong_language"]),
        (
            "User: My cat.\nAssistant: Das tut mir wirklich leid, deine Katze kommt sicher bald wieder.",
            ["wrong_language"],
        ),
    ],
)
def test_faults_by_code(answer: str, expected: list[str]) -> None:
    assert codes(answer) == expected


def test_an_answer_cut_in_its_last_wanted_turn_is_too_long() -> None:
    assert codes("User: My cat ran away.\nAssistant: I'm so sorry that you", cut=True) == ["too_long"]
    assert codes(GOOD, cut=True) == []
    assert codes(GOOD + "\nUser: And the", cut=True) == []


def test_more_turns() -> None:
    assert codes("\n".join([GOOD] * 3), num_turns=6) == []
    assert codes("\n".join([GOOD] * 2), num_turns=6) == ["wrong_turns"]


def test_languages() -> None:
    assert is_language("我的猫跑了。", "zh") and not is_language("My cat ran away.", "zh")
    assert is_language("Café for José and me", "en") and is_language("123", "en") and is_language("Qué?", "es")


def test_overlap_tells_a_copy_from_a_likeness() -> None:
    shown = ["The house is so quiet now without him."]
    assert overlap("The house is so quiet now, without him!", shown) == 1.0
    assert overlap("The house is full of noise and people.", shown) < 0.3
    assert overlap("Oh no.", ["Oh no."]) == 0.0


def test_content_words_meet_across_endings() -> None:
    assert content_words("the landlord raised the rent") & content_words("My landlord raises it") == {"landl", "raise"}


@given(st.text(max_size=300))
def test_any_text_at_all_is_read_without_a_crash(text: str) -> None:
    lines = read_answer(text)
    find_faults(lines, text, num_turns=2, language="en", cut=False)
    assert all("\n" not in line.text and line.text == line.text.strip() for line in lines)


@given(st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_any_json_at_all_is_read_without_a_crash(data: object) -> None:
    read_answer(json.dumps({"user_1": data, "assistant_1": data, "tone": data}))
