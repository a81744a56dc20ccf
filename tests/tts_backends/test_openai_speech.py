"""Against a real HTTP server on loopback. That real speech comes through is in test_conformance.py."""

from __future__ import annotations

import dataclasses
import email.utils
import io
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import soundfile

from contracts.errors import ConfigError, EndpointDown, SynthesisError
from contracts.protocols import SpeechRequest
from tests.tts_backends.conftest import request_for
from tests.tts_backends.speech_server import Reply, Server, error, file_of, serve, tone
from tts_backends import openai_speech, speech_endpoint
from tts_backends.openai_speech import OPENAI_VOICES, OpenAISpeech, decoded
from tts_backends.speech_endpoint import Refused

GOOD = Reply(file_of(tone()))


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech_endpoint, "BACKOFF", 0.01)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def backend(server: Server, **options: Any) -> OpenAISpeech:
    return OpenAISpeech(**{"base_url": server.base_url, "request_attempts": 3, **options})


def asked(text: str = "Good morning.", **controls: Any) -> SpeechRequest:
    return request_for(OpenAISpeech().voices()[0], text, **controls)


def after(*replies: Reply) -> Callable[[dict[str, Any]], Reply]:
    """These replies in turn, then the good one for ever."""
    left: Iterator[Reply] = iter(replies)
    return lambda fields: next(left, GOOD)


def speak(server: Server, request: SpeechRequest | None = None, **options: Any) -> np.ndarray:
    with backend(server, **options) as speaker:
        [audio] = speaker.synthesize([request or asked()])
    assert audio.sample_rate == speaker.capabilities.sample_rate
    return audio.samples


def test_wav_flac_and_pcm_are_the_same_sound() -> None:
    with serve(lambda fields: Reply(file_of(tone(), fields["response_format"]), content_type="x/y")) as server:
        heard = {form: speak(server, response_format=form) for form in ("wav", "flac", "pcm")}
    for samples in heard.values():
        assert len(samples) == len(tone())
        assert np.abs(samples - tone()).max() <= 1 / 32768
    assert [fields["response_format"] for fields in server.asked] == ["wav", "flac", "pcm"]


def test_another_rate_and_two_channels_come_as_mono_at_the_promised_rate() -> None:
    stereo = np.stack([tone(1, 44_100), np.zeros_like(tone(1, 44_100))], axis=1)
    with serve(after(Reply(file_of(stereo, sample_rate=44_100)))) as server:
        samples = speak(server, sample_rate=16_000)
    assert len(samples) == 16_000
    assert np.abs(samples).max() == pytest.approx(0.25, abs=0.01)


def test_a_streamed_wav_whose_header_does_not_know_its_length_is_taken() -> None:
    body = bytearray(GOOD.body)
    struct.pack_into("<I", body, 4, 0xFFFFFFFF)
    struct.pack_into("<I", body, 40, 0xFFFFFFFF)
    with serve(after(Reply(bytes(body), length=False))) as server:
        assert len(speak(server)) == len(tone())
    assert len(server.asked) == 1


def test_the_request_holds_what_the_api_knows_and_no_more() -> None:
    delivery = {"instruct": "warmly", "rate": 1.2, "pitch": 1.1, "energy": 1.3}
    with serve(after()) as server:
        speak(server, asked(**delivery))
        speak(server, asked(**delivery), instruct=True, speed=False, send_seed=True, model="m")
        speak(server, asked(**delivery), delivery_controls=["pitch", "energy"])
        speak(server, asked())
    plain = {"model": "tts-1", "input": "Good morning.", "voice": "ash", "response_format": "wav"}
    assert server.asked == [
        plain | {"speed": 1.2},
        plain | {"model": "m", "instructions": "warmly", "seed": 7},
        plain | {"speed": 1.2, "delivery": {"pitch": 1.1, "energy": 1.3}},
        plain,
    ]


def test_what_comes_through_our_own_server_is_what_the_engine_says(entered: Any) -> None:
    there, here = entered("openai_speech"), entered("hibari")
    factors = {name: 1.2 for name in sorted(here.capabilities.controls)}
    texts = ("Good morning.", "It must have been a long day for you.")
    [far, near] = [
        engine.synthesize([request_for(engine.voices()[0], text, **factors) for text in texts])
        for engine in (there, here)
    ]
    for left, right in zip(far, near, strict=True):
        assert np.abs(left.samples - right.samples).max() <= 1 / 32768


def test_capabilities_say_what_is_sent() -> None:
    assert OpenAISpeech().capabilities.emotion == "none"
    assert OpenAISpeech(instruct=True).capabilities.emotion == "instruct"
    assert OpenAISpeech().capabilities.controls == {"rate"}
    assert OpenAISpeech(speed=False, delivery_controls=["pitch"]).capabilities.controls == {"pitch"}
    assert OpenAISpeech(delivery_controls=["pitch"]).capabilities.emotion == "prosody"


