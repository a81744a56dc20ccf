"""What every registered TTS backend must hold to, ours and outsiders' alike."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from contracts.audio import Audio
from contracts.errors import SynthesisError
from contracts.plugins import PluginSpec, create, registered
from contracts.protocols import TTSBackend
from contracts.records import Voice
from tests.tts_backends.conftest import request_for

SHORT, LONG = "Yes, I do.", "I am very sorry to hear that, it must have been a long day for you."
TEXTS = {"en": (SHORT, LONG), "zh": ("你好。", "今天天气很好，我们去公园吧。")}


def voices_by_language(backend: TTSBackend) -> dict[str, Voice]:
    return {language: voice for voice in reversed(backend.voices()) for language in voice.languages}


def same(left: Audio, right: Audio) -> bool:
    return left.sample_rate == right.sample_rate and np.array_equal(left.samples, right.samples)


@pytest.mark.parametrize("name", sorted(registered("tts_backends")))
def test_construction_names_the_backend_and_lists_voices_without_loading(name: str) -> None:
    backend = create("tts_backends", PluginSpec(name=name, options={"num_threads": 1}))
    assert isinstance(backend, TTSBackend)
    assert backend.name == name
    assert backend.revision
    # A cloning backend has the voices that it is given.
    assert backend.voices() or backend.capabilities.cloning


@pytest.mark.parametrize("name", sorted(registered("tts_backends")))
def test_voice_ids_are_unique_and_of_the_form_backend_slash_name(name: str) -> None:
    backend = create("tts_backends", PluginSpec(name=name))
    assert isinstance(backend, TTSBackend)
    ids = [voice.id for voice in backend.voices()]
    assert len(ids) == len(set(ids))
    for voice in backend.voices():
        assert (voice.id, voice.backend) == (f"{name}/{voice.name}", name)
        assert voice.name and not set(voice.name) & {".", "/"}


@pytest.mark.parametrize("name", sorted(registered("tts_backends")))
def test_each_declared_language_has_a_voice_and_no_voice_has_another(name: str) -> None:
    backend = create("tts_backends", PluginSpec(name=name))
    assert isinstance(backend, TTSBackend)
    assert set(voices_by_language(backend)) == set(backend.capabilities.languages)


def test_audio_is_sane_in_every_language(backend: TTSBackend) -> None:
    for language, voice in voices_by_language(backend).items():
        requests = [request_for(voice, text, language=language) for text in TEXTS[language]]
        short, long = backend.synthesize(requests)
        for audio in (short, long):
            assert audio.sample_rate == backend.capabilities.sample_rate
            assert audio.samples.dtype == np.float32
            assert np.isfinite(audio.samples).all()
            assert 0.01 < np.abs(audio.samples).max() <= 1.0
        assert short.duration < long.duration, "results must be in the order of the requests"
        assert 0.2 < short.duration < 5 and 1 < long.duration < 15


def test_a_request_sounds_the_same_alone_in_a_batch_and_again(backend: TTSBackend) -> None:
    first, last = backend.voices()[0], voices_by_language(backend)["en"]
    request = request_for(last, "Please sit down.")
    other = request_for(first, TEXTS[first.languages[0]][0], seed=1)
    batch = backend.synthesize([other, request, request])
    alone = backend.synthesize([request])
    assert same(batch[1], batch[2])
    assert same(batch[1], alone[0])


def test_an_empty_batch_gives_no_audio(backend: TTSBackend) -> None:
    assert list(backend.synthesize([])) == []


def test_rate_changes_duration_in_its_direction(backend: TTSBackend) -> None:
    if "rate" not in backend.capabilities.controls:
        pytest.skip(f"{backend.name} does not declare the control 'rate'")
    voice = voices_by_language(backend)["en"]
    text, rates = "Please sit down, so that we can talk.", (0.8, 1.0, 1.3)
    slow, neutral, fast = backend.synthesize([request_for(voice, text, rate=rate) for rate in rates])
    assert slow.duration > 1.1 * neutral.duration
    assert fast.duration < 0.9 * neutral.duration


def test_energy_changes_loudness_in_its_direction(backend: TTSBackend) -> None:
    if "energy" not in backend.capabilities.controls:
        pytest.skip(f"{backend.name} does not declare the control 'energy'")
    voice = voices_by_language(backend)["en"]
    quiet, loud = backend.synthesize([request_for(voice, SHORT, energy=energy) for energy in (0.7, 1.4)])
    ratio = np.sqrt(np.mean(loud.samples**2) / np.mean(quiet.samples**2))
    assert 1.7 < ratio < 2.3


def test_unknown_voice_is_refused_with_the_choices(backend: TTSBackend) -> None:
    known = backend.voices()[0]
    stranger = known.model_copy(update={"id": f"{backend.name}/nobody", "name": "nobody"})
    with pytest.raises(SynthesisError, match="nobody.*choose one of:") as refused:
        backend.synthesize([request_for(stranger)])
    assert known.id in str(refused.value)


def test_a_language_that_the_voice_lacks_is_refused(backend: TTSBackend) -> None:
    with pytest.raises(SynthesisError, match="does not speak 'xx'; it speaks:"):
        backend.synthesize([request_for(backend.voices()[0], language="xx")])


def test_a_text_without_words_is_refused_not_spoken_as_silence(backend: TTSBackend) -> None:
    request = request_for(voices_by_language(backend)["en"], " ")
    with pytest.raises(SynthesisError, match="' '"):
        backend.synthesize([request])


@pytest.mark.parametrize("name", sorted(registered("tts_backends")))
def test_synthesis_before_entering_is_refused(name: str) -> None:
    backend = create("tts_backends", PluginSpec(name=name))
    assert isinstance(backend, TTSBackend)
    voice = next(iter(backend.voices()), Voice(id="x/y", backend="x", name="y", gender="male", license="", source=""))
    with pytest.raises(SynthesisError, match="not loaded"):
        backend.synthesize([request_for(voice)])


def test_the_message_names_no_more_than_sixty_characters_of_the_text(backend: TTSBackend) -> None:
    request = dataclasses.replace(request_for(backend.voices()[0], "word " * 50), language="xx")
    with pytest.raises(SynthesisError) as refused:
        backend.synthesize([request])
    assert "word word" in str(refused.value) and "word " * 13 not in str(refused.value)
