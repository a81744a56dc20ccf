"""Which of several sound dialogues is the better one, by what cheap rules can see. Pure.

These rules rank, they never reject: a good line may break one of them. They are written for what small models get
wrong: the user speaks like the assistant or of something else, the reply mourns a lottery prize, a phrase comes in a
loop. The word lists are English; in other languages only the rules that need none apply.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from contracts.records import Scenario
from prompts import emotions
from tasks.llm.dialogue_text import Line, content_words, words_of

_FIRST_PERSON = frozenset("i i'm i've i'd i'll my me mine we we're we've our us myself".split())
_SECOND_PERSON = frozenset("you you're you've you'd you'll your yours".split())
_TO_THE_USER = _SECOND_PERSON | frozenset("that that's how what which who where it's".split())
_SELF = frozenset("my mine myself i've we we're we've our us".split())
MAX_REPLY_WORDS = 35
MIN_OWN_WORDS = 5
_SORRY = frozenset("sorry sad loss hurts hard tough difficult terrible awful unfortunately".split())
_CHEER = frozenset(
    "congratulations glad happy great wonderful proud lucky amazing fun beautiful lovely exciting enjoy good".split()
)


def merit(lines: Sequence[Line], scenario: Scenario, *, shown: Sequence[Line] = ()) -> float:
    """Share of the rules that hold, from 0 to 1; see `merits`."""
    rules = merits(lines, scenario, shown=shown)
    return sum(rules.values()) / len(rules)


def merits(lines: Sequence[Line], scenario: Scenario, *, shown: Sequence[Line] = ()) -> dict[str, bool]:
    """Each rule by name, and whether it holds.

    Args:
        lines: the dialogue.
        scenario: what it should be about.
        shown: the lines of all examples, none of whose sentences should come back.
    """
    rules = {
        "no_loops": not any(_has_loop(line.text) for line in lines),
        "no_borrowed_sentence": not _sentences(lines) & _sentences(shown),
    }
    if scenario.language != "en":
        return rules
    opening, reply = words_of(lines[0].text), words_of(lines[1].text)
    about = content_words(scenario.situation)
    replies = [word for line in lines if line.role == "assistant" for word in words_of(line.text)]
    return rules | {
        "user_in_first_person": bool(_FIRST_PERSON & set(opening)) or not _FIRST_PERSON & set(_situation(scenario)),
        "user_speaks_of_self": not _SECOND_PERSON & set(opening) and "sorry" not in opening,
        "user_on_topic": len(content_words(lines[0].text) & about) >= min(2, len(about)),
        "reply_to_the_user": bool(_TO_THE_USER & set(reply)),
        "reply_takes_up_a_word": bool(content_words(lines[1].text) & (about | content_words(lines[0].text))),
        "reply_not_of_itself": not _SELF & set(replies),
        "reply_is_short": len(reply) <= MAX_REPLY_WORDS,
        "reply_fits_the_feeling": _fits(set(replies), scenario.emotion),
    }


def _situation(scenario: Scenario) -> list[str]:
    return words_of(scenario.situation)


def _fits(reply: set[str], emotion: str) -> bool:
    known = emotions().emotions.get(emotion)
    valence = known.valence if known else 0.0
    if valence > -0.3:
        return not _SORRY & reply
    # `Good luck` and `I'm glad you told me` comfort; without a word of sympathy they would sound like cheering.
    return not _CHEER & reply or bool(_SORRY & reply)


def _sentences(lines: Sequence[Line]) -> set[tuple[str, ...]]:
    """All sentences that are long enough to be somebody's own."""
    sentences = (tuple(words_of(part)) for line in lines for part in re.split(r"[.!?]+", line.text))
    return {words for words in sentences if len(words) >= MIN_OWN_WORDS}


def _has_loop(text: str) -> bool:
    words = words_of(text)
    runs = Counter(zip(words, words[1:], words[2:], strict=False))
    return any(count > 1 for count in runs.values())
