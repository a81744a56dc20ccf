"""Feelings inside Kokoro and Hibari: what each control changes, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from contracts.audio import Audio
from contracts.protocols import TTSBackend
from tasks.prosody import measure_prosody, semitones
from tests.tts_backends.conftest import request_for
from tts_backends import kokoro_graph
from tts_backends.hibari import between_harmonics, reshaped
from tts_backends.kokoro import _model

TEXT = "My brother is waiting at the other door."


def spoken(backend: TTSBackend, **controls: float) -> Audio:
    return backend.synthesize([request_for(backend.voices()[0], TEXT, **controls)])[0]


@pytest.fixture(params=["kokoro", "hibari"])
def engine(request: pytest.FixtureRequest, entered: Callable[[str], TTSBackend]) -> TTSBackend:
    return entered(request.param)


def test_pitch_moves_the_mean_by_its_factor_and_neither_range_nor_length(engine: TTSBackend) -> None:
    neutral, high = spoken(engine), spoken(engine, pitch=1.2)
    before, after = measure_prosody(neutral, TEXT), measure_prosody(high, TEXT)
    assert before.f0 and after.f0 and before.f0_range and after.f0_range
    assert semitones(after.f0 / before.f0) == pytest.approx(semitones(1.2), abs=0.5)
    assert after.f0_range / before.f0_range == pytest.approx(1.0, abs=0.2)
    assert high.duration == pytest.approx(neutral.duration, abs=0.05)


def test_pitch_range_widens_and_narrows_about_the_same_mean(engine: TTSBackend) -> None:
    ranges, means = [], []
    for factor in (0.6, 1.0, 1.5):
        found = measure_prosody(spoken(engine, pitch_range=factor), TEXT)
        assert found.f0 and found.f0_range
        ranges.append(found.f0_range)
        means.append(semitones(found.f0))
    assert ranges[0] < 0.8 * ranges[1] and ranges[2] > 1.25 * ranges[1]
    assert max(means) - min(means) < 1.5


def test_energy_is_loudness_and_brightness_together(engine: TTSBackend) -> None:
    def treble(audio: Audio) -> float:
        power = np.square(np.abs(np.fft.rfft(audio.samples)))
        hertz = np.fft.rfftfreq(len(audio.samples), 1 / audio.sample_rate)
        return float(10 * np.log10(power[(hertz > 1500) & (hertz < 5000)].sum() / power[hertz < 1000].sum()))

    quiet, loud = spoken(engine, energy=0.7), spoken(engine, energy=1.4)
    gain = measure_prosody(loud, TEXT).loudness - measure_prosody(quiet, TEXT).loudness
    assert gain == pytest.approx(6.0, abs=2.0)
    assert treble(loud) > treble(quiet) + 3


def test_the_controls_at_one_are_the_graph_as_it_came(entered: Callable[[str], TTSBackend]) -> None:
    import onnxruntime

    backend = entered("kokoro")
    feed = {
        "tokens": np.array([[0, 50, 83, 54, 156, 57, 135, 0]], np.int64),
        "style": backend._engine._styles[0, 5][None],  # type: ignore[attr-defined]
        "speed": np.ones(1, np.float32),
    }
    original = onnxruntime.InferenceSession(_model(), providers=["CPUExecutionProvider"]).run(None, feed)[0]
    controls = {name: np.array([value], np.float32) for name, value in kokoro_graph.NEUTRAL.items()}
    changed = backend._engine._session.run(None, feed | controls)[0]  # type: ignore[attr-defined]
    # exp(log(x)) is x but for rounding; behind it, the network quantises to 8 bits, where a last digit may tip over.
    assert original.shape == changed.shape
    assert np.corrcoef(original.ravel(), changed.ravel())[0, 1] > 0.98


def test_the_graph_is_made_once_and_a_damaged_one_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S2S_CACHE", str(tmp_path))
    made = []
    monkeypatch.setattr(kokoro_graph, "with_controls", lambda model: made.append(model) or b"graph of " + model)
    first = kokoro_graph.cached_graph(b"weights")
    assert isinstance(first, Path) and first.read_bytes() == b"graph of weights"
    assert kokoro_graph.cached_graph(b"weights") == first and len(made) == 1
    assert kokoro_graph.cached_graph(b"other weights") != first
    first.write_bytes(b"graph of wei")
    assert kokoro_graph.cached_graph(b"weights") == first and first.read_bytes() == b"graph of weights"
    assert len(made) == 3 and not [p for p in tmp_path.iterdir() if p.suffix not in (".onnx", ".sha256")]


def test_without_a_writable_cache_the_graph_is_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no directory")
    monkeypatch.setenv("S2S_CACHE", str(tmp_path / "file" / "below"))
    monkeypatch.setattr(kokoro_graph, "with_controls", lambda model: model)
    assert kokoro_graph.cached_graph(b"weights") == b"weights"


def test_another_graph_is_refused() -> None:
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [out])
    with pytest.raises(ValueError, match="no contours"):
        kokoro_graph.with_controls(helper.make_model(graph).SerializeToString())


def test_hibaris_contour_keeps_its_silence_and_scales_about_the_mean_of_its_logarithm() -> None:
    f0 = np.array([0, 0, 100, 200, 400, 0], np.float32)
    delivery = request_for(_any_voice(), pitch=1.1, pitch_range=0.5).delivery
    np.testing.assert_allclose(reshaped(f0, delivery), [0, 0, 155.56, 220, 311.13, 0], rtol=1e-3)
    assert reshaped(f0, request_for(_any_voice()).delivery) is f0


def test_an_envelope_between_harmonics_is_the_envelope_at_them() -> None:
    num_bins, bin_hz = 601, 20.0
    hertz = np.arange(num_bins) * bin_hz
    envelope = (-hertz / 2000).astype(np.float32)
    f0 = np.array([200.0, 0.0], np.float32)
    holes = np.where(np.arange(num_bins) % 10 == 0, envelope, -9).astype(np.float32)  # only the harmonics are right
    level, _ = between_harmonics(np.stack([holes, holes], 1), np.zeros((num_bins, 2), np.float32), f0, bin_hz=bin_hz)
    np.testing.assert_allclose(level[10:540, 0], envelope[10:540], atol=1e-4)
    np.testing.assert_array_equal(level[:, 1], holes)


def _any_voice():  # type: ignore[no-untyped-def]
    from tts_backends.tone import Tone

    return Tone().voices()[0]
