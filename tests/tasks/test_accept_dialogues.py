from __future__ import annotations

import pytest

from contracts.config import AcceptConfig, Gate
from contracts.records import Assessment, Score
from tasks.accept_dialogues import accept_dialogues, verdict


def test_bounds_are_inclusive() -> None:
    assert verdict("wer", 0.15, Gate(max=0.15)) is None
    assert verdict("mos", 3.0, Gate(min=3.0)) is None


@pytest.mark.parametrize(
    ("value", "gate", "code"),
    [
        (0.2, Gate(max=0.15), "wer_above_max"),
        (-0.1, Gate(min=0.0), "wer_below_min"),
        (None, Gate(max=0.15), "wer_unscored"),
    ],
)
def test_reason_has_code_figure_and_threshold(value: float | None, gate: Gate, code: str) -> None:
    reason = verdict("wer", value, gate)
    assert reason is not None
    assert reason.code == code
    assert reason.value == value
    if value is not None:
        assert f"{value:.3f}" in reason.detail


def test_gate_that_lets_nothing_through_is_refused() -> None:
    with pytest.raises(ValueError, match="lets nothing through"):
        Gate(min=2.0, max=1.0)
    with pytest.raises(ValueError, match="min, max or both"):
        Gate()


def test_one_bad_turn_rejects_the_dialogue_with_all_its_reasons(make_candidate) -> None:  # type: ignore[no-untyped-def]
    candidate = make_candidate(0, assessed=True)
    first, second = candidate.assessments
    bad = second.model_copy(
        update={"scores": (Score(name="wer", value=0.5), Score(name="silence", value=0.1, details={"leading": 3.0}))}
    )
    gates = {"wer": Gate(max=0.1), "silence.leading": Gate(max=1.0, roles=("assistant",))}
    good = second.model_copy(
        update={"scores": (Score(name="wer", value=0.0), Score(name="silence", value=0.1, details={"leading": 0.2}))}
    )
    fine, rejected = accept_dialogues(
        [
            candidate.model_copy(update={"assessments": (first, good)}),
            candidate.model_copy(update={"assessments": (first, bad)}),
        ],
        config=AcceptConfig(gates=gates),
    )
    assert fine.accepted and fine.rejection is None
    assert not rejected.accepted and rejected.rejection is not None
    assert [(r.code, r.turn_index) for r in rejected.rejection.reasons] == [
        ("wer_above_max", 1),
        ("silence.leading_above_max", 1),
    ]


def test_gate_on_one_role_leaves_the_other_alone(make_candidate) -> None:  # type: ignore[no-untyped-def]
    candidate = make_candidate(0, assessed=True)
    loud = tuple(Assessment(**{**dict(a), "scores": (Score(name="wer", value=0.9),)}) for a in candidate.assessments)
    gates = {"wer": Gate(max=0.1, roles=("assistant",))}
    (after,) = accept_dialogues([candidate.model_copy(update={"assessments": loud})], config=AcceptConfig(gates=gates))
    assert after.rejection is not None
    assert {r.turn_index for r in after.rejection.reasons} == {1}


def test_rejected_candidates_pass_untouched(make_candidate) -> None:  # type: ignore[no-untyped-def]
    from contracts.records import Reason

    dead = make_candidate(0).rejected("generate", Reason(code="unparsable", detail="nothing usable"))
    assert accept_dialogues([dead], config=AcceptConfig()) == [dead]
