from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from contracts.audio import Audio
from contracts.errors import ConfigError, MissingExtra, TranscriptionError
from contracts.protocols import Transcript
from tasks.asr_backends import faster_whisper
from tasks.asr_backends.faster_whisper import FasterWhisper, compression_ratio, window_seconds
from tasks.scorers.error_rates import WER
from tests.tasks.asr_backends.conftest import TEXTS


def test_clear_speech_is_heard_without_an_error(whisper: FasterWhisper, spoken: tuple[Audio, ...]) -> None:
    heard = whisper.transcribe(spoken, language="en")
    assert [WER().rate(text, one.text).value for text, one in zip(TEXTS, heard, strict=True)] == [0, 0, 0]
    for one in heard:
        assert one.avg_logprob is not None and -1 < one.avg_logprob < 0
        assert one.no_speech_prob is not None and 0 <= one.no_speech_prob < 0.5
        assert one.compression_ratio is not None and 0 < one.compression_ratio < 2


def test_any_sample_rate_is_taken(whisper: FasterWhisper, spoken: tuple[Audio, ...]) -> None:
    for sample_rate in (8_000, 16_000, 44_100):
        (heard,) = whisper.transcribe([spoken[0].resampled(sample_rate)], language="en-US")
        assert WER().rate(TEXTS[0], heard.text).value == 0


def test_audio_beyond_thirty_seconds_is_heard_to_its_end(whisper: FasterWhisper, spoken: tuple[Audio, ...]) -> None:
    samples = np.concatenate([audio.samples for audio in spoken * 4])
    long = Audio(samples, spoken[0].sample_rate)
    assert long.duration > 30
    (heard,) = whisper.transcribe([long], language="en")
    value = WER().rate(" ".join(TEXTS * 4), heard.text).value
    assert value is not None and value < 0.1


def test_features_equal_faster_whispers_own(whisper: FasterWhisper, spoken: tuple[Audio, ...]) -> None:
    assert whisper._model is not None
    samples = spoken[0].resampled(16_000).samples
    padded = np.zeros(160_000, dtype=np.float32)
    padded[: len(samples)] = samples
    expected = whisper._model.whisper.feature_extractor(padded)[:, :1000]
    assert np.allclose(faster_whisper._log_mel(whisper._model, samples, 10.0), expected, atol=1e-5)


@pytest.mark.parametrize(("duration", "window"), [(0.5, 10), (7.6, 10), (7.8, 11), (10, 13), (20, 26), (29, 30)])
def test_the_window_leaves_room_after_the_speech(duration: float, window: float) -> None:
    assert window_seconds(duration) == window


def test_a_text_that_loops_is_decoded_again_with_timestamps(
    whisper: FasterWhisper, spoken: tuple[Audio, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[float] = []

    def looping(
        model: object, language: str, beam_size: int, samples: object, window: float
    ) -> tuple[Transcript, bool]:
        decoded.append(window)
        text = "I feel lost. " * 20
        return Transcript(text=text, compression_ratio=compression_ratio(text)), False

    monkeypatch.setattr(faster_whisper, "_decode", looping)
    (heard,) = whisper.transcribe(spoken[:1], language="en")
    assert decoded == [10]
    assert WER().rate(TEXTS[0], heard.text).value == 0


def test_an_english_only_model_refuses_another_language(whisper: FasterWhisper, spoken: tuple[Audio, ...]) -> None:
    with pytest.raises(TranscriptionError, match="'zh'.*English-only.*multilingual"):
        whisper.transcribe(spoken, language="zh")


def test_a_model_directory_given_by_path_hears_the_same_and_has_its_own_revision(
    whisper: FasterWhisper, spoken: tuple[Audio, ...]
) -> None:
    embedded = faster_whisper._folder(None)
    with FasterWhisper(model=str(embedded), num_threads=1) as given:
        assert given.transcribe(spoken[:1], language="en") == whisper.transcribe(spoken[:1], language="en")
        assert "model=" in given.revision
        assert given.revision != whisper.revision


def test_an_incomplete_model_directory_is_refused_with_the_file_that_is_missing(tmp_path: Path) -> None:
    shutil.copy(faster_whisper._folder(None) / "config.json", tmp_path)
    engine = FasterWhisper(model=str(tmp_path))
    assert "absent" in engine.revision
    with pytest.raises(MissingExtra, match=r"model\.bin"):
        engine.check()


def test_use_before_loading_is_refused(spoken: tuple[Audio, ...]) -> None:
    with pytest.raises(TranscriptionError, match="not loaded"):
        FasterWhisper().transcribe(spoken, language="en")


def test_a_beam_of_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match="beam_size"):
        FasterWhisper(beam_size=0)
