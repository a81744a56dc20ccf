"""A small corpus of real (formant) voices through the gates that hold what was spoken against what was asked for."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import yaml

from contracts.plugins import PluginSpec, create
from contracts.protocols import SpeechRequest
from contracts.records import Delivery, Prosody, VoiceCard
from flows.part_window import BarrenRun
from flows.report import read_tables
from flows.report.tables import NO_SER
from tasks.prosody import measure_prosody
from tasks.scorers._torch_workers import one_core_workers
from tasks.speaker_embedding import SpeakerEncoder, mean_embedding
from tests.flows.conftest import Pipeline
from tts_backends.voice_bank import VoiceBank, bank_files

pytest.importorskip("swift_f0")
pytest.importorskip("resemblyzer")

PROBES = (
    "I must tell you, the bus was late again this morning.",
    "We finally got the keys to the house today, and I feel it with every step.",
    "Thank you for telling me, that sounds like a lot to carry.",
)
NEUTRAL = Delivery(emotion="neutral", intensity=0.5)
VOICES = ("us_f2", "us_f3", "us_f5", "us_steph", "us_m1", "us_m2", "us_m3", "us_m4", "us_f1")


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cards of some voices of espeak-ng, measured here."""
    backend: Any = create("tts_backends", PluginSpec(name="espeak_ng"))
    if backend.revision == "unavailable":
        pytest.skip("espeak-ng is not installed")
    folder, encoder, workers = tmp_path_factory.mktemp("bank"), SpeakerEncoder(), one_core_workers(1)
    cards, vectors = {}, {}
    with backend:
        for voice in (v for v in backend.voices() if v.name in VOICES):
            requests = [SpeechRequest(text=t, voice=voice, language="en", delivery=NEUTRAL) for t in PROBES]
            sound = backend.synthesize(requests)
            probes = [measure_prosody(audio, text) for audio, text in zip(sound, PROBES, strict=True)]
            neutral = Prosody(
                f0=fmean(p.f0 or 0 for p in probes),
                f0_range=fmean(p.f0_range or 0 for p in probes),
                rate=fmean(p.rate for p in probes),
                loudness=fmean(p.loudness for p in probes),
            )
            cards[voice.id] = VoiceCard(voice=voice, neutral=neutral, mos=3.0, wer=0.0)
            vectors[voice.id] = mean_embedding(workers.map(encoder.embed, sound))
    for name, content in bank_files(VoiceBank(cards, vectors), "espeak_ng").items():
        (folder / name).write_bytes(content)
    return folder


def test_corpus_passes_the_gates_and_the_report_shows_the_emotions(pipeline: Pipeline, bank: Path) -> None:
    raw = pipeline.raw
    named = {"options": {"bank": str(bank)}}
    raw["target"] = {"dialogues": 6, "max_candidates": 24}
    raw["plan"] = {"part_size": 6, "emotions": {"sad": 1.0, "excited": 1.0}, "intensities": {"strong": 1.0}}
    raw["cast"] = {
        "users": {"espeak_ng": 1.0},
        "user_voices": [f"espeak_ng/{name}" for name in VOICES[:-1]],
        "assistant_voice": "espeak_ng/us_f1",
        "max_voice_share": 1.0,
    }
    raw["assess"]["scorers"] = [
        {"name": "emotion_prosody", **named},
        {"name": "speaker_similarity", **named},
        "speaker_consistency",
        "instruct_leak",
    ]
    gates = {
        "emotion_prosody": {"min": 0.0, "roles": ["user"]},
        "speaker_similarity": {"min": 0.65},
        "speaker_consistency": {"min": 0.65},
        "instruct_leak": {"max": 0.3},
    }
    raw["accept"] = {"gates": gates}
    pipeline.recipe.write_text(yaml.safe_dump(raw))
    assert pipeline.build() is not None
    tables = read_tables(str(pipeline.out))
    rows = {row.emotion: row for row in tables.emotions}
    assert rows["excited"].measured == rows["excited"].turns > 0
    assert rows["excited"].f0_semitones > rows["sad"].f0_semitones + 1  # type: ignore[operator]
    assert rows["excited"].rate_ratio > rows["sad"].rate_ratio + 0.05  # type: ignore[operator]
    assert rows["excited"].loudness_db > rows["sad"].loudness_db + 1  # type: ignore[operator]
    assert min(row.agreement or 0 for row in rows.values()) > 0.3
    assert {gate.figure for gate in tables.gates} == set(gates)
    assert all(gate.judged > 0 and gate.missing == 0 for gate in tables.gates)
    assert all((gate.pass_share or 0) > 0.7 for gate in tables.gates)
    assert tables.ser_note == NO_SER
    # A threshold that nothing meets is told apart from those that all meet.
    with pytest.raises(BarrenRun, match="speaker_similarity_below_min"):
        pipeline.build(accept__gates__speaker_similarity__min=0.999, run__give_up_after=2)
    after = {gate.figure: gate for gate in read_tables(str(pipeline.out)).gates}
    assert after["speaker_similarity"].pass_share == 0
    assert (after["instruct_leak"].pass_share, after["instruct_leak"].rejected) == (1.0, 0)
