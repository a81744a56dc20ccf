"""DistillMOS: a small network that predicts how natural speech sounds (Stahl and Gamper 2025, arXiv 2502.05356).

The model pads every utterance with zeros to 7.68 s and hears longer ones in overlapping crops. Most utterances of a
dialogue are shorter, and most of the time goes into convolutions over that padding. Far from speech their
output does not depend on the utterance, so here it is computed once when loading, and only the part that holds sound
is computed for each utterance. Figures equal the package's own to 1e-4 (a test holds that).

Threads: torch's intra-op thread count is set to 1 inside our own threads only; see `_torch_workers.py`.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from contracts.audio import Audio, Samples
from contracts.protocols import ScoringItem
from contracts.records import Score
from tasks.scorers._shared import AudioScorer, Workers
from tasks.scorers._torch_workers import one_core_workers
from tasks.scorers._voice_cards import Cards

if TYPE_CHECKING:
    import torch

SAMPLE_RATE = 16_000
SEGMENT = 122_880
"""Samples that the model hears at once: 7.68 s."""
MAX_HOP = 16_000
FRAME_HOP = 160
REACH = 8
"""Frames around a frame that the convolutions (six, three frames wide) look at, and two of the spectrogram's window."""


@dataclass(frozen=True, slots=True)
class _Model:
    convolutions: Any
    head: Any
    """Transformer and pooling: (batch, time, features) to quality in [0, 1]."""
    padding_CT: torch.Tensor
    """What the convolutions make of 7.68 s of zeros, shape (features, time)."""


class DistillMOS(AudioScorer[_Model]):
    """Mean opinion score, 1 to 5. It separates TTS engines better than DNSMOS does.

    Details: vs_voice, the distance to what the voice's neutral probes scored (its card's `mos`): a feeling shifts what
    a network hears as natural, and a voice that starts low should not be punished for it. Missing where the voice has
    no card.

    Args:
        bank: folder with voice cards; None takes those that come with the program.
        num_threads: utterances measured at once.
    """

    name = "distillmos"
    modules = {"torch": "torch", "torchaudio": "torchaudio", "distillmos": "distillmos"}
    code = 2

    def __init__(self, *, bank: str | None = None, num_threads: int = 2) -> None:
        super().__init__(num_threads=num_threads)
        self._cards = Cards(bank)
        self.revision = f"{self.revision} {self._cards.revision}"

    def load(self) -> _Model:
        """The network, 17 MB, and its response to zeros."""
        import torch
        from distillmos import ConvTransformerSQAModel

        with contextlib.redirect_stdout(io.StringIO()):  # it prints the path of its weights
            network = ConvTransformerSQAModel().eval()
        convolutions = network.cnn.cnn.to(memory_format=torch.channels_last)
        with torch.inference_mode():
            padding_CT = convolutions(_spectrogram(torch.zeros(1, SEGMENT))).flatten(1, -2)[0]
        return _Model(convolutions, network.transformer_pool_attn, padding_CT)

    def make_workers(self) -> Workers:
        """Threads in which torch keeps to one core."""
        return one_core_workers(self.num_threads)

    def score(self, batch: Sequence[ScoringItem], /) -> list[Score]:
        """See contracts.protocols.Scorer."""
        return [
            self._against_voice(s, getattr(i.utterance, "voice_id", ""))
            for s, i in zip(super().score(batch), batch, strict=True)
        ]

    def _against_voice(self, score: Score, voice_id: str) -> Score:
        card = self._cards.get(voice_id)
        if card is None or score.value is None:
            return score
        return score.model_copy(update={"details": {**score.details, "vs_voice": score.value - card.mos}})

    def measure(self, loaded: _Model, audio: Audio, /) -> Score:
        """The mean over the utterance's crops."""
        crops = _crops(audio.resampled(SAMPLE_RATE).samples)
        return Score(name=self.name, value=float(np.mean([_rate(loaded, crop) for crop in crops])))


def _crops(samples: Samples) -> list[Samples]:
    """The stretches that are rated, as the package chooses them: evenly spread, at most a second apart."""
    excess = max(0, len(samples) - SEGMENT)
    num_crops = -(-excess // MAX_HOP) + 1
    starts = [int(share * excess) for share in np.linspace(0, 1, num_crops)]
    return [samples[start : start + SEGMENT] for start in starts]


def _rate(model: _Model, crop: Samples) -> float:
    """MOS of at most 7.68 s."""
    import torch

    with torch.inference_mode():
        padded = torch.zeros(1, SEGMENT)
        padded[0, : len(crop)] = torch.from_numpy(crop / (np.abs(crop).max() + 1e-8))
        features_CT = _features(model, _spectrogram(padded), num_frames=-(-len(crop) // FRAME_HOP))
        return 1.0 + 4.0 * float(model.head(features_CT.T[None]))


def _features(model: _Model, spectrogram: torch.Tensor, *, num_frames: int) -> torch.Tensor:
    """The convolutions' output, (features, time), of which only the first `num_frames` frames hold sound."""
    import torch

    sound = num_frames + REACH  # behind it, the output is the one that zeros make
    computed = sound + REACH  # behind `sound`, the cut itself shows
    if computed >= spectrogram.shape[-1]:
        return model.convolutions(spectrogram).flatten(1, -2)[0]
    kept = -(-sound // 2)  # the last convolution halves the frame rate
    head_CT = model.convolutions(spectrogram[..., :computed]).flatten(1, -2)[0, :, :kept]
    return torch.cat((head_CT, model.padding_CT[:, kept:]), dim=1)


def _spectrogram(samples: torch.Tensor) -> torch.Tensor:
    """The package's compressed complex spectrogram, shape (batch, 2, frequencies, frames)."""
    import torch
    from distillmos.sqa import _complex_compressed

    spectrogram: torch.Tensor = _complex_compressed(samples, FRAME_HOP, 2 * FRAME_HOP).permute(0, 3, 1, 2)
    return spectrogram.contiguous(memory_format=torch.channels_last)
