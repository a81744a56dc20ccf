"""A recipe with a bank of its own, and scorers that must read the same one."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.config import CorpusConfig
from contracts.errors import RecipeError
from flows.recipes import load_recipe
from tasks.begin_run import validate_recipe
from tts_backends.voice_bank import bank_files, load_bank


def recipe(bank: Path, *, scorers_too: bool) -> CorpusConfig:
    config = load_recipe("demo").model_dump(mode="json")
    config["cast"]["backends"] = {"kokoro": {"name": "kokoro", "options": {"bank": str(bank)}}}
    if scorers_too:
        for spec in config["assess"]["scorers"]:
            if spec["name"] in ("emotion_prosody", "speaker_similarity", "distillmos"):
                spec["options"] = {"bank": str(bank)}
    return CorpusConfig.model_validate(config)


def test_scorers_of_another_bank_than_the_voices_are_refused(tmp_path: Path) -> None:
    for name, content in bank_files(load_bank(), "kokoro").items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(RecipeError, match="one name may be two people. Give the scorer the same option `bank`"):
        validate_recipe(recipe(tmp_path, scorers_too=False))
    validate_recipe(recipe(tmp_path, scorers_too=True))


def test_a_bank_that_changes_on_disk_is_read_again(tmp_path: Path) -> None:
    from tts_backends.kokoro import Kokoro
    from tts_backends.voice_bank import VoiceBank

    whole = load_bank().of("kokoro")
    few = VoiceBank(dict(list(whole.cards.items())[:5]), whole.embeddings)
    revisions, counts = [], []
    for bank in (whole, few):
        for name, content in bank_files(bank, "kokoro").items():
            (tmp_path / name).write_bytes(content)
        kokoro = Kokoro(bank=str(tmp_path))
        revisions.append(kokoro.revision)
        counts.append(len(kokoro.voices()))
    assert counts == [len(whole), 5] and revisions[0] != revisions[1]
