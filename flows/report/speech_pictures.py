"""Pictures of how the corpus sounds: emotions against neutral, and the users' voices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from flows.report.pictures import as_png
from flows.report.tables import EmotionRow, VoiceTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MEASURED, ASKED = "#2a6f97", "#999999"
GENDERS = {"female": "#c8553d", "male": "#2a6f97"}
F0_TICKS = (60, 80, 100, 130, 170, 220, 300, 400)


def emotion_picture(rows: Sequence[EmotionRow]) -> bytes | None:
    """Mean F0 shift against speaking rate by emotion, with a line to what was asked; None without figures."""
    shown = [r for r in rows if r.f0_semitones is not None and r.rate_ratio is not None]
    if not shown:
        return None
    figure = Figure(figsize=(9, 5))
    axes: Axes = figure.add_subplot()
    axes.axvline(0, color="#ddd", zorder=0)
    axes.axhline(1, color="#ddd", zorder=0)
    for row in shown:
        assert row.f0_semitones is not None and row.rate_ratio is not None
        axes.plot(
            [row.asked_f0_semitones, row.f0_semitones], [row.asked_rate_ratio, row.rate_ratio], color=ASKED, lw=0.8
        )
        axes.plot(row.asked_f0_semitones, row.asked_rate_ratio, "o", mfc="none", mec=ASKED)
        axes.plot(row.f0_semitones, row.rate_ratio, "o", color=MEASURED)
        place = (row.f0_semitones, row.rate_ratio)
        axes.annotate(f"{row.emotion} ({row.measured})", place, xytext=(6, 4), textcoords="offset points", fontsize=8)
    axes.set_xlabel("mean F0 against the voice's neutral, semitones")
    axes.set_ylabel("speaking rate against the voice's neutral")
    axes.set_title("filled: measured, mean over the user turns; hollow: asked for", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    return as_png(figure)


def voice_picture(table: VoiceTable) -> bytes | None:
    """Dialogues by age and gender of the voice, and each voice's F0 and uses; None where nothing was accepted."""
    if not table.voices:
        return None
    figure = Figure(figsize=(9, 3.6))
    _ages(figure.add_subplot(1, 2, 1), table)
    _pitches(figure.add_subplot(1, 2, 2), table)
    figure.tight_layout()
    return as_png(figure)


def _ages(axes: Axes, table: VoiceTable) -> None:
    bottom = [0] * len(table.by_age)
    for gender, color in GENDERS.items():
        counts = [own.get(gender, 0) for own in table.by_age.values()]
        axes.bar(range(len(counts)), counts, bottom=bottom, color=color, label=gender)
        bottom = [b + c for b, c in zip(bottom, counts, strict=True)]
    axes.set_xticks(range(len(table.by_age)), [age.replace("_", " ") for age in table.by_age], fontsize=8)
    axes.set_title("dialogues by age of the voice as it sounds", fontsize=9)
    axes.legend(fontsize=8, frameon=False)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)


def _pitches(axes: Axes, table: VoiceTable) -> None:
    for gender, color in GENDERS.items():
        own = [(v.f0, v.dialogues) for v in table.voices if v.f0 is not None and v.gender == gender]
        axes.scatter([f0 for f0, _ in own], [uses for _, uses in own], color=color, alpha=0.7, label=gender)
    axes.set_xscale("log")
    axes.set_xlim(F0_TICKS[0], F0_TICKS[-1])
    axes.set_xticks(F0_TICKS, [str(hertz) for hertz in F0_TICKS], fontsize=8)
    axes.set_xticks([], minor=True)
    axes.set_xlabel("mean F0 of the voice's turns, Hz")
    axes.set_title("dialogues of each voice", fontsize=9)
    axes.set_ylim(0, 1.15 * table.voices[0].dialogues)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    if all(v.f0 is None for v in table.voices):
        axes.text(0.5, 0.5, "F0 was not measured", ha="center", transform=axes.transAxes)
