"""The judge of `s2s bench emotions`, on renderings made by hand."""

from __future__ import annotations

import numpy as np
import pytest

import prompts
from benchmarks.emotions import EMOTIONS, Rendering, blind_check, judged
from contracts.audio import Audio


def renderings(*, heard: bool, num_voices: int = 8) -> list[Rendering]:
    """Each voice has figures of its own; a feeling moves them by its table, or does not."""
    rng = np.random.default_rng(0)
    rows = []
    for voice in range(num_voices):
        base = np.array([120 + 15 * voice, 2.5, 14.0, -25.0])
        for emotion in EMOTIONS:
            c = prompts.deliveries().user[emotion]
            factors = np.array([c.pitch, c.pitch_range, c.rate, 1.0]) if heard else np.ones(4)
            for sentence in range(6):
                f0, spread, rate, loud = base * factors * rng.normal(1, 0.01, 4)
                loud += 20 * np.log10(c.energy) if heard else 0.0
                features = (np.log(f0), spread, rate, loud)
                rows.append(
                    Rendering(
                        voice=f"v{voice}",
                        emotion=emotion,
                        sentence=sentence,
                        f0=f0,
                        f0_range=spread,
                        rate=rate,
                        loudness=loud,
                        errors=1 if emotion == "sad" and sentence == 0 else 0,
                        words=6,
                        mos=4.0 if emotion == "neutral" else 3.8,
                        features=features,
                        features_levelled=features[:3],
                    )
                )
    return rows


def test_feelings_that_move_as_the_table_says_are_found_and_told_apart() -> None:
    result = judged(renderings(heard=True))
    assert result.as_stated == 1.0 and result.accuracy > 0.9 and result.accuracy_same_loudness > 0.9
    assert result.mos_drop == pytest.approx(0.2)
    sad = next(r for r in result.rows if r.emotion == "sad")
    assert sad.cells == 4 * 8 and sad.f0_semitones < 0 < -sad.loudness_db
    assert sad.wer == pytest.approx(1 / 36) and result.wer == pytest.approx(1 / 180)
    assert sum(sum(row.values()) for row in result.confusion.values()) == result.renderings == 8 * 5 * 6


def test_flat_renderings_are_at_chance_and_half_of_the_cells() -> None:
    result = judged(renderings(heard=False))
    assert 0.2 < result.as_stated < 0.8
    assert result.accuracy < 0.4


def test_no_voice_is_both_learned_and_asked() -> None:
    # Features that only name the voice tell nothing about another voice's feelings.
    rows = [r.model_copy(update={"features": (float(r.voice[1:]), 0.0)}) for r in renderings(heard=True)]
    assert blind_check(rows, levelled=False)[0] < 0.45


def test_features_are_numbers_even_of_silence_and_of_a_click() -> None:
    from benchmarks.emotions import features

    click = np.zeros(16_000, np.float32)
    click[8000] = 0.5
    lengths = {len(features(Audio(s, 16_000))) for s in (np.zeros(16_000, np.float32), click)}
    assert len(lengths) == 1
    assert all(np.isfinite(v) for s in (np.zeros(16_000, np.float32), click) for v in features(Audio(s, 16_000)))
