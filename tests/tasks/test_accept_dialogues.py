from __future__ import annotations

from typing import Any

import candidates
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from contracts.config import AcceptConfig, Bounds, Gate
from contracts.errors import RecipeError
from contracts.records import Assessment, Augmentation, Delivery, Finish, Score, Utterance
from tasks.accept_dialogues import accept_dialogues, validate_gates, verdict


def turn(emotion: str = "sad", *kinds: str) -> Utterance:
    """A user's turn of an emotion, with augmentations of these kinds laid over it."""
    finish = Finish(
        trimmed=0.0,
        pause=0.3,
        gain=0.0,
        loudness=-23.0,
        peak_limited=False,
        augmentations=tuple(Augmentation(kind=kind, parameters={}) for kind in kinds),  # type: ignore[arg-type]
    )
    utterance: Utterance = candidates.make_candidate(0).utterances[0]
    delivery = Delivery(emotion=emotion, intensity=1.0)
    return utterance.model_copy(update={"delivery": delivery, "finish": finish if kinds else None})


def test_bounds_are_inclusive() -> None:
    assert verdict("wer", 0.15, Gate(max=0.15), turn()) is None
    assert verdict("mos", 3.0, Gate(min=3.0), turn()) is None


@pytest.mark.parametrize(
    ("value", "gate", "code"),
    [
        (0.2, Gate(max=0.15), "wer_above_max"),
        (-0.1, Gate(min=0.0), "wer_below_min"),
        (None, Gate(max=0.15), "wer_unscored"),
        (float("nan"), Gate(max=0.15), "wer_above_max"),
        (float("nan"), Gate(min=0.15), "wer_below_min"),
    ],
)
def test_reason_has_code_figure_and_threshold(value: float | None, gate: Gate, code: str) -> None:
    reason = verdict("wer", value, gate, turn())
    assert reason is not None
    assert reason.code == code
    assert reason.value is value
    if value is not None:
        assert f"{value:.3f}" in reason.detail


def test_a_missing_figure_passes_where_the_gate_says_so() -> None:
    assert verdict("ser", None, Gate(min=0.2, unscored="pass"), turn()) is None
    reason = verdict("ser", None, Gate(min=0.2), turn(), missing_because="no model")
    assert reason is not None and reason.detail == "ser could not be measured: no model"


LENIENT = Gate.model_validate(
    {"min": 3.0, "max": 4.9, "per_emotion": {"sad": {"min": 2.5}, "angry": {"max": 4.0}}, "augmented": {"min": 2.0}}
)


@pytest.mark.parametrize(
    ("value", "emotion", "kinds", "code", "words"),
    [
        (2.9, "happy", (), "mos_below_min", "at least 3 is asked for."),
        (2.4, "sad", (), "mos_below_min_sad", "at least 2.5 is asked for of sad turns."),
        (2.6, "sad", (), None, ""),
        (2.9, "angry", (), "mos_below_min", "at least 3 is asked for."),
        (4.1, "angry", (), "mos_above_max_angry", "at most 4 is allowed of angry turns."),
        (2.1, "happy", ("telephone",), None, ""),
        (1.9, "sad", ("telephone",), "mos_below_min_augmented", "of turns with a telephone laid over."),
        (
            1.9,
            "sad",
            ("room", "telephone"),
            "mos_below_min_augmented",
            "of turns with a room and a telephone laid over.",
        ),
        (4.1, "angry", ("room",), "mos_above_max_angry", "of angry turns."),
        (4.95, "happy", ("room",), "mos_above_max", "at most 4.9 is allowed."),
    ],
)
def test_reason_says_which_threshold_applied(
    value: float, emotion: str, kinds: tuple[str, ...], code: str | None, words: str
) -> None:
    reason = verdict("mos", value, LENIENT, turn(emotion, *kinds))
    assert (reason.code if reason else None) == code
    assert reason is None or reason.detail.endswith(words)


def test_a_gate_may_be_for_one_emotion_alone() -> None:
    gate = Gate.model_validate({"per_emotion": {"angry": {"min": 0.3}}})
    assert verdict("ser", 0.1, gate, turn("sad")) is None
    assert verdict("ser", None, gate, turn("sad")) is None
    assert verdict("ser", 0.1, gate, turn("angry")) is not None
    assert verdict("ser", None, gate, turn("angry")) is not None


@pytest.mark.parametrize(
    "contradiction",
    [
        {"min": 3, "per_emotion": {"sad": {"max": 2}}},
        {"max": 3, "augmented": {"min": 4}},
        {"per_emotion": {"sad": {"min": 3, "max": 2}}},
        {"per_emotion": {"sad": {"min": 3}}, "augmented": {"max": 2}},
    ],
)
def test_bounds_that_contradict_each_other_on_some_turn_are_refused(contradiction: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="nothing"):
        Gate.model_validate(contradiction)


@given(
    value=st.floats(0, 6),
    low=st.floats(1, 2),
    own=st.none() | st.floats(1, 2),
    augmented=st.none() | st.floats(1, 2),
    emotion=st.sampled_from(["sad", "happy"]),
    is_augmented=st.booleans(),
)
def test_exactly_one_minimum_decides(
    value: float, low: float, own: float | None, augmented: float | None, emotion: str, is_augmented: bool
) -> None:
    gate = Gate(min=low, per_emotion={"sad": Bounds(min=own)}, augmented=Bounds(min=augmented))
    if is_augmented and augmented is not None:
        decisive = augmented
    elif emotion == "sad" and own is not None:
        decisive = own
    else:
        decisive = low
    reason = verdict("mos", value, gate, turn(emotion, *(["room"] if is_augmented else [])))
    assert (reason is None) == (value >= decisive)
    assert reason is None or reason.threshold == decisive


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


def test_unmeasured_figure_is_rejected_with_what_the_scorer_said(make_candidate) -> None:  # type: ignore[no-untyped-def]
    candidate = make_candidate(0, assessed=True)
    first, second = candidate.assessments
    unknown = first.model_copy(update={"scores": (Score.failed("emotion_prosody", "the voice has no card"),)})
    candidate = candidate.model_copy(update={"assessments": (unknown, second)})
    gates = {"emotion_prosody": Gate(min=0.0, roles=("user",))}
    (after,) = accept_dialogues([candidate], config=AcceptConfig(gates=gates))
    assert [r.code for r in after.rejection.reasons] == ["emotion_prosody_unscored"]
    assert "the voice has no card" in after.rejection.reasons[0].detail
    lenient = {"emotion_prosody": Gate(min=0.0, roles=("user",), unscored="pass")}
    (after,) = accept_dialogues([candidate], config=AcceptConfig(gates=lenient))
    assert after.accepted


def test_emotion_and_figure_of_a_gate_must_exist() -> None:
    def gates(emotion: str) -> AcceptConfig:
        return AcceptConfig.model_validate({"gates": {"distillmos.vs_voice": {"per_emotion": {emotion: {"min": -1}}}}})

    for known in ("sad", "soothing"):
        validate_gates(gates(known), measured=["distillmos"])
    with pytest.raises(RecipeError, match=r"distillmos.vs_voice.per_emotion: .* 'sadd'; choose one of: neutral, happy"):
        validate_gates(gates("sadd"), measured=["distillmos"])
    with pytest.raises(RecipeError, match="no scorer of this recipe measures it.*gate one of: cer, wer"):
        validate_gates(gates("sad"), measured=["wer", "cer"])
