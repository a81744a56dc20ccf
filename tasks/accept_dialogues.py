"""Accept: a gate is a pure function from figures to reasons; a dialogue is accepted when no turn has any.

Thresholds are data (`accept.gates` in the recipe). Changing one runs this stage again and no engine. Where a threshold
of an emotion's own or of augmented turns applied, the reason's code ends in it: `distillmos_below_min_sad`,
`distillmos_below_min_augmented`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from contracts.config import AcceptConfig, Bounds, Gate
from contracts.errors import RecipeError
from contracts.records import Assessment, Candidate, Reason, Utterance
from prompts import emotions


def validate_gates(config: AcceptConfig, *, measured: Collection[str]) -> None:
    """Refuse gates that could not decide.

    Args:
        config: the gates.
        measured: names of the recipe's scorers.

    Raises:
        RecipeError: a figure that no scorer measures, or an emotion that does not exist; the text lists the choices.
    """
    feelings = (*emotions().emotions, *emotions().reply_tones)
    for figure, gate in config.gates.items():
        if _score_of(figure) not in measured:
            raise RecipeError(
                f"accept.gates.{figure}: no scorer of this recipe measures it, so nothing could pass. Add it to "
                f"assess.scorers, or gate one of: {', '.join(sorted(measured))}."
            )
        for unknown in sorted(set(gate.per_emotion) - set(feelings)):
            raise RecipeError(
                f"accept.gates.{figure}.per_emotion: there is no emotion or tone {unknown!r}; choose one of: "
                f"{', '.join(feelings)}."
            )


@dataclass(frozen=True, slots=True)
class Threshold:
    """One end of what is let through."""

    value: float
    suffix: str = ""
    """Of the reason's code: `_augmented`, `_` and an emotion, or nothing for the gate's own bound."""
    whom: str = ""
    """Which turns it is for, in words; nothing for all."""


def threshold(gate: Gate, end: Literal["min", "max"], utterance: Utterance) -> Threshold | None:
    """The bound that applies to a turn at one end; None where that end is open."""
    for bounds, suffix, whom in _layers(gate, utterance):
        value: float | None = getattr(bounds, end)
        if value is not None:
            return Threshold(value, suffix, whom)
    return None


def _layers(gate: Gate, utterance: Utterance) -> Iterator[tuple[Bounds, str, str]]:
    """Bounds that fit a turn, the one that goes first in front."""
    if utterance.finish is not None and utterance.finish.augmentations:
        laid_over = " and a ".join(a.kind for a in utterance.finish.augmentations)
        yield gate.augmented, "_augmented", f" of turns with a {laid_over} laid over"
    emotion = utterance.delivery.emotion
    if emotion in gate.per_emotion:
        yield gate.per_emotion[emotion], f"_{emotion}", f" of {emotion} turns"
    yield gate, "", ""


def verdict(
    figure: str, value: float | None, gate: Gate, utterance: Utterance, *, missing_because: str = ""
) -> Reason | None:
    """What a gate says of a turn's figure; None lets it through.

    Args:
        figure: `score` or `score.detail`.
        value: None where it is missing.
        gate: the bounds.
        utterance: whose figure it is.
        missing_because: what the scorer said when it could not measure.
    """
    low, high = threshold(gate, "min", utterance), threshold(gate, "max", utterance)
    if low is None and high is None:
        return None
    if value is None:
        if gate.unscored == "pass":
            return None
        why = f": {missing_because}" if missing_because else "."
        return Reason(code=f"{figure}_unscored", detail=f"{figure} could not be measured{why}")
    if high is not None and not value <= high.value:
        detail = f"{figure} is {value:.3f}, at most {high.value:g} is allowed{high.whom}."
        return Reason(code=f"{figure}_above_max{high.suffix}", detail=detail, value=value, threshold=high.value)
    if low is not None and not value >= low.value:
        detail = f"{figure} is {value:.3f}, at least {low.value:g} is asked for{low.whom}."
        return Reason(code=f"{figure}_below_min{low.suffix}", detail=detail, value=value, threshold=low.value)
    return None


def reasons_against(utterance: Utterance, assessment: Assessment, gates: Mapping[str, Gate]) -> list[Reason]:
    """Everything that speaks against an utterance."""
    errors = {score.name: score.error for score in assessment.scores if score.error}
    found = [
        verdict(figure, assessment.figure(figure), gate, utterance, missing_because=errors.get(_score_of(figure), ""))
        for figure, gate in gates.items()
        if utterance.role in gate.roles
    ]
    return [r.model_copy(update={"turn_index": utterance.turn_index}) for r in found if r]


def _score_of(figure: str) -> str:
    return figure.partition(".")[0]


def decide(candidate: Candidate, config: AcceptConfig) -> Candidate:
    """Accept a candidate, or reject it with all reasons of all its turns."""
    heard = {a.utterance_id: a for a in candidate.assessments}
    reasons = [r for u in candidate.utterances for r in reasons_against(u, heard[u.id], config.gates)]
    if reasons:
        return candidate.rejected("accept", *reasons)
    return candidate.model_copy(update={"accepted": True})


def accept_dialogues(candidates: Sequence[Candidate], *, config: AcceptConfig) -> list[Candidate]:
    """Decide on every candidate that is alive."""
    return [decide(c, config) if c.alive else c for c in candidates]
