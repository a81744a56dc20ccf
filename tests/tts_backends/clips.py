"""A folder of reference clips: something with the level and the pauses of speech, and a line for each clip."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from contracts.audio import Samples
from tts_backends.tone import Tone

SAYS = "The weather is nice today, so we will go for a walk."


def speech(seconds: float = 4.0, *, sample_rate: int = 24_000, noise: float = 1e-4, pitch: float = 1.0) -> Samples:
    """Syllables and pauses over a floor of noise; float32, shape (num_samples,)."""
    from tests.tts_backends.conftest import request_for

    with Tone() as tone:
        [audio] = tone.synthesize([request_for(tone.voices()[0], "we will go, " * 4, pitch=pitch)])
    samples = np.resize(audio.resampled(sample_rate).samples, int(seconds * sample_rate))
    return (samples + noise * np.random.default_rng(1).normal(size=len(samples))).astype(np.float32)


def entry(name: str, /, **changes: Any) -> dict[str, Any]:
    """A line for `name`.wav without faults, but for the changes; None takes a key out."""
    line = {
        "file": f"{name}.wav",
        "name": name,
        "gender": "female",
        "age": "senior",
        "languages": ["en"],
        "text": SAYS,
        "license": "CC0-1.0",
        "source": "recorded for this test",
    }
    return {key: value for key, value in (line | changes).items() if value is not None}


def write_clip(path: Path, samples: Samples | None = None, sample_rate: int = 24_000, **how: Any) -> None:
    """A clip; one that is all right when no samples are given, and another one for every name."""
    pitch = 1.0 + sum(path.stem.encode()) % 100 / 200
    soundfile.write(path, speech(pitch=pitch) if samples is None else samples, sample_rate, **how)


def write_lines(folder: Path, *lines: dict[str, Any] | str) -> Path:
    """The folder's voices.jsonl."""
    written = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (folder / "voices.jsonl").write_text("\n".join(written) + "\n", encoding="utf-8")
    return folder
