from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.audio import Audio
from contracts.errors import ConfigError
from contracts.plugins import PluginSpec, create
from contracts.protocols import ScoringItem, SpeechRequest
from contracts.records import Delivery, Finish, Prosody, Score
from tasks.scorers._prosody_shift import FIGURES, TOLERANCE, Shift, agreements, neutrality, overall, shift_of
from tasks.scorers.emotion_prosody import EmotionProsody
from tests.tasks.scorers.conftest import TEXTS, make_card, make_item, write_bank

pytest.importorskip("swift_f0")

NEUTRAL = Delivery(emotion="neutral", intensity=1.0)
ASKED = {
    "angry": {"rate": 1.15, "pitch": 1.1, "pitch_range": 1.4, "energy": 1.25},
    "sad": {"rate": 0.85, "pitch": 0.92, "pitch_range": 0.6, "energy": 0.8},
}
VOICE = "espeak_ng/us_m3"


def delivery(emotion: str, **changes: Any) -> Delivery:
    return Delivery(**{"emotion": emotion, "intensity": 1.0, **ASKED[emotion], **changes})


def speak(deliveries: list[Delivery], texts: list[str]) -> list[Audio]:
    backend: Any = create("tts_backends", PluginSpec(name="espeak_ng"))
    voice = next(v for v in backend.voices() if v.id == VOICE)
    with backend:
        return list(
            backend.synthesize(
                [SpeechRequest(text=t, voice=voice, language="en", delivery=d) for d in deliveries for t in texts]
            )
        )


@pytest.fixture(scope="module")
def renderings() -> dict[str, list[Audio]]:
    """TEXTS of a voice that renders every control, as asked for by each delivery."""
    if create("tts_backends", PluginSpec(name="espeak_ng")).revision == "unavailable":
        pytest.skip("espeak-ng is not installed")
    sound = speak([NEUTRAL, delivery("angry"), delivery("sad")], list(TEXTS))
    return {name: sound[3 * i : 3 * i + 3] for i, name in enumerate(("neutral", "angry", "sad"))}


