from __future__ import annotations

import numpy as np
import pytest

from contracts.audio import Audio, Samples
from tasks.scorers.silence import Silence, silences, speech_probabilities, speech_segments
from tests.tasks.scorers.conftest import make_item

pytest.importorskip("silero_vad")

FRAME = 0.032


def zeros(seconds: float) -> Samples:
    return np.zeros(int(seconds * 16_000), dtype=np.float32)


def measured(samples: Samples) -> dict[str, float]:
    with Silence(num_threads=1) as silence:
        (score,) = silence.score([make_item(Audio(samples, 16_000))])
    assert score.value == score.details["longest_pause"]
    return score.details


@pytest.mark.parametrize(("before", "inside", "after"), [(0.7, 1.1, 0.5), (0.3, 0.6, 1.5)])
def test_known_silences_are_found_within_150_ms(
    trimmed: tuple[Samples, ...], before: float, inside: float, after: float
) -> None:
    found = measured(np.concatenate([zeros(before), trimmed[0], zeros(inside), trimmed[1], zeros(after)]))
    assert found["leading"] == pytest.approx(before, abs=0.15)
    assert found["longest_pause"] == pytest.approx(inside, abs=0.15)
    assert found["trailing"] == pytest.approx(after, abs=0.15)


def test_speech_from_end_to_end_has_no_silence_around_it(trimmed: tuple[Samples, ...]) -> None:
    found = measured(trimmed[1])
    assert found["leading"] < 0.15 and found["trailing"] < 0.15
    assert found["speech_ratio"] > 0.8


def test_without_speech_every_silence_is_the_whole_duration() -> None:
    found = measured(zeros(1.5))
    assert found == {"leading": 1.5, "trailing": 1.5, "longest_pause": 1.5, "speech_ratio": 0.0}


def test_short_pauses_and_short_bursts_are_passed_over() -> None:
    speech, pause = [0.9] * 10, [0.0] * 3
    (whole,) = speech_segments([*speech, *pause, *speech], 23 * FRAME)
    assert whole == pytest.approx((0, 23 * FRAME))
    assert speech_segments([0.0] * 10 + [0.9] * 3 + [0.0] * 10, 23 * FRAME) == []


def test_speech_goes_on_between_the_two_thresholds() -> None:
    (segment,) = speech_segments([0.4] * 5 + [0.9] * 5 + [0.4] * 5, 15 * FRAME)
    assert segment == pytest.approx((5 * FRAME, 15 * FRAME))


def test_longest_pause_is_the_longest_of_several() -> None:
    assert silences([(0.5, 1.0), (1.2, 2.0), (2.9, 3.0)], 4.0) == pytest.approx(
        {"leading": 0.5, "trailing": 1.0, "longest_pause": 0.9, "speech_ratio": 0.35}
    )


def test_probabilities_equal_the_packages_own(trimmed: tuple[Samples, ...]) -> None:
    sequence_vad = pytest.importorskip("silero_vad.sequence_vad")
    silence = Silence(num_threads=1)
    session = silence.load()
    package = sequence_vad.SileroVADSequence.__new__(sequence_vad.SileroVADSequence)
    package.session, package.max_frames = session, 64
    ours = speech_probabilities(session, trimmed[0])
    assert np.allclose(ours, package.audio_forward(trimmed[0]), atol=1e-3)
