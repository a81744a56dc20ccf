"""Voices that a lab brings along: a folder of clips and, beside them, `voices.jsonl` with one line per clip.

    {"file": "anna.wav", "name": "anna", "gender": "female", "age": "young_adult", "languages": ["en"],
     "text": "What is said in the clip, word for word.", "license": "CC-BY-4.0", "source": "recorded by us, consent 17"}

`age` may be left out, everything else must stand there. Blank lines and lines that begin with # are skipped. A cloning
backend copies whatever is in a clip, hiss and clipping included, so a clip is measured before it is let in, and every
fault is told with its line.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import soundfile
from pydantic import ConfigDict, Field, ValidationError

from contracts.audio import Samples
from contracts.records import Gender, Record, Voice

METADATA = "voices.jsonl"
AUDIO_ENDINGS = (".wav", ".flac", ".ogg", ".mp3", ".opus")

MIN_SAMPLE_RATE = 16_000
"""Hz; speaker encoders and speech tokenizers listen at 16 kHz."""
SECONDS = (2.0, 30.0)
"""Shorter says too little of a voice; CosyVoice takes no more than 30 s."""
MAX_CHANNELS = 2
FULL_SCALE = 0.999
MAX_CLIPPED = 1e-3
"""Share of samples at full scale. A clip that was merely brought to its peak has a handful of them."""
MIN_SPEECH_LEVEL = -45.0
"""dBFS; a quieter recording is mostly its own noise."""
MIN_SPEECH_TO_PAUSE = 15.0
"""dB between speech and pauses; below it, a clone hisses."""
LETTERS_PER_SECOND = (1.5, 35.0)
"""Outside of it, the text cannot be what is said: Chinese is read at about 4, English at about 15."""

_FRAME = 0.02
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_LANGUAGE = re.compile(r"[a-z]{2}")


class Entry(Record):
    """A line of voices.jsonl."""

    model_config = ConfigDict(strict=True)

    file: str = Field(pattern=r"^[^\x00]+$")
    """Name of the clip, relative to the folder."""
    name: str
    """Letters, digits, - and _; unique in the folder."""
    gender: Gender
    age: str | None = None
    """Age band as it sounds."""
    languages: list[str] = Field(min_length=1)
    """ISO 639-1 codes of what the voice shall speak."""
    text: str
    """What is said in the clip."""
    license: str
    source: str
    """Where the clip comes from, and by what right it is used."""


class Figures(Record):
    """What was measured of a clip."""

    sample_rate: int
    """Hz."""
    channels: int
    duration: float
    """Seconds."""
    peak: float
    """Largest absolute sample, 1.0 is full scale."""
    clipped: float
    """Share of samples at full scale."""
    speech_level: float
    """dBFS: the level that a tenth of the frames of 20 ms exceeds."""
    speech_to_pause: float
    """dB between that and the level that a twentieth of the frames stays below: a lower bound of the SNR where the clip
    has pauses, and of no meaning where it has none."""


class Fault(Record):
    """Why an entry cannot be used."""

    line: int | None
    """Line of voices.jsonl, from 1; None for a fault of the folder."""
    file: str | None
    code: str
    """Countable, e.g. `clipped`."""
    detail: str
    """What was wrong, what is expected, what to do."""

    def __str__(self) -> str:
        """As one line for people."""
        place = METADATA if self.line is None else f"{METADATA} line {self.line}"
        return f"{place}{f' ({self.file})' if self.file else ''}: {self.detail}"


class ClipFinding(Record):
    """One line of voices.jsonl with what was found of it."""

    line: int
    file: str | None = None
    name: str | None = None
    voice: Voice | None = None
    """None when the clip has faults."""
    figures: Figures | None = None
    """None when it could not be decoded, or is too long to be."""
    faults: tuple[Fault, ...] = ()


class ReferenceCheck(Record):
    """A folder of reference clips, line by line."""

    folder: str
    clips: tuple[ClipFinding, ...]
    folder_faults: tuple[Fault, ...] = ()
    unlisted: tuple[str, ...] = ()
    """Audio files that no line names; no fault, but often a forgotten line."""

    @property
    def voices(self) -> tuple[Voice, ...]:
        """The voices without faults, in the file's order."""
        return tuple(clip.voice for clip in self.clips if clip.voice is not None)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """All faults, in the file's order."""
        return (*self.folder_faults, *(fault for clip in self.clips for fault in clip.faults))


