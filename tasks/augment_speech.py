"""Rooms and telephone lines for the user's turns; the assistant's voice is never touched.

A dialogue's user is in one room and on one line throughout: both follow from the corpus seed and the dialogue's id.
An `Augmentation` holds all that it takes to do it again. Neither delays the speech nor changes how strong it is.

- **Room**: the direct sound followed by exponentially decaying noise (Polack 1988), whose arrivals begin sparse and
  grow denser with the square of time, as reflections in a box do. How strong the reverberation is against the direct
  sound follows from volume, reverberation time and distance by the critical distance (Kuttruff, Room Acoustics, 5.6).
- **Telephone**: 300 to 3400 Hz at 8 kHz through the mu-law of ITU-T G.711.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.audio import Audio
from contracts.config import AugmentConfig
from contracts.records import Augmentation, Role
from tasks.decks import stable_int, stable_unit

RT60 = (0.2, 0.7)
"""Seconds, from a furnished bedroom to a bare office."""
DISTANCE = (0.3, 1.5)
"""Metres from mouth to microphone."""
VOLUME = (15.0, 80.0)
"""Cubic metres."""
TALKER_DIRECTIVITY = 2.0
"""Q of a mouth that faces the microphone."""
FIRST_REFLECTION = 0.002
"""Seconds after the direct sound."""
MIXING_TIME = 0.05
"""Seconds until every sample holds a reflection."""
WALL_CUTOFF = 4000.0
"""Hz; walls and air swallow what is higher."""

LINE_RATE = 8000
LINE_BAND = (300.0, 3400.0)
LINE_LEVEL = -26.0
"""dB re full scale, RMS: the nominal speech level of telephony (ITU-T P.830)."""
_MU_LAW_SCALE, _MU_LAW_BIAS = 8192, 33

Wave = NDArray[np.float64]


def augmentations_of(dialogue: str, role: Role, config: AugmentConfig, seed: int) -> tuple[Augmentation, ...]:
    """What is laid over a turn of this dialogue, in the order in which it is heard: the room, then the line.

    Args:
        dialogue: its id.
        role: who speaks; an assistant gets nothing.
        config: shares of the dialogues.
        seed: of the corpus.
    """
    if role != "user":
        return ()
    chosen = []
    if stable_unit(seed, "room", dialogue) < config.room:
        chosen.append(_draw_room(dialogue, seed))
    if stable_unit(seed, "telephone", dialogue) < config.telephone:
        low, high = LINE_BAND
        chosen.append(Augmentation(kind="telephone", parameters={"low": low, "high": high, "sample_rate": LINE_RATE}))
    return tuple(chosen)


def augmented(audio: Audio, augmentation: Augmentation) -> Audio:
    """The sound in that room (longer by its tail) or on that line (as long as before), as strong as before."""
    if augmentation.kind == "room":
        return in_room(audio, augmentation.parameters)
    return over_telephone(audio, augmentation.parameters)


def in_room(audio: Audio, parameters: dict[str, float]) -> Audio:
    """The sound with a room's reverberation; longer by RT60."""
    signal = _scipy_signal()
    wet = signal.fftconvolve(audio.samples.astype(np.float64), impulse_response(parameters, audio.sample_rate))
    return Audio(wet.astype(np.float32), audio.sample_rate)


def impulse_response(parameters: dict[str, float], sample_rate: int) -> Wave:
    """A room's impulse response of unit energy, shape (RT60 * sample_rate,); sample 0 is the direct sound."""
    chance = np.random.default_rng(int(parameters["seed"]))
    time = np.arange(int(parameters["rt60"] * sample_rate)) / sample_rate
    density = np.minimum(1.0, np.maximum(time, FIRST_REFLECTION) / MIXING_TIME) ** 2
    arrivals = chance.standard_normal(time.size) * (chance.random(time.size) < density) / np.sqrt(density)
    arrivals[time < FIRST_REFLECTION] = 0.0
    pole = math.exp(-2 * math.pi * WALL_CUTOFF / sample_rate)
    tail = _scipy_signal().lfilter([1 - pole], [1, -pole], arrivals) * 10 ** (-3 * time / parameters["rt60"])
    reverberant = 10 ** (-parameters["direct_to_reverberant_db"] / 10)
    response = np.asarray(tail * math.sqrt(reverberant / float(tail @ tail)), np.float64)
    response[0] = 1.0
    return response / math.sqrt(1 + reverberant)


def over_telephone(audio: Audio, parameters: dict[str, float]) -> Audio:
    """The sound after a telephone line, at the rate that it had."""
    signal = _scipy_signal()
    rate = int(parameters["sample_rate"])
    band = signal.butter(4, (parameters["low"], parameters["high"]), "bandpass", fs=rate, output="sos")
    narrow = signal.sosfiltfilt(band, audio.resampled(rate).samples.astype(np.float64))
    strength = math.sqrt(float(np.mean(narrow**2)))
    if strength == 0:
        return Audio(np.zeros_like(audio.samples), audio.sample_rate)
    gain = 10 ** (LINE_LEVEL / 20) / strength
    heard = Audio((mu_law(narrow * gain) / gain).astype(np.float32), rate).resampled(audio.sample_rate).samples
    length = audio.samples.size
    return Audio(np.pad(heard[:length], (0, max(0, length - heard.size))), audio.sample_rate)


def mu_law(samples: Wave) -> Wave:
    """What a decoder makes of samples in [-1, 1] after the 8 bits of ITU-T G.711's mu-law; more than 1 is clipped."""
    biased = np.minimum(np.abs(samples) * _MU_LAW_SCALE, 8158) + _MU_LAW_BIAS
    exponent = np.floor(np.log2(biased)) - 5
    mantissa = np.floor(biased / 2 ** (exponent + 1)) - 16
    decoded = (2 * mantissa + 33) * 2**exponent - _MU_LAW_BIAS
    return np.asarray(np.sign(samples) * decoded / _MU_LAW_SCALE, np.float64)


def _draw_room(dialogue: str, seed: int) -> Augmentation:
    def between(name: str, low: float, high: float) -> float:
        return round(low + (high - low) * stable_unit(seed, "room", name, dialogue), 3)

    rt60, distance, volume = between("rt60", *RT60), between("distance", *DISTANCE), between("volume", *VOLUME)
    critical = 0.057 * math.sqrt(TALKER_DIRECTIVITY * volume / rt60)
    return Augmentation(
        kind="room",
        parameters={
            "rt60": rt60,
            "distance": distance,
            "volume": volume,
            "direct_to_reverberant_db": round(20 * math.log10(critical / distance), 2),
            # 32 bits, which a float holds exactly.
            "seed": stable_int(seed, "room", dialogue) >> 31,
        },
    )


def _scipy_signal() -> Any:
    # Half a second to import, and most commands never need it.
    import scipy.signal

    return scipy.signal
