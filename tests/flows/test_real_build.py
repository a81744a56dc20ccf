"""The whole pipeline with the real embedded engines, small: LLM, voices, ASR, scorers, shards, seal."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
import soundfile

from flows.recipes import load_recipe
from flows.report import write_report
from flows.status import read_status
from storage import layout
from storage.object_store import LocalStore
from tasks.begin_run import check_engines
from tasks.verify_corpus import verify_corpus

SETTINGS = {"target.dialogues": 3, "target.max_candidates": 12, "plan.part_size": 4}


@pytest.fixture(scope="module")
def built(prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from flows.build_corpus import build_corpus

    check_engines(load_recipe("demo"))
    out = tmp_path_factory.mktemp("real") / "run"
    assert build_corpus(recipe="demo", out=str(out), settings=SETTINGS) is not None
    return out


def test_small_demo_is_sealed_whole_and_intelligible(built: Path) -> None:
    store = LocalStore(built)
    status = read_status(store)
    assert status.state == "sealed"
    assert status.accepted >= 3
    assert status.candidates == status.accepted + sum(status.rejected.values())
    assert {"llm", "kokoro", "hibari", "faster_whisper", "dnsmos", "distillmos"} <= set(status.funnel.engine_seconds)
    assert status.seal
    assert verify_corpus(store, layout.seal_folder(status.seal)) == []
    stats = json.loads((built / layout.seal_folder(status.seal) / "stats.json").read_text())
    assert stats["mean_scores"]["wer"] <= 0.10
    assert stats["mean_scores"]["distillmos"] >= 3.0


def test_sample_has_what_it_promises(built: Path) -> None:
    shard = next(built.glob("seals/*/*/*.tar"))
    with tarfile.open(shard) as tar:
        members = {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]
    key = next(name for name in members if name.endswith(".json")).removesuffix(".json")
    sample = json.loads(members[f"{key}.json"])
    user, assistant = sample["turns"]
    assert (user["role"], assistant["role"]) == ("user", "assistant")
    assert assistant["voice_id"] == "hibari/heart" != user["voice_id"]
    for turn in (user, assistant):
        sound = soundfile.info(io.BytesIO(members[f"{key}.{turn['audio']}"]))
        assert (sound.format, sound.samplerate) == ("FLAC", turn["sample_rate"])
        assert sound.duration == pytest.approx(turn["duration"], abs=1e-3)
        assert turn["transcript"]
        assert {"wer", "dnsmos", "distillmos", "silence", "loudness"} <= set(turn["scores"])
    assert "SmolLM2" in sample["provenance"]["llm"]


def test_report_draws_pictures_and_a_page_with_sound(built: Path) -> None:
    places = write_report(str(built))
    assert {"listen", "funnel", "scores", "spectrogram"} == set(places)
    for name in ("funnel", "scores", "spectrogram"):
        assert Path(places[name]).read_bytes().startswith(b"\x89PNG")
    page = Path(places["listen"]).read_text()
    assert page.count("<audio") >= 6
    for source in {line.split('src="')[1].split('"')[0] for line in page.splitlines() if "<audio" in line}:
        assert (built / "report" / source).read_bytes()[:4] == b"fLaC"
