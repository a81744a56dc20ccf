"""What a voice is to say for a written line: words and . , ? ! ; : ' - and nothing else, or why it cannot be said.

The rules are applied until they change nothing more, so the form is idempotent by construction. What would need a guess
(code, tables, long links, placeholders such as [name], foreign scripts) is refused with a countable reason, for a wrong
reading costs more than a lost line. English only so far; another language brings its own rules here.
"""

from __future__ import annotations

import re
import unicodedata

import emoji

from contracts.records import Reason
from tasks.spoken_numbers import speak_numbers

LANGUAGES = ("en",)
MAX_PASSES = 8
"""Real text settles in two or three."""
MAX_DIGITS = 15
"""A longer figure is an identifier, and nobody speaks it."""
MARKS = " .,?!;:'-"

_STAGE_WORDS = (
    r"sigh|laugh|chuckl|giggl|gasp|smil|nod|paus|cry|cries|sob|groan|shrug|whisper|cough|sniff|clear|wink|frown|grin|hug|"
    r"tear|voice|tone|silence|breath|beat|softly|gently|warmly|quietly|excitedly|sadly|angrily|nervously|happily|cheerfully"
)
_STAGE = rf"[^\[\]()*\n]{{0,25}}\b(?:{_STAGE_WORDS})\w*[^\[\]()*\n]{{0,25}}"
_DOMAIN = r"(?:[A-Za-z][\w-]*\.)+(?:com|org|net|edu|gov|io|co|uk|de|fr|eu)"

_REFUSED = (
    ("unspeakable_code", re.compile(r"```|`[^`\n]*[(){};=<>\[\]/\\_][^`\n]*`|</?[A-Za-z][^>\n]*>|[{}\\]")),
    ("unspeakable_table", re.compile(r"\|.*\|")),
    ("unspeakable_url", re.compile(rf"(?:https?://|www\.)(?!(?:www\.)?{_DOMAIN}/?(?:[\s.,!?)]|$))\S+|{_DOMAIN}/\S+")),
    ("unspeakable_placeholder", re.compile(rf"\[(?!{_STAGE}\])[^\]\n]*\]")),
    ("unspeakable_date", re.compile(r"\b[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}\b|\b[0-9]{1,2}/[0-9]{1,2}/[0-9]{2,4}\b")),
    ("unspeakable_number", re.compile(rf"[0-9]{{{MAX_DIGITS + 1},}}|[0-9]{{1,3}}(?:,[0-9]{{3}}){{5,}}")),
)
_LINK = re.compile(r"!?\[([^\]\n]*)\]\([^)\n]*\)")
_PLAIN = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02bc", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2212", "-"),
        **dict.fromkeys("\u2022\u25cf\u25aa\u25e6\u2023", "-"),
        **dict.fromkeys("\u2014\u2015", " - "),
        **{"²": " squared", "³": " cubed", "½": " 1/2", "¼": " 1/4", "¾": " 3/4", "⅓": " 1/3", "⅔": " 2/3", "ß": "ss"},
        **{"×": " times ", "÷": " divided by ", "™": "", "®": "", "©": ""},
    }
)
_ABBREVIATIONS = {
    **{"Mr": "Mister", "Mrs": "Missus", "Ms": "Miz", "Dr": "Doctor", "Prof": "Professor", "Jr": "Junior"},
    **{"Sr": "Senior", "vs": "versus", "etc": "et cetera", "approx": "approximately", "dept": "department"},
    **{"Ave": "Avenue", "Mt": "Mount", "govt": "government", "misc": "miscellaneous", "incl": "including"},
}
_RULES = tuple(
    (re.compile(pattern, re.MULTILINE), spoken)
    for pattern, spoken in (
        # markdown
        (r"^[ \t]*(?:[-*_][ \t]*){3,}$", ""),
        (r"^([ \t]*#{1,6}[ \t].*\w)[ \t]*$", r"\1."),
        (r"(?<=[^\s.,;:!?-])[ \t]*\n+(?=[ \t]*(?:[-*+]|[0-9]{1,2}[.)])[ \t])", ",\n"),
        (r"^[ \t]*(?:#{1,6}[ \t]+|>[ \t]?|[-*+][ \t]+|[0-9]{1,2}[.)][ \t]+(?=\D))", ""),
        (r"(?<=[^\s.,;:!?-])[ \t]*\n+\s*(?=[^a-z\s])", ". "),
        # stage directions, asides, emphasis
        (rf"\*{{1,2}}{_STAGE}\*{{1,2}}|\[{_STAGE}\]|\({_STAGE}\)", " "),
        (r"(\*{1,3}|~~|__)(?=\S)([^*~\n]+?)(?<=\S)\1", r"\2"),
        (r"(?<!\w)_([^_\n]+)_(?!\w)", r"\1"),
        (r"(?:(?<=\s)|^)(?:[:;=]['-]?[()DPpOo/|]|<3+|[xX]D)(?=\s|[.,!?]|$)", " "),
        (r"\s*\(([^()]*)\)", r", \1, "),
        # addresses
        (r"https?://(?:www\.)?|\bwww\.", ""),
        (rf"\b([\w+-]+(?:\.[\w+-]+)*)@({_DOMAIN})\b", r"\1 at \2"),
        (rf"\b({_DOMAIN})\b/?", lambda m: m[1].replace(".", " dot ")),
        (r"(?<=\w)\.(?=[\w.+-]* at \w+ dot )", " dot "),
        # abbreviations and symbols
        (r"\be\.g\.,?", "for example,"),
        (r"\bi\.e\.,?", "that is,"),
        (rf"\b({'|'.join(_ABBREVIATIONS)})\.(?!\w)", lambda m: _ABBREVIATIONS[m[1]]),
        (r"\bSt\. (?=[A-Z])", "Saint "),
        (r"\b(?:[A-Z]\.){2,}", lambda m: m[0].replace(".", " ")),
        (r"\b[Ww]/o\b", "without"),
        (r"\b[Bb]/c\b", "because"),
        (r"\b[Ww]/(?=\s?\w)", "with "),
        (r"\band/or\b", "or"),
        (r"~(?=\s?[$£€]?[0-9])", "about "),
    )
)
_SYMBOLS = tuple(
    (re.compile(pattern), spoken)
    for pattern, spoken in (
        (r"\s*&\s*", " and "),
        (r"\s*\+\s*", " plus "),
        (r"\s*=\s*", " equals "),
        (r"\s*%", " percent"),
        (r"\s*°", " degrees"),
        (r"@", " at "),
        (r"(?<=[^\W\d_])\s?/\s?(?=[^\W\d_])", " or "),
        (r'["*_#~`]', " "),
        # quotes and dashes
        (r"(?<![^\W\d_])'([^']*)'(?![^\W\d_])", r"\1"),
        (r"(?<![^\W\d_])'(?![^\W\d_])", " "),
        (r"-{2,}|(?<=\s)-+|\s*\u2013\s*", ", "),
        (r"-(?=[\s.,?!;:]|$)(?! (?:and|or|to)\b)", ", "),
        # spacing and marks
        (r"\s+", " "),
        (r"\s*[.,?!;:](?:\s*[.,?!;:])*", lambda m: _one_mark(m[0])),
        (r"(?<=[,;:!?])(?=[^\W\d_])", " "),
        (r"(?:(?<=[^\W\d_]{2}\.)|(?<=\.\.\.))(?=[^\W\d_])", " "),
        (r"^[ .,?!;:-]+|[ ,;:-]+$", ""),
    )
)


