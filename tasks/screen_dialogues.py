"""Screen: is this text fit to be spoken, and is it a dialogue at all? Cheap, and so before any voice is heard.

Each check is a pure function from text to reasons; a dialogue is rejected with all the reasons of all its turns.
Small models fail in few ways (they parrot, loop, recite their prompt, speak as an AI), and each has a countable code:

    too_long  too_short  too_few_words  too_many_words  unspeakable_*  role_label_leak  prompt_leak
    refusal  assistant_speak  repetition  duplicate_turns
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache

from contracts.config import ScreenConfig
from contracts.records import Candidate, Dialogue, Reason, Turn
from prompts import load_prompt, prompt_names
from tasks.spoken_form import spoken_form

MIN_CHARACTERS = 3
REPEATED_WORDS = 4
"""As many words in a row must not come twice in a turn."""
MAX_PARROTED = 0.5
"""Share of the reply's three-word sequences that may be the user's own."""
MAX_RECITED_WORDS = 7
"""So many words in a row may be the prompt's own by chance; more are recited."""

_LABELS = r"(?:User|Assistant|Human|System|AI|Bot|Chatbot|Speaker [A-Z0-9]|Listener|Speaker)"
_ROLE_LABEL = re.compile(rf"\b{_LABELS}(?: ?\([^)]*\))?\s*:|(?:^|\n)\W*(?i:{_LABELS})\W*:|<\|?\w+\|>")
_SIGNS = (
    (
        "assistant_speak",
        r"\bas an? (?:AI|artificial intelligence|(?:large )?language model|virtual assistant|chatbot)\b"
        r"|\bI(?:'m| am) (?:just |only )?an? (?:AI|artificial|(?:large )?language model|computer program|chatbot)\b"
        r"|\bI (?:do not|don't|cannot|can't) (?:have|feel|experience) (?:any )?(?:personal )?(?:feelings|emotions)\b",
    ),
    (
        "refusal",
        r"\bI(?:'m| am)? ?(?:cannot|can't|can not|unable to|not able to|won't|will not) (?:\w+ )?"
        r"(?:assist|help you with|help with|fulfill?|comply|provide|generate|create|engage in)\b",
    ),
    (
        "prompt_leak",
        r"\bhere(?:'s| is| are) (?:a|an|the|your|my) (?:\w+ ){0,3}(?:dialogue|conversation|response|reply|turn)\b"
        r"|\b(?:the|this) (?:scenario|dialogue|speaker's emotion|user's (?:turn|emotion|tone|message))\b"
        r"|\b(?:emotion|feeling|intensity|situation|what happened|who speaks|topic|style|tone|spoken_text|role)\s*[:=]"
        # Small models fall out of the dialogue and talk about it.
        r"|\bthe (?:user|speaker)(?:'s)? (?:is|was|has|feels|says|wants|asks|assistant)\b"
        r"|\bparalinguistic\b|\brole-?play\b",
    ),
)
_PATTERNS = tuple((code, re.compile(pattern, re.IGNORECASE)) for code, pattern in _SIGNS)


def screen_dialogues(candidates: Sequence[Candidate], *, config: ScreenConfig) -> list[Candidate]:
    """The same candidates in the same order: alive ones with `spoken_text` on each turn, or rejected with reasons."""
    return [_screened(c, config) if c.alive else c for c in candidates]


def _screened(candidate: Candidate, config: ScreenConfig) -> Candidate:
    dialogue = candidate.dialogue
    assert dialogue is not None, f"{candidate.id} is alive without a dialogue"
    spoken = [spoken_form(turn.text, candidate.scenario.language) for turn in dialogue.turns]
    reasons = reasons_for_dialogue(dialogue, spoken, config)
    if reasons:
        return candidate.rejected("screen", *reasons)
    pairs = zip(dialogue.turns, spoken, strict=True)
    turns = tuple(turn.model_copy(update={"spoken_text": text}) for turn, text in pairs)
    return candidate.model_copy(update={"dialogue": dialogue.model_copy(update={"turns": turns})})


def reasons_for_dialogue(dialogue: Dialogue, spoken: Sequence[str | Reason], config: ScreenConfig) -> list[Reason]:
    """Everything against a dialogue, turn by turn; `spoken` holds each turn's spoken form or why it has none."""
    reasons: list[Reason] = []
    for index, (turn, form) in enumerate(zip(dialogue.turns, spoken, strict=True)):
        previous = dialogue.turns[index - 1] if index else None
        found = [*reasons_for(turn, form, config), *_prompt_reasons(turn.text, dialogue.prompt_sha256)]
        if previous and turn.role == "assistant":
            found += parroting_reasons(turn.text, previous.text)
        reasons += [reason.model_copy(update={"turn_index": index}) for reason in found]
    return reasons + duplicate_reasons(dialogue.turns)


