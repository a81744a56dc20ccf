"""The report of a bank of voices: its figures, and a picture of all distances."""

from __future__ import annotations

import io
from collections import Counter
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tasks.voices.build_bank import BankConfig, BuiltBank
from tasks.voices.personas import PERSONAS


def bank_report(built: BuiltBank, config: BankConfig, seconds: float) -> dict[str, Any]:
    """The bank in figures, ready for JSON."""
    cards = list(built.bank)
    kinds = Counter(f"{card.voice.gender} {card.voice.age}" for card in cards)
    order = [f"{p.gender} {p.age}" for p in PERSONAS]
    return {
        "voices": len(cards),
        "tried": built.tried,
        "dropped": built.dropped,
        "seconds": round(seconds, 1),
        "kinds": {kind: kinds[kind] for kind in order if kinds[kind]},
        "distances": {**built.figures.model_dump(), "ratio": round(built.figures.ratio, 3)},
        "raw_distances": {**built.raw_figures.model_dump(), "ratio": round(built.raw_figures.ratio, 3)},
        "matrix": [[round(float(d), 3) for d in row] for row in built.matrix],
        "order": [card.voice.id for card in cards],
        "mos": float(np.median([card.mos for card in cards])),
        "wer": float(np.mean([card.wer for card in cards])),
        "f0": [min(c.neutral.f0 or 0 for c in cards), max(c.neutral.f0 or 0 for c in cards)],
        "config": config.model_dump(mode="json"),
    }


def distances_picture(built: BuiltBank) -> bytes:
    """PNG: the matrix of distances, sorted by kind and F0, and how it stands to the distance within a voice."""
    cards = list(built.bank)
    kinds = [f"{p.gender} {p.age}" for p in PERSONAS]
    place = [kinds.index(f"{c.voice.gender} {c.voice.age}") for c in cards]
    order = sorted(range(len(cards)), key=lambda i: (place[i], cards[i].neutral.f0 or 0.0))
    figure = Figure(figsize=(13, 5.6))
    axes, bars = figure.subplots(1, 2, width_ratios=(1.15, 1))
    shown = axes.imshow(built.matrix[np.ix_(order, order)], cmap="magma", vmin=0)
    figure.colorbar(shown, ax=axes, label="1 - cosine in the speaker space")
    edges = [i for i in range(1, len(order)) if place[order[i]] != place[order[i - 1]]]
    middles = [(a + b) / 2 for a, b in zip([0, *edges], [*edges, len(order)], strict=True)]
    present = sorted(set(place))
    axes.set_yticks(middles, [kinds[k] for k in present], fontsize=7)
    axes.set_xticks([])
    axes.set_title(f"{len(cards)} voices, by kind and F0", fontsize=9)
    nearest = np.where(np.eye(len(cards), dtype=bool), np.inf, built.matrix).min(axis=1)
    bars.hist(nearest, bins=40, color="#2a6f97", label="to the nearest other voice")
    bars.axvline(built.figures.within_voice, color="#e07a5f", label="between two utterances of one voice (median)")
    bars.axvline(built.figures.nearest_neighbour, color="#2a6f97", linestyle="--", label="nearest other voice (median)")
    bars.set_xlabel("1 - cosine")
    bars.set_ylabel("voices")
    bars.legend(fontsize=7)
    bars.set_title(f"nearest neighbour / within a voice = {built.figures.ratio:.2f}", fontsize=9)
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return buffer.getvalue()
