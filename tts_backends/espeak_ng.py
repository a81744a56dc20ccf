"""eSpeak NG: Debian's formant synthesizer. Robotic and hard on an ASR, but fast, varied, and it renders every control.

For load tests and variety, and for Mandarin. One process per utterance: that costs some 10 ms, and nothing in it can
crash us.

How the controls map, measured on en-us+f3 (F0 by librosa's yin):
    rate: words per minute in proportion.
    pitch: the program's 0..99 scale is exponential, about 75 steps an octave (-p 30 / 50 / 70: 174 / 204 / 244 Hz).
    pitch_range: SSML's `range`; it moves the mean too (x 0.94 at 50%, x 1.07 at 150%), which the pitch makes good.
    energy: amplitude in proportion.
"""

from __future__ import annotations

import math
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from xml.sax.saxutils import escape

import numpy as np

from contracts.audio import Samples
from contracts.errors import MissingExtra, SynthesisError
from contracts.protocols import Capabilities, SpeechRequest
from contracts.records import Delivery, Gender, Voice
from tts_backends.base import LocalBackend, quoted

SAMPLE_RATE = 22_050
WORDS_PER_MINUTE = 175
AMPLITUDE = 60
"""Neutral, of 0..200. The program's own 100 peaks at 0.94 and leaves no room for energy above 1."""
TIMEOUT = 60.0
"""Seconds for one utterance; the program speaks 100 times faster than real time."""
_WAV_HEADER = 44

VOICE_TABLE: dict[str, tuple[str, Gender]] = {
    "us_f1": ("en-us+f1", "female"),
    "us_f2": ("en-us+f2", "female"),
    "us_f3": ("en-us+f3", "female"),
    "us_f5": ("en-us+f5", "female"),
    "us_steph": ("en-us+steph", "female"),
    "us_grandma": ("en-us+grandma", "female"),
    "us_annie": ("en-us+Annie", "female"),
    "us_andrea": ("en-us+Andrea", "female"),
    "us_alicia": ("en-us+Alicia", "female"),
    "us_anika": ("en-us+anika", "female"),
    "gb_f2": ("en+f2", "female"),
    "scotland_f2": ("en-gb-scotland+f2", "female"),
    "us": ("en-us", "male"),
    "us_m1": ("en-us+m1", "male"),
    "us_m2": ("en-us+m2", "male"),
    "us_m3": ("en-us+m3", "male"),
    "us_m4": ("en-us+m4", "male"),
    "us_m6": ("en-us+m6", "male"),
    "us_denis": ("en-us+Denis", "male"),
    "us_travis": ("en-us+travis", "male"),
    "gb": ("en", "male"),
    "scotland": ("en-gb-scotland", "male"),
    "mandarin": ("cmn-latn-pinyin", "male"),
    "mandarin_m3": ("cmn-latn-pinyin+m3", "male"),
    "mandarin_f5": ("cmn-latn-pinyin+f5", "female"),
    "mandarin_andrea": ("cmn-latn-pinyin+Andrea", "female"),
    "mandarin_anika": ("cmn-latn-pinyin+anika", "female"),
}
"""Name -> the program's voice, and the gender heard: mean F0 (pyin) 91 to 103 Hz for English men, 176 to 267 Hz for
English women; 88 to 90 and 181 to 237 Hz in Mandarin.

Two traps of version 1.51. `en-gb+f2` drops the variant without a word and a man speaks; `en+f2` is the British woman.
`cmn` reads the tone digits of its own pinyin as English words (`jin one tian one`); `cmn-latn-pinyin` does not.
"""


class EspeakNG(LocalBackend):
    """The program espeak-ng (GPL-3.0, run as a process of its own); its output carries no licence.

    Args:
        num_threads: processes run at once.
        program: name or path of the program.
    """

    name = "espeak_ng"
    capabilities = Capabilities(
        sample_rate=SAMPLE_RATE,
        languages=("en", "zh"),
        emotion="prosody",
        controls=frozenset({"rate", "pitch", "pitch_range", "energy"}),
    )

    def __init__(self, *, num_threads: int = 2, program: str = "espeak-ng") -> None:
        super().__init__(num_threads=num_threads)
        self.program = program
        path = shutil.which(program)
        self.revision = _version(path) if path else "unavailable"

    def check(self) -> None:
        """Say whether the program is here.

        Raises:
            MissingExtra: it is not.
        """
        if shutil.which(self.program) is None:
            raise MissingExtra("TTS backend 'espeak_ng'", f"the program {self.program}", "apt-get install espeak-ng")

    def voices(self) -> Sequence[Voice]:
        """Accents crossed with variants, as VOICE_TABLE lists them."""
        return tuple(
            Voice(
                id=f"espeak_ng/{name}",
                backend=self.name,
                name=name,
                gender=gender,
                languages=("zh" if variant.startswith("cmn-latn-pinyin") else "en",),
                license="GPL-3.0 program; output unrestricted",
                source=f"Debian espeak-ng, voice {variant}",
            )
            for name, (variant, gender) in VOICE_TABLE.items()
        )

    def _speak(self, request: SpeechRequest, /) -> Samples:
        variant, _ = VOICE_TABLE[request.voice.name]
        command = [self.program, "-v", variant, *_flags(request.delivery), "--stdin", "--stdout"]
        text = _marked_up(request.text, request.delivery)
        done = subprocess.run(command, input=text.encode(), capture_output=True, timeout=TIMEOUT, check=False)
        if done.returncode or done.stdout[:4] != b"RIFF":
            said = done.stderr.decode(errors="replace").strip() or f"exit status {done.returncode}"
            fix = f"see whether `{self.program} -v {variant} hello` works"
            raise SynthesisError(f"espeak_ng could not speak {quoted(request.text)}: {said}; {fix}.")
        # A pipe cannot be rewound, so the header's sizes are placeholders: the samples are whatever follows it.
        return np.frombuffer(done.stdout[_WAV_HEADER:], "<i2").astype(np.float32) / np.float32(32768)


def _flags(delivery: Delivery) -> list[str]:
    speed = round(WORDS_PER_MINUTE * (delivery.rate or 1.0))
    amplitude = round(AMPLITUDE * (1.0 if delivery.energy is None else delivery.energy))
    ssml = [] if delivery.pitch_range is None else ["-m"]
    return [
        *ssml,
        *("-s", str(min(max(speed, 80), 450))),
        *("-p", str(_pitch_step(delivery))),
        *("-a", str(min(max(amplitude, 1), 200))),
    ]


def _pitch_step(delivery: Delivery) -> int:
    wider = 0.0 if delivery.pitch_range is None else delivery.pitch_range - 1.0
    factor = (delivery.pitch or 1.0) / (1.0 + 0.13 * min(max(wider, -1.0), 1.0))
    return min(max(round(50 + 75 * math.log2(factor)), 0), 99)


def _marked_up(text: str, delivery: Delivery) -> str:
    """The text as the program reads it; only SSML, which -m turns on, can change the pitch range."""
    if delivery.pitch_range is None:
        return text
    percent = round(100 * min(max(delivery.pitch_range, 0.0), 2.0))
    return f'<prosody range="{percent}%">{escape(text)}</prosody>'


@cache
def _version(path: str) -> str:
    said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=TIMEOUT, check=False).stdout
    words = said.partition("Data at")[0].split()
    return f"espeak-ng {words[-1]}" if words else "espeak-ng of unknown version"
