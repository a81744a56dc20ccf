"""The flow from recipe to seal, over fakes (see conftest.py): target, reuse, re-deciding, damage, faults."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Pipeline
from hostile_server import Server, answer, status

from contracts.config import CorpusConfig
from contracts.errors import EndpointError, EngineError, NoSpace, NotWritable, RunLocked, S2SError
from contracts.records import STAGES
from flows.part_window import BarrenRun
from flows.progress import BuildProgress
from flows.status import Status, read_status
from storage import layout, manifests
from storage.object_store import LocalStore
from storage.run_directory import read_run
from tasks.verify_corpus import verify_corpus

Uses = Callable[[], dict[str, int]]


def store_of(pipeline: Pipeline) -> LocalStore:
    return LocalStore(pipeline.out)


def checked(pipeline: Pipeline, seal: str | None) -> Status:
    """The status of a finished run whose corpus is whole."""
    assert seal is not None
    store = store_of(pipeline)
    assert verify_corpus(store, layout.seal_folder(seal)) == []
    found = read_status(store)
    assert found.candidates == found.accepted + sum(found.rejected.values())
    assert found.seal == seal
    return found


def test_target_is_met_and_the_corpus_is_whole(pipeline: Pipeline) -> None:
    found = checked(pipeline, pipeline.build())
    assert found.state == "sealed"
    assert found.accepted >= 10
    assert found.outcome and found.outcome.startswith("Target met")
    # The stop is within one part of the target.
    assert found.accepted < 10 + pipeline.raw["plan"]["part_size"]


def test_progress_counts_every_stage_of_every_part(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[BuildProgress] = []
    real = BuildProgress.__init__

    def noting(self: BuildProgress, config: CorpusConfig) -> None:
        real(self, config)
        seen.append(self)

    monkeypatch.setattr(BuildProgress, "__init__", noting)
    pipeline.build()
    (progress,) = seen
    assert set(progress.parts_done) == set(STAGES)
    assert len(set(progress.parts_done.values())) == 1
    assert progress.accepted == read_status(store_of(pipeline)).accepted


def test_run_json_says_what_the_directory_is(pipeline: Pipeline) -> None:
    pipeline.build()
    record = read_run(store_of(pipeline))
    assert set(record.fingerprints) == {"plan", "generate", "screen", "cast", "synthesize", "assess", "accept"}
    assert {"llm", "tone", "scripted", "clipping"} <= set(record.engines)
    assert len(record.prompts["dialogue_en"]) == 64
    assert record.config.target.dialogues == 10
    assert record.code_version.startswith("0.")


def test_finished_run_run_again_touches_no_engine(pipeline: Pipeline, llm: Server, uses: Uses) -> None:
    first = pipeline.build()
    calls, used = llm.num_calls, uses()
    assert pipeline.build() == first
    assert (llm.num_calls, uses()) == (calls, used)


def test_changed_threshold_decides_again_and_calls_no_engine(pipeline: Pipeline, llm: Server, uses: Uses) -> None:
    first = pipeline.build()
    before = checked(pipeline, first)
    calls, used = llm.num_calls, uses()
    # A threshold that lets two of the first part's four dialogues through, which is all that the new target asks for.
    rows = manifests.read_rows(store_of(pipeline), 0, "accept")
    slowest = sorted(max(a.figure("duration_ratio") or 0.0 for a in c.assessments) for c in rows)
    threshold = (slowest[1] + slowest[2]) / 2
    second = pipeline.build(target__dialogues=2, accept__gates__duration_ratio__max=threshold)
    after = checked(pipeline, second)
    assert second != first
    assert (llm.num_calls, uses()) == (calls, used)
    assert (after.accepted, after.rejected) == (2, {"duration_ratio_above_max": 2})
    # Back again: the very first corpus, still without an engine.
    assert pipeline.build() == first
    assert (llm.num_calls, uses()) == (calls, used)
    assert before.accepted == checked(pipeline, first).accepted


def test_changed_voices_redo_from_casting_on(pipeline: Pipeline, llm: Server, uses: Uses) -> None:
    first = pipeline.build()
    calls, used = llm.num_calls, uses()
    second = pipeline.build(cast__exclude_voices=["tone/high"])
    assert second != first
    assert llm.num_calls == calls
    assert uses().get("llm") == used.get("llm")
    assert uses()["tone"] > used["tone"]
    voices = {u.voice_id for c in manifests.read_rows(store_of(pipeline), 0, "accept") for u in c.utterances}
    assert "tone/high" not in voices


@pytest.mark.parametrize(
    ("stage", "name"),
    [("generate", "rows.jsonl"), ("synthesize", "audio.tar"), ("assess", "rows.jsonl"), ("accept", "manifest.json")],
)
@pytest.mark.parametrize("damage", ["truncated", "altered"])
def test_damaged_stage_file_is_found_said_and_redone(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture, stage: str, name: str, damage: str
) -> None:
    first = pipeline.build()
    path = pipeline.out / "parts" / "00000" / stage / name
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] if damage == "truncated" else b"#" + data[1:])
    assert pipeline.build() == first
    checked(pipeline, first)
    assert any("part 0" in r.message or "of the part" in r.message for r in caplog.records)


def test_budget_spent_is_said_and_what_there_is_is_sealed(pipeline: Pipeline) -> None:
    found = checked(pipeline, pipeline.build(target__max_candidates=10, accept__gates__duration_ratio__max=1.0))
    assert found.candidates == 10
    assert found.outcome and found.outcome.startswith("Budget spent: all 10 candidates")


def test_same_recipe_elsewhere_gives_the_same_corpus(pipeline: Pipeline, tmp_path: Path) -> None:
    first = pipeline.build()
    pipeline.out = tmp_path / "elsewhere"
    assert pipeline.build(run__max_parts_in_flight=1) == first


def test_faulty_renderings_reject_their_dialogues_only(pipeline: Pipeline) -> None:
    for fault, code in [("nan", "tts_not_finite"), ("silence", "tts_silent"), ("raise", "tts_error")]:
        pipeline.out = pipeline.out.with_name(f"run-{fault}")
        tone = {"name": "tone", "options": {"fault": fault, "fault_on": "breakfast"}}
        found = checked(pipeline, pipeline.build(cast__backends={"tone": tone}))
        assert set(found.rejected) & {code, "tts_error"}
        assert found.accepted > 0


def test_backend_that_always_fails_ends_the_run_with_words(pipeline: Pipeline) -> None:
    tone = {"name": "tone", "options": {"fault": "raise"}}
    with pytest.raises(EngineError, match="'tone' failed on all"):
        pipeline.build(cast__backends={"tone": tone})
    record = read_run(store_of(pipeline))
    assert record.state == "failed"
    assert record.outcome and "tone" in record.outcome
    # Mended, the same directory goes on.
    checked(pipeline, pipeline.build())


def test_nothing_ever_accepted_gives_up_with_words(pipeline: Pipeline) -> None:
    settings = {"accept__gates__clipping__min": 5.0, "accept__gates__clipping__max": 9.0, "run__give_up_after": 2}
    with pytest.raises(BarrenRun, match="None of the first"):
        pipeline.build(**settings)
    assert read_run(store_of(pipeline)).state == "failed"


def test_two_runs_on_one_directory_the_second_is_refused(pipeline: Pipeline) -> None:
    with store_of(pipeline).lock(), pytest.raises(RunLocked, match=str(os.getpid())):
        pipeline.build()


def test_endpoint_down_at_start_is_said(pipeline: Pipeline, llm: Server) -> None:
    llm.die()
    with pytest.raises(EndpointError, match="127.0.0.1"):
        pipeline.build()


def test_endpoint_that_dies_midway_is_said_and_resumed(pipeline: Pipeline, llm: Server) -> None:
    good, calls = llm.act, []

    def dies(handler, payload):  # type: ignore[no-untyped-def]
        calls.append(1)
        if len(calls) > 6:
            status(500)(handler, payload)
        else:
            good(handler, payload)

    llm.act = dies
    with pytest.raises(EndpointError):
        pipeline.build(generate__llm__request_attempts=2)
    assert read_run(store_of(pipeline)).state == "failed"
    llm.act = good
    checked(pipeline, pipeline.build())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nothing like a dialogue",
        "User: \x00\x01\x02\nAssistant (calm): \x1b[31m",
        "User: 我今天很难过，因为我丢了钥匙。\nAssistant (calm): 我很抱歉听到这个消息。",
        "User: " + "a" * 3_000_000,
        '{"user_1": "broken',
    ],
    ids=["empty", "no dialogue", "control characters", "wrong language", "megabytes", "broken JSON"],
)
def test_unusable_text_rejects_its_candidate_with_a_reason(pipeline: Pipeline, llm: Server, text: str) -> None:
    good = llm.act

    def act(handler, payload):  # type: ignore[no-untyped-def]
        if "breakfast" in str(payload["messages"][-1]) or payload["seed"] % 3 == 0:
            handler.reply(answer(text))
        else:
            good(handler, payload)

    llm.act = act
    found = checked(pipeline, pipeline.build(generate__attempts=1))
    assert sum(found.funnel.steps[1].rejected.values()) > 0


def test_brackets_lists_and_emoji_become_spoken_or_are_rejected(pipeline: Pipeline, llm: Server) -> None:
    def act(handler, payload):  # type: ignore[no-untyped-def]
        handler.reply(
            answer(
                "User: I lost [sighs] my keys at 5:30 😢 and *really* my wallet too, at the station.\n"
                "Assistant (calm): Oh no! 1. Breathe. 2. Call Dr. Lee, he will help you with that."
            )
        )

    llm.act = act
    # Every dialogue is the same, so near-duplicates are all there is; only the spoken form matters here.
    pipeline.build(target__dialogues=1)
    rows = [c for c in manifests.read_rows(store_of(pipeline), 0, "accept")]
    for candidate in rows:
        for utterance in candidate.utterances:
            assert not set(utterance.text) & set("[]*😢0123456789")
        assert candidate.utterances or candidate.rejection


def test_full_disk_ends_with_words_and_the_next_run_goes_on(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(1)
        if len(calls) > 25:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NoSpace, match="run the same command again"):
        pipeline.build()
    monkeypatch.setattr(os, "fsync", real)
    checked(pipeline, pipeline.build())


def test_out_that_cannot_be_written_is_refused(pipeline: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("I am no directory")
    pipeline.out = tmp_path / "file"
    with pytest.raises(NotWritable, match="Choose a directory"):
        pipeline.build()


def test_directory_of_another_version_is_refused(pipeline: Pipeline) -> None:
    pipeline.out.mkdir()
    (pipeline.out / "run.json").write_text(json.dumps({"format_version": 99}))
    with pytest.raises(S2SError, match=r"run.json cannot be read"):
        pipeline.build()


def test_task_runs_have_names_that_a_person_understands(pipeline: Pipeline) -> None:
    from prefect.client.orchestration import get_client

    pipeline.build()
    with get_client(sync_client=True) as client:
        names = {run.name for run in client.read_task_runs(limit=200)}
        keys = {a.key for a in client.read_artifacts()}
    assert {"plan part 0", "generate part 1", "synthesize part 2", "accept part 0", "pack shard 0"} <= names
    assert {"progress-fakes", "funnel-fakes", "summary-fakes"} <= keys
