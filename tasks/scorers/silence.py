"""Where an utterance is silent: at its ends, and in between.

Speech is found by Silero VAD (the ONNX file that its package carries, driven directly). The package's "sequence" model
takes all 32 ms frames of an utterance in one call and gets its recurrent state as an input, so threads share a session
and no state is left behind. Frames become segments by hysteresis, as in the package: speech begins at a probability
of 0.5 and goes on while it is above 0.35; pauses below 0.1 s and bursts of speech below 0.1 s are passed over.

Against speech with known zeros around it, starts were found within 0.07 s and ends 0.00 to 0.09 s late, so a pause
comes out about 0.06 s short.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.audio import Audio, Samples
from contracts.records import Score
from tasks.scorers._shared import AudioScorer, onnx_session, package_file

SAMPLE_RATE = 16_000
FRAME, CONTEXT = 512, 64
"""Samples per frame (32 ms), and how many of the frame before it are heard with it."""
STATE = (1, 1, 128)
BEGIN, GO_ON = 0.5, 0.35
"""Probabilities at which speech begins, and above which it goes on."""
MIN_PAUSE, MIN_SPEECH = 0.1, 0.1
"""Seconds; anything shorter is passed over."""

Segment = tuple[float, float]


class Silence(AudioScorer[Any]):
    """Longest pause inside the speech, in seconds. Details: leading, trailing, longest_pause (s), speech_ratio.

    Without any speech, value, leading, trailing and longest_pause are all the whole duration and speech_ratio is 0.
    """

    name = "silence"
    modules = {"onnxruntime": "onnxruntime", "silero_vad": "silero-vad"}

    def load(self) -> Any:
        """One ONNX session, 2 MB."""
        return onnx_session(package_file("silero_vad", "data", "silero_vad_16k_sequence.onnx"))

    def measure(self, loaded: Any, audio: Audio, /) -> Score:
        """All figures of one utterance."""
        probabilities = speech_probabilities(loaded, audio.resampled(SAMPLE_RATE).samples)
        details = silences(speech_segments(probabilities, audio.duration), audio.duration)
        return Score(name=self.name, value=details["longest_pause"], details=details)


def speech_probabilities(session: Any, samples: Samples) -> NDArray[np.float32]:
    """Probability of speech in each frame of 32 ms, shape (frames,); samples at 16 kHz, the last frame zero-padded."""
    num_frames = -(-len(samples) // FRAME)
    padded = np.zeros(CONTEXT + num_frames * FRAME, dtype=np.float32)
    padded[CONTEXT : CONTEXT + len(samples)] = samples
    frames = np.lib.stride_tricks.sliding_window_view(padded, CONTEXT + FRAME)[::FRAME]
    state = np.zeros(STATE, dtype=np.float32)
    feed = {"input": np.ascontiguousarray(frames), "h": state, "c": state}
    (probabilities,) = session.run(["speech_probs"], feed)
    return np.asarray(probabilities, dtype=np.float32).reshape(-1)


def speech_segments(probabilities: Sequence[float] | NDArray[np.float32], duration: float) -> list[Segment]:
    """(start, end) of each stretch of speech in seconds, in order."""
    merged: list[Segment] = []
    for start, end in _runs(probabilities):
        begin, finish = start * FRAME / SAMPLE_RATE, min(end * FRAME / SAMPLE_RATE, duration)
        if merged and begin - merged[-1][1] < MIN_PAUSE:
            merged[-1] = (merged[-1][0], finish)
        else:
            merged.append((begin, finish))
    return [(start, end) for start, end in merged if end - start >= MIN_SPEECH]


def _runs(probabilities: Sequence[float] | NDArray[np.float32]) -> list[tuple[int, int]]:
    """(first frame, frame after the last) of each run of speech, by hysteresis."""
    runs: list[tuple[int, int]] = []
    start: int | None = None
    for frame, probability in enumerate(probabilities):
        if start is None and probability >= BEGIN:
            start = frame
        elif start is not None and probability < GO_ON:
            runs.append((start, frame))
            start = None
    return runs if start is None else [*runs, (start, len(probabilities))]


def silences(segments: Sequence[Segment], duration: float) -> dict[str, float]:
    """The score's details from the segments of speech."""
    if not segments:
        return {"leading": duration, "trailing": duration, "longest_pause": duration, "speech_ratio": 0.0}
    pauses = [later[0] - earlier[1] for earlier, later in zip(segments, segments[1:], strict=False)]
    return {
        "leading": segments[0][0],
        "trailing": max(0.0, duration - segments[-1][1]),
        "longest_pause": max(pauses, default=0.0),
        "speech_ratio": min(1.0, sum(end - start for start, end in segments) / duration),
    }
