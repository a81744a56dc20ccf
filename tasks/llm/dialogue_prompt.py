"""From a scenario to the messages that ask for its dialogue. Pure: equal scenarios give equal messages.

The examples are sent as earlier turns of the chat: what even a model of 135M parameters follows. Small models copy what
stands last, so the last example shares the scenario's emotion and the others do not; and which examples are shown turns
with the scenario's seed. They come in few fixed sets, so that a server's prefix cache holds them.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from contracts.errors import RecipeError
from contracts.records import Scenario
from prompts import Prompt, ages, emotions
from tasks.llm.dialogue_text import Line, parse_labelled
from tasks.llm.messages import Message

NUM_OTHER_EXAMPLES = 2
NUM_VARIANTS = 4
"""Sets of examples per emotion and number of turns."""
_SECTIONS = ("System", "Request", "Voice", "Repair", "Examples")


@dataclass(frozen=True, slots=True)
class Example:
    """A worked dialogue of the prompt."""

    emotion: str
    speaker: str
    situation: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class DialoguePrompt:
    """A prompt file, taken apart."""

    system: str
    request: str
    voice: str
    repair: str
    examples: tuple[Example, ...]


@cache
def dialogue_prompt(prompt: Prompt) -> DialoguePrompt:
    """Read a prompt file.

    Raises:
        RecipeError: a section is missing, or an example cannot be read; the text says which.
    """
    body = re.sub(r"<!--.*?-->", "", prompt.text, flags=re.DOTALL)
    parts = re.split(r"^# (\w+)\s*$", body, flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))
    if missing := [name for name in _SECTIONS if not sections.get(name)]:
        raise RecipeError(f"prompts/{prompt.name}.md has no section `# {missing[0]}`, or it is empty.")
    examples = tuple(_example(text, prompt.name) for text in sections["Examples"].split("## ")[1:])
    system, request, voice, repair = (sections[name] for name in _SECTIONS[:-1])
    return DialoguePrompt(system, request, voice, repair, examples)


def build_messages(scenario: Scenario, prompt: DialoguePrompt, *, attempt: int, as_json: bool) -> tuple[Message, ...]:
    """The chat that ends with the request for this scenario's dialogue."""
    tones = ", ".join(emotions().reply_tones)
    system = prompt.system.replace("{tones}", tones)
    if scenario.paralinguistic:
        system += " " + prompt.voice
    if as_json:
        keys = ", ".join(f'"{key}"' for key in json_keys(scenario.num_turns))
        system += "\n\n" + prompt.repair.replace("{keys}", keys)
    messages: list[Message] = [{"role": "system", "content": system}]
    for example in choose_examples(scenario, prompt.examples, attempt=attempt):
        lines = example.lines[: scenario.num_turns]
        feeling = _feeling(example.emotion, 0.65)
        question = _request(prompt, example.situation, example.speaker, feeling, len(lines))
        messages.append({"role": "user", "content": question})
        messages.append({"role": "assistant", "content": _as_json(lines) if as_json else _labelled(lines)})
    messages.append({"role": "user", "content": _own_request(scenario, prompt)})
    return tuple(messages)


def choose_examples(scenario: Scenario, examples: Sequence[Example], *, attempt: int) -> tuple[Example, ...]:
    """Two of other emotions, then one of the scenario's own; all long enough, where there are such."""
    longest = min(scenario.num_turns, max(len(e.lines) for e in examples))
    fit = [e for e in examples if len(e.lines) >= longest]
    variant = (scenario.seed + attempt) % NUM_VARIANTS
    # Not `hash`, which differs between processes.
    chance = random.Random(f"{scenario.emotion}/{scenario.num_turns}/{variant}")
    own = [e for e in fit if e.emotion == scenario.emotion]
    others = [e for e in fit if e.emotion != scenario.emotion]
    chosen = chance.sample(others, min(NUM_OTHER_EXAMPLES, len(others)))
    return (*chosen, *([own[variant % len(own)]] if own else []))


