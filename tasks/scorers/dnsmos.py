"""DNSMOS P.835: how good the speech sounds, without a reference (Reddy et al. 2022, arXiv 2110.01763).

The ONNX files of package speechmos, driven by our own sessions. speechmos keeps one global model, lets ONNX Runtime
take every core, and rebuilds its mel filters for each segment. Figures equal speechmos' to 1e-3 (a test holds that).

The model hears exactly 9.01 s. As in speechmos, shorter audio is doubled until it is long enough, and longer audio is
heard in hops of one second whose figures are averaged; doubling thus makes up to nine hops of a short utterance.
Nearly all time goes into the convolutions of the P.835 model, 20 GMAC a hop; `max_segments` bounds the hops, spread
evenly over the sound. Measured on utterances of 1.2 to 5.5 s, whose overall figures spread by 0.17: with 1 hop, the
figure is 0.025 off on average and 0.12 at most, at 3.4 times the speed; with 2 hops 0.014 and 0.06, at 1.9 times.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.audio import Audio, Samples
from contracts.errors import ConfigError
from contracts.records import Score
from tasks.scorers._mel import MelFilters, power_spectrogram
from tasks.scorers._shared import AudioScorer, onnx_session, package_file

SAMPLE_RATE = 16_000
SECONDS = 9.01
SEGMENT = 144_160
"""Samples that the model takes: 9.01 s."""
HOP = SAMPLE_RATE
FRAME, FRAME_HOP, NUM_MELS = 321, 160, 120
"""The mel spectrogram of the P.808 model: 900 frames of 120 bins."""

SIG_POLY = np.array([-0.08397278, 1.22083953, 0.0052439])
BAK_POLY = np.array([-0.13166888, 1.60915514, -0.39604546])
OVRL_POLY = np.array([-0.06766283, 1.11546468, 0.04602535])
"""speechmos' calibration of the raw outputs, highest power first."""


@dataclass(frozen=True, slots=True)
class _Models:
    primary: Any
    p808: Any
    mel: MelFilters
    window: Samples


class DNSMOS(AudioScorer[_Models]):
    """Overall quality, 1 to 5. Details: ovrl, sig (the speech), bak (the background), p808 (the older single figure).

    Samples outside [-1, 1] are clipped, where speechmos would refuse.

    Args:
        max_segments: hear at most this many segments of 9.01 s of an utterance; None hears all, as speechmos does.
        num_threads: utterances measured at once.
    """

    name = "dnsmos"
    modules = {"onnxruntime": "onnxruntime", "speechmos": "speechmos", "librosa": "librosa"}

    def __init__(self, *, max_segments: int | None = None, num_threads: int = 2) -> None:
        super().__init__(num_threads=num_threads)
        if max_segments is not None and max_segments < 1:
            raise ConfigError(f"max_segments must be 1 or more, or none for all, got {max_segments}")
        self.max_segments = max_segments

    def load(self) -> _Models:
        """Two ONNX sessions, 1.4 MB, and the mel filters."""
        from librosa.filters import get_window, mel

        folder = package_file("speechmos", "dnsmos_models")
        return _Models(
            primary=onnx_session(folder / "sig_bak_ovr.onnx"),
            p808=onnx_session(folder / "model_v8.onnx"),
            mel=MelFilters.of(mel(sr=SAMPLE_RATE, n_fft=FRAME, n_mels=NUM_MELS)),
            window=get_window("hann", FRAME, fftbins=True).astype(np.float32),
        )

    def measure(self, loaded: _Models, audio: Audio, /) -> Score:
        """Means over the segments."""
        samples = np.clip(audio.resampled(SAMPLE_RATE).samples, -1.0, 1.0)
        figures = np.array([_rate(loaded, s) for s in segments(samples, self.max_segments)])
        sig, bak, ovrl, p808 = (float(f) for f in figures.mean(axis=0))
        return Score(name=self.name, value=ovrl, details={"ovrl": ovrl, "sig": sig, "bak": bak, "p808": p808})


def segments(samples: Samples, at_most: int | None = None) -> list[Samples]:
    """What the model hears, each of SEGMENT samples: the audio doubled until long enough, in hops of one second."""
    while len(samples) < SEGMENT:
        samples = np.concatenate((samples, samples))
    # speechmos' own arithmetic, whose rounding leaves out some hops that would fit: from the eighth on, all.
    num_hops = int(len(samples) // SAMPLE_RATE - SECONDS) + 1
    ends = [int((hop + SECONDS) * SAMPLE_RATE) for hop in range(num_hops)]
    starts = [hop * HOP for hop, end in enumerate(ends) if min(end, len(samples)) - hop * HOP == SEGMENT]
    if at_most is not None and at_most < len(starts):
        starts = [starts[int((i + 0.5) * len(starts) / at_most)] for i in range(at_most)]
    return [samples[start : start + SEGMENT] for start in starts]


def _rate(models: _Models, segment: Samples) -> tuple[float, float, float, float]:
    """Sig, bak, ovrl, p808 of one segment."""
    sig, bak, ovrl = models.primary.run(None, {"input_1": segment[None]})[0][0]
    mel_1TM = log_mel(segment[:-FRAME_HOP], models.mel, models.window)[None]
    p808 = models.p808.run(None, {"input_1": mel_1TM})[0][0][0]
    return (
        float(np.polyval(SIG_POLY, sig)),
        float(np.polyval(BAK_POLY, bak)),
        float(np.polyval(OVRL_POLY, ovrl)),
        float(p808),
    )


def log_mel(samples: Samples, filters: MelFilters, window: Samples) -> NDArray[np.float32]:
    """The P.808 model's input, shape (frames, 120): dB below the maximum, 80 dB deep, scaled to [-1, 1].

    It is librosa's melspectrogram and power_to_db with speechmos' settings, the filters built once.
    """
    power_FT = power_spectrogram(np.pad(samples, FRAME // 2), window, FRAME_HOP)
    mel_TM = np.maximum(filters(power_FT).T, 1e-10)
    decibels_TM = np.maximum(10.0 * np.log10(mel_TM / mel_TM.max()), -80.0)
    return np.asarray((decibels_TM + 40.0) / 40.0, dtype=np.float32)