def check_reference_voices(
    folder: Path, *, ages: Iterable[str] | None = None, backend: str = "cosyvoice"
) -> ReferenceCheck:
    """Read voices.jsonl and listen to every clip; raises nothing, everything wrong is in the result.

    Args:
        folder: with the clips and voices.jsonl.
        ages: the age bands that exist; None takes any.
        backend: who shall speak with these voices; the first half of their ids.
    """
    path = folder / METADATA
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        detail = f"it cannot be read ({error}); write one line of JSON per clip, in UTF-8, into {path}"
        return ReferenceCheck(folder=str(folder), clips=(), folder_faults=(_fault(None, None, "no_metadata", detail),))
    reader = _Reader(folder, None if ages is None else tuple(ages), backend)
    lines = enumerate(text.splitlines(), start=1)
    clips = tuple(reader.read(n, line) for n, line in lines if line.strip() and not line.lstrip().startswith("#"))
    empty = _fault(None, None, "empty", "it names no clip; write one line of JSON per clip")
    return ReferenceCheck(
        folder=str(folder),
        clips=clips,
        folder_faults=() if clips else (empty,),
        unlisted=tuple(sorted(_audio_files(folder) - reader.files)),
    )


class _Reader:
    """Turns lines into findings and remembers what must be unique."""

    def __init__(self, folder: Path, ages: tuple[str, ...] | None, backend: str) -> None:
        self.folder, self.ages, self.backend = folder, ages, backend
        self.files: set[str] = set()
        self.names: dict[str, int] = {}
        self.contents: dict[str, int] = {}

    def read(self, line: int, text: str) -> ClipFinding:
        try:
            entry = Entry.model_validate(json.loads(text))
        except ValidationError as error:
            told = "; ".join(f"{'.'.join(str(p) for p in e['loc']) or 'entry'}: {e['msg']}" for e in error.errors())
            return _unreadable(line, "bad_entry", f"{told}. Its keys are {', '.join(Entry.model_fields)}")
        except (ValueError, RecursionError) as error:
            return _unreadable(line, "no_json", f"no JSON object ({error}); write one object per line")
        faults = list(self._entry_faults(line, entry))
        figures, content = None, None
        path = (self.folder / entry.file).resolve()
        if not path.is_relative_to(self.folder.resolve()):
            faults.append(_fault(line, entry.file, "outside", "the clip lies outside the folder; put it inside"))
        elif not path.is_file():
            faults.append(_fault(line, entry.file, "no_file", f"there is no file {path}; put it there or mend `file`"))
        else:
            self.files.add(path.relative_to(self.folder.resolve()).as_posix())
            content = _sha256(path)
            if content and (first := self.contents.setdefault(content, line)) != line:
                detail = f"the same clip as line {first}; one clip is one voice, take one of the lines out"
                faults.append(_fault(line, entry.file, "same_clip", detail))
            figures, wrong = measured(path)
            faults += [_fault(line, entry.file, code, detail) for code, detail in wrong]
            if figures:
                wrong = list(_audio_faults(figures, entry.text))
                faults += [_fault(line, entry.file, code, detail) for code, detail in wrong]
        voice = None if faults or content is None else self._voice(entry, content)
        return ClipFinding(
            line=line, file=entry.file, name=entry.name, voice=voice, figures=figures, faults=tuple(faults)
        )

    def _entry_faults(self, line: int, entry: Entry) -> Iterator[Fault]:
        if not _NAME.fullmatch(entry.name):
            detail = f"the name {entry.name!r} is not made of letters, digits, - and _ (64 at most); choose another"
            yield _fault(line, entry.file, "bad_name", detail)
        # Names differing in case alone would be one file name on some disks.
        if (first := self.names.setdefault(entry.name.lower(), line)) != line:
            detail = f"the name {entry.name!r} is taken by line {first}; every voice needs its own"
            yield _fault(line, entry.file, "same_name", detail)
        if self.ages is not None and entry.age is not None and entry.age not in self.ages:
            detail = f"there is no age band {entry.age!r}; choose one of: {', '.join(self.ages)}, or leave `age` out"
            yield _fault(line, entry.file, "bad_age", detail)
        for language in entry.languages:
            if not _LANGUAGE.fullmatch(language):
                detail = f"{language!r} is no ISO 639-1 code such as en or zh"
                yield _fault(line, entry.file, "bad_language", detail)
        for key, why in (
            ("text", "write what is said in the clip, word for word"),
            ("license", "state the license that the clip may be used under, or do not use it"),
            ("source", "say where the clip comes from"),
        ):
            if not str(getattr(entry, key)).strip():
                yield _fault(line, entry.file, f"no_{key}", f"`{key}` is empty; {why}")

    def _voice(self, entry: Entry, content: str) -> Voice:
        return Voice(
            id=f"{self.backend}/{entry.name}",
            backend=self.backend,
            name=entry.name,
            gender=entry.gender,
            age=entry.age,
            languages=tuple(entry.languages),
            license=entry.license,
            source=entry.source,
            # As the folder was given, so that a relative one is the same voice on every machine.
            reference=str(self.folder / entry.file),
            reference_text=entry.text.strip(),
            sha256=content,
        )