def test_patience_that_is_asked_for_is_had() -> None:
    with serve(after(error(429, Retry_After="0.3"), error(503, Retry_After="0.2"))) as server:
        speak(server)
    waited = np.diff(server.times)
    assert waited[0] >= 0.3 and waited[1] >= 0.2


def test_patience_may_be_asked_for_by_date_and_not_without_end() -> None:
    date = email.utils.formatdate(time.time() + 2, usegmt=True)
    assert 0.5 < speech_endpoint.retry_after(date) <= 2
    assert [speech_endpoint.retry_after(value) for value in (None, "soon", "-3")] == [0, 0, 0]
    with (
        serve(after(error(429, Retry_After="3600"))) as server,
        pytest.raises(EndpointDown, match="3600 s of patience"),
    ):
        speak(server)
    assert len(server.asked) == 1


def test_pauses_grow_and_differ() -> None:
    pauses = [[speech_endpoint.backoff(attempt) for _ in range(50)] for attempt in (1, 2, 3, 30)]
    for attempt, drawn in enumerate(pauses[:3]):
        assert 0.005 * 2**attempt <= min(drawn) < max(drawn) <= 0.01 * 2**attempt
    assert max(pauses[3]) <= speech_endpoint.MAX_BACKOFF


def test_a_server_that_fails_twice_is_asked_a_third_time() -> None:
    with serve(after(error(500), error(502))) as server:
        speak(server)
    assert len(server.asked) == 3


def test_a_server_that_fails_always_at_a_text_costs_that_text() -> None:
    with serve(lambda fields: error(500, "out of memory")) as server:
        with pytest.raises(SynthesisError, match="'Good morning.'.*500: out of memory, at the last of 3 tries"):
            speak(server)
    assert len(server.asked) == 3


def test_a_server_that_never_has_room_is_down() -> None:
    with serve(lambda fields: error(429)) as server, pytest.raises(EndpointDown, match="429: no such luck"):
        speak(server)


@pytest.mark.parametrize("body", [b'{"detail": "bad input"}', b"bad\n input", b'{"error": {"message": "bad input"}}'])
def test_a_refusal_is_told_in_the_servers_words_and_not_tried_again(body: bytes) -> None:
    with serve(after(Reply(body, 400, "text/plain"))) as server:
        with pytest.raises(SynthesisError, match="could not speak 'Good morning.': .*refused it with 400: bad input"):
            speak(server)
    assert len(server.asked) == 1


def test_the_message_names_no_more_than_sixty_characters_of_the_text_and_of_a_page_of_html() -> None:
    with serve(after(Reply(b"<p>" * 10_000, 400, "text/html"))) as server, pytest.raises(SynthesisError) as refused:
        speak(server, asked("word " * 100))
    assert "word " * 11 in str(refused.value) and "word " * 13 not in str(refused.value)
    assert len(str(refused.value)) < 600


def test_a_key_that_is_refused_ends_all_and_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "s3cret")
    with serve(after(GOOD, error(401))) as server:
        speak(server, api_key_env="MY_KEY")
        with pytest.raises(EndpointDown, match="refuses our key .401") as refused:
            speak(server)
    assert server.keys == ["Bearer s3cret", None]
    assert "s3cret" not in str(refused.value)


def test_a_stalled_body_ends_with_the_time() -> None:
    with serve(lambda fields: Reply(GOOD.body[:200], pause=0.02)) as server:
        began = time.monotonic()
        with pytest.raises(SynthesisError, match="not complete after 0.3 s, at the last of 2 tries"):
            speak(server, timeout=0.3, request_attempts=2)
        assert time.monotonic() - began < 2
    assert len(server.asked) == 2


def test_a_server_that_does_not_begin_to_answer_is_given_up_and_may_recover() -> None:
    with serve(after(dataclasses.replace(GOOD, wait=1.0))) as server:
        speak(server, timeout=0.3)
    assert len(server.asked) == 2


@pytest.mark.parametrize("form", ["wav", "flac"])
def test_a_body_that_is_cut_is_asked_for_again(form: str) -> None:
    whole = Reply(file_of(tone(), form))
    with serve(lambda fields: whole if len(server.asked) > 1 else dataclasses.replace(whole, send=2000)) as server:
        assert len(speak(server, response_format=form)) == len(tone())
    assert len(server.asked) == 2


@pytest.mark.parametrize("form", ["wav", "flac"])
def test_a_cut_that_http_does_not_show_is_found_in_the_file(form: str) -> None:
    body = file_of(tone(), form)[:-500]
    with serve(after(Reply(body, length=False))) as server, pytest.raises(SynthesisError, match="ends before|decoded"):
        speak(server, response_format=form)


