"""English figures as words: times, money, units, years, ranges, fractions, ordinals. Rules run from top to bottom.

Ambiguity is settled as a reader aloud would most often do: 1999 is a year, 1500 is a number unless "in" or "since"
comes before it, 3/4 is a fraction, 7/10 is "seven out of ten". A date such as 3/4/2024 is refused by spoken_form.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from re import Match

from num2words import num2words

NUMBER = r"[0-9]+(?:,[0-9]{3})*(?:\.[0-9]+)?"
CURRENCIES = {"$": ("dollar", "cent"), "£": ("pound", "penny"), "€": ("euro", "cent"), "¥": ("yen", "sen")}
SCALES = {"k": "thousand", "m": "million", "bn": "billion", "thousand": "thousand", "million": "million"}
SCALES["billion"] = "billion"
UNITS = {
    "km/h": "kilometre per hour",
    "mph": "mile per hour",
    "km": "kilometre",
    "cm": "centimetre",
    "mm": "millimetre",
    "m": "metre",
    "kg": "kilogram",
    "mg": "milligram",
    "g": "gram",
    "lbs": "pound",
    "lb": "pound",
    "oz": "ounce",
    "ft": "foot",
    "ml": "millilitre",
    "l": "litre",
    "hrs": "hour",
    "hr": "hour",
    "h": "hour",
    "mins": "minute",
    "min": "minute",
    "GB": "gigabyte",
    "MB": "megabyte",
}
IRREGULAR = {"foot": "feet", "penny": "pence", "yen": "yen", "sen": "sen"}
FRACTIONS = {"1/2": "half", "1/3": "third", "2/3": "two thirds", "1/4": "quarter", "3/4": "three quarters"}
READ_PLAINLY = {"24/7": "twenty-four seven", "9/11": "nine eleven", "50/50": "fifty-fifty"}


def speak_numbers(text: str) -> str:
    """The text with every figure made of ASCII digits as words."""
    for pattern, speak in RULES:
        text = pattern.sub(speak, text)
    return text


def _cardinal(digits: str) -> str:
    """`1,200` -> one thousand two hundred; `3.05` -> three point zero five; `007` -> zero zero seven."""
    whole, _, decimals = digits.replace(",", "").partition(".")
    if len(whole) > 1 and whole.startswith("0") or (len(whole) > 6 and "," not in digits):
        words = _one_by_one(whole)
    else:
        words = str(num2words(int(whole))).replace(",", "")
    return f"{words} point {_one_by_one(decimals)}" if decimals else words


def _one_by_one(digits: str) -> str:
    return " ".join(num2words(int(d)) for d in digits if "0" <= d <= "9")


def _plural(word: str, digits: str) -> str:
    """The word in the number that the digits ask for; only its first word changes (`miles per hour`)."""
    if digits.replace(",", "") == "1":
        return word
    first, space, rest = word.partition(" ")
    return IRREGULAR.get(first, f"{first}s") + space + rest


def _time(match: Match[str]) -> str:
    hour, minute, half = int(match["hour"]), int(match["minute"] or 0), match["half"]
    suffix = f" {half[0].upper()}M" if half else ""
    if minute:
        spoken = f"oh {num2words(minute)}" if minute < 10 else num2words(minute)
        return f"{num2words(hour)} {spoken}{suffix}"
    if suffix:
        return f"{num2words(hour)}{suffix}"
    return f"{num2words(hour)} o'clock" if 0 < hour <= 12 else f"{num2words(hour)} hundred"


def _money(match: Match[str]) -> str:
    digits, scale = match["amount"], match["scale"]
    unit, small = CURRENCIES[match["sign"]]
    if scale:
        return f"{_cardinal(digits)} {SCALES[scale.lower()]} {_plural(unit, '2')}"
    whole, _, cents = digits.partition(".")
    spoken = f"{_cardinal(whole)} {_plural(unit, whole)}"
    if len(cents) != 2:
        return f"{_cardinal(digits)} {_plural(unit, digits)}"
    return spoken if cents == "00" else f"{spoken} and {num2words(int(cents))} {_plural(small, cents.lstrip('0'))}"


def _unit(match: Match[str]) -> str:
    # "a 5-km run" takes the singular, "5 km" the plural.
    digits = "1" if match["link"] == "-" else match["amount"]
    return f"{_cardinal(match['amount'])} {_plural(UNITS[match['unit']], digits)}"


def _degrees(match: Match[str]) -> str:
    scale = {"C": " Celsius", "F": " Fahrenheit"}.get(match["scale"] or "", "")
    return f"{_cardinal(match['amount'])} {_plural('degree', match['amount'])}{scale}"


def _decade(match: Match[str]) -> str:
    words = _year(match["year"]) if len(match["year"]) == 4 else str(num2words(int(match["year"])))
    return words[:-1] + "ies" if words.endswith("y") else words + "s"


def _year(digits: str) -> str:
    return str(num2words(int(digits), to="year"))


def _fraction(match: Match[str]) -> str:
    words = FRACTIONS[match["fraction"]]
    article = "" if " " in words else "a " if match["whole"] or words != "half" else ""
    return f"{_cardinal(match['whole'])} and {article}{words}" if match["whole"] else f"{article}{words}"


def _rule(
    pattern: str, speak: str | Callable[[Match[str]], str]
) -> tuple[re.Pattern[str], Callable[[Match[str]], str]]:
    compiled = re.compile(pattern)
    return compiled, (lambda match: match.expand(speak)) if isinstance(speak, str) else speak


_UNITS = "|".join(re.escape(unit) for unit in UNITS)
_FRACTIONS = "|".join(FRACTIONS)
_SCALES = r"(?i:thousand|million|billion|bn|k|m)\b"
RULES = (
    _rule(r"(?<![\w.])\+?(?:[0-9]{1,2}[ -])?\(?[0-9]{3}\)?[-. ][0-9]{3}[-. ][0-9]{4}\b", lambda m: _one_by_one(m[0])),
    _rule(r"(?<![\w-])[0-9]{3}-[0-9]{4}\b", lambda m: _one_by_one(m[0])),
    _rule(r"(?i:(?<=[0-9%])|(?<=[0-9][ap]m))\s?-\s?(?=[$£€¥]?[0-9])", " to "),
    _rule(r"\b(?P<hour>[01]?[0-9]|2[0-4]):(?P<minute>[0-5][0-9])(?![0-9])(?:\s?(?P<half>(?i:[ap]\.?m\b\.?)))?", _time),
    _rule(r"\b(?P<hour>1[0-2]|0?[1-9])(?P<minute>)\s?(?P<half>(?i:[ap]\.m\.|[ap]m\b))", _time),
    _rule(rf"(?P<sign>[$£€¥])\s?(?P<amount>{NUMBER})(?:\s?(?P<scale>{_SCALES}))?", _money),
    _rule(rf"(?<![\w.])(?P<amount>{NUMBER})(?P<scale>)\s?(?P<sign>[£€¥])", _money),
    _rule(rf"({NUMBER})\s?%", lambda m: f"{_cardinal(m[1])} percent"),
    _rule(r"(?:(?<=\s)|^)[-\u2212](?=[0-9])", "minus "),
    _rule(rf"(?P<amount>{NUMBER})\s?°\s?(?:(?P<scale>[CF])\b)?", _degrees),
    _rule(rf"(?<![\w.])(?P<amount>{NUMBER})(?P<link>[\s-]?)(?P<unit>{_UNITS})(?![\w'])", _unit),
    _rule(r"\b([0-9]+)(?:st|nd|rd|th)\b", lambda m: str(num2words(int(m[1]), to="ordinal")).replace(",", "")),
    _rule(r"(?<!\w)'?(?P<year>[12][0-9]{2}0|[2-9]0)'?s\b", _decade),
    _rule(r"\b(24/7|9/11|50/50)\b", lambda m: READ_PLAINLY[m[1]]),
    _rule(rf"(?<![\w/])(?:(?P<whole>[0-9]+) )?(?P<fraction>{_FRACTIONS})(?![\w/])", _fraction),
    _rule(r"\b([0-9]+)/([0-9]+)\b", r"\1 out of \2"),
    _rule(r"\b([0-9])'([0-9]{1,2})(?:\"|(?=\W|$))", r"\1 foot \2"),
    _rule(r"(?<=[0-9])'(?![a-z])", ""),
    _rule(r"\b[0-9]+(?:\.[0-9]+){2,}", lambda m: " point ".join(map(_cardinal, m[0].split(".")))),
    _rule(r"(?<![\w.])\.([0-9]+)", lambda m: f"point {_one_by_one(m[1])}"),
    _rule(r"(?:#|\bNo\. ?)(?=[0-9])", "number "),
    _rule(r"\b([0-9]+)x\b", r"\1 times"),
    _rule(r"(?<=[A-Za-z])-?(?=[0-9])|(?<=[0-9])(?=[A-Za-z])", " "),
    _rule(r"(?<![\w,.])((?:19|20)[0-9]{2})(?![\w,]*[0-9]|\.[0-9])", lambda m: _year(m[1])),
    _rule(r"(?i:\b(in|since|from|until|by|of|around) )(1[1-8][0-9]{2})\b", lambda m: f"{m[1]} {_year(m[2])}"),
    _rule(NUMBER, lambda m: _cardinal(m[0])),
)
