from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.audio import Audio
from tasks.scorers.error_rates import CER, WER, normalized
from tests.tasks.scorers.conftest import make_item

WORDS = st.lists(st.sampled_from("the cat sat on a warm old mat".split()), min_size=1, max_size=8).map(" ".join)


@pytest.mark.parametrize(
    ("reference", "hypothesis"),
    [
        ("Hello, world!", "hello world"),
        ("I have twenty five cats.", "I have 25 cats"),
        ("it is three o'clock", "It is 3 o'clock."),
        ("I can't do that; I'm sorry.", "I can not do that, I am sorry"),
        ("I don\u2019t know.", "I don't know"),
        ("the colour of honour", "the color of honor"),
        ("Mr. Smith came.", "mister smith came"),
        ("It costs five dollars.", "It costs $5."),
        ("Well... I see\u2026 you know.", "Well, I see, you know"),
    ],
)
def test_spelling_case_punctuation_numbers_and_contractions_are_no_errors(reference: str, hypothesis: str) -> None:
    assert WER().rate(reference, hypothesis).value == 0


@pytest.mark.parametrize("rate", [WER(), CER()])
def test_empty_hypothesis_scores_one(rate: WER | CER) -> None:
    score = rate.rate("the cat sat", "")
    assert score.value == 1
    assert score.details["deletions"] == score.details[f"reference_{rate.unit}"]


@pytest.mark.parametrize("rate", [WER(), CER()])
@pytest.mark.parametrize("nothing", ["", "   ", "...", "(laughs)", "- ?!"])
def test_reference_without_words_cannot_be_scored(rate: WER | CER, nothing: str) -> None:
    score = rate.rate(nothing, "the cat")
    assert score.value is None
    assert score.error and "reference" in score.error


def test_counts_of_a_known_alignment() -> None:
    score = WER().rate("my old dog has passed away quietly", "my cold dog passed away quietly right now")
    assert score.details == {
        "substitutions": 1,
        "deletions": 1,
        "insertions": 2,
        "hits": 5,
        "reference_words": 7,
    }
    assert score.value == pytest.approx(4 / 7)


def test_rate_exceeds_one_when_much_more_is_heard_than_said() -> None:
    assert WER().rate("yes", "yes I really do think so").value == 5


def test_cer_leaves_blanks_out() -> None:
    assert CER().rate("good bye", "goodbye").value == 0
    assert WER().rate("good bye", "goodbye").value == 1


def test_cer_counts_characters() -> None:
    score = CER().rate("cat", "cut")
    assert score.value == pytest.approx(1 / 3)
    assert score.details["reference_characters"] == 3


def test_chinese_is_compared_by_character_without_punctuation() -> None:
    assert CER().rate("今天天气很好。", "今天天气很好", "zh").value == 0
    assert CER().rate("今天天气很好。", "今天天汽很好", "zh").value == pytest.approx(1 / 6)


def test_the_utterances_language_chooses_the_normaliser() -> None:
    audio = Audio(np.zeros(10, dtype=np.float32), 16_000)
    batch = [make_item(audio, "twenty", heard="20", language=language) for language in ("en", "de")]
    english, german = WER().score(batch)
    assert (english.value, german.value) == (0, 1)


def test_diacritics_count_outside_english() -> None:
    assert WER().rate("schön", "schon", "de").value == 1


@settings(max_examples=50, deadline=None)
@given(WORDS, WORDS)
def test_rate_is_errors_over_reference_length_and_zero_only_for_equal_texts(reference: str, hypothesis: str) -> None:
    for rate in (WER(), CER()):
        score = rate.rate(reference, hypothesis)
        details = score.details
        errors = details["substitutions"] + details["deletions"] + details["insertions"]
        length = details["hits"] + details["substitutions"] + details["deletions"]
        assert length == details[f"reference_{rate.unit}"]
        assert score.value == pytest.approx(errors / length)
        same = normalized(reference, "en") == normalized(hypothesis, "en")
        assert (score.value == 0) == same or rate.name == "cer"


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=40), st.text(max_size=40), st.sampled_from(["en", "de", "zh"]))
def test_any_text_gets_a_score_or_a_reason(reference: str, hypothesis: str, language: str) -> None:
    for rate in (WER(), CER()):
        score = rate.rate(reference, hypothesis, language)
        assert (score.value is None) == (score.error is not None)
