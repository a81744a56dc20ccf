"""The four figures of an utterance, on sounds whose figures are known."""

from __future__ import annotations

import numpy as np
import pytest

from contracts.audio import Audio
from tasks.prosody import FLOOR_LUFS, audible_span, loudness, measure_prosody, pitch_track, speaking_rate

RATE = 16_000


def voice(f0: np.ndarray) -> np.ndarray:
    """Ten harmonics over a contour in Hz, one value a sample."""
    phase = 2 * np.pi * np.cumsum(f0) / RATE
    sound = sum(np.sin(k * phase) / k for k in range(1, 11))
    return (0.1 * sound).astype(np.float32)


def steady(hertz: float, seconds: float) -> np.ndarray:
    return voice(np.full(int(seconds * RATE), hertz))


@pytest.mark.parametrize("hertz", [90.0, 210.0, 320.0])
def test_a_steady_voice_has_its_pitch_and_no_range(hertz: float) -> None:
    track = pitch_track(Audio(steady(hertz, 1.5), RATE))
    assert track.mean == pytest.approx(hertz, rel=0.02)
    assert track.range is not None and track.range < 0.3


def test_range_is_the_spread_in_semitones_whatever_the_mean() -> None:
    time = np.arange(3 * RATE) / RATE
    for mean in (110.0, 220.0):
        track = pitch_track(Audio(voice(mean * 2 ** (4 * np.sin(2 * np.pi * time) / 12)), RATE))
        assert track.range == pytest.approx(4 / np.sqrt(2), rel=0.12)


def test_silence_has_no_pitch_no_rate_and_the_floor_of_loudness() -> None:
    for samples in (np.zeros(RATE, np.float32), np.zeros(0, np.float32)):
        found = measure_prosody(Audio(samples, RATE), "hello")
        assert (found.f0, found.f0_range, found.rate, found.loudness) == (None, None, 0.0, FLOOR_LUFS)


def test_rate_counts_letters_over_the_speech_and_no_pause() -> None:
    gap = np.zeros(RATE // 2, np.float32)
    once = np.concatenate((gap, steady(150, 1.0), gap))
    twice = np.concatenate((gap, steady(150, 1.0), gap, steady(150, 1.0), gap))
    assert speaking_rate(Audio(once, RATE), "ten letters") == pytest.approx(10.0, rel=0.02)
    assert speaking_rate(Audio(twice, RATE), "ten letters, ten letters.") == pytest.approx(10.0, rel=0.02)


def test_a_closure_is_no_pause() -> None:
    closure = np.zeros(int(0.08 * RATE), np.float32)
    sound = np.concatenate((steady(150, 0.46), closure, steady(150, 0.46)))
    assert speaking_rate(Audio(sound, RATE), "ten letters") == pytest.approx(10.0, rel=0.02)


def test_loudness_follows_the_gain_in_decibels() -> None:
    sound = steady(200, 2.0)
    assert loudness(Audio(sound / 2, RATE)) - loudness(Audio(sound, RATE)) == pytest.approx(-6.02, abs=0.05)
    assert np.isfinite(loudness(Audio(sound[:800], RATE)))


def test_the_audible_span_leaves_silence_and_hum_out() -> None:
    hum = (0.0005 * np.sin(np.arange(RATE))).astype(np.float32)
    begin, end = audible_span(np.concatenate((hum, steady(200, 0.5), hum)))
    assert begin == pytest.approx(RATE, abs=20) and end == pytest.approx(1.5 * RATE, abs=20)
    assert audible_span(np.zeros(10, np.float32)) == (0, 0)
