"""The whole pipeline with the real embedded engines, small: LLM, voices, ASR, scorers, shards, seal."""

from __future__ import annotations

import io
import json
import shlex
import subprocess
import sys
import tarfile
from importlib.metadata import entry_points
from itertools import pairwise
from pathlib import Path

import pytest
import soundfile

from flows.recipes import load_recipe, parse_settings
from flows.report import write_report
from flows.status import read_status
from storage import layout
from storage.object_store import LocalStore
from tasks.begin_run import check_engines
from tasks.verify_corpus import verify_corpus
from tests.tts_backends.clips import entry, write_clip, write_lines

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
    assert {"listen", "funnel", "scores", "spectrogram", "voices"} <= set(places)
    for name in set(places) - {"listen"}:
        assert Path(places[name]).read_bytes().startswith(b"\x89PNG")
    page = Path(places["listen"]).read_text()
    assert page.count("<audio") >= 6
    for source in {line.split('src="')[1].split('"')[0] for line in page.splitlines() if "<audio" in line}:
        assert (built / "report" / source).read_bytes()[:4] == b"fLaC"


def readme_commands() -> list[str]:
    """Every `s2s` command in the README's shell blocks, continued lines joined."""
    text = Path(__file__).parents[2].joinpath("README.md").read_text().replace("\\\n", " ")
    blocks = text.split("```bash\n")[1:]
    lines = [line.partition(" #")[0].strip() for block in blocks for line in block.split("```")[0].splitlines()]
    return [line for line in lines if line.startswith("s2s ")]


def test_readme_commands_work(built: Path, tmp_path: Path) -> None:
    """Each is run on the small demo; `build` and `bench` take minutes, so of those the words are checked."""
    commands = readme_commands()
    assert {c.split()[1] for c in commands} == set(
        "doctor plugins recipes say build status verify report bench voices serve-tts".split()
    )
    (clips := tmp_path / "my_clips").mkdir()
    write_clip(clips / "ann.wav")
    write_lines(clips, entry("ann"))
    for command in commands:
        words = shlex.split(command)[1:]
        if words[0] == "build":
            settings = parse_settings(word for flag, word in pairwise(words) if flag == "--set")
            assert load_recipe(words[1], settings).name == words[1]
        elif words[0] == "bench":
            assert entry_points(group="s2s.benchmarks")[words[1]].load()
        elif words[:2] == ["voices", "build"] or words[0] == "serve-tts":
            continue  # minutes, and a server that stays; both have tests of their own
        else:
            words = [str(built) if word == "runs/demo" else word for word in words]
            done = subprocess.run([sys.executable, "-m", "flows.cli", *words], cwd=tmp_path, capture_output=True)
            assert done.returncode == 0, (command, done.stderr.decode()[-2000:])
    assert (tmp_path / "hello.wav").read_bytes()[:4] == b"RIFF"


def test_one_changed_byte_makes_verify_exit_1_and_name_the_shard(built: Path) -> None:
    shard = next(built.glob("seals/*/*/*.tar"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    whole = shard.read_bytes()
    shard.write_bytes(bytes(data))
    try:
        done = subprocess.run([sys.executable, "-m", "flows.cli", "verify", str(built)], capture_output=True)
    finally:
        shard.write_bytes(whole)
    assert done.returncode == 1
    assert shard.name.encode() in done.stderr


def test_status_json_has_what_programs_rely_on(built: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "status", str(built), "--json"], capture_output=True, check=True
    )
    status = json.loads(done.stdout)
    assert {"state", "seal", "candidates", "accepted", "rejected", "accepted_hours"} <= set(status)
    assert status["candidates"] == status["accepted"] + sum(status["rejected"].values())
