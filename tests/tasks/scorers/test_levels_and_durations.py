from __future__ import annotations

import numpy as np
import pytest

from contracts.audio import Audio
from contracts.errors import ConfigError
from tasks.scorers.duration_ratio import DurationRatio
from tasks.scorers.levels import Clipping, Loudness, clipped_share, integrated_loudness
from tests.tasks.scorers.conftest import make_item


def sine(amplitude: float, seconds: float = 2.0, frequency: float = 997.0, sample_rate: int = 48_000) -> Audio:
    time = np.arange(int(seconds * sample_rate)) / sample_rate
    return Audio((amplitude * np.sin(2 * np.pi * frequency * time)).astype(np.float32), sample_rate)


def still(seconds: float) -> Audio:
    return Audio(np.full(int(seconds * 16_000), 0.1, dtype=np.float32), 16_000)


def test_full_scale_997_hz_sine_has_minus_3_lufs() -> None:
    assert integrated_loudness(sine(1.0)) == pytest.approx(-3.01, abs=0.1)


def test_halving_the_amplitude_costs_6_lu() -> None:
    assert integrated_loudness(sine(0.5)) - integrated_loudness(sine(0.25)) == pytest.approx(6.02, abs=0.05)


def test_loudness_of_a_short_utterance_is_measured_over_all_of_it() -> None:
    assert integrated_loudness(sine(0.5, seconds=0.1)) == pytest.approx(integrated_loudness(sine(0.5)), abs=1.0)


def test_loudness_of_silence_is_a_failed_score_that_says_so() -> None:
    with Loudness() as loudness:
        (score,) = loudness.score([make_item(Audio(np.zeros(16_000, dtype=np.float32), 16_000))])
    assert score.value is None and score.error and "silent" in score.error


def test_a_flattened_top_is_clipped_and_a_single_peak_is_not() -> None:
    samples = np.zeros(100, dtype=np.float32)
    samples[10] = 1.0
    assert clipped_share(samples) == 0
    samples[50:55] = -1.0
    assert clipped_share(samples) == pytest.approx(0.05)


def test_clipping_says_the_peak() -> None:
    with Clipping() as clipping:
        (score,) = clipping.score([make_item(sine(0.8))])
    assert score.value == 0
    assert score.details["peak"] == pytest.approx(0.8, abs=1e-3)


def test_duration_ratio_is_against_the_median_of_the_same_backend() -> None:
    fast = [make_item(still(s), "0123456789", backend="a") for s in (0.5, 0.5, 0.5, 1.0)]
    slow = [make_item(still(s), "0123456789", backend="b") for s in (2.0, 2.0, 2.0, 1.0)]
    scores = DurationRatio().score([*fast, *slow])
    assert [s.value for s in scores] == pytest.approx([1, 1, 1, 2, 1, 1, 1, 0.5])
    assert scores[0].details == pytest.approx({"seconds_per_character": 0.05, "reference": 0.05})


def test_duration_ratio_of_a_rare_backend_is_against_the_whole_batch() -> None:
    common = [make_item(still(0.5), "0123456789", backend="a")] * 4
    rare = make_item(still(1.0), "0123456789", backend="b")
    assert DurationRatio().score([*common, rare])[-1].value == pytest.approx(2)


def test_duration_ratio_of_a_small_batch_is_against_the_given_reference() -> None:
    (score,) = DurationRatio(reference_seconds_per_character=0.1).score([make_item(still(0.5), "0123456789")])
    assert score.value == pytest.approx(0.5)
    assert score.details["reference"] == 0.1


def test_broken_audio_does_not_shift_the_median_of_the_others() -> None:
    broken = make_item(Audio(np.full(16_000, np.nan, dtype=np.float32), 16_000), "0123456789")
    whole = [make_item(still(0.5), "0123456789")] * 4
    scores = DurationRatio().score([broken, *whole])
    assert scores[0].value is None
    assert [s.value for s in scores[1:]] == pytest.approx([1] * 4)


def test_duration_ratio_needs_text() -> None:
    (score,) = DurationRatio().score([make_item(still(0.5), "  ")])
    assert score.error and "no text" in score.error


def test_duration_ratio_refuses_a_reference_of_zero() -> None:
    with pytest.raises(ConfigError, match="above 0"):
        DurationRatio(reference_seconds_per_character=0)
