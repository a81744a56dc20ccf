"""Against a real HTTP server on loopback that truly decodes the audio."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from contracts.audio import Audio
from contracts.errors import ConfigError, EndpointDown, TranscriptionError
from tasks.asr_backends.faster_whisper import FasterWhisper
from tasks.asr_backends.openai_transcription import OpenAITranscription
from tasks.scorers.error_rates import WER
from tests.tasks.asr_backends.conftest import TEXTS
from tests.tasks.asr_backends.transcription_server import Answer, serve


def of_length(*seconds: float) -> list[Audio]:
    return [Audio(np.full(int(s * 16_000), 0.1, dtype=np.float32), 16_000) for s in seconds]


def says_the_length(audio: Audio, fields: dict[str, str]) -> Answer:
    time.sleep(0.1 / audio.duration)  # the first asked is the last answered
    return 200, {"text": f" {audio.duration:.1f} "}


def always(status: int, answer: dict[str, Any] | None = None) -> Callable[[Audio, dict[str, str]], Answer]:
    return lambda audio, fields: (status, answer or {"error": {"message": "no such luck"}})


def test_speech_sent_through_the_wire_is_heard_as_it_was_said(
    whisper: FasterWhisper, spoken: tuple[Audio, ...]
) -> None:
    def hear(audio: Audio, fields: dict[str, str]) -> Answer:
        (heard,) = whisper.transcribe([audio], language=fields["language"])
        return 200, {"text": heard.text}

    with serve(hear) as server, OpenAITranscription(base_url=server.base_url, model="tiny") as asr:
        heard = asr.transcribe(spoken, language="en")
    assert [WER().rate(text, one.text).value for text, one in zip(TEXTS, heard, strict=True)] == [0, 0, 0]
    assert server.asked[0] == {"model": "tiny", "language": "en", "response_format": "json", "temperature": "0.0"}


def test_answers_are_in_the_order_of_the_audio_and_requests_run_at_once() -> None:
    seconds = [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    with serve(says_the_length) as server:
        with OpenAITranscription(base_url=server.base_url, model="m", max_concurrency=3) as asr:
            heard = asr.transcribe(of_length(*seconds), language="en")
    assert [one.text for one in heard] == [f"{s:.1f}" for s in seconds]
    assert 1 < server.most_at_once <= 3


def test_the_key_comes_from_the_variable_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "s3cret")
    with serve(says_the_length) as server:
        for variable in ("MY_KEY", "UNSET_KEY"):
            with OpenAITranscription(base_url=server.base_url, model="m", api_key_env=variable) as asr:
                asr.transcribe(of_length(1), language="en")
    assert server.keys == ["s3cret", "none"]


def test_figures_of_a_verbose_answer_are_the_means_over_its_segments() -> None:
    segments = [{"id": i, "avg_logprob": -0.2 * i, "no_speech_prob": 0.1, "compression_ratio": 1.0} for i in (1, 2)]
    with serve(always(200, {"text": "hi", "segments": segments})) as server:
        options = {"base_url": server.base_url, "model": "m"}
        with OpenAITranscription(**options, response_format="verbose_json") as asr:  # type: ignore[arg-type]
            (heard,) = asr.transcribe(of_length(1), language="en")
    assert heard.avg_logprob == pytest.approx(-0.3)
    assert (heard.no_speech_prob, heard.compression_ratio) == pytest.approx((0.1, 1.0))


def test_a_server_that_fails_twice_is_asked_a_third_time() -> None:
    answers = iter([(500, {}), (503, {}), (200, {"text": "at last"})])
    with serve(lambda audio, fields: next(answers)) as server:
        with OpenAITranscription(base_url=server.base_url, model="m", attempts=3) as asr:
            (heard,) = asr.transcribe(of_length(1), language="en")
    assert (heard.text, len(server.asked)) == ("at last", 3)


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (500, EndpointDown, "answered 500 at each of 2 tries: .*no such luck"),
        (401, EndpointDown, "refuses our key .variable OPENAI_API_KEY"),
        (404, EndpointDown, "knows no model 'm'"),
        (400, TranscriptionError, "refused the audio with 400: .*no such luck"),
    ],
)
def test_an_error_answer_is_told_in_words(status: int, error: type[Exception], words: str) -> None:
    with serve(always(status)) as server:
        with OpenAITranscription(base_url=server.base_url, model="m", attempts=2) as asr:
            with pytest.raises(error, match=words):
                asr.transcribe(of_length(1), language="en")
    assert len(server.asked) == (2 if status == 500 else 1)


def test_an_answer_without_text_is_an_error() -> None:
    with serve(always(200, {"words": []})) as server:
        with OpenAITranscription(base_url=server.base_url, model="m") as asr:
            with pytest.raises(TranscriptionError, match="without `text`"):
                asr.transcribe(of_length(1), language="en")


def test_a_server_that_hangs_is_down_after_the_timeout() -> None:
    def hang(audio: Audio, fields: dict[str, str]) -> Answer:
        time.sleep(0.5)
        return 200, {"text": "late"}

    with serve(hang) as server:
        with OpenAITranscription(base_url=server.base_url, model="m", timeout=0.1, attempts=1) as asr:
            with pytest.raises(EndpointDown, match="does not answer"):
                asr.transcribe(of_length(1), language="en")


def test_check_tells_a_server_that_is_up_from_one_that_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(says_the_length) as server:
        asr = OpenAITranscription(base_url=server.base_url, model="m")
        asr.check()
        monkeypatch.setenv("OPENAI_API_KEY", "bad")
        with pytest.raises(EndpointDown, match="refuses our key"):
            asr.check()
    with pytest.raises(EndpointDown, match="does not answer"):
        asr.check()


def test_nonsense_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="attempts"):
        OpenAITranscription(base_url="http://x/v1", model="m", attempts=0)
    with pytest.raises(ConfigError, match="response_format"):
        OpenAITranscription(base_url="http://x/v1", model="m", response_format="srt")  # type: ignore[arg-type]
