"""Accept: a gate is a pure function from figures to reasons; a dialogue is accepted when no turn has any.

Thresholds are data (`accept.gates` in the recipe). Changing one runs this stage again and no engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from contracts.config import AcceptConfig, Gate
from contracts.records import Assessment, Candidate, Reason, Utterance


def verdict(figure: str, value: float | None, gate: Gate) -> Reason | None:
    """What a gate says of a figure; None lets it through."""
    if value is None:
        return Reason(code=f"{figure}_unscored", detail=f"{figure} could not be measured.")
    if gate.max is not None and value > gate.max:
        detail = f"{figure} is {value:.3f}, at most {gate.max:g} is allowed."
        return Reason(code=f"{figure}_above_max", detail=detail, value=value, threshold=gate.max)
    if gate.min is not None and value < gate.min:
        detail = f"{figure} is {value:.3f}, at least {gate.min:g} is asked for."
        return Reason(code=f"{figure}_below_min", detail=detail, value=value, threshold=gate.min)
    return None


def reasons_against(utterance: Utterance, assessment: Assessment, gates: Mapping[str, Gate]) -> list[Reason]:
    """Everything that speaks against an utterance."""
    found = [
        verdict(figure, assessment.figure(figure), gate)
        for figure, gate in gates.items()
        if utterance.role in gate.roles
    ]
    return [r.model_copy(update={"turn_index": utterance.turn_index}) for r in found if r]


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
