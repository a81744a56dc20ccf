"""DNSMOS and DistillMOS: they equal the packages they come from, and they hear noise."""

from __future__ import annotations

import contextlib
import io
import threading
import warnings

import numpy as np
import pytest

from contracts.audio import Audio
from contracts.errors import ConfigError
from tasks.scorers.distillmos import DistillMOS
from tasks.scorers.dnsmos import DNSMOS, SEGMENT, segments
from tests.tasks.scorers.conftest import make_item


def noisy(audio: Audio, decibels: float = 5.0) -> Audio:
    noise = np.random.default_rng(1).standard_normal(len(audio.samples)).astype(np.float32)
    gain = float(np.std(audio.samples)) * 10 ** (-decibels / 20)
    return Audio(audio.samples + np.float32(gain) * noise, audio.sample_rate)


def joined(spoken: tuple[Audio, ...]) -> Audio:
    return Audio(np.concatenate([audio.samples for audio in spoken]), spoken[0].sample_rate)


@pytest.mark.parametrize("scorer", [DNSMOS(max_segments=1), DistillMOS()], ids=lambda s: s.name)
def test_clean_speech_scores_above_the_same_speech_in_noise(
    scorer: DNSMOS | DistillMOS, spoken: tuple[Audio, ...]
) -> None:
    pytest.importorskip({"dnsmos": "speechmos"}.get(scorer.name, scorer.name))
    with scorer:
        clean, dirty = scorer.score([make_item(spoken[1]), make_item(noisy(spoken[1]))])
    assert clean.value and dirty.value
    assert 1 <= dirty.value < clean.value - 0.3 < 5


@pytest.mark.parametrize("seconds", [1.3, 3.0])
def test_dnsmos_equals_speechmos_to_a_thousandth(spoken: tuple[Audio, ...], seconds: float) -> None:
    dnsmos = pytest.importorskip("speechmos.dnsmos")
    samples = spoken[0].resampled(16_000).samples[: int(seconds * 16_000)]
    expected = dnsmos.run(samples, 16_000)
    with DNSMOS() as scorer:
        (score,) = scorer.score([make_item(Audio(samples, 16_000))])
    assert score.value == score.details["ovrl"]
    for name, value in score.details.items():
        assert value == pytest.approx(expected[f"{name}_mos"], abs=1e-3)


@pytest.mark.parametrize("samples", [SEGMENT, 16_000, 20_000, 40_000, 144_000, 300_000])
def test_dnsmos_hears_the_hops_that_speechmos_hears(samples: int) -> None:
    heard = segments(np.zeros(samples, dtype=np.float32))
    assert all(len(segment) == SEGMENT for segment in heard)
    assert len(heard) == reference_hops(samples) >= 1


def reference_hops(length: int) -> int:
    """The loop of speechmos.dnsmos.DNSMOS.__call__, word for word but for the models."""
    fs = 16_000
    while length < int(9.01 * fs):
        length *= 2
    num_hops = int(np.floor(length / fs) - 9.01) + 1
    spans = [(int(i * fs), min(length, int((i + 9.01) * fs))) for i in range(num_hops)]
    return sum(1 for start, end in spans if end - start >= int(9.01 * fs))


def test_max_segments_bounds_what_dnsmos_hears() -> None:
    sound = np.arange(20 * 16_000, dtype=np.float32)
    assert len(segments(sound, 2)) == 2
    assert [len(segments(sound, most)) for most in (1, 3, 100)] == [1, 3, len(segments(sound))]
    with pytest.raises(ConfigError, match="max_segments"):
        DNSMOS(max_segments=0)


def test_distillmos_equals_the_package(spoken: tuple[Audio, ...]) -> None:
    torch = pytest.importorskip("torch")
    package = pytest.importorskip("distillmos")
    with contextlib.redirect_stdout(io.StringIO()):
        network = package.ConvTransformerSQAModel().eval()
    audios = [spoken[1], joined(spoken)]
    with DistillMOS() as scorer:
        scores = scorer.score([make_item(audio) for audio in audios])
    for audio, score in zip(audios, scores, strict=True):
        with torch.inference_mode():
            expected = network(torch.from_numpy(audio.resampled(16_000).samples)[None]).item()
        assert score.value == pytest.approx(expected, abs=1e-4)


def test_distillmos_keeps_its_threads_to_one_core_and_leaves_all_others_alone(torch_threads: int) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("distillmos")
    torch.set_num_threads(2)
    elsewhere: list[int] = []
    with DistillMOS(num_threads=3) as scorer:
        assert scorer._workers is not None
        assert set(scorer._workers.map(lambda _: torch.get_num_threads(), range(9))) == {1}
        late = threading.Thread(target=lambda: elsewhere.append(torch.get_num_threads()))
        late.start()
        late.join()
    assert [torch.get_num_threads(), *elsewhere] == [2, 2]


def test_loading_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("distillmos")
    with warnings.catch_warnings(), DistillMOS(num_threads=1):
        warnings.simplefilter("error")
    assert capsys.readouterr() == ("", "")


def test_distillmos_says_the_distance_to_the_voices_own_baseline(bank: str, spoken: tuple[Audio, ...]) -> None:
    pytest.importorskip("distillmos")
    with DistillMOS(bank=bank) as scorer:
        known, unknown = scorer.score([make_item(spoken[1]), make_item(spoken[1], backend="nobody")])
        (broken,) = scorer.score([make_item(Audio(np.zeros(0, np.float32), 16_000))])
    assert known.value is not None
    assert known.details == {"vs_voice": pytest.approx(known.value - 4.0)}
    assert unknown.value == known.value and unknown.details == {}
    assert broken.value is None and broken.details == {}
    assert DistillMOS(bank=bank).revision != DistillMOS().revision