@pytest.fixture(scope="module")
def scorer(renderings: dict[str, list[Audio]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmotionProsody]:
    card = make_card(VOICE, renderings["neutral"], TEXTS)
    bank = write_bank(tmp_path_factory.mktemp("cards"), [card], [np.eye(256, dtype=np.float32)[0]])
    with EmotionProsody(bank=bank) as scorer:
        yield scorer


def items(sound: list[Audio], asked: Delivery, **changes: Any) -> list[ScoringItem]:
    return [make_item(a, t, voice_id=VOICE, delivery=asked, **changes) for a, t in zip(sound, TEXTS, strict=True)]


@pytest.mark.parametrize(("rendered", "other"), [("angry", "sad"), ("sad", "angry")])
def test_what_was_asked_is_told_from_neutral_and_from_its_opposite(
    scorer: EmotionProsody, renderings: dict[str, list[Audio]], rendered: str, other: str
) -> None:
    as_asked, flat, wrong = (
        np.mean([s.value for s in scorer.score(items(renderings[sound], delivery(rendered)))])
        for sound in (rendered, "neutral", other)
    )
    assert as_asked > 0.65
    assert abs(flat) < 0.4
    assert wrong < -0.6


def test_neutral_speech_of_a_neutral_delivery_is_fine_and_a_shout_is_not(
    scorer: EmotionProsody, renderings: dict[str, list[Audio]]
) -> None:
    assert [s.value for s in scorer.score(items(renderings["neutral"], NEUTRAL))] == [1.0, 1.0, 1.0]
    loud = [Audio(a.samples * np.float32(2.5), a.sample_rate) for a in renderings["neutral"]]
    for score in scorer.score(items(loud, NEUTRAL)):
        assert score.value == -1.0
        assert score.details["loudness_db"] > 7


def test_details_say_what_was_measured_in_units_for_people(
    scorer: EmotionProsody, renderings: dict[str, list[Audio]]
) -> None:
    score = scorer.score(items(renderings["angry"], delivery("angry")))[0]
    assert 0.5 < score.details["f0_semitones"] < 3
    assert 1.0 < score.details["rate_ratio"] < 1.3
    assert score.details["range_ratio"] > 1.1
    assert 0.5 < score.details["loudness_db"] < 4
    assert 80 < score.details["f0"] < 150
    assert {f"{figure}_agreement" for figure in FIGURES} < set(score.details)
    assert (score.details["asked"], score.details["in_words"], score.details["unrendered"]) == (4, 0, 0)


def test_only_controls_that_the_delivery_carries_count(
    scorer: EmotionProsody, renderings: dict[str, list[Audio]]
) -> None:
    one = Delivery(emotion="sad", intensity=1.0, rate=1.15, pitch=1.0, expressiveness=0.3, unrendered=("energy",))
    score = scorer.score(items(renderings["angry"], one))[0]
    assert {name for name in score.details if name.endswith("_agreement")} == {"rate_agreement"}
    assert score.value == pytest.approx(score.details["rate_agreement"])
    assert (score.details["asked"], score.details["unrendered"]) == (1, 1)


def test_a_delivery_in_words_is_held_to_the_table(scorer: EmotionProsody, renderings: dict[str, list[Audio]]) -> None:
    words = Delivery(emotion="angry", intensity=1.0, instruct="Say it angrily.")
    right = scorer.score(items(renderings["angry"], words))[0]
    wrong = scorer.score(items(renderings["sad"], words))[0]
    assert right.details["in_words"] == 1 and right.details["asked"] >= 2
    assert right.value is not None and wrong.value is not None
    assert right.value > 0.5 > wrong.value + 0.5
    unknown = Delivery(emotion="smug", intensity=1.0, instruct="Say it smugly.")
    (score, *_) = scorer.score(items(renderings["angry"], unknown))
    assert score.value is None and "'smug'" in (score.error or "")


def test_the_loudness_of_a_finished_utterance_is_held_to_its_own_target(
    scorer: EmotionProsody, renderings: dict[str, list[Audio]]
) -> None:
    (plain, *_) = scorer.score(items(renderings["neutral"], NEUTRAL))
    finish = Finish(trimmed=0, pause=0.3, gain=0.0, loudness=-40.0, peak_limited=False)
    (finished, *_) = scorer.score(items(renderings["neutral"], NEUTRAL, finish=finish))
    untouched = finish.model_copy(update={"loudness": None})
    (left_alone, *_) = scorer.score(items(renderings["neutral"], NEUTRAL, finish=untouched))
    assert finished.details["loudness_db"] > plain.details["loudness_db"] + 5
    assert left_alone == plain


def test_silence_at_the_ends_changes_nothing(scorer: EmotionProsody, renderings: dict[str, list[Audio]]) -> None:
    audio = renderings["angry"][0]
    padded = Audio(np.pad(audio.samples, 20_000), audio.sample_rate)
    bare, around = scorer.score([items([a] * 3, delivery("angry"))[0] for a in (audio, padded)])
    assert bare.value == pytest.approx(around.value, abs=0.05)


def test_a_voice_without_a_card_is_told_how_to_get_one(scorer: EmotionProsody) -> None:
    (score,) = scorer.score([make_item(Audio(np.ones(16_000, np.float32), 16_000), voice_id="nobody/knows")])
    assert score.value is None
    assert "nobody/knows has no voice card" in (score.error or "") and "s2s voices measure" in (score.error or "")


@pytest.mark.parametrize("samples", [np.zeros(16_000), np.zeros(0), np.full(16_000, np.nan)])
def test_nothing_to_hear_is_a_failed_score(scorer: EmotionProsody, samples: np.ndarray) -> None:
    (score,) = scorer.score([make_item(Audio(samples.astype(np.float32), 16_000), voice_id=VOICE)])
    assert score.value is None and score.error


def test_pitch_that_cannot_be_heard_fails_where_only_pitch_is_asked(scorer: EmotionProsody) -> None:
    hiss = Audio(np.random.default_rng(0).normal(0, 0.01, 16_000).astype(np.float32), 16_000)
    only_pitch = Delivery(emotion="sad", intensity=1.0, pitch=0.9)
    (score,) = scorer.score([make_item(hiss, voice_id=VOICE, delivery=only_pitch)])
    assert score.value is None and "pitch" in (score.error or "")


def test_a_bank_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`bank` must be a folder"):
        EmotionProsody(bank=str(tmp_path / "nowhere"))


def test_other_cards_are_another_revision(bank: str) -> None:
    assert EmotionProsody(bank=bank).revision != EmotionProsody().revision


FACTORS = st.dictionaries(st.sampled_from(FIGURES), st.floats(0.5, 2).filter(lambda f: abs(math.log(f)) > 1e-3))
LOGS = st.fixed_dictionaries({figure: st.floats(-3, 3) for figure in FIGURES})


@given(LOGS, FACTORS)
def test_agreement_is_within_bounds_and_full_where_the_asked_shift_is_met(
    logs: dict[Any, float], factors: dict[Any, float]
) -> None:
    asked = {figure: math.log(factor) for figure, factor in factors.items()}
    held = agreements(Shift(logs), asked)
    assert set(held) == set(asked) and all(-1 <= value <= 1 for value in held.values())
    assert set(agreements(Shift(asked), asked).values()) <= {1.0}
    assert -1 <= neutrality(Shift(logs)) <= 1
    if asked:
        assert -1 <= overall(held, asked) <= 1


@given(st.sampled_from(FIGURES), st.floats(0.2, 0.7), st.sampled_from([-1, 1]))
def test_like_neutral_is_zero_and_the_wrong_way_is_below(figure: Any, size: float, sign: int) -> None:
    asked = {figure: sign * size}
    assert agreements(Shift({figure: 0.0}), asked)[figure] == pytest.approx(0)
    assert agreements(Shift({figure: -sign * size}), asked)[figure] == -1
    assert agreements(Shift({figure: sign * size / 2}), asked)[figure] == pytest.approx(0.5)


def test_a_shift_that_drowns_in_the_noise_of_sentences_is_judged_leniently() -> None:
    asked = {"pitch": TOLERANCE["pitch"] / 5}
    assert agreements(Shift({"pitch": 0.0}), asked)["pitch"] == pytest.approx(0.8)  # type: ignore[arg-type]


def test_a_figure_that_is_missing_leaves_its_shift_out() -> None:
    voiced = Prosody(f0=100, f0_range=2, rate=15, loudness=-20)
    whispered = Prosody(f0=None, f0_range=None, rate=15, loudness=-20)
    assert set(shift_of(whispered, voiced, None).logs) == {"energy", "rate"}
    assert set(shift_of(voiced, whispered, None).logs) == {"energy", "rate"}
    assert set(shift_of(voiced.model_copy(update={"rate": 0.0}), voiced, None).logs) == {
        "energy",
        "pitch",
        "pitch_range",
    }


def test_a_monotone_has_a_range_ratio_all_the_same() -> None:
    flat = Prosody(f0=100, f0_range=0.0, rate=15, loudness=-20)
    lively = flat.model_copy(update={"f0_range": 3.0})
    assert math.isfinite(shift_of(flat, lively, None).details["range_ratio"])


def test_score_can_be_written_down(scorer: EmotionProsody, renderings: dict[str, list[Audio]]) -> None:
    for score in scorer.score(items(renderings["sad"], delivery("sad"))):
        assert Score.model_validate_json(score.model_dump_json()) == score
