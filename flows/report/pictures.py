"""The report's pictures, as PNG bytes."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import librosa
import numpy as np
from matplotlib.figure import Figure

from contracts.audio import Audio
from contracts.records import Candidate
from tasks.funnel import Funnel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KEPT, LOST = "#2a6f97", "#e07a5f"


def as_png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    return buffer.getvalue()


def funnel_picture(funnel: Funnel) -> bytes:
    """Candidates alive after each stage, and how many fell there for what."""
    figure = Figure(figsize=(9, 3.6))
    axes: Axes = figure.add_subplot()
    before = funnel.candidates
    for row, step in enumerate(funnel.steps):
        lost = sum(step.rejected.values())
        axes.barh(row, step.num_alive, color=KEPT)
        axes.barh(row, before - step.num_alive, left=step.num_alive, color=LOST)
        reasons = ", ".join(f"{code} {count}" for code, count in list(step.rejected.items())[:3])
        note = f"{step.num_alive}" + (f"   −{lost}: {reasons}" if lost else "")
        axes.text(before + 0.01 * funnel.candidates, row, note, va="center", fontsize=8)
        before = step.num_alive
    axes.set_yticks(range(len(funnel.steps)), [step.stage for step in funnel.steps])
    axes.invert_yaxis()
    axes.set_xlim(0, max(1, funnel.candidates) * 1.6)
    axes.set_xlabel("candidates (blue: alive after the stage, red: rejected in it)")
    axes.spines[["top", "right"]].set_visible(False)
    return as_png(figure)


def spectrogram_picture(turns: Sequence[tuple[str, Audio]]) -> bytes:
    """Mel spectrograms of a dialogue's turns: 80 bands, 25 ms window, 10 ms hop, in dB."""
    figure = Figure(figsize=(9, 2.3 * len(turns)))
    for row, (title, audio) in enumerate(turns, start=1):
        axes: Axes = figure.add_subplot(len(turns), 1, row)
        sound = audio.resampled(16000)
        mel = librosa.feature.melspectrogram(y=sound.samples, sr=16000, n_fft=400, hop_length=160, n_mels=80, fmax=8000)
        decibel = librosa.power_to_db(mel, ref=np.max, top_db=80)
        axes.imshow(decibel, origin="lower", aspect="auto", extent=(0, audio.duration, 0, 80), cmap="magma")
        axes.set_title(title if len(title) < 110 else title[:107] + "...", fontsize=8, loc="left")
        axes.set_ylabel("mel band")
    axes.set_xlabel("seconds")
    figure.tight_layout()
    return as_png(figure)


def score_picture(candidates: Sequence[Candidate]) -> bytes:
    """Distribution of every score, accepted against rejected dialogues."""
    values: dict[str, dict[bool, list[float]]] = defaultdict(lambda: {True: [], False: []})
    for candidate in candidates:
        for assessment in candidate.assessments:
            for score in assessment.scores:
                if score.value is not None:
                    values[score.name][candidate.accepted].append(score.value)
    figure = Figure(figsize=(9, 2.0 * max(1, -(-len(values) // 3))))
    for place, (name, sides) in enumerate(sorted(values.items()), start=1):
        axes: Axes = figure.add_subplot(-(-len(values) // 3), 3, place)
        edges = np.histogram_bin_edges(np.array(sides[True] + sides[False]), bins=24)
        axes.hist([sides[True], sides[False]], bins=list(edges), stacked=True, color=[KEPT, LOST])
        axes.set_title(name, fontsize=8)
        axes.tick_params(labelsize=7)
    figure.suptitle("turns of accepted (blue) and of rejected (red) dialogues", fontsize=9)
    figure.tight_layout()
    return as_png(figure)