def opening(scenario: Scenario) -> str:
    """How the dialogue begins, for an engine that goes on from a given start: the situation, as the user would say it.

    A model of 135M parameters that may choose its first words soon speaks of something else.
    """
    words = re.sub(r"\bi\b", "I", scenario.situation.strip().rstrip("."))
    return f"User: {words[:1].upper()}{words[1:]}"


def deck(scenario: Scenario, attempt: int) -> tuple[int, str, int]:
    """Requests with an equal deck begin with the same examples: sent one after the other they share a cached prefix."""
    return scenario.num_turns, scenario.emotion, (scenario.seed + attempt) % NUM_VARIANTS


def attempt_seed(scenario: Scenario, attempt: int) -> int:
    """Seed of one attempt, from the scenario's: 31 bits, so that every engine takes it."""
    digest = hashlib.sha256(f"{scenario.seed}/{attempt}".encode()).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFFFFFF


def json_keys(num_turns: int) -> tuple[str, ...]:
    """Keys of the JSON form, in order: the tone is settled after the first user turn, before the replies."""
    keys = [f"{role}_{number}" for number in range(1, num_turns // 2 + 1) for role in ("user", "assistant")]
    return (keys[0], "tone", *keys[1:])


def json_schema(num_turns: int, *, max_length: int | None = None) -> Mapping[str, Any]:
    """What binds the last attempt.

    Args:
        num_turns: user and assistant turns together.
        max_length: characters per turn, for engines that can hold a model to it; not all of them know the keyword.
    """
    text: dict[str, Any] = {"type": "string"} if max_length is None else {"type": "string", "maxLength": max_length}
    properties: dict[str, Any] = {key: text for key in json_keys(num_turns)}
    properties["tone"] = {"type": "string", "enum": sorted(emotions().reply_tones)}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _example(text: str, name: str) -> Example:
    head, _, body = text.partition("\n")
    emotion, _, speaker = (part.strip() for part in head.partition("|"))
    first, _, dialogue = body.strip().partition("\n")
    lines = tuple(parse_labelled(dialogue))
    if not first.startswith("Situation:") or len(lines) < 2 or len(lines) % 2:
        raise RecipeError(f"prompts/{name}.md: the example `## {head}` needs `Situation:` and then pairs of turns.")
    return Example(emotion, speaker, first.removeprefix("Situation:").strip(), lines)


def _own_request(scenario: Scenario, prompt: DialoguePrompt) -> str:
    return _request(
        prompt,
        scenario.situation,
        _speaker(scenario),
        _feeling(scenario.emotion, scenario.intensity),
        scenario.num_turns,
    )


def _request(prompt: DialoguePrompt, situation: str, speaker: str, feeling: str, num_turns: int) -> str:
    # One pass over the template: a brace inside a situation stays what it is.
    values = {
        "situation": situation,
        "speaker": speaker,
        "feeling": feeling,
        "num_turns": str(num_turns),
    }
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), prompt.request)


def _speaker(scenario: Scenario) -> str:
    band = ages().ages.get(scenario.speaker_age)
    return f"{band.words if band else scenario.speaker_age.replace('_', ' ')}, {scenario.speaker_gender}"


def _feeling(emotion: str, intensity: float) -> str:
    known = emotions().emotions.get(emotion)
    if known is None or not known.graded:
        return emotion
    return f"{emotions().words_for(intensity)} {emotion}"


def _labelled(lines: Sequence[Line]) -> str:
    return "\n".join(
        f"User: {line.text}" if line.role == "user" else f"Assistant ({line.tone}): {line.text}" for line in lines
    )


def _as_json(lines: Sequence[Line]) -> str:
    texts = iter(line.text for line in lines)
    tone = next((line.tone for line in lines if line.tone), None) or "friendly"
    return json.dumps({k: tone if k == "tone" else next(texts) for k in json_keys(len(lines))}, ensure_ascii=False)