@pytest.mark.parametrize(
    ("reply", "form", "words"),
    [
        (Reply(b"<html>" * 100), "wav", "cannot be decoded"),
        (Reply(b""), "flac", "cannot be decoded"),
        (Reply(b'{"ok": true}', content_type="application/json; charset=utf-8"), "pcm", "is application/json"),
        (Reply(b"abc"), "pcm", "no 16-bit PCM"),
        (Reply(GOOD.body), "pcm", "no 16-bit PCM"),
        (Reply(b""), "pcm", "no samples"),
        (Reply(bytes(20_000)), "pcm", "silence"),
    ],
)
def test_garbage_is_refused(reply: Reply, form: str, words: str) -> None:
    with serve(after(reply)) as server, pytest.raises(SynthesisError, match=f"'Good morning.'.*{words}"):
        speak(server, response_format=form)


def test_samples_that_are_not_finite_are_refused() -> None:
    samples = tone()
    samples[100] = np.nan
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 24_000, format="WAV", subtype="FLOAT")
    with serve(after(Reply(buffer.getvalue()))) as server, pytest.raises(SynthesisError, match="not finite"):
        speak(server)


def test_a_wav_without_data_is_garbage() -> None:
    with pytest.raises(Refused, match="ends before"):
        decoded(GOOD.body[:30], "audio/wav", "wav")


def test_an_answer_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_speech, "MAX_BYTES", 1000)
    with serve(after()) as server, pytest.raises(SynthesisError, match="more than 1000 bytes"):
        speak(server)


def test_requests_in_flight_are_never_more_than_allowed_and_come_back_in_order() -> None:
    def by_length(fields: dict[str, Any]) -> Reply:
        return Reply(file_of(tone(len(fields["input"]) / 100)), wait=0.05)

    lengths = [30, 80, 50, 20, 60, 40, 70, 90, 25, 35, 45, 55]
    with serve(by_length) as server, backend(server, max_concurrency=3, num_threads=1) as speaker:
        audios = speaker.synthesize([asked("x" * length) for length in lengths])
        assert speaker.synthesize([]) == []
    assert [round(audio.duration * 100) for audio in audios] == lengths
    assert server.most_at_once == 3


def test_check_tells_a_server_that_is_up_from_one_that_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(after()) as server:
        speaker = backend(server)
        speaker.check()
        monkeypatch.setenv("OPENAI_API_KEY", "bad")
        with pytest.raises(EndpointDown, match="refuses our key"):
            speaker.check()
    with pytest.raises(EndpointDown, match="does not answer.*s2s serve-tts --backend kokoro --port"):
        speaker.check()


def test_a_server_that_goes_away_is_down() -> None:
    with serve(after()) as server:
        speaker = backend(server).__enter__()
    with pytest.raises(EndpointDown, match="no connection.*at the last of 3 tries. Is the server up"):
        speaker.synthesize([asked()])
    speaker.__exit__(None, None, None)


def test_voices_may_be_told_of_and_some_names_tell_enough() -> None:
    told = {"anna": {"gender": "female", "age": "senior", "languages": ["de"], "license": "CC0"}, "bob": "male"}
    anna, bob = OpenAISpeech(voices=told).voices()
    assert (anna.gender, anna.age, anna.languages, anna.license) == ("female", "senior", ("de",), "CC0")
    assert (bob.id, bob.gender, bob.license[:7]) == ("openai_speech/bob", "male", "unknown")
    heart, xiao = OpenAISpeech(voices=["af_heart", "zf_xiaoxiao"]).voices()
    assert (heart.gender, heart.languages, xiao.languages) == ("female", ("en",), ("zh",))
    assert [voice.name for voice in OpenAISpeech().voices()] == list(OPENAI_VOICES)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"voices": ["anna"]}, "voices.'anna'. is wrong .gender: Field required.*gender: female"),
        ({"voices": []}, "not empty"),
        ({"voices": "ash"}, "list of names"),
        ({"voices": {"a.b": "male"}}, "no dot"),
        ({"voices": {"anna": {"gender": "female", "size": 3}}}, "size"),
        ({"base_url": "localhost:8880"}, "base_url is like"),
        ({"response_format": "aac"}, "one of wav, flac, pcm"),
        ({"request_attempts": 0}, "request_attempts"),
        ({"sample_rate": 10}, "sample_rate"),
        ({"num_threads": 0}, "num_threads"),
        ({"delivery_controls": ["loudness"]}, "no control 'loudness'"),
    ],
)
def test_nonsense_options_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        OpenAISpeech(**options)
