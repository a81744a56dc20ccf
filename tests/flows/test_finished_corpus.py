"""A built corpus says of every turn how it was finished."""

from __future__ import annotations

import json
import tarfile

import numpy as np
from conftest import Pipeline

from contracts.records import Finish
from storage import layout
from storage.audio_files import decode_audio


def test_finish_is_in_every_sample_and_in_the_card(pipeline: Pipeline) -> None:
    seal = pipeline.build(target__dialogues=3, synthesize__finish__augment__telephone=1.0)
    assert seal is not None
    folder = pipeline.out / layout.seal_folder(seal)
    num_dialogues = 0
    for path in sorted(folder.rglob("*.tar")):
        with tarfile.open(path) as tar:
            members = {m.name: file.read() for m in tar if (file := tar.extractfile(m))}
        for name in (n for n in members if n.endswith(".json")):
            num_dialogues += 1
            key = name.removesuffix(".json")
            for turn in json.loads(members[name])["turns"]:
                finish = Finish.model_validate(turn["finish"])
                assert (finish.pause, finish.loudness) == (0.25, -23.0)
                assert [a.kind for a in finish.augmentations] == (["telephone"] if turn["role"] == "user" else [])
                audio = decode_audio(members[f"{key}.{turn['audio']}"], name)
                assert abs(audio.duration - turn["duration"]) < 1e-3
                assert not audio.samples[-int(0.19 * audio.sample_rate) :].any()
                assert np.abs(audio.samples).max() < 0.892
    card = (folder / "README.md").read_text()
    assert num_dialogues >= 3
    assert f"| augmented dialogues (user only) | telephone {num_dialogues} |" in card
    assert "0.25 s of silence after the speech; -23 LUFS" in card
