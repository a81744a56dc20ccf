"""What the synthesize and assess stages do with engines that misbehave; the engines here are scripted for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from contracts.audio import Audio
from contracts.errors import SynthesisError, TranscriptionError
from contracts.protocols import Capabilities, SpeechRequest, Transcript
from contracts.records import Delivery, Reason, Voice
from tasks.assess_speech import hear, score_all
from tasks.synthesize_speech import defect, render

VOICE = Voice(id="fake/a", backend="fake", name="a", gender="female", license="none", source="test")


def request(text: str) -> SpeechRequest:
    return SpeechRequest(text=text, voice=VOICE, language="en", delivery=Delivery(emotion="sad", intensity=0.5))


def noise(seconds: float = 0.5, rate: int = 16000) -> Audio:
    return Audio(np.full(int(seconds * rate), 0.1, np.float32), rate)


class ScriptedTTS:
    """Answers each text by a function; a batch fails when any of its texts does, as real engines do."""

    name, revision = "fake", "1"
    capabilities = Capabilities(sample_rate=16000, languages=("en",))

    def __init__(self, answer: Callable[[str], Audio]) -> None:
        self.answer, self.batches = answer, []  # type: ignore[var-annotated]

    def synthesize(self, requests: Sequence[SpeechRequest], /) -> Sequence[Audio]:
        self.batches.append(len(requests))
        return [self.answer(r.text) for r in requests]


def test_one_bad_text_costs_one_request() -> None:
    def answer(text: str) -> Audio:
        if "bad" in text:
            raise ValueError("cannot say this")
        return noise()

    backend: Any = ScriptedTTS(answer)
    out = render([request(t) for t in ("a", "bad", "c", "d", "e")], backend, batch_size=4)
    assert [isinstance(r, Reason) for r in out] == [False, True, False, False, False]
    assert isinstance(out[1], Reason) and out[1].code == "tts_error" and "cannot say this" in out[1].detail
    assert backend.batches == [4, 1, 1, 1, 1, 1]


def test_backend_that_fails_on_everything_is_an_engine_fault() -> None:
    def answer(_: str) -> Audio:
        raise RuntimeError("out of memory")

    with pytest.raises(SynthesisError, match="'fake' failed on all 5 requests.*out of memory.*s2s say"):
        render([request("x")] * 5, ScriptedTTS(answer), batch_size=2)  # type: ignore[arg-type]


def test_backend_that_returns_too_few_is_asked_one_by_one() -> None:
    class Short(ScriptedTTS):
        def synthesize(self, requests: Sequence[SpeechRequest], /) -> Sequence[Audio]:
            return super().synthesize(requests)[: max(1, len(requests) - 1)]

    out = render([request("x")] * 3, Short(lambda _: noise()), batch_size=3)  # type: ignore[arg-type]
    assert all(isinstance(r, Audio) for r in out)


@pytest.mark.parametrize(
    ("audio", "code"),
    [
        (noise(rate=8000), "tts_wrong_rate"),
        (noise(0.05), "tts_empty"),
        (Audio(np.zeros(0, np.float32), 16000), "tts_empty"),
        (Audio(np.full(16000, np.nan, np.float32), 16000), "tts_not_finite"),
        (Audio(np.zeros(16000, np.float32), 16000), "tts_silent"),
    ],
)
def test_unusable_rendering_is_a_typed_reason(audio: Audio, code: str) -> None:
    reason = defect(audio, 16000)
    assert reason is not None and reason.code == code


def test_usable_rendering_has_no_defect() -> None:
    assert defect(noise(), 16000) is None


class ScriptedASR:
    name, revision = "fake", "1"

    def __init__(self, fails: Callable[[Audio], bool]) -> None:
        self.fails = fails

    def transcribe(self, audio: Sequence[Audio], /, *, language: str) -> Sequence[Transcript]:
        if any(self.fails(a) for a in audio):
            raise OSError("decoder crashed")
        return [Transcript(text=f"{a.duration:.1f}") for a in audio]


def test_one_utterance_that_cannot_be_heard_costs_itself() -> None:
    audios = [noise(0.5), noise(0.9), noise(0.7)]
    out = hear(audios, ScriptedASR(lambda a: a.duration > 0.8), language="en", batch_size=8)  # type: ignore[arg-type]
    assert isinstance(out[1], Reason) and out[1].code == "asr_error"
    assert [h.text for h in out if isinstance(h, Transcript)] == ["0.5", "0.7"]


def test_asr_that_fails_on_everything_is_an_engine_fault() -> None:
    with pytest.raises(TranscriptionError, match="failed on all 4 utterances.*s2s doctor"):
        hear([noise()] * 4, ScriptedASR(lambda _: True), language="en", batch_size=2)  # type: ignore[arg-type]


def test_scorer_that_raises_costs_only_its_own_figure() -> None:
    class Broken:
        name = "mos"

        def score(self, _batch: Any, /) -> Any:
            raise ZeroDivisionError("no frames")

    scores = score_all([None, None], Broken())  # type: ignore[arg-type, list-item]
    assert [s.value for s in scores] == [None, None]
    assert "no frames" in (scores[0].error or "")
