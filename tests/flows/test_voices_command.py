"""`s2s voices` and `s2s say` as a person uses them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from contracts.errors import ConfigError
from flows.cli import app
from storage.audio_files import decode_audio
from tasks.prosody import measure_prosody
from tests.tts_backends.clips import entry, write_clip, write_lines
from tts_backends.voice_bank import load_bank


def s2s(*words: str) -> Result:
    result = CliRunner().invoke(app, list(words))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_list_shows_what_is_asked_for_and_counts_it() -> None:
    rows = json.loads(s2s("voices", "list", "--gender", "male", "--age", "senior", "--json").stdout)
    assert rows and {(r["voice"]["gender"], r["voice"]["age"]) for r in rows} == {("male", "senior")}
    assert all(r["neutral"]["f0"] and r["voice"]["sha256"] for r in rows)
    shown = s2s("voices", "list", "--backend", "hibari").stdout
    assert "hibari/heart" in shown and "1 voices: 1 female" in shown


def test_list_of_a_folder_without_cards_says_how_to_make_some(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no voice cards; run `s2s voices build"):
        s2s("voices", "list", "--bank", str(tmp_path))


def test_check_exits_1_and_names_the_fault(tmp_path: Path) -> None:
    write_clip(tmp_path / "ann.wav")
    write_lines(tmp_path, entry("ann"))
    assert s2s("voices", "check", str(tmp_path)).exit_code == 0
    write_lines(tmp_path, entry("ann", age="ancient"), entry("bob"))
    result = s2s("voices", "check", str(tmp_path))
    assert result.exit_code == 1
    assert "ancient" in result.stdout and "bob.wav" in result.stdout


def test_measuring_a_backend_writes_cards_that_can_be_read(tmp_path: Path) -> None:
    assert s2s("voices", "measure", "hibari", "--out", str(tmp_path)).exit_code == 0
    [card] = load_bank(tmp_path)
    shipped = load_bank().get("hibari/heart")
    assert shipped and card.neutral.f0 and shipped.neutral.f0
    assert card.neutral.f0 == pytest.approx(shipped.neutral.f0, rel=0.02)


def test_a_feeling_can_be_heard_in_what_is_said(tmp_path: Path) -> None:
    text = "They are coming back tomorrow night."
    sound = {}
    for emotion in ("sad", "neutral", "angry"):
        path = tmp_path / f"{emotion}.wav"
        words = ("say", text, "--backend", "hibari", "--emotion", emotion, "--intensity", "1", "--out", str(path))
        assert s2s(*words).exit_code == 0
        sound[emotion] = measure_prosody(decode_audio(path.read_bytes(), path.name), text)
    for figure in ("f0", "f0_range", "rate", "loudness"):
        low, middle, high = (getattr(sound[emotion], figure) for emotion in ("sad", "neutral", "angry"))
        assert low < middle < high, figure


def test_what_a_backend_cannot_render_is_said_or_refused(tmp_path: Path) -> None:
    out = str(tmp_path / "x.wav")
    result = s2s("say", "Come in.", "--backend", "piper", "--emotion", "sad", "--out", out)
    assert result.exit_code == 0 and "piper has no control of: pitch, pitch range, energy" in result.stderr
    with pytest.raises(ConfigError, match="piper cannot change its pitch; its controls are: --rate"):
        s2s("say", "Come in.", "--backend", "piper", "--pitch", "1.2", "--out", out)
    with pytest.raises(ConfigError, match="No emotion 'gleeful'; choose one of: neutral, happy"):
        s2s("say", "Come in.", "--backend", "hibari", "--emotion", "gleeful", "--out", out)


def test_hear_writes_a_file_a_voice(tmp_path: Path) -> None:
    assert s2s("voices", "hear", "hibari/heart", "--text", "Come in.", "--out", str(tmp_path)).exit_code == 0
    assert decode_audio((tmp_path / "hibari-heart.wav").read_bytes(), "it").duration > 0.3
