"""From an LLM's raw answer to clean lines of dialogue, and to the reasons why they cannot be used. Pure.

Only the form is tidied here: labels, markdown, quotes around a line, white space. What stands in a line, be it
brackets, lists or emoji, passes through: the screen judges what can be spoken.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from contracts.records import Reason, Role

MAX_ANSWER = 20_000
"""Characters of an answer that are looked at at all."""
MAX_CHARACTERS = 600
"""Of one turn; half a minute of speech."""
MAX_CONTROL_SHARE = 0.02
_LABEL = re.compile(
    r"""^[\s>*_#\-"'`\d.]*                          # markdown, bullets, numbers, an opening quote
        (?P<role>user|human|speaker|assistant|ai|bot|用户|助手)
        (?:\s*\d+)?[*_]*\s*
        (?:[(\[（](?P<tone>[^)\]）]{0,60})[)\]）])?      # the tone of voice
        [\s*_"]*[:：][\s*_]*(?P<text>.*)$""",
    re.IGNORECASE | re.VERBOSE,
)
# A label in mid-line, after a sentence's end: the model went on without a line break.
_LATE_LABEL = re.compile(r"""(?<=[.!?"”])\s+(?=(?:User|Assistant)\b\s*[(:]|user$|assistant$)""")
_USER_LABELS = frozenset({"user", "human", "speaker", "用户"})
_BARE_LABELS = frozenset({"user", "assistant"})
_THINKING = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL)
_QUOTES = {'"': '"', "“": "”", "'": "'", "‘": "’", "「": "」", "`": "`"}
_EMPHASIS = re.compile(r"(\*\*|__|\*|`)(?=\S)(.+?)(?<=\S)\1")
_STOP_WORDS = frozenset(
    "the a an and or but so to of in on at for with from it it's its i i'm i've my me we you your he she they them is "
    "are was were be been am do did does don't have has had not no this that there what how when all just".split()
)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of dialogue as it was read."""

    role: Role
    text: str
    tone: str | None = None
    """Tone of voice as the model wrote it; assistant lines only."""


def read_answer(text: str) -> list[Line]:
    """The lines of an answer, in either form: labelled text or a JSON object. Empty when there are none."""
    text = _THINKING.sub("", text[:MAX_ANSWER]).strip()
    return parse_json(text) or parse_labelled(text)


def parse_labelled(text: str) -> list[Line]:
    """Lines of `User: ...` and `Assistant (tone): ...`; text before the first label is dropped.

    A line without a label goes on with the turn above, up to an empty line.
    """
    lines: list[Line] = []
    goes_on = False
    for raw in _LATE_LABEL.sub("\n", text).splitlines():
        if match := _LABEL.match(raw):
            role: Role = "user" if match["role"].lower() in _USER_LABELS else "assistant"
            tone = (match["tone"] or "").strip().lower() or None
            lines.append(Line(role, match["text"].strip(), tone if role == "assistant" else None))
            goes_on = True
        elif raw.strip().lower() in _BARE_LABELS or raw.startswith(("User (", "Assistant (")):
            goes_on = False
        elif raw.strip() and goes_on:
            lines[-1] = replace(lines[-1], text=f"{lines[-1].text} {raw.strip()}".strip())
        elif lines and lines[-1].text:
            goes_on = False
    return [replace(line, text=clean(line.text)) for line in lines]


def parse_json(text: str) -> list[Line]:
    """Lines of `{"user_1": ..., "tone": ..., "assistant_1": ...}`; empty when there is no such object."""
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        return []
    try:
        data = json.loads(text[start : end + 1])
    except (ValueError, RecursionError):
        return []
    return _lines_of(data) if isinstance(data, dict) else []


def _lines_of(data: Mapping[str, Any]) -> list[Line]:
    tone = data.get("tone")
    lines = []
    for key, value in data.items():
        role, _, number = key.partition("_")
        if role in ("user", "assistant") and number.isdigit() and isinstance(value, str):
            said = re.sub(_LABEL, lambda match: match["text"], value)
            own_tone = tone.lower() if isinstance(tone, str) and role == "assistant" else None
            lines.append((int(number), Line("user" if role == "user" else "assistant", clean(said), own_tone)))
    return [line for _, line in sorted(lines, key=lambda pair: (pair[0], pair[1].role == "assistant"))]


def clean(text: str) -> str:
    """One line, without control characters, markdown emphasis and quotes around the whole."""
    text = unicodedata.normalize("NFC", text)
    text = "".join(" " if c.isspace() else c for c in text if c.isspace() or not _is_control(c))
    text = " ".join(_EMPHASIS.sub(r"\2", text).split())
    while len(text) > 1 and _QUOTES.get(text[0]) == text[-1] and text[0] not in text[1:-1]:
        text = text[1:-1].strip()
    return text


def find_faults(lines: Sequence[Line], raw: str, *, num_turns: int, language: str, cut: bool) -> tuple[Reason, ...]:
    """Why these lines cannot be a dialogue; empty when they can.

    Args:
        lines: what `read_answer` found, possibly more than wanted.
        raw: the answer as it came.
        num_turns: how many turns are wanted; further ones are ignored.
        language: ISO 639-1 code that the text must be in.
        cut: whether the answer ended at its token limit.
    """
    if not lines:
        return (Reason(code="unparsable", detail=f"No line of dialogue in an answer of {len(raw)} characters."),)
    wanted = lines[:num_turns]
    roles = [line.role for line in wanted]
    if roles != ["user", "assistant"] * (num_turns // 2):
        return (Reason(code="wrong_turns", detail=f"Wanted {num_turns} turns, user first; got: {', '.join(roles)}."),)
    faults = [fault for i, line in enumerate(wanted) if (fault := _turn_fault(i, line.text, language))]
    if cut and len(lines) <= num_turns and not wanted[-1].text.endswith((".", "!", "?", "…", "。", "！", "？")):
        faults.append(
            Reason(code="too_long", detail="The answer was cut at its token limit.", turn_index=num_turns - 1)
        )
    # Counted in the answer as it came: `clean` has taken them out of the lines.
    num_control = sum(_is_control(c) and not c.isspace() for c in raw[:MAX_ANSWER])
    if num_control > MAX_CONTROL_SHARE * len(raw[:MAX_ANSWER]):
        faults.append(Reason(code="control_characters", detail=f"{num_control} control characters in the answer."))
    return tuple(faults)


def _turn_fault(index: int, text: str, language: str) -> Reason | None:
    if not any(c.isalnum() for c in text):
        return Reason(code="empty_text", detail="The turn has no words.", turn_index=index)
    if len(text) > MAX_CHARACTERS:
        return Reason(
            code="too_long",
            detail=f"{len(text)} characters, at most {MAX_CHARACTERS}.",
            turn_index=index,
            value=len(text),
            threshold=MAX_CHARACTERS,
        )
    if not is_language(text, language):
        return Reason(code="wrong_language", detail=f"Not {language}: {text[:60]}", turn_index=index)
    return None


def is_language(text: str, language: str) -> bool:
    """A cheap check by script and, for English, by stop words; languages that it does not know always pass."""
    letters = [c for c in text if c.isalpha()]
    if not letters:
        return True
    if language == "zh":
        return sum("\u3400" <= c <= "\u9fff" for c in letters) >= 0.5 * len(letters)
    if language != "en":
        return True
    words = words_of(text)
    if sum(c < "\u0250" for c in letters) < 0.9 * len(letters):
        return False
    # Seven words of English without a single function word do not happen.
    return len(words) < 7 or any(word in _STOP_WORDS for word in words)


def words_of(text: str) -> list[str]:
    """Lower-case words, apostrophes kept."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)?", text.lower().replace("’", "'"))


def content_words(text: str) -> frozenset[str]:
    """The words that say what it is about, cut to five letters so that `raised` meets `raises`."""
    return frozenset(w[:5] for w in words_of(text) if len(w) > 2 and w not in _STOP_WORDS)


def overlap(text: str, others: Iterable[str], *, size: int = 3) -> float:
    """Largest share of the text's word runs (of `size` words) that stand in one of the others; 0 for short texts."""
    own = _runs(text, size)
    if len(own) < 2:
        return 0.0
    return max((len(own & _runs(other, size)) / len(own) for other in others), default=0.0)


def _runs(text: str, size: int) -> set[tuple[str, ...]]:
    words = words_of(text)
    return {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}


def _is_control(character: str) -> bool:
    # Category Cf holds joiners that emoji and some scripts need; only its invisible marks of direction are noise.
    if character in "\ufffd\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\ufeff":
        return True
    return unicodedata.category(character) in ("Cc", "Cs", "Co", "Cn")
