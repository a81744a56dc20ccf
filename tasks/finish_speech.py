"""Finish: what happens to every utterance between the engine and the file.

    cut the silence at both ends -> resample -> room and line -> loudness -> peak limit -> pause

Loudness is integrated LUFS (ITU-R BS.1770) and by default brought to the -23 LUFS of EBU R 128, moved by the energy
that the delivery asks for: a quiet sad voice stays quieter than a loud angry one. Where peaks would pass the limit the
whole utterance is made quieter; nothing is clipped. A pause ends every utterance, so that a model hears when speech
ends.

Everything follows from the utterance, the config and the augmentations alone.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.audio import Audio, Samples
from contracts.config import FinishConfig
from contracts.records import Augmentation, Finish
from tasks.augment_speech import augmented
from tasks.prosody import loudness

FRAME = 0.005
"""Seconds; how finely speech's ends are found."""
FLOOR_SECONDS = 0.05
"""The quietest stretch of this length is taken for the background."""
ABOVE_FLOOR = 6.0
"""dB by which speech stands out from the background."""
BELOW_SPEECH = (40.0, 30.0)
"""dB under the speech's own level: more than the first is silence, less than the second never is."""
RUMBLE = 80.0
"""Hz; what is lower is not listened to when speech is looked for: hum and offset."""
FADE = 0.01
"""Seconds, at the outer end of the silence that is kept, never in speech."""


def finish_speech(
    audio: Audio, config: FinishConfig, *, energy: float | None = None, augmentations: tuple[Augmentation, ...] = ()
) -> tuple[Audio, Finish]:
    """An utterance as it goes into the corpus, and what was done to it.

    Args:
        audio: as the engine gave it; finite, not silent.
        config: what to do.
        energy: the delivery's, a factor of amplitude; None is 1.
        augmentations: laid over it in this order.
    """
    after = min(config.edge, config.pause)
    spoken, quiet = _cut(audio, *speech_span(audio), before=config.edge, after=after)
    trimmed = audio.duration - spoken.duration
    spoken = spoken.resampled(config.sample_rate or spoken.sample_rate)
    end = spoken.samples.size - round(quiet * spoken.sample_rate)
    for augmentation in augmentations:
        spoken = augmented(spoken, augmentation)
    if augmentations:
        # A room goes on sounding after the speech: the pause begins where it cannot be heard any more.
        spoken, quiet = _cut(spoken, 0, max(end, speech_span(spoken)[1]), before=0.0, after=after)
    num_zeros = max(0, round((config.pause - quiet) * spoken.sample_rate))
    whole = Audio(np.pad(spoken.samples, (0, num_zeros)), spoken.sample_rate)
    gain, peak_limited = gain_for(whole, config, energy)
    finish = Finish(
        trimmed=round(max(0.0, trimmed), 4),
        pause=config.pause,
        gain=round(gain, 2),
        loudness=config.loudness,
        peak_limited=peak_limited,
        augmentations=augmentations,
    )
    return Audio(whole.samples * np.float32(10 ** (gain / 20)), whole.sample_rate), finish


def speech_span(audio: Audio) -> tuple[int, int]:
    """First sample of speech and the one after its last, never inside the speech; everything where nothing stands out.

    The speech's own level is the mean of its frames' power, each weighted by its power: no silence around it lowers
    that, however long, and no click raises it much.
    """
    # The end is looked for backwards, so that the filter rings on into the speech and not after it.
    backwards = Audio(audio.samples[::-1], audio.sample_rate)
    return _onset(audio), audio.samples.size - _onset(backwards)


def gain_for(audio: Audio, config: FinishConfig, energy: float | None) -> tuple[float, bool]:
    """The dB that bring an utterance to its loudness, and whether the peak limit allowed fewer than that."""
    peak = float(np.abs(audio.samples).max(initial=0.0))
    if peak == 0:
        return 0.0, False
    wanted = 0.0
    peak_level = 20 * math.log10(peak)
    if config.loudness is not None:
        # At full scale, so that the absolute gate of BS.1770 (-70 LUFS) does not hide a faint voice.
        measured = loudness(Audio(audio.samples / np.float32(peak), audio.sample_rate)) + peak_level
        wanted = config.loudness + (20 * math.log10(energy) if energy else 0.0) - measured
    allowed = math.inf if config.peak is None else config.peak - peak_level
    return min(wanted, allowed), wanted > allowed


def _cut(audio: Audio, begin: int, end: int, *, before: float, after: float) -> tuple[Audio, float]:
    """Samples begin to end with so many seconds of what lies around them, faded, and the seconds kept after them."""
    rate = audio.sample_rate
    start = max(0, begin - round(before * rate))
    stop = min(audio.samples.size, end + round(after * rate))
    samples = audio.samples[start:stop].copy()
    fade = round(FADE * rate)
    rise, fall = min(fade, begin - start), min(fade, stop - end)
    samples[:rise] *= _ramp(rise)
    samples[samples.size - fall :] *= _ramp(fall)[::-1]
    return Audio(samples, rate), (stop - end) / rate


def _ramp(size: int) -> Samples:
    return (0.5 - 0.5 * np.cos(np.pi * (np.arange(size) + 0.5) / max(1, size))).astype(np.float32)


def _onset(audio: Audio) -> int:
    frame = max(1, round(FRAME * audio.sample_rate))
    powers = _frame_powers(audio, frame)
    total = float(powers.sum())
    if not total > 0:
        return 0
    level = float(powers @ powers) / total
    lowest, highest = (level * 10 ** (-below / 10) for below in BELOW_SPEECH)
    threshold = min(max(_background(powers) * 10 ** (ABOVE_FLOOR / 10), lowest), highest)
    return int(np.argmax(powers > threshold)) * frame


def _frame_powers(audio: Audio, frame: int) -> NDArray[np.float64]:
    """Mean square of each frame without rumble, shape (frames,); the last frame may be padded with zeros."""
    import scipy.signal

    sections, rest = _rumble_filter(audio.sample_rate)
    # As if the first sample had gone on for ever before, so that an offset is no step.
    heard, _ = scipy.signal.sosfilt(sections, audio.samples, zi=rest * audio.samples[0])
    padded = np.pad(np.asarray(heard, np.float64), (0, -heard.size % frame))
    return np.asarray(np.mean(padded.reshape(-1, frame) ** 2, axis=1))


def _background(powers: NDArray[np.float64]) -> float:
    """Mean power of the quietest stretch."""
    length = min(powers.size, round(FLOOR_SECONDS / FRAME))
    sums = np.cumsum(np.concatenate([[0.0], powers]))
    return max(0.0, float(np.min(sums[length:] - sums[:-length]))) / length


@cache
def _rumble_filter(sample_rate: int) -> tuple[Any, Any]:
    import scipy.signal

    sections = scipy.signal.butter(2, RUMBLE, "highpass", fs=sample_rate, output="sos")
    return sections, scipy.signal.sosfilt_zi(sections)