def reasons_for(turn: Turn, spoken: str | Reason, config: ScreenConfig) -> list[Reason]:
    """Everything against a turn by itself."""
    shape = [spoken] if isinstance(spoken, Reason) else length_reasons(spoken, config)
    return [*shape, *leak_reasons(turn.text), *repetition_reasons(turn.text)]


def length_reasons(spoken: str, config: ScreenConfig) -> list[Reason]:
    """Too long or too short, in characters or words of the spoken form."""
    characters, words = len(spoken), len(_words(spoken))
    bounds = (
        ("too_long", characters > config.max_characters, characters, config.max_characters, "characters, more than"),
        ("too_short", characters < MIN_CHARACTERS, characters, MIN_CHARACTERS, "characters, fewer than"),
        ("too_few_words", words < config.min_words, words, config.min_words, "words, fewer than"),
        ("too_many_words", words > config.max_words, words, config.max_words, "words, more than"),
    )
    return [
        Reason(code=code, detail=f"The turn has {value} {what} {threshold}.", value=value, threshold=threshold)
        for code, wrong, value, threshold, what in bounds
        if wrong
    ]


def leak_reasons(text: str) -> list[Reason]:
    """Role labels, the prompt's own vocabulary, refusals, and an assistant that speaks of itself as a program."""
    patterns = (("role_label_leak", _ROLE_LABEL), *_PATTERNS)
    found = ((code, pattern.search(text)) for code, pattern in patterns)
    return [Reason(code=code, detail=f"The turn says {match[0].strip()!r}.") for code, match in found if match]


def repetition_reasons(text: str) -> list[Reason]:
    """The same four words in a row, more than once."""
    counts = Counter(_sequences(_words(text), REPEATED_WORDS))
    sequence, count = max(counts.items(), key=lambda item: item[1], default=((), 0))
    if count < 2:
        return []
    detail = f"The turn says {' '.join(sequence)!r} {count} times."
    return [Reason(code="repetition", detail=detail, value=count, threshold=1)]


def parroting_reasons(reply: str, line: str) -> list[Reason]:
    """A reply that is made of the line it answers."""
    own, heard = set(_sequences(_words(reply), 3)), set(_sequences(_words(line), 3))
    share = len(own & heard) / len(own) if own else 0.0
    if share <= MAX_PARROTED:
        return []
    detail = f"{share:.0%} of the reply's three-word sequences are the user's own."
    return [Reason(code="repetition", detail=detail, value=share, threshold=MAX_PARROTED)]


def duplicate_reasons(turns: Sequence[Turn]) -> list[Reason]:
    """Turns that say the same words as an earlier one."""
    first: dict[tuple[str, ...], int] = {}
    reasons = []
    for index, turn in enumerate(turns):
        earlier = first.setdefault(tuple(_words(turn.text)), index)
        if earlier != index:
            detail = f"Turn {index} says the same as turn {earlier}."
            reasons.append(Reason(code="duplicate_turns", detail=detail, turn_index=index, value=earlier))
    return reasons


def recitation_reasons(text: str, prompt_text: str) -> list[Reason]:
    """A long stretch of the prompt itself, e.g. one of its examples."""
    return _recited(text, _prompt_sequences(prompt_text))


def _prompt_reasons(text: str, prompt_sha256: str) -> list[Reason]:
    # The dialogue names its prompt by hash. A prompt that this installation does not have cannot be looked up.
    known = {prompt.sha256: prompt for prompt in map(load_prompt, prompt_names())}
    prompt = known.get(prompt_sha256)
    return recitation_reasons(text, prompt.text) if prompt else []


def _recited(text: str, known: frozenset[tuple[str, ...]]) -> list[Reason]:
    for sequence in _sequences(_words(text), MAX_RECITED_WORDS + 1):
        if sequence in known:
            detail = f"The turn recites the prompt: {' '.join(sequence)!r}."
            return [Reason(code="prompt_leak", detail=detail, value=len(sequence), threshold=MAX_RECITED_WORDS)]
    return []


@cache
def _prompt_sequences(prompt_text: str) -> frozenset[tuple[str, ...]]:
    return frozenset(_sequences(_words(prompt_text), MAX_RECITED_WORDS + 1))


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", text.lower())


def _sequences(words: Sequence[str], length: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + length]) for i in range(len(words) - length + 1)]