def measured(path: Path) -> tuple[Figures | None, list[tuple[str, str]]]:
    """Figures of a clip, or why it has none, as (code, detail)."""
    try:
        with soundfile.SoundFile(path) as file:
            seconds = file.frames / file.samplerate
            # Not decoded, so that a mistaken hour of audio does not fill the memory.
            if seconds > SECONDS[1]:
                return None, [("too_long", f"{seconds:.1f} s long; cut it to {SECONDS[0]:g} to {SECONDS[1]:g} s")]
            samples = file.read(dtype="float32", always_2d=True)
            sample_rate, frames = file.samplerate, file.frames
    except (soundfile.SoundFileError, OSError) as error:
        return None, [("not_decodable", f"it cannot be decoded ({error}); write it anew as WAV or FLAC")]
    if not len(samples):
        return None, [("silent", "it holds no samples; record it anew")]
    if len(samples) < frames or not np.isfinite(samples).all():
        return None, [("damaged", "it ends early or holds samples that are not finite; write it anew")]
    return _figures(samples, sample_rate), []


def _figures(samples: Samples, sample_rate: int) -> Figures:
    """Args: samples: shape (num_samples, num_channels); sample_rate: in Hz."""
    mono = samples.mean(axis=1)
    size = max(1, int(_FRAME * sample_rate))
    whole = mono[: max(1, len(mono) // size) * size]
    frames = whole.reshape(-1, size) if len(whole) >= size else whole.reshape(1, -1)
    levels = 10 * np.log10(np.mean(np.square(frames, dtype=np.float64), axis=1) + 1e-10)
    speech, pause = np.percentile(levels, [90, 5])
    return Figures(
        sample_rate=sample_rate,
        channels=samples.shape[1],
        duration=round(len(mono) / sample_rate, 3),
        peak=round(float(np.abs(samples).max()), 4),
        # Of the worst channel: a mean of two would hide the one that clips.
        clipped=float((np.abs(samples) >= FULL_SCALE).mean(axis=0).max()),
        speech_level=round(float(speech), 1),
        speech_to_pause=round(float(speech - pause), 1),
    )


def _audio_faults(figures: Figures, text: str) -> Iterator[tuple[str, str]]:
    low, high = SECONDS
    if figures.sample_rate < MIN_SAMPLE_RATE:
        yield (
            "low_sample_rate",
            f"{figures.sample_rate} Hz, at least {MIN_SAMPLE_RATE} is needed; take a better original",
        )
    if figures.channels > MAX_CHANNELS:
        yield "too_many_channels", f"{figures.channels} channels; mix it down to mono"
    if not low <= figures.duration <= high:
        yield "too_short", f"{figures.duration:.1f} s long; {low:g} to {high:g} s of speech are needed"
    if figures.clipped > MAX_CLIPPED:
        yield "clipped", f"{figures.clipped:.2%} of the samples are at full scale; record it anew with less gain"
    if figures.speech_level < MIN_SPEECH_LEVEL:
        yield (
            "too_quiet",
            f"speech at {figures.speech_level:.0f} dBFS, at least {MIN_SPEECH_LEVEL:.0f} is needed; record it louder",
        )
    elif figures.speech_to_pause < MIN_SPEECH_TO_PAUSE:
        yield (
            "noisy",
            f"speech stands {figures.speech_to_pause:.0f} dB above the pauses, {MIN_SPEECH_TO_PAUSE:.0f} are needed; "
            "take a cleaner clip, or one with pauses in it",
        )
    letters = sum(character.isalnum() for character in text) / figures.duration
    if text.strip() and not LETTERS_PER_SECOND[0] <= letters <= LETTERS_PER_SECOND[1]:
        yield "text_does_not_fit", f"{letters:.1f} letters a second: `text` cannot be what is said; mend it"


def _sha256(path: Path) -> str | None:
    """Of the clip's bytes; None when they cannot be read, which its decoding then tells."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _unreadable(line: int, code: str, detail: str) -> ClipFinding:
    return ClipFinding(line=line, faults=(_fault(line, None, code, detail),))


def _fault(line: int | None, file: str | None, code: str, detail: str) -> Fault:
    return Fault(line=line, file=file, code=code, detail=f"{detail}.")


def stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Name, size and time of every file of a folder: equal stamps, equal checks."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files)


def _audio_files(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in AUDIO_ENDINGS and path.is_file()
    }
