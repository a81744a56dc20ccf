from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contracts.records import Reason
from tasks.spoken_form import spoken_form

GOLDEN = [
    # plain text stays, and gets its end
    ("I'm glad you told me.", "I'm glad you told me."),
    ("that sounds hard", "that sounds hard."),
    ("Oh, mañana at the café!", "Oh, mañana at the café!"),
    # markdown and lists
    ("**Really** good, *so* good, __yes__, ~~no~~", "Really good, so good, yes, no."),
    ("# My plan\nGo home.", "My plan. Go home."),
    ("1. Eat\n2. Sleep", "Eat, Sleep."),
    ("Buy:\n- milk\n- eggs", "Buy: milk, eggs."),
    ("> I am here\n---\nStill here", "I am here. Still here."),
    ("Take `care` of it", "Take care of it."),
    ("See [this page](https://example.com/x) first", "See this page first."),
    # stage directions and asides
    ("*sighs* It's over.", "It's over."),
    ("(laughs softly) Sure!", "Sure!"),
    ("[pauses] Well, yes", "Well, yes."),
    ("My brother (the older one) called", "My brother, the older one, called."),
    # quotes, dashes, marks
    ("\u201cNo\u201d, she said, \u2018never\u2019", "No, she said, never."),
    ("I don\u2019t know", "I don't know."),
    ("the boys' room, 'cause", "the boys' room, 'cause."),
    ("Hello \u2014 how are you", "Hello, how are you."),
    ("well - I guess", "well, I guess."),
    ("I was going to-", "I was going to."),
    ("No way!!!???", "No way?"),
    ("Wait\u2026what", "Wait... what."),
    ("Okay.So what", "Okay. So what."),
    ("pre- and post-war", "pre- and post-war."),
    # emoji and emoticons
    ("Great news 😊🎉!", "Great news!"),
    ("Oh :) thanks <3", "Oh thanks."),
    # addresses
    ("Look at https://www.example.com today", "Look at example dot com today."),
    ("Write to ana.b@example.org", "Write to ana dot b at example dot org."),
    # numbers
    ("I have 3 cats", "I have three cats."),
    ("1,234 steps", "one thousand two hundred and thirty-four steps."),
    ("about 2.05 of it", "about two point zero five of it."),
    ("the 1st, 2nd and 21st", "the first, second and twenty-first."),
    ("born in 1985 or 2010", "born in nineteen eighty-five or twenty ten."),
    ("1500 people since 1500", "one thousand five hundred people since fifteen hundred."),
    ("the 1990s and the '80s", "the nineteen nineties and the eighties."),
    ("100% or 0.5 %", "one hundred percent or zero point five percent."),
    ("$5.50, $1, £3 and 20€", "five dollars and fifty cents, one dollar, three pounds and twenty euros."),
    ("$3 million or $5k", "three million dollars or five thousand dollars."),
    ("at 5:30, 7:05pm and 6:00", "at five thirty, seven oh five PM and six o'clock."),
    ("8 a.m. tomorrow", "eight AM tomorrow."),
    ("10:30-11:30", "ten thirty to eleven thirty."),
    ("5-10 days, 5–10%", "five to ten days, five to ten percent."),
    ("5 km, 1 kg, 60 km/h", "five kilometres, one kilogram, sixty kilometres per hour."),
    ("a 5-km run of 25 min", "a five kilometre run of twenty-five minutes."),
    ("It's -5°C or 30 degrees", "It's minus five degrees Celsius or thirty degrees."),
    ("my 25-year-old", "my twenty-five-year-old."),
    ("2½ cups, 3/4 done, 1/2 price", "two and a half cups, three quarters done, half price."),
    ("9/10, 24/7", "nine out of ten, twenty-four seven."),
    ("call 555-123-4567", "call five five five one two three four five six seven."),
    ("agent 007", "agent zero zero seven."),
    ("COVID-19 and B12", "COVID nineteen and B twelve."),
    ("6'2\" tall", "six foot two tall."),
    ("version 3.11.2", "version three point eleven point two."),
    # abbreviations and symbols
    ("Mr. and Mrs. Lee met Dr. Ray", "Mister and Missus Lee met Doctor Ray."),
    ("fruit, e.g. apples, etc.", "fruit, for example, apples, et cetera."),
    ("St. Mary's vs. us", "Saint Mary's versus us."),
    ("salt & pepper + oil", "salt and pepper plus oil."),
    ("his/her and/or our", "his or her or our."),
    ("the #1 fan of No. 5", "the number one fan of number five."),
    ("w/o sugar, w/ milk", "without sugar, with milk."),
]
REFUSED = [
    ("unspeakable_code", "```python\nprint(1)\n```"),
    ("unspeakable_code", "call `f(x)` first"),
    ("unspeakable_code", "<b>hello</b> there"),
    ("unspeakable_code", '{"text": "hello"}'),
    ("unspeakable_table", "| a | b |\n|---|---|"),
    ("unspeakable_url", "see https://example.com/a/very?long=link"),
    ("unspeakable_url", "see example.com/path"),
    ("unspeakable_placeholder", "Hello [Name], how are you?"),
    ("unspeakable_date", "on 3/4/2024"),
    ("unspeakable_number", "my code is 1234567890123456"),
    ("unspeakable_script", "你好吗"),
    ("unspeakable_script", "Привет"),
    ("unspeakable_symbol", "this → that"),
    ("unspeakable_control", "hello\x00there"),
    ("unspeakable_empty", "*sighs*"),
    ("unspeakable_empty", "😊"),
    ("unspeakable_empty", ""),
]
PIECES = st.sampled_from(
    "1 23 4.5 1999 0 , . ! ? - -- — – ' \" ( ) [ ] * ** _ ~ # % $ € ° & + = / @ : ; < | ` km kg pm a.m. st th s Mr. "
    "e.g. etc. www. example.com :) *sighs* (laughs) [x] the dog it's 'cause I é ½ \n - \n1. 😊 …".split(" ")
)


