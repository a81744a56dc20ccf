"""Voices, recipes and screened candidates made by hand, for tests of casting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from contracts.config import CastConfig, CorpusConfig
from contracts.protocols import CONTROLS, Capabilities, Control
from contracts.records import Candidate, Dialogue, Gender, Role, Turn, Voice
from tasks.cast_voices import cast_voices
from tasks.plan_scenarios import plan_scenarios

GENDERS: tuple[Gender, Gender] = ("female", "male")
ROLES: tuple[Role, Role] = ("user", "assistant")


def voice(backend: str, name: str, gender: Gender, **more: Any) -> Voice:
    return Voice(id=f"{backend}/{name}", backend=backend, name=name, gender=gender, license="x", source="y", **more)


def choir(backend: str, women: int, men: int, prefix: str = "", **more: Any) -> list[Voice]:
    sizes = zip(GENDERS, (women, men), strict=True)
    return [voice(backend, f"{prefix}{g[0]}{n}", g, **more) for g, size in sizes for n in range(size)]


def able(*controls: Control, languages: tuple[str, ...] = ("en",), **more: Any) -> Capabilities:
    return Capabilities(sample_rate=24000, languages=languages, controls=frozenset(controls), **more)


VOICES: dict[str, Sequence[Voice]] = {"one": choir("one", 6, 6), "home": [voice("home", "heart", "female")]}
CAN = {
    "one": able(*CONTROLS),
    "two": able(*CONTROLS),
    "slow": able("rate"),
    "home": able(*CONTROLS),
    "zwei": able(*CONTROLS, languages=("de",)),
}
CAST = CastConfig(users={"one": 1.0}, assistant_voice="home/heart", max_voice_share=1.0)


def recipe(
    seed: int = 0, cast: CastConfig = CAST, target: Mapping[str, Any] | None = None, **plan: Any
) -> CorpusConfig:
    goal = {"max_candidates": 10**6, **(target or {"dialogues": 1000})}
    data = {"name": "test", "seed": seed, "target": goal, "plan": plan}
    return CorpusConfig.model_validate(data).model_copy(update={"cast": cast})


def screened(config: CorpusConfig, count: int, start: int = 0) -> list[Candidate]:
    candidates = []
    for scenario in plan_scenarios(config, start, count):
        turns = tuple(
            Turn(
                role=ROLES[n % 2],
                text=f"turn {n}",
                spoken_text=f"turn {n}.",
                emotion="warm" if n % 2 else scenario.emotion,
            )
            for n in range(scenario.num_turns)
        )
        dialogue = Dialogue(turns=turns, prompt_sha256="0", model="test", seed=1)
        candidates.append(Candidate(scenario=scenario, dialogue=dialogue))
    return candidates


def cast_of(
    config: CorpusConfig,
    count: int,
    start: int = 0,
    *,
    voices: Mapping[str, Sequence[Voice]] = VOICES,
    can: Mapping[str, Capabilities] = CAN,
) -> list[Candidate]:
    """Candidates start, start + 1, ... of a recipe's plan, cast."""
    return cast_voices(screened(config, count, start), config=config, voices=voices, capabilities=can)
