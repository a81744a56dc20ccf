"""What every ASR backend must do: those that are registered, the endpoint in front of a real server, and the fake."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import cast

import numpy as np
import pytest

from contracts.audio import Audio
from contracts.errors import ConfigError, MissingExtra, TranscriptionError
from contracts.plugins import PluginSpec, create, registered
from contracts.protocols import ASRBackend
from tasks.asr_backends.scripted import Scripted
from tests.tasks.asr_backends.transcription_server import Answer, serve

NAMES = sorted(registered("asr_backends"))
NEEDS_A_SERVER = "openai_transcription"
HEARS_NOTHING = {"scripted"}


def says_the_loudness(audio: Audio, fields: dict[str, str]) -> Answer:
    return 200, {"text": f"{np.abs(audio.samples).mean():.4f}"}


@pytest.fixture(scope="module", params=[*NAMES, *(HEARS_NOTHING - set(NAMES))])
def asr(request: pytest.FixtureRequest) -> Iterator[ASRBackend]:
    with ExitStack() as stack:
        options: dict[str, object] = {}
        if request.param == NEEDS_A_SERVER:
            options = {"base_url": stack.enter_context(serve(says_the_loudness)).base_url, "model": "m"}
        registered_here = request.param in NAMES
        engine = (
            create("asr_backends", PluginSpec(name=request.param, options=options)) if registered_here else Scripted()
        )
        try:
            engine.check()
        except MissingExtra as missing:
            pytest.skip(str(missing))
        yield cast(ASRBackend, stack.enter_context(engine))


def test_it_is_an_asr_backend_with_a_revision(asr: ASRBackend) -> None:
    assert isinstance(asr, ASRBackend)
    assert asr.name and asr.revision


def test_one_transcript_for_each_audio_in_order(asr: ASRBackend, spoken: tuple[Audio, ...]) -> None:
    forth = asr.transcribe(spoken, language="en")
    back = asr.transcribe(spoken[::-1], language="en")
    assert [one.text for one in forth] == [one.text for one in back][::-1]
    assert asr.name in HEARS_NOTHING or len({one.text for one in forth}) == len(spoken)


def test_a_transcript_is_the_same_alone_as_in_a_batch(asr: ASRBackend, spoken: tuple[Audio, ...]) -> None:
    alone = [asr.transcribe([audio], language="en")[0] for audio in spoken]
    assert alone == list(asr.transcribe(spoken, language="en"))


def test_an_empty_batch_gives_no_transcripts(asr: ASRBackend) -> None:
    assert list(asr.transcribe([], language="en")) == []


@pytest.mark.parametrize("samples", [[], [0.0, float("nan")], [0.0, float("inf")]])
def test_audio_that_cannot_be_heard_is_refused_in_words(
    asr: ASRBackend, spoken: tuple[Audio, ...], samples: list[float]
) -> None:
    if asr.name in HEARS_NOTHING:
        pytest.skip("it hears nothing")
    broken = Audio(np.array(samples, dtype=np.float32), 16_000)
    with pytest.raises(TranscriptionError, match="Utterance 2 of 2 .*(empty|finite)"):
        asr.transcribe([spoken[0], broken], language="en")


def test_silence_and_next_to_nothing_do_not_crash(asr: ASRBackend) -> None:
    audios = [Audio(np.zeros(n, dtype=np.float32), 24_000) for n in (1, 100, 24_000)]
    assert len(asr.transcribe(audios, language="en")) == 3


def test_the_fake_says_its_script_over_and_over_and_fails_where_told() -> None:
    audio = Audio(np.zeros(1, dtype=np.float32), 16_000)
    with Scripted(transcripts=["a", "b"]) as fake:
        assert [one.text for one in fake.transcribe([audio] * 3, language="en")] == ["a", "b", "a"]
    with Scripted(transcripts=["a", None]) as fake, pytest.raises(TranscriptionError, match="utterance 2"):
        fake.transcribe([audio] * 2, language="en")
    with pytest.raises(ConfigError, match="list"):
        Scripted(transcripts="hello")
