"""Finishing: what it promises of any sound, of speech whose ends are known, and of rooms and telephone lines."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import signal

from contracts.audio import Audio
from contracts.config import AugmentConfig, CorpusConfig, FinishConfig
from contracts.records import Augmentation, Candidate, Finish
from tasks.augment_speech import augmentations_of, augmented, impulse_response, mu_law
from tasks.finish_speech import finish_speech, speech_span
from tasks.prosody import FLOOR_LUFS, loudness
from tasks.stages import PIPELINE
from tasks.synthesize_speech import finish

RATES = st.sampled_from([16_000, 22_050, 24_000, 44_100])
SPOKEN = Augmentation(kind="telephone", parameters={"low": 300, "high": 3400, "sample_rate": 8000})
BOTH = AugmentConfig(room=1.0, telephone=1.0)


def db(ratio: float) -> float:
    return 10 * math.log10(max(ratio, 1e-12))


def speechlike(seconds: float, rate: int, seed: int) -> np.ndarray:
    """Syllables of a buzz with noise, each 0.2 s under a window that never falls to nothing; peak 1."""
    chance = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    f0 = chance.uniform(90, 260)
    wave = sum(np.sin(2 * np.pi * k * f0 * time) / k for k in range(1, 9)) + 0.2 * chance.standard_normal(time.size)
    wave = wave * (0.4 + 0.6 * np.abs(np.sin(np.pi * time / 0.2 + 0.5)))
    ramp = int(0.003 * rate)
    wave[:ramp] *= np.linspace(0, 1, ramp)
    wave[-ramp:] *= np.linspace(1, 0, ramp)
    return wave / np.abs(wave).max()


def take(
    rate: int = 24_000, *, speech: float = 1.0, lead: float = 0.4, trail: float = 0.6, level: float = 0.3
) -> Audio:
    samples = level * np.pad(speechlike(speech, rate, 1), (int(lead * rate), int(trail * rate)))
    return Audio(samples.astype(np.float32), rate)


def trailing(audio: Audio) -> float:
    """Seconds after the last sample that is within 34 dB of the peak."""
    loud = np.flatnonzero(np.abs(audio.samples) > 0.02 * np.abs(audio.samples).max())
    return (audio.samples.size - 1 - int(loud[-1])) / audio.sample_rate


@st.composite
def any_sound(draw: st.DrawFn) -> Audio:
    """All that `defect` lets through: at least 0.1 s, finite, peak at least 1e-3."""
    rate, seed = draw(RATES), draw(st.integers(0, 2**32 - 1))
    size = int(draw(st.floats(0.1, 1.5)) * rate) + 1
    chance = np.random.default_rng(seed)
    shapes: dict[str, Callable[[], np.ndarray]] = {
        "noise": lambda: chance.standard_normal(size),
        "tone": lambda: np.sin(2 * np.pi * chance.uniform(50, 4000) * np.arange(size) / rate),
        "click": lambda: np.eye(1, size, int(chance.integers(size)))[0],
        "offset": lambda: np.ones(size),
        "speech": lambda: speechlike(size / rate + 1e-4, rate, seed)[:size],
    }
    samples = shapes[draw(st.sampled_from(sorted(shapes)))]()
    peak = draw(st.floats(1e-3, 1.5))
    return Audio((samples * peak / np.abs(samples).max()).astype(np.float32), rate)


@given(
    audio=any_sound(),
    pause=st.floats(0, 1),
    edge=st.floats(0, 0.3),
    sample_rate=st.sampled_from([None, 16_000, 24_000]),
    energy=st.sampled_from([None, 0.6, 1.0, 1.6]),
    augment=st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_any_sound_keeps_the_promises(
    audio: Audio, pause: float, edge: float, sample_rate: int | None, energy: float | None, augment: bool
) -> None:
    config = FinishConfig(pause=pause, edge=edge, sample_rate=sample_rate)
    over = augmentations_of("d000001", "user", BOTH, 3) if augment else ()
    out, done = finish_speech(audio, config, energy=energy, augmentations=over)
    assert out.sample_rate == (sample_rate or audio.sample_rate)
    assert np.isfinite(out.samples).all()
    assert 20 * math.log10(max(float(np.abs(out.samples).max()), 1e-9)) <= -1.0 + 1e-4
    assert done.augmentations == over
    assert out.duration >= pause - 1 / out.sample_rate
    measured, wanted = loudness(out), -23.0 + 20 * math.log10(energy or 1.0)
    if done.peak_limited or measured == FLOOR_LUFS:
        assert measured < wanted
    else:
        assert measured == pytest.approx(wanted, abs=0.5)


@given(
    rate=RATES,
    seed=st.integers(0, 2**32 - 1),
    seconds=st.floats(0.3, 2.0),
    lead=st.floats(0, 1.0),
    trail=st.floats(0, 1.0),
    level=st.floats(0.01, 0.9),
    hum=st.sampled_from([None, -60.0, -45.0]),
    hertz=st.sampled_from([50, 60, 120]),
)
@settings(max_examples=60, deadline=None)
def test_speech_is_kept_and_silence_is_cut(
    rate: int, seed: int, seconds: float, lead: float, trail: float, level: float, hum: float | None, hertz: int
) -> None:
    speech = speechlike(seconds, rate, seed)
    before = int(lead * rate)
    samples = np.pad(speech, (before, int(trail * rate)))
    if hum is not None:
        samples += 10 ** (hum / 20) * np.sin(2 * np.pi * hertz * np.arange(samples.size) / rate)
    audio = Audio((level * samples).astype(np.float32), rate)
    out, done = finish_speech(audio, FinishConfig())
    assert trailing(out) == pytest.approx(0.25, abs=0.010)
    # Where the speech begins: at the edge that is kept, or where the engine's own silence was shorter.
    gain = 10 ** (done.gain / 20)
    reference = (audio.samples[before : before + speech.size] * gain).astype(np.float32)
    at = int(np.argmax(signal.correlate(out.samples, reference, mode="valid")))
    assert at / rate == pytest.approx(min(lead, 0.05), abs=0.010)
    # The ramps of 3 ms at either end may lie in what is cut, where they are under -40 dB.
    kept, ramp = out.samples[at : at + speech.size], int(0.003 * rate)
    assert np.allclose(kept[ramp:-ramp], reference[ramp:-ramp], atol=2e-3 * np.abs(reference).max())
    cut = max(0.0, lead - 0.05) + max(0.0, trail - 0.05)
    assert done.trimmed == pytest.approx(cut, abs=0.020)


def test_digital_silence_ends_every_utterance() -> None:
    out, done = finish_speech(take(trail=0.0), FinishConfig(pause=0.4))
    assert done.pause == 0.4
    assert not out.samples[-int(0.39 * out.sample_rate) :].any()
    assert trailing(out) == pytest.approx(0.4, abs=0.010)


def test_pause_shorter_than_the_edge_cuts_the_end_to_the_pause() -> None:
    out, _ = finish_speech(take(), FinishConfig(pause=0.02, edge=0.1))
    assert trailing(out) == pytest.approx(0.02, abs=0.010)


def test_pauses_inside_the_speech_stay() -> None:
    one = take(lead=0.0, trail=0.0).samples
    audio = Audio(np.concatenate([one, np.zeros(24_000, np.float32), one]), 24_000)
    out, done = finish_speech(audio, FinishConfig(pause=0.0, edge=0.0))
    assert done.trimmed <= 0.01 and out.duration == pytest.approx(3.0, abs=0.01)


def test_weak_consonant_at_the_end_is_speech() -> None:
    audio = take(trail=0.8)
    hiss = 0.02 * 0.3 * np.random.default_rng(0).standard_normal(int(0.08 * 24_000))
    begin = int(1.5 * 24_000)
    samples = audio.samples.copy()
    samples[begin : begin + hiss.size] = hiss
    assert speech_span(Audio(samples, 24_000))[1] >= begin + hiss.size


def test_nothing_is_cut_where_nothing_stands_out() -> None:
    flat = Audio(np.full(8000, 0.1, np.float32), 16_000)
    assert speech_span(flat) == (0, 8000)


def test_energy_of_the_delivery_outlives_levelling() -> None:
    sad, neutral, angry = (finish_speech(take(), FinishConfig(), energy=e)[0] for e in (0.7, None, 1.5))
    assert loudness(neutral) == pytest.approx(-23.0, abs=0.1)
    assert loudness(angry) - loudness(neutral) == pytest.approx(20 * math.log10(1.5), abs=0.05)
    assert loudness(sad) - loudness(neutral) == pytest.approx(20 * math.log10(0.7), abs=0.05)


def test_peaks_are_held_by_gain_not_by_clipping() -> None:
    out, done = finish_speech(take(level=0.2), FinishConfig(loudness=-3.0))
    assert done.peak_limited
    assert np.abs(out.samples).max() == pytest.approx(10 ** (-1 / 20), abs=1e-4)
    assert np.sum(np.abs(out.samples) > 0.89) < 5


def test_level_is_left_alone_without_loudness() -> None:
    out, done = finish_speech(take(level=0.2), FinishConfig(loudness=None), energy=2.0)
    assert (done.gain, done.loudness, done.peak_limited) == (0.0, None, False)
    assert np.abs(out.samples).max() == pytest.approx(0.2, abs=1e-3)
    loud, limited = finish_speech(take(level=0.99), FinishConfig(loudness=None))
    assert limited.peak_limited and np.abs(loud.samples).max() < 0.892
    assert finish_speech(take(level=0.99), FinishConfig(loudness=None, peak=None))[1].gain == 0.0


def test_resampled_before_the_peak_is_limited() -> None:
    noise = np.sign(np.random.default_rng(5).standard_normal(24_000)).astype(np.float32)
    out, done = finish_speech(Audio(noise, 24_000), FinishConfig(loudness=-1.0, sample_rate=16_000))
    assert done.peak_limited and np.abs(out.samples).max() == pytest.approx(10 ** (-1 / 20), abs=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [{"pause": -0.1}, {"edge": -1}, {"loudness": 3.0}, {"peak": 0.5}, {"sample_rate": 0}, {"augment": {"room": 1.5}}],
)
def test_impossible_finish_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        FinishConfig.model_validate(wrong)


def config_of(augment: AugmentConfig, seed: int = 1) -> CorpusConfig:
    return CorpusConfig.model_validate(
        {
            "name": "test",
            "seed": seed,
            "target": {"dialogues": 1, "max_candidates": 4},
            "synthesize": {"finish": {"augment": augment.model_dump()}},
        }
    )


def test_finish_decides_the_stage_s_fingerprint() -> None:
    stage = PIPELINE["synthesize"]
    prints = {stage.fingerprint(config_of(AugmentConfig(room=share), seed)) for share in (0.0, 0.5) for seed in (1, 2)}
    assert len(prints) == 4


def test_only_the_user_is_augmented_and_it_is_recorded(make_candidate: Callable[..., Candidate]) -> None:
    config, audio = config_of(BOTH), take(16_000)
    candidate = make_candidate(3, num_turns=4)
    done = [finish(u, audio, candidate.id, config) for u in candidate.utterances]
    finishes = [u.finish for u, _ in done]
    assert all(isinstance(f, Finish) for f in finishes)
    kinds = [[a.kind for a in f.augmentations] for f in finishes if f]
    assert kinds == [["room", "telephone"], [], ["room", "telephone"], []]
    # One room and one line for all turns of a dialogue; another dialogue has another room.
    assert finishes[0] == finishes[2]
    assert augmentations_of("d000004", "user", BOTH, 1) != augmentations_of("d000003", "user", BOTH, 1)
    assert augmentations_of("d000003", "user", BOTH, 2) != augmentations_of("d000003", "user", BOTH, 1)
    # What is recorded is enough to do it again, also from JSON.
    first, again = finishes[0], None
    assert first is not None
    again = Finish.model_validate_json(first.model_dump_json()).augmentations
    assert np.array_equal(finish_speech(audio, FinishConfig(), augmentations=again)[0].samples, done[0][1].samples)


def test_shares_are_shares_of_dialogues() -> None:
    config = AugmentConfig(room=0.3, telephone=0.1)
    drawn = [{a.kind for a in augmentations_of(f"d{i:06d}", "user", config, 7)} for i in range(4000)]
    assert sum("room" in d for d in drawn) / 4000 == pytest.approx(0.3, abs=0.03)
    assert sum("telephone" in d for d in drawn) / 4000 == pytest.approx(0.1, abs=0.02)
    assert sum(len(d) == 2 for d in drawn) / 4000 == pytest.approx(0.03, abs=0.012)
    assert augmentations_of("d000000", "user", AugmentConfig(), 7) == ()


@given(dialogue=st.integers(0, 10_000), rate=st.sampled_from([16_000, 24_000, 48_000]))
@settings(max_examples=25, deadline=None)
def test_room_has_the_tail_and_the_direct_sound_that_it_names(dialogue: int, rate: int) -> None:
    (room,) = augmentations_of(f"d{dialogue:06d}", "user", AugmentConfig(room=1.0), 0)
    response = impulse_response(room.parameters, rate)
    assert float(response @ response) == pytest.approx(1.0)
    direct, reverberant = response[0] ** 2, float(response[1:] @ response[1:])
    assert db(direct / reverberant) == pytest.approx(room.parameters["direct_to_reverberant_db"], abs=0.05)
    # Schroeder's curve of the reverberation alone, from -5 to -25 dB (T20 of ISO 3382).
    left = np.cumsum(response[:0:-1] ** 2)[::-1]
    curve = 10 * np.log10(left / left[0])
    fit = (curve < -5) & (curve > -25)
    slope = np.polyfit(np.flatnonzero(fit) / rate, curve[fit], 1)[0]
    assert -60 / slope == pytest.approx(room.parameters["rt60"], rel=0.25)


def test_room_rings_after_the_speech_delays_nothing_and_keeps_the_energy() -> None:
    (room,) = augmentations_of("d000001", "user", AugmentConfig(room=1.0), 0)
    audio = Audio((0.1 * np.random.default_rng(0).standard_normal(48_000)).astype(np.float32), 24_000)
    wet = augmented(audio, room)
    assert db(float(np.sum(wet.samples**2) / np.sum(audio.samples**2))) == pytest.approx(0.0, abs=1.0)
    lag = int(np.argmax(signal.correlate(wet.samples, audio.samples))) - (audio.samples.size - 1)
    assert lag == 0
    tail = wet.samples[48_000:]
    assert db(float(np.mean(tail[:240] ** 2))) - db(float(np.mean(tail[-2400:] ** 2))) > 30
    out, _ = finish_speech(take(), FinishConfig(), augmentations=(room,))
    dry, _ = finish_speech(take(), FinishConfig())
    assert 0.05 < out.duration - dry.duration < room.parameters["rt60"]
    assert not out.samples[-int(0.19 * 24_000) :].any()


def test_telephone_has_the_band_of_a_telephone() -> None:
    noise = Audio((0.1 * np.random.default_rng(0).standard_normal(72_000)).astype(np.float32), 24_000)
    out, done = finish_speech(noise, FinishConfig(pause=0.0), augmentations=(SPOKEN,))
    assert done.augmentations == (SPOKEN,)
    assert out.sample_rate == 24_000 and out.samples.size == noise.samples.size
    hertz, power = signal.welch(out.samples, 24_000, nperseg=2048)

    def level(low: float, high: float) -> float:
        return db(float(np.mean(power[(hertz >= low) & (hertz < high)])))

    inside = level(400, 3300)
    assert level(0, 150) < inside - 25
    assert level(4200, 12_000) < inside - 40
    assert abs(level(400, 1500) - level(2000, 3300)) < 1.0


def test_mu_law_is_that_of_g711() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        audioop = pytest.importorskip("audioop")  # gone from Python 3.13 on
    sixteen = np.arange(-32_764, 32_765, 4, dtype=np.int16)
    theirs = np.frombuffer(audioop.ulaw2lin(audioop.lin2ulaw(sixteen.tobytes(), 2), 2), np.int16)
    assert np.array_equal(np.round(mu_law(sixteen / 32_768) * 32_768), theirs)
    assert mu_law(np.array([0.0, 2.0, -2.0])) == pytest.approx([0.0, 8031 / 8192, -8031 / 8192])


def test_line_keeps_silence_silent() -> None:
    silent = Audio(np.zeros(1600, np.float32), 16_000)
    assert not augmented(silent, SPOKEN).samples.any()


def test_same_input_gives_the_same_samples() -> None:
    over = augmentations_of("d000009", "user", BOTH, 5)
    first, second = (finish_speech(take(), FinishConfig(), energy=0.8, augmentations=over) for _ in range(2))
    assert np.array_equal(first[0].samples, second[0].samples) and first[1] == second[1]


def test_input_is_left_as_it_was() -> None:
    audio = take()
    before = audio.samples.copy()
    finish_speech(audio, FinishConfig())
    assert np.array_equal(audio.samples, before)
