"""The report's tables over candidates made by hand, and the page of a run whose rows are written by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import candidates as by_hand
import pytest

from contracts.config import CorpusConfig, Gate
from contracts.records import Assessment, Candidate, Delivery, Prosody, Score, Voice, VoiceCard
from flows.report import read_tables, write_report
from flows.report.speech_pictures import emotion_picture, voice_picture
from flows.report.tables import (
    NO_PROSODY,
    NO_SER,
    confusion,
    emotion_rows,
    gate_rows,
    make_tables,
    thresholds,
    voice_table,
)
from storage import manifests
from storage.object_store import LocalStore
from storage.run_directory import RunRecord, now, write_run
from tasks.accept_dialogues import accept_dialogues
from tts_backends.voice_bank import VoiceBank

PNG = b"\x89PNG"
SHIFTS = {"f0_semitones": 2.0, "range_ratio": 1.5, "rate_ratio": 1.1, "loudness_db": 1.0, "f0": 200.0}


def candidate(index: int, emotion: str, scores: Sequence[Score], voice: str = "tone/a", **delivery: Any) -> Candidate:
    """An accepted dialogue whose user turn has these scores, and whose assistant has a WER of 0."""
    made = by_hand.make_candidate(index, assessed=True)
    user, assistant = made.utterances
    asked = Delivery(emotion=emotion, intensity=1.0, **delivery)
    user = user.model_copy(update={"voice_id": voice, "delivery": asked})
    heard = Assessment(utterance_id=user.id, transcript="", asr="by hand", scores=tuple(scores))
    return made.model_copy(
        update={"utterances": (user, assistant), "assessments": (heard, made.assessments[1]), "accepted": True}
    )


def prosody(value: float | None = 0.8, **changes: float) -> Score:
    return Score(name="emotion_prosody", value=value, details={**SHIFTS, **changes})


def ser(**shares: float) -> Score:
    details = {f"p_{name}": p for name, p in shares.items()}
    return Score(name="ser", value=0.5, details={**details, "right": 1.0})


def config(**changes: Any) -> CorpusConfig:
    base = {"name": "x", "target": {"dialogues": 1, "max_candidates": 9}}
    return CorpusConfig.model_validate({**base, "assess": {"asr": "scripted", "scorers": ["wer"]}, **changes})


def test_a_row_for_each_emotion_with_its_means() -> None:
    failed = Score.failed("emotion_prosody", "no card")
    rejected = candidate(2, "sad", [prosody(-0.2)]).model_copy(update={"accepted": False})
    rows = emotion_rows(
        [
            candidate(0, "happy", [prosody(1.0)], pitch=1.1),
            candidate(1, "happy", [prosody(0.6, f0_semitones=0.0, rate_ratio=1.21 / 1.1)], rate=1.05),
            rejected,
            candidate(3, "sad", [failed]),
        ]
    )
    happy, sad = rows
    assert (happy.emotion, happy.turns, happy.measured, happy.accepted_share) == ("happy", 2, 2, 1.0)
    assert (happy.f0_semitones, happy.agreement) == (1.0, pytest.approx(0.8))
    assert happy.rate_ratio == pytest.approx(1.1)
    assert happy.asked_f0_semitones == pytest.approx(0.825, abs=1e-3)
    assert happy.asked_rate_ratio == pytest.approx(1.05**0.5)
    assert (sad.turns, sad.measured, sad.accepted_share, sad.agreement) == (2, 1, 0.5, -0.2)


def test_what_was_not_measured_is_none_and_said() -> None:
    plain = [candidate(0, "happy", [Score(name="wer", value=0.0)])]
    tables = make_tables(plain, config(), VoiceBank())
    assert (tables.prosody_note, tables.ser_note, tables.ser) == (NO_PROSODY, NO_SER, None)
    assert NO_SER == ("no SER was configured: whether the emotion can be recognised by a classifier was not tested.")
    (row,) = tables.emotions
    assert (row.measured, row.f0_semitones, row.range_ratio, row.agreement) == (0, None, None, None)
    assert emotion_picture(tables.emotions) is None
    assert (voice_picture(tables.voices) or b"").startswith(PNG)


def test_voices_are_counted_over_the_accepted_dialogues() -> None:
    voice = Voice(id="tone/b", backend="tone", name="b", gender="male", age="senior", license="-", source="test")
    neutral = Prosody(f0=100, f0_range=2, rate=15, loudness=-20)
    bank = VoiceBank({"tone/b": VoiceCard(voice=voice, neutral=neutral, mos=4, wer=0)}, {})
    lost = candidate(4, "sad", [prosody()], "tone/c").model_copy(update={"accepted": False})
    own = [
        candidate(0, "sad", [prosody(f0=100.0)], "tone/b"),
        candidate(1, "sad", [prosody(f0=400.0)], "tone/b"),
        candidate(2, "sad", [], "tone/a"),
    ]
    table = voice_table([*own, lost], bank)
    first, second = table.voices
    assert (first.voice_id, first.dialogues, first.gender, first.age) == ("tone/b", 2, "male", "senior")
    assert first.f0 == pytest.approx(200)
    assert (second.gender, second.age, second.f0) == ("female", "unknown", None)
    assert table.most_used_share == pytest.approx(2 / 3)
    assert table.by_age == {"senior": {"male": 2}, "unknown": {"female": 1}}
    assert voice_table([], bank).most_used_share == 0


def test_gates_say_what_they_judged_and_rejected() -> None:
    gates = {
        "ser": Gate.model_validate({"min": 0.6, "roles": ["user"], "unscored": "pass"}),
        "wer": Gate.model_validate({"max": 0.1, "per_emotion": {"sad": {"max": 0.3}}}),
    }
    wer = [Score(name="wer", value=0.2)]
    fresh = [candidate(i, e, s) for i, (e, s) in enumerate([("sad", wer), ("happy", wer), ("happy", [*wer, ser()])])]
    undecided = [c.model_copy(update={"accepted": False}) for c in fresh]
    decided = accept_dialogues(undecided, config=config(accept={"gates": gates}).accept)
    assert [c.accepted for c in decided] == [True, False, False]
    of_ser, of_wer = gate_rows(decided, gates)
    assert (of_ser.judged, of_ser.missing, of_ser.rejected, of_ser.pass_share) == (1, 2, 1, 0.0)
    assert (of_wer.judged, of_wer.missing, of_wer.rejected) == (6, 0, 2)
    assert of_wer.pass_share == pytest.approx(2 / 3)
    assert of_wer.thresholds == ("at most 0.1", "sad: at most 0.3")
    assert gate_rows([], gates)[0].pass_share is None


def test_thresholds_in_words() -> None:
    gate = Gate.model_validate({"min": 1, "max": 2.5, "roles": ["user"], "augmented": {"min": 0.5}})
    assert thresholds(gate) == ["at least 1, at most 2.5 (user turns)", "augmented: at least 0.5 (user turns)"]
    assert thresholds(Gate.model_validate({"per_emotion": {"sad": {"min": 1}}})) == ["sad: at least 1"]


def test_confusion_counts_asked_against_heard() -> None:
    unknown = Score.failed("ser", "does not know 'soothing'")
    found = confusion(
        [
            candidate(0, "sad", [ser(sad=0.7, angry=0.2, other=0.1)]),
            candidate(1, "sad", [ser(sad=0.2, angry=0.3, other=0.5)]),
            candidate(2, "excited", [ser(happy=0.4, excited=0.4, sad=0.2)]),
            candidate(3, "angry", [ser(sad=0.6, angry=0.4)]),
            candidate(4, "soothing", [unknown]),
        ]
    )
    assert found.counts == {"angry": {"sad": 1}, "excited": {"excited": 1}, "sad": {"other": 1, "sad": 1}}
    assert found.heard == ("angry", "excited", "other", "sad")
    assert found.right_share == 0.5
    assert confusion([]).right_share == 0


def write_a_run(root: Path, rows: list[Candidate], recipe: CorpusConfig) -> str:
    """A run of one part that has been through every stage."""
    store = LocalStore(root)
    done = [c.model_copy(update={"accepted": True}) for c in rows]
    record = RunRecord(
        state="sealed",
        recipe=recipe.model_dump(mode="json"),
        fingerprints={},
        engines={},
        prompts={},
        code_version="test",
        started_at=now(),
        updated_at=now(),
        num_parts=1,
        parts_used=1,
    )
    write_run(store, record)
    for stage in ("plan", "generate", "screen", "cast", "synthesize", "assess", "accept"):
        manifests.finish(
            store,
            part=0,
            stage=stage,  # type: ignore[arg-type]
            fingerprint="by hand",
            candidates=done,
            files=[],
            seconds=0.0,
            engine_seconds={},
        )
    return str(root)


def test_the_page_has_all_tables_and_pictures(tmp_path: Path) -> None:
    rows = [
        candidate(0, "sad", [prosody(), ser(sad=0.7, angry=0.3)], "tone/a"),
        candidate(1, "angry", [prosody(f0_semitones=-1.0), ser(sad=0.7, angry=0.3)], "tone/b"),
    ]
    recipe = config(
        assess={"asr": "scripted", "scorers": ["wer", "emotion_prosody", "ser"]},
        accept={"gates": {"emotion_prosody": {"min": 0.1, "roles": ["user"]}}},
    )
    places = write_report(write_a_run(tmp_path / "run", rows, recipe))
    for name in ("emotions", "voices"):
        assert Path(places[name]).read_bytes().startswith(PNG)
    page = Path(places["listen"]).read_text()
    for words in ("<h2>Emotions</h2>", "<h2>Voices</h2>", "<h2>Gates</h2>", "at least 0.1 (user turns)", "50 % right"):
        assert words in page
    assert NO_SER not in page and NO_PROSODY not in page
    assert page.count('src="emotions.png"') == page.count('src="voices.png"') == 1


def test_the_page_says_what_was_not_tested(tmp_path: Path) -> None:
    run = write_a_run(tmp_path / "run", [candidate(0, "sad", [Score(name="wer", value=0.0)])], config())
    places = write_report(run)
    page = Path(places["listen"]).read_text()
    assert NO_SER in page and NO_PROSODY in page
    assert "emotions" not in places


def test_the_same_numbers_come_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from flows.cli import report

    run = write_a_run(tmp_path / "run", [candidate(0, "sad", [prosody(0.5)])], config())
    report(run, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told == read_tables(run).model_dump(mode="json")
    assert told["emotions"][0]["agreement"] == 0.5
    assert not (tmp_path / "run" / "report").exists()
