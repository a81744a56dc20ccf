"""Hugging Face's `datasets` reads the shards without code of ours (`services`: it needs ffmpeg and torchcodec)."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sealed_by_hand import make_run, seal

from storage import layout

READER = """
import json, sys
from datasets import load_dataset
data = load_dataset("webdataset", data_files={"train": sys.argv[1]}, split="train", cache_dir=sys.argv[2])
rows = [
    {"key": r["__key__"], "turns": len(r["json"]["turns"]), "rate": r["t01.flac"].get_all_samples().sample_rate}
    for r in data
]
print(json.dumps(rows))
"""


@pytest.mark.services
@pytest.mark.skipif(importlib.util.find_spec("torchcodec") is None, reason="run it by `make test-services`")
@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="apt-get install ffmpeg")
@pytest.mark.parametrize("num_turns", [2, 4])
def test_load_dataset_reads_a_sealed_corpus(tmp_path: Path, num_turns: int) -> None:
    manifest = seal(*make_run(tmp_path / "run"))
    folder = tmp_path / "run" / layout.seal_folder(manifest.seal)
    pattern = str(folder / "train" / f"*-t{num_turns:02d}-*.tar")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    command = [sys.executable, "-c", READER, pattern, str(tmp_path / "cache")]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = json.loads(done.stdout.splitlines()[-1])
    expected = [k for s in manifest.shards if s.split == "train" and s.num_turns == num_turns for k in s.sample_keys]
    assert [r["key"] for r in rows] == expected
    assert {r["turns"] for r in rows} == {num_turns}
    assert {r["rate"] for r in rows} == {16000}