def spoken_form(text: str, language: str) -> str | Reason:
    """The words to speak for `text`, or a Reason whose code begins with `unspeakable_`."""
    if language not in LANGUAGES:
        return _refusal("unspeakable_language", f"there are no rules for language {language!r}, only for en")
    for _ in range(MAX_PASSES):
        before, text = text, _plain(text)
        if reason := _refused(text):
            return reason
        text = _rewritten(text)
        if text == before:
            return _unspeakable_character(text) or text
    return _refusal("unspeakable_unstable", f"the rules do not settle on {_shown(text)}")


def _plain(text: str) -> str:
    """Emoji, link targets and invisible characters gone; quotes, dashes and wide letters as ASCII has them."""
    text = _LINK.sub(r"\1", text)
    text = emoji.replace_emoji(text, " ").translate(_PLAIN)
    text = unicodedata.normalize("NFKC", text)
    text = re.sub(r"(?<=[0-9])\s?\u2013\s?(?=[$£€¥]?[0-9])", "-", text).replace("\u2044", "/")
    return "".join(ch for ch in text if unicodedata.category(ch) not in ("Cf", "Me") and not "\ufe00" <= ch <= "\ufe0f")


def _refused(text: str) -> Reason | None:
    for ch in text:
        if ch not in "\n\r\t" and unicodedata.category(ch) in ("Cc", "Cs", "Co", "Cn"):
            return _refusal("unspeakable_control", f"character U+{ord(ch):04X} is no text")
    for code, pattern in _REFUSED:
        if found := pattern.search(text):
            return _refusal(code, f"nobody can say {_shown(found[0])} aloud")
    return None


def _rewritten(text: str) -> str:
    for pattern, spoken in _RULES:
        text = pattern.sub(spoken, text)
    text = speak_numbers(text)
    for pattern, spoken in _SYMBOLS:
        text = pattern.sub(spoken, text)
    return text if not text or text[-1] in ".?!" else f"{text}."


def _one_mark(cluster: str) -> str:
    """`?!?` -> ?; `!!` -> !; two or more dots -> ...; of others the first, a full stop before all."""
    marks = cluster.replace(" ", "")
    for mark in "?!":
        if mark in marks:
            return mark
    if ".." in marks:
        return "..."
    return "." if "." in marks else marks[0]


def _unspeakable_character(text: str) -> Reason | None:
    for ch in text:
        if ch in MARKS or unicodedata.name(ch, "").startswith("LATIN "):
            continue
        kind = "script" if unicodedata.category(ch)[0] in "LM" else "symbol"
        return _refusal(f"unspeakable_{kind}", f"character {ch!r} is neither a Latin letter nor plain punctuation")
    if not any(ch.isalpha() for ch in text):
        return _refusal("unspeakable_empty", "nothing is left to be said")
    return None


def _refusal(code: str, why: str) -> Reason:
    return Reason(code=code, detail=f"Cannot be spoken: {why}.")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
