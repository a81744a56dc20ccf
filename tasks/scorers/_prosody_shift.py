"""How far an utterance lies from its voice's neutral, and whether that is where its delivery asks it to be.

Shifts are natural logarithms of ratios, so that faster and slower, higher and lower count alike. One sentence tells
little: said in the same neutral voice, sentences differ by the TOLERANCE below only because their words do. So a
control whose asked shift is within that tolerance is judged leniently, and one that is beyond it strictly:

    agreement = 1 - shortfall / max(asked, tolerance), within [-1, 1]

where the shortfall is what the measured shift lacks of the asked one in the asked direction; going further costs
nothing. With an asked shift beyond the tolerance, 1 is as asked or more, 0 is like neutral, -1 is as far the wrong way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from contracts.records import Delivery, Finish, Prosody

Figure = Literal["pitch", "pitch_range", "rate", "energy"]
FIGURES: tuple[Figure, ...] = ("pitch", "pitch_range", "rate", "energy")
"""The controls of a delivery that can be measured."""

TOLERANCE: Mapping[Figure, float] = {"pitch": 0.05, "pitch_range": 0.2, "rate": 0.1, "energy": 0.06}
"""Log ratio, about one standard deviation of each figure over sentences of one neutral voice: 0.9 semitones, 20%, 10%
and 0.5 dB. Measured over 16 sentences (0.9 to 5.5 s) of each of 6 voices (espeak_ng 2, hibari 1, kokoro 3): 0.39 to
1.03 semitones, 0.09 to 0.29, 0.06 to 0.12, 0.36 to 0.80 dB; sentences below 3 s vary about twice as much as others.
"""
NEUTRAL_TOLERANCES = 4.0
"""Where nothing is asked for, this many tolerances from neutral are still neutral."""
LEAST_RANGE = 0.05
"""Semitones; a range below this is a monotone, whose ratio to anything would be without bounds."""


@dataclass(frozen=True, slots=True)
class Shift:
    """An utterance against its voice's neutral: log ratios by figure; those of pitch lack where nothing is voiced."""

    logs: Mapping[Figure, float]

    @property
    def details(self) -> dict[str, float]:
        """In the units that people use: semitones, ratios, decibels."""
        units: Mapping[Figure, tuple[str, Callable[[float], float]]] = {
            "pitch": ("f0_semitones", lambda x: x * 12 / math.log(2)),
            "pitch_range": ("range_ratio", math.exp),
            "rate": ("rate_ratio", math.exp),
            "energy": ("loudness_db", lambda x: x * 20 / math.log(10)),
        }
        return {units[figure][0]: units[figure][1](log) for figure, log in self.logs.items()}


def shift_of(measured: Prosody, neutral: Prosody, finish: Finish | None) -> Shift:
    """The shift of an utterance.

    Args:
        measured: the utterance.
        neutral: its voice's, as the backend renders it.
        finish: what was done to the utterance; a finished one has a loudness of its own that is neutral.
    """
    quiet = neutral.loudness if finish is None or finish.loudness is None else finish.loudness
    logs: dict[Figure, float] = {"energy": (measured.loudness - quiet) * math.log(10) / 20}
    if measured.rate > 0 and neutral.rate > 0:
        logs["rate"] = math.log(measured.rate / neutral.rate)
    if measured.f0 and neutral.f0:
        logs["pitch"] = math.log(measured.f0 / neutral.f0)
    if measured.f0_range is not None and neutral.f0_range is not None:
        logs["pitch_range"] = math.log(max(measured.f0_range, LEAST_RANGE) / max(neutral.f0_range, LEAST_RANGE))
    return Shift({figure: logs[figure] for figure in FIGURES if figure in logs})


def asked_shifts(delivery: Delivery) -> dict[Figure, float]:
    """Log factors of the controls that a delivery carries and that are not 1."""
    factors = {figure: getattr(delivery, figure) for figure in FIGURES}
    return {figure: math.log(factor) for figure, factor in factors.items() if factor and factor != 1}


def agreements(shift: Shift, asked: Mapping[Figure, float]) -> dict[Figure, float]:
    """How far each asked shift holds, in [-1, 1]; a control that could not be measured is left out."""
    return {
        figure: _agreement(shift.logs[figure], asked[figure], TOLERANCE[figure])
        for figure in asked
        if figure in shift.logs
    }


def _agreement(measured: float, asked: float, tolerance: float) -> float:
    along = measured if asked > 0 else -measured
    shortfall = max(0.0, abs(asked) - along)
    return max(-1.0, 1.0 - shortfall / max(abs(asked), tolerance))


def overall(held: Mapping[Figure, float], asked: Mapping[Figure, float]) -> float:
    """The mean of the agreements, each weighted by its asked shift in tolerances: what stands out most counts most.

    Against weights of the bare |log factor|, which follow F0 range, the noisiest figure, this tells utterances from
    neutral ones better. Over 128 finished utterances of espeak_ng (8 emotions at full intensity, 8 sentences, 2 voices)
    the area under the ROC curve is 0.86 against 0.77; from an opposite emotion, 0.997 against 0.963.
    """
    weights = {figure: abs(asked[figure]) / TOLERANCE[figure] for figure in held}
    mean = sum(weights[f] * held[f] for f in held) / sum(weights.values())
    return min(1.0, max(-1.0, mean))


def neutrality(shift: Shift) -> float:
    """1 within the bounds of neutral, else less by the worst figure's excess: 0 at twice its bound, -1 at thrice."""
    bounds = {figure: NEUTRAL_TOLERANCES * TOLERANCE[figure] for figure in shift.logs}
    excess = max(abs(log) / bounds[figure] - 1 for figure, log in shift.logs.items())
    return max(-1.0, 1.0 - max(0.0, excess))
