"""How much of a feeling a backend can make heard, and which backends that suffices for.

A feeling asks for controls (prompts/delivery.yaml), each a factor. The weight of a control is |ln(factor)| at full
intensity, so halving and doubling weigh the same and a factor of 1 weighs nothing. A backend's share is the weight of
the controls that it has, over all. One that is told the feeling in words or by a reference clip is taken to render all
of it, and so is every backend where nothing is asked for (neutral).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import prompts
from contracts.config import CorpusConfig
from contracts.errors import RecipeError
from contracts.protocols import CONTROLS, Capabilities
from contracts.records import Voice
from prompts.taxonomies import Controls

ROUNDING = 1e-9
"""A share may fall short by so much: sums of logarithms are not exact."""


def rendered_share(controls: Controls, can: Capabilities) -> float:
    """The share of a feeling's prosody that a backend renders, 0 to 1."""
    weights = {name: abs(math.log(getattr(controls, name))) for name in CONTROLS}
    asked = math.fsum(weights.values())
    if can.emotion in ("instruct", "reference") or not asked:
        return 1.0
    return math.fsum(weight for name, weight in weights.items() if name in can.controls) / asked


def plan_emotions(config: CorpusConfig) -> tuple[str, ...]:
    """The emotions that a plan asks for."""
    return tuple(config.plan.emotions or prompts.emotions().emotions)


def emotions_rendered(config: CorpusConfig, capabilities: Mapping[str, Capabilities]) -> dict[str, frozenset[str]]:
    """Backend of cast.users -> the plan's emotions that its voices may be cast for."""
    table, least = prompts.deliveries().user, config.cast.min_rendered - ROUNDING
    return {
        backend: frozenset(e for e in plan_emotions(config) if rendered_share(table[e], capabilities[backend]) >= least)
        for backend in config.cast.users
    }


def require_user_rendering(
    config: CorpusConfig,
    capabilities: Mapping[str, Capabilities],
    *,
    language: str,
    gender: str,
    voices: Iterable[Voice],
) -> None:
    """Refuse a plan with an emotion that no user voice of a language and gender could make heard.

    Raises:
        RecipeError: the text names the emotions, what each backend renders of them, and what to do.
    """
    table, renders = prompts.deliveries().user, emotions_rendered(config, capabilities)
    backends = sorted({v.backend for v in voices if v.gender == gender and language in v.languages})
    lost = [e for e in plan_emotions(config) if not any(e in renders[backend] for backend in backends)]
    if lost:
        shares = {e: {name: rendered_share(table[e], capabilities[name]) for name in backends} for e in lost}
        raise RecipeError(
            f"cast.min_rendered {config.cast.min_rendered:g}: of no {gender} user voice that speaks {language!r} can "
            f"enough be heard for {_told(shares, capabilities)}. Add another backend to cast.users, lower "
            f"cast.min_rendered to {_floor(min(max(own.values()) for own in shares.values())):g}, or take "
            f"{', '.join(lost)} out of plan.emotions."
        )


def require_assistant_rendering(
    config: CorpusConfig, capabilities: Mapping[str, Capabilities], assistant: Voice
) -> None:
    """Refuse an assistant's voice that could not make heard a tone that the plan's emotions ask of it.

    Raises:
        RecipeError: the text names the tones, what the backend renders of them, and what to do.
    """
    table, known = prompts.deliveries().assistant, prompts.emotions().emotions
    can, least = capabilities[assistant.backend], config.cast.assistant_min_rendered
    emotions_of: dict[str, list[str]] = {}
    for emotion in plan_emotions(config):
        emotions_of.setdefault(known[emotion].reply_tone, []).append(emotion)
    shares = {tone: rendered_share(table[tone], can) for tone in emotions_of}
    lost = {tone: {assistant.backend: share} for tone, share in shares.items() if share < least - ROUNDING}
    if lost:
        emotions = [emotion for tone in lost for emotion in emotions_of[tone]]
        raise RecipeError(
            f"cast.assistant_min_rendered {least:g}: of {assistant.id} not enough can be heard for "
            f"{_told(lost, capabilities)}. Choose an assistant_voice of another backend, lower "
            f"cast.assistant_min_rendered to {_floor(min(shares.values())):g}, or take {', '.join(emotions)} out of "
            "plan.emotions."
        )


def _told(shares: Mapping[str, Mapping[str, float]], capabilities: Mapping[str, Capabilities]) -> str:
    """E.g. `sad (piper renders 26%), angry (piper renders 13%); piper has the controls rate`."""
    figures = [
        f"{feeling} ({', '.join(f'{name} renders {share:.0%}' for name, share in own.items())})"
        for feeling, own in shares.items()
    ]
    backends = sorted({name for own in shares.values() for name in own})
    controls = [
        f"{name} has the controls {', '.join(sorted(capabilities[name].controls)) or '(none)'}" for name in backends
    ]
    return "; ".join([", ".join(figures), *controls])


def _floor(share: float) -> float:
    """Rounded down to two digits, so that what is proposed does suffice."""
    return math.floor(share * 100) / 100
