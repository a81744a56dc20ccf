from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from contracts.config import CorpusConfig, TargetConfig
from contracts.config_base import fingerprint, semantic
from contracts.records import Candidate, Score

BASE: dict[str, Any] = {"name": "x", "target": {"dialogues": 3, "max_candidates": 9}}


def config(**changes: Any) -> CorpusConfig:
    return CorpusConfig.model_validate({**BASE, **changes})


def test_runtime_fields_do_not_change_the_fingerprint() -> None:
    faster = config(run={"max_parts_in_flight": 9}, generate={"llm": {"max_concurrency": 3, "timeout": 5.0}})
    assert fingerprint(faster) == fingerprint(config())


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"generate": {"llm": {"temperature": 0.1}}},
        {"generate": {"llm": {"extra": {"min_p": 0.1}}}},
        {"accept": {"gates": {"wer": {"max": 0.2}}}},
        {"assess": {"scorers": ["wer"]}},
        {"cast": {"users": {"tone": 1.0}}},
    ],
)
def test_everything_else_does(changes: dict[str, Any]) -> None:
    assert fingerprint(config(**changes)) != fingerprint(config())


def test_thread_counts_in_plugin_options_are_runtime_too() -> None:
    two = {"assess": {"asr": {"name": "faster_whisper", "options": {"num_threads": 2, "beam_size": 5}}}}
    assert semantic(config(**two))["assess"]["asr"]["options"] == {"beam_size": 5}


def test_bare_plugin_name_is_a_plugin_with_its_defaults() -> None:
    assess = config(assess={"asr": "scripted", "scorers": ["wer", {"name": "cer"}]}).assess
    assert (assess.asr.name, assess.asr.options) == ("scripted", {})
    assert [s.name for s in assess.scorers] == ["wer", "cer"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"dialogues": 10, "max_candidates": 9}, "impossible target: 10 accepted dialogues out of at most 9"),
        ({"hours": 100.0, "max_candidates": 9}, "impossible target"),
        ({"max_candidates": 9}, "exactly one of"),
        ({"dialogues": 1, "hours": 1.0, "max_candidates": 9}, "exactly one of"),
        ({"dialogues": 0, "max_candidates": 9}, "greater than or equal to 1"),
    ],
)
def test_impossible_target_is_refused(target: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TargetConfig.model_validate(target)


@pytest.mark.parametrize(
    "changes",
    [
        {"plan": {"num_turns": {3: 1.0}}},
        {"plan": {"part_size": 0}},
        {"accept": {"gates": {"wer": {}}}},
        {"cast": {"users": {"kokoro": -1.0}}},
        {"name": "Has Spaces"},
        {"unknown": 1},
    ],
)
def test_value_that_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        config(**changes)


def test_configs_are_frozen() -> None:
    with pytest.raises(ValidationError):
        config().seed = 3  # type: ignore[misc]


def test_figure_looks_up_scores_and_their_details(make_candidate: Any) -> None:
    assessment = make_candidate(0, assessed=True).assessments[0]
    scores = (Score(name="silence", value=0.4, details={"leading": 0.1}), Score.failed("dnsmos", "too short"))
    assessment = assessment.model_copy(update={"scores": scores})
    assert assessment.figure("silence") == 0.4
    assert assessment.figure("silence.leading") == 0.1
    assert assessment.figure("silence.trailing") is None
    assert assessment.figure("dnsmos") is None
    assert assessment.figure("wer") is None


def test_candidate_survives_a_round_trip_through_its_row(make_candidate: Any) -> None:
    candidate = make_candidate(3, num_turns=4, assessed=True)
    assert Candidate.model_validate_json(candidate.model_dump_json(exclude_defaults=True)) == candidate
