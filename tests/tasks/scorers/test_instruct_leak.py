from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.audio import Audio
from contracts.records import Delivery
from tasks.scorers.instruct_leak import InstructLeak
from tests.tasks.scorers.conftest import make_item

ANGRY = "The speaker is angry about something that was unfair or careless."
TEXT = "Somebody scratched my car in the parking lot and just drove away."
LEAK = InstructLeak()


def test_the_text_alone_holds_no_leak() -> None:
    score = LEAK.leak(ANGRY, TEXT, TEXT)
    assert (score.value, score.details) == (0.0, {"prefix": 0.0, "longest_run": 0.0})


def test_directions_read_aloud_before_the_text_are_found_whole() -> None:
    score = LEAK.leak(ANGRY, TEXT, f"{ANGRY} {TEXT}")
    assert (score.value, score.details) == (1.0, {"prefix": 1.0, "longest_run": 11.0})


@pytest.mark.parametrize(
    ("heard", "least", "prefix"),
    [
        # What an ASR makes of it.
        ("The speaker's angry about something that was unfare or careless. Somebody scratched my car.", 0.7, 1),
        ("Uh, the speaker is angry about something. Somebody scratched my car in the parking lot", 0.5, 1),
        (f"{TEXT} The speaker is angry about something that was unfair.", 0.8, 0),
        ("angry about something that was unfair or careless", 0.7, 0),
        (ANGRY, 0.9, 1),
    ],
)
def test_a_leak_is_found_whatever_the_asr_made_of_it(heard: str, least: float, prefix: int) -> None:
    score = LEAK.leak(ANGRY, TEXT, heard)
    assert score.value is not None and score.value >= least
    assert score.details["prefix"] == prefix


@pytest.mark.parametrize(
    "heard",
    [
        "Somebody scratched my car in the parking lot and just drove the way.",
        "some body scratched my cart in a parking lot, and she just rode away",
        "The neighbour is here.",
        "",
        "...",
    ],
)
def test_errors_of_the_asr_are_no_leak(heard: str) -> None:
    assert LEAK.leak(ANGRY, TEXT, heard).value == 0


def test_words_that_the_text_shares_with_its_directions_are_no_leak() -> None:
    text = "I am angry about something that was unfair, or careless, whatever you call it."
    assert LEAK.leak(ANGRY, text, text).value == 0
    twice = LEAK.leak(ANGRY, text, f"{ANGRY} {text}")
    assert twice.value == 1


def test_without_directions_nothing_can_leak() -> None:
    silence = Audio(np.zeros(10, np.float32), 16_000)
    plain = make_item(silence, TEXT, heard=f"{ANGRY} {TEXT}")
    led = make_item(
        silence, TEXT, heard=f"{ANGRY} {TEXT}", delivery=Delivery(emotion="angry", intensity=1, instruct=ANGRY)
    )
    assert [s.value for s in LEAK.score([plain, led])] == [0.0, 1.0]


def test_short_directions_leak_too() -> None:
    assert LEAK.leak("Angrily!", TEXT, f"Angrily. {TEXT}").details == {"prefix": 1.0, "longest_run": 1.0}
    assert LEAK.leak("Sad, slow.", TEXT, f"sad slow {TEXT}").value == 1
    assert LEAK.leak("...", TEXT, TEXT).value == 0


def test_languages_without_blanks_are_compared_by_character() -> None:
    score = LEAK.leak("用悲伤的语气说", "今天天气很好。", "用悲伤的语气说今天天气很好", "zh")
    assert (score.value, score.details["prefix"]) == (1.0, 1.0)
    assert LEAK.leak("用悲伤的语气说", "今天天气很好。", "今天天气很好", "zh").value == 0


@settings(max_examples=60, deadline=None)
@given(*[st.lists(st.sampled_from("the speaker is sad and my old dog ran away".split()), max_size=9).map(" ".join)] * 3)
def test_any_texts_give_a_share(instruct: str, text: str, heard: str) -> None:
    score = LEAK.leak(instruct, text, heard)
    assert score.value is not None and 0 <= score.value <= 1
    assert 0 <= score.details["longest_run"] <= len(instruct.split())
    assert LEAK.leak(instruct, text, text).value == 0


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40), st.sampled_from(["en", "de", "zh"]))
def test_any_characters_give_a_share(instruct: str, text: str, heard: str, language: str) -> None:
    score = LEAK.leak(instruct, text, heard, language)
    assert score.value is not None and 0 <= score.value <= 1