@pytest.mark.parametrize(("written", "spoken"), GOLDEN)
def test_golden(written: str, spoken: str) -> None:
    assert spoken_form(written, "en") == spoken


@pytest.mark.parametrize(("code", "written"), REFUSED)
def test_what_cannot_be_spoken_is_refused_with_a_code(code: str, written: str) -> None:
    reason = spoken_form(written, "en")
    assert isinstance(reason, Reason) and reason.code == code
    assert reason.detail.startswith("Cannot be spoken: ")


def test_a_language_without_rules_is_refused() -> None:
    reason = spoken_form("Bonjour", "fr")
    assert isinstance(reason, Reason) and reason.code == "unspeakable_language"


def _is_settled(text: str) -> None:
    spoken = spoken_form(text, "en")
    if isinstance(spoken, str):
        assert spoken_form(spoken, "en") == spoken
        assert re.fullmatch(r"[^\W\d_](?:[^\W\d_]|[ .,?!;:'-])*[.?!]|'[^\W\d_].*[.?!]", spoken), spoken
        assert "  " not in spoken


@settings(deadline=None, max_examples=200)
@given(st.lists(PIECES, max_size=12).map(" ".join) | st.lists(PIECES, max_size=12).map("".join))
def test_spoken_form_of_written_odds_and_ends_is_settled(text: str) -> None:
    _is_settled(text)


@settings(deadline=None, max_examples=120)
@given(st.text(max_size=40))
@example("0/1/0")
def test_spoken_form_of_any_text_is_settled(text: str) -> None:
    _is_settled(text)


@pytest.mark.parametrize(
    "text", ["(" * 3000, "*" * 3000, "a." * 2000, "1," * 2000, "-" * 3000, "[" * 3000, " \n" * 1500]
)
def test_hostile_text_costs_no_more_than_a_moment(text: str) -> None:
    spoken_form(text, "en")
