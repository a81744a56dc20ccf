"""What decides a stage's output must be in its fingerprint, and nothing that comes later."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.records import STAGES
from flows.recipes import load_recipe
from tasks import stages
from tasks.stages import PIPELINE


def fingerprints(**settings: Any) -> list[str]:
    config = load_recipe("demo", {key.replace("__", "."): value for key, value in settings.items()})
    return [PIPELINE[stage].fingerprint(config) for stage in STAGES]


def changed(**settings: Any) -> set[str]:
    return {stage for stage, a, b in zip(STAGES, fingerprints(), fingerprints(**settings), strict=True) if a != b}


@pytest.mark.parametrize(
    ("settings", "stages_changed"),
    [
        ({"accept__gates__wer__max": 0.01}, {"accept"}),
        ({"assess__asr": {"name": "faster_whisper", "options": {"beam_size": 5}}}, {"assess"}),
        ({"cast__exclude_voices": ["kokoro/kumo"]}, {"cast"}),
        ({"screen__min_words": 4}, {"screen"}),
        ({"generate__llm__temperature": 0.5}, {"generate"}),
        ({"generate__llm__base_url": "http://127.0.0.1:8000/v1"}, {"generate"}),
        ({"plan__paralinguistic_share": 0.1}, {"plan", "cast"}),
        ({"seed": 99}, {"plan", "cast", "synthesize"}),
        ({"synthesize__finish__pause": 0.5}, {"synthesize"}),
        ({"synthesize__finish__augment__room": 0.2, "synthesize__batch_size": 3}, {"synthesize"}),
        ({"synthesize__batch_size": 3}, set()),
        ({"run__task_retries": 0, "generate__llm__timeout": 3.0, "target__max_candidates": 500}, set()),
        ({"target__dialogues": 5}, {"cast"}),
        ({"target__dialogues": 29}, set()),
    ],
)
def test_a_setting_changes_the_stage_that_it_decides(settings: dict[str, Any], stages_changed: set[str]) -> None:
    assert changed(**settings) == stages_changed


@pytest.mark.parametrize(
    ("taxonomy", "stages_changed"),
    [
        ("emotions", {"plan", "generate", "cast"}),
        ("ages", {"plan", "generate", "cast"}),
        ("topics", {"plan", "cast"}),
        ("delivery", {"cast"}),
    ],
)
def test_a_taxonomy_changes_the_stages_that_read_it(
    monkeypatch: pytest.MonkeyPatch, taxonomy: str, stages_changed: set[str]
) -> None:
    before, real = fingerprints(), stages.taxonomy_sha256
    monkeypatch.setattr(stages, "taxonomy_sha256", lambda name: "edited" if name == taxonomy else real(name))
    assert {s for s, a, b in zip(STAGES, before, fingerprints(), strict=True) if a != b} == stages_changed
