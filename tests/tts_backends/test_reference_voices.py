from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.audio import Samples
from contracts.protocols import TTSBackend
from contracts.records import Voice
from tests.tts_backends.clips import SAYS, entry, speech, write_clip, write_lines
from tests.tts_backends.conftest import request_for
from tts_backends.reference_voices import ReferenceCheck, check_reference_voices

AGES = ("child", "senior")


def codes(check: ReferenceCheck) -> list[str]:
    return [fault.code for fault in check.faults]


def check_one(folder: Path, samples: Samples, sample_rate: int = 24_000, **changes: Any) -> ReferenceCheck:
    write_clip(folder / "anna.wav", samples, sample_rate)
    return check_reference_voices(write_lines(folder, entry("anna", **changes)), ages=AGES)


def test_good_clips_become_voices_with_figures(tmp_path: Path) -> None:
    write_clip(tmp_path / "anna.wav")
    write_clip(tmp_path / "bob.flac")
    write_clip(tmp_path / "forgotten.wav")
    bob = entry("bob", file="bob.flac", gender="male", age=None, languages=["en", "zh"])
    check = check_reference_voices(write_lines(tmp_path, "# ours", entry("anna"), "", bob), ages=AGES, backend="clone")
    assert check.faults == ()
    assert [clip.line for clip in check.clips] == [2, 4]
    assert check.unlisted == ("forgotten.wav",)
    anna, second = check.voices
    assert anna == Voice(
        id="clone/anna",
        backend="clone",
        name="anna",
        gender="female",
        age="senior",
        languages=("en",),
        license="CC0-1.0",
        source="recorded for this test",
        reference=str(tmp_path / "anna.wav"),
        reference_text=SAYS,
        sha256=hashlib.sha256((tmp_path / "anna.wav").read_bytes()).hexdigest(),
    )
    assert (second.gender, second.age, second.languages) == ("male", None, ("en", "zh"))
    figures = check.clips[0].figures
    assert figures is not None
    assert (figures.sample_rate, figures.channels, figures.duration, figures.clipped) == (24_000, 1, 4.0, 0.0)
    assert figures.speech_to_pause > 30


def test_real_speech_passes_and_noise_is_estimated(tmp_path: Path, entered: Any) -> None:
    backend: TTSBackend = entered("hibari")
    [audio] = backend.synthesize([request_for(backend.voices()[0], SAYS)])
    assert check_one(tmp_path, audio.samples, audio.sample_rate).faults == ()
    loud = np.sqrt(np.mean(audio.samples**2))
    noise = np.random.default_rng(1).normal(size=len(audio.samples)).astype(np.float32)
    assert codes(check_one(tmp_path, audio.samples + noise * loud * 0.03, audio.sample_rate)) == []
    assert codes(check_one(tmp_path, audio.samples + noise * loud * 0.4, audio.sample_rate)) == ["noisy"]


@pytest.mark.parametrize(
    ("samples", "sample_rate", "code"),
    [
        (speech(4.0, sample_rate=8_000), 8_000, "low_sample_rate"),
        (speech(1.5), 24_000, "too_short"),
        (speech(31.0), 24_000, "too_long"),
        (np.clip(speech() * 8, -1, 1), 24_000, "clipped"),
        (np.stack([speech(), np.clip(speech() * 8, -1, 1)], axis=1), 24_000, "clipped"),
        (speech() * 0.01, 24_000, "too_quiet"),
        (np.zeros(96_000, np.float32), 24_000, "too_quiet"),
        (np.zeros(0, np.float32), 24_000, "silent"),
        (speech(noise=0.1), 24_000, "noisy"),
        (np.stack([speech()] * 3, axis=1), 24_000, "too_many_channels"),
    ],
)
def test_a_bad_clip_is_told(tmp_path: Path, samples: Samples, sample_rate: int, code: str) -> None:
    text = SAYS if len(samples) > 2 * sample_rate else "Good morning to you."
    check = check_one(tmp_path, samples, sample_rate, text=text)
    assert codes(check) == [code]
    assert check.voices == ()
    assert str(check.faults[0]).startswith("voices.jsonl line 1 (anna.wav): ")


def test_stereo_is_mixed_down_and_a_single_full_scale_peak_is_no_clipping(tmp_path: Path) -> None:
    samples = np.stack([speech(), speech()], axis=1)
    samples[1000] = 1.0
    check = check_one(tmp_path, samples)
    assert codes(check) == []
    assert check.clips[0].figures is not None and check.clips[0].figures.channels == 2


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"name": "an.na"}, "bad_name", "letters, digits"),
        ({"age": "ancient"}, "bad_age", "choose one of: child, senior"),
        ({"languages": ["english"]}, "bad_language", "ISO 639-1"),
        ({"languages": []}, "bad_entry", "languages"),
        ({"languages": "en"}, "bad_entry", "languages"),
        ({"gender": "other"}, "bad_entry", "'female' or 'male'"),
        ({"text": None}, "bad_entry", "text: Field required.*Its keys are file, name"),
        ({"text": "  "}, "no_text", "word for word"),
        ({"license": ""}, "no_license", "license"),
        ({"source": ""}, "no_source", "comes from"),
        ({"mood": "good"}, "bad_entry", "mood"),
        ({"file": "nobody.wav"}, "no_file", "nobody.wav"),
        ({"file": "../anna.wav"}, "outside", "inside"),
        ({"file": "/etc/hostname"}, "outside", "inside"),
        ({"text": "Hm."}, "text_does_not_fit", "letters a second"),
        ({"text": SAYS * 6}, "text_does_not_fit", "letters a second"),
    ],
)
def test_a_bad_line_is_told(tmp_path: Path, changes: dict[str, Any], code: str, words: str) -> None:
    folder = tmp_path / "voices"
    folder.mkdir()
    write_clip(tmp_path / "anna.wav")
    check = check_one(folder, speech(), **changes)
    assert codes(check) == [code]
    assert re.search(words, check.faults[0].detail)


def test_every_fault_of_every_line_is_told_with_its_line(tmp_path: Path) -> None:
    write_clip(tmp_path / "anna.wav")
    write_clip(tmp_path / "bob.wav", np.zeros(96_000, np.float32))
    (tmp_path / "broken.wav").write_bytes(b"RIFF and no more")
    (tmp_path / "copy.wav").write_bytes((tmp_path / "anna.wav").read_bytes())
    lines = [entry("anna"), "{", entry("bob", license=""), entry("ANNA", file="broken.wav"), entry("copy"), "[1]"]
    check = check_reference_voices(write_lines(tmp_path, *lines), ages=AGES)
    assert [(fault.line, fault.code) for fault in check.faults] == [
        (2, "no_json"),
        (3, "no_license"),
        (3, "too_quiet"),
        (4, "same_name"),
        (4, "not_decodable"),
        (5, "same_clip"),
        (6, "bad_entry"),
    ]
    assert [voice.name for voice in check.voices] == ["anna"]


def test_a_folder_without_lines_is_told(tmp_path: Path) -> None:
    assert codes(check_reference_voices(tmp_path, ages=AGES)) == ["no_metadata"]
    assert codes(check_reference_voices(write_lines(tmp_path, "# none"), ages=AGES)) == ["empty"]
    (tmp_path / "voices.jsonl").write_bytes(b"\xff\xfe\x00")
    assert codes(check_reference_voices(tmp_path, ages=AGES)) == ["no_metadata"]


def test_any_age_will_do_where_none_are_given(tmp_path: Path) -> None:
    write_clip(tmp_path / "anna.wav")
    assert check_reference_voices(write_lines(tmp_path, entry("anna", age="ancient"))).faults == ()
