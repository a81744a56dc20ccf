"""With a stand-in that has the signatures of CosyVoice's published API; the engine itself is not within reach here."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.errors import ConfigError, EngineError, MissingExtra, SynthesisError
from contracts.protocols import SpeechRequest
from contracts.records import Voice
from tests.tts_backends.clips import SAYS, entry, speech, write_clip, write_lines
from tests.tts_backends.conftest import request_for
from tts_backends.cosyvoice import CosyVoice

Call = tuple[Any, ...]


def fake_modules(calls: list[Call], *, sample_rate: int = 24_000) -> dict[str, types.ModuleType]:
    """`cosyvoice` and `torch` as far as the backend uses them; the sound depends on the seed."""
    seeds: list[int] = []

    class Model:
        def __init__(self, model_dir: str, load_trt: bool = False, load_vllm: bool = False, fp16: bool = False) -> None:
            calls.append(("load", model_dir, load_vllm, fp16))
            self.sample_rate = sample_rate

        def inference_zero_shot(
            self,
            tts_text: str,
            prompt_text: str,
            prompt_wav: str,
            zero_shot_spk_id: str = "",
            stream: bool = False,
            speed: float = 1.0,
            text_frontend: bool = True,
        ) -> Iterator[dict[str, Any]]:
            calls.append(("zero_shot", tts_text, prompt_text, prompt_wav, stream, speed, text_frontend))
            yield from self._sound(tts_text)

        def inference_instruct2(
            self,
            tts_text: str,
            instruct_text: str,
            prompt_wav: str,
            zero_shot_spk_id: str = "",
            stream: bool = False,
            speed: float = 1.0,
            text_frontend: bool = True,
        ) -> Iterator[dict[str, Any]]:
            calls.append(("instruct2", tts_text, instruct_text, prompt_wav, stream, speed, text_frontend))
            yield from self._sound(tts_text)

        def _sound(self, text: str) -> Iterator[dict[str, Any]]:
            if "mute" in text:
                return
            for piece in text.split(". "):
                noise = np.random.default_rng(seeds[-1]).normal(0, 0.1, (1, len(piece) * sample_rate // 15))
                yield {"tts_speech": noise.astype(np.float32)}

    def set_all_random_seed(seed: int) -> None:
        seeds.append(seed)

    def set_num_threads(number: int) -> None:
        calls.append(("threads", number))

    contents: dict[str, dict[str, Any]] = {
        "cosyvoice": {},
        "cosyvoice.cli": {},
        "cosyvoice.cli.cosyvoice": {"AutoModel": lambda **options: Model(**options)},
        "cosyvoice.utils": {},
        "cosyvoice.utils.common": {"set_all_random_seed": set_all_random_seed},
        "torch": {"set_num_threads": set_num_threads},
    }
    modules = {name: types.ModuleType(name) for name in contents}
    for name, content in contents.items():
        vars(modules[name]).update(content)
    return modules


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    found: list[Call] = []
    for name, module in fake_modules(found).items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return found


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("voices")
    write_clip(folder / "anna.wav")
    write_clip(folder / "bo.wav")
    return write_lines(folder, entry("anna"), entry("bo", gender="male", languages=["zh", "en"]))


@pytest.fixture
def make(tmp_path: Path, voices: Path) -> Callable[..., CosyVoice]:
    """The backend over a clone and weights that look right from the outside."""
    (tmp_path / "code" / "cosyvoice" / "cli").mkdir(parents=True)
    (tmp_path / "code" / "cosyvoice" / "cli" / "cosyvoice.py").touch()

    def made(generation: int = 3, **options: Any) -> CosyVoice:
        model = tmp_path / f"model{generation}"
        model.mkdir(exist_ok=True)
        (model / f"cosyvoice{generation}.yaml").write_text("sample_rate: 24000")
        (model / "llm.pt").write_bytes(b"weights")
        known = {"model_dir": str(model), "code_dir": str(tmp_path / "code"), "voices": str(voices)}
        return CosyVoice(**known | options)

    return made


def asked(backend: CosyVoice, text: str = "Good morning.", **controls: Any) -> SpeechRequest:
    return request_for(backend.voices()[0], text, **controls)


def test_voices_languages_and_capabilities_come_from_the_folder(make: Callable[..., CosyVoice], voices: Path) -> None:
    backend = make()
    assert [voice.id for voice in backend.voices()] == ["cosyvoice/anna", "cosyvoice/bo"]
    assert backend.voices()[0].reference == str(voices / "anna.wav")
    assert backend.capabilities.languages == ("en", "zh")
    assert backend.capabilities.cloning and backend.capabilities.emotion == "instruct"
    assert make(instruct=False).capabilities.emotion == "none"
    backend.check()


def test_an_instruction_goes_to_instruct2_and_everything_else_to_zero_shot(
    make: Callable[..., CosyVoice], calls: list[Call], voices: Path
) -> None:
    clip = str(voices / "anna.wav")
    with make(num_threads=3, fp16=True) as backend:
        backend.synthesize([asked(backend, instruct="Say it sadly.", rate=0.8), asked(backend)])
    assert calls[0] == ("threads", 3)
    assert calls[1][0] == "load" and calls[1][2:] == (False, True)
    told = "You are a helpful assistant. Say it sadly.<|endofprompt|>"
    said = f"You are a helpful assistant.<|endofprompt|>{SAYS}"
    assert sorted(calls[2:]) == [
        ("instruct2", "Good morning.", told, clip, False, 0.8, False),
        ("zero_shot", "Good morning.", said, clip, False, 1.0, False),
    ]


def test_cosyvoice_2_has_no_system_line_and_instruct_can_be_off(
    make: Callable[..., CosyVoice], calls: list[Call]
) -> None:
    with make(2) as backend:
        backend.synthesize([asked(backend, instruct="Say it sadly.")])
        backend.synthesize([asked(backend)])
    with make(2, instruct=False, text_frontend=True) as backend:
        backend.synthesize([asked(backend, instruct="Say it sadly.")])
    spoken = [call for call in calls if call[0] in ("instruct2", "zero_shot")]
    assert [call[2] for call in spoken] == ["Say it sadly.<|endofprompt|>", SAYS, SAYS]
    assert spoken[2][-1] is True


def test_a_request_sounds_the_same_alone_and_in_a_batch_and_another_seed_differs(
    make: Callable[..., CosyVoice], calls: list[Call]
) -> None:
    with make() as backend:
        request, other = asked(backend, "Please. Sit down.", seed=3), asked(backend, seed=2**40 + 1)
        batch = backend.synthesize([other, request])
        [alone] = backend.synthesize([request])
        [different] = backend.synthesize([asked(backend, "Please. Sit down.", seed=4)])
    assert np.array_equal(batch[1].samples, alone.samples)
    assert not np.array_equal(alone.samples, different.samples)
    assert alone.sample_rate == 24_000


def test_a_model_of_another_rate_is_resampled(
    make: Callable[..., CosyVoice], calls: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, module in fake_modules(calls, sample_rate=22_050).items():
        monkeypatch.setitem(sys.modules, name, module)
    with make() as backend:
        [audio] = backend.synthesize([asked(backend, "x" * 30)])
    assert (audio.sample_rate, round(audio.duration, 2)) == (24_000, 2.0)


@pytest.mark.parametrize("text", [" ", "mute"])
def test_nothing_said_is_refused(make: Callable[..., CosyVoice], calls: list[Call], text: str) -> None:
    with make() as backend, pytest.raises(SynthesisError, match=f"'{text}'"):
        backend.synthesize([asked(backend, text)])


def test_the_clip_is_that_of_the_folder_whatever_a_request_says(
    make: Callable[..., CosyVoice], calls: list[Call], voices: Path
) -> None:
    with make() as backend:
        voice = backend.voices()[0].model_copy(update={"reference": "/somewhere/else.wav"})
        backend.synthesize([request_for(voice, "Good morning.")])
    assert calls[-1][3] == str(voices / "anna.wav")


def test_without_a_folder_it_has_no_voices_and_says_how_to_give_it_some(make: Callable[..., CosyVoice]) -> None:
    backend = make(voices=None)
    assert backend.voices() == ()
    assert backend.capabilities.languages == ()
    with pytest.raises(ConfigError, match="set the option voices to a folder"):
        backend.check()


def test_a_folder_with_faults_is_refused_with_all_of_them(make: Callable[..., CosyVoice], tmp_path: Path) -> None:
    write_clip(tmp_path / "anna.wav", speech(1.0))
    write_lines(tmp_path, entry("anna", license="", text="Good morning."), entry("bo"))
    backend = make(voices=str(tmp_path))
    with pytest.raises(ConfigError, match=r"(?s)line 1 .*license.*line 1 .*1\.0 s long.*line 2 .bo\.wav.: there is no"):
        backend.voices()
    with pytest.raises(ConfigError, match="mend or remove"):
        backend.check()


def test_what_is_missing_is_told_with_the_command_that_brings_it(
    make: Callable[..., CosyVoice], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MissingExtra, match="the Python package 'cosyvoice'.*git clone --recursive"):
        CosyVoice().check()
    with pytest.raises(MissingExtra, match="cloned repository at .*nowhere.*git clone"):
        make(code_dir=str(tmp_path / "nowhere")).check()
    with pytest.raises(MissingExtra, match="weights of CosyVoice 2 or 3.*Fun-CosyVoice3"):
        make(model_dir=str(tmp_path)).check()
    assert CosyVoice().revision == "unavailable"


def test_a_checkout_without_automodel_is_too_old(
    make: Callable[..., CosyVoice], calls: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(sys.modules["cosyvoice.cli.cosyvoice"], "AutoModel")
    with pytest.raises(EngineError, match="too old"):
        make().__enter__()


def test_the_revision_follows_weights_and_clips(make: Callable[..., CosyVoice], tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    write_clip(folder / "anna.wav")
    write_lines(folder, entry("anna"))
    before = make(voices=str(folder)).revision
    assert before == make(voices=str(folder)).revision
    assert before.startswith("CosyVoice3 ")
    write_clip(folder / "anna.wav", speech(5.0))
    after = make(voices=str(folder)).revision
    assert after != before
    (tmp_path / "model3" / "llm.pt").write_bytes(b"other weights")
    backend = CosyVoice(model_dir=str(tmp_path / "model3"), voices=str(folder))
    assert backend.revision not in (before, after)


def test_a_voice_that_is_not_in_the_folder_is_refused(make: Callable[..., CosyVoice], calls: list[Call]) -> None:
    stranger = Voice(id="cosyvoice/x", backend="cosyvoice", name="x", gender="male", license="", source="")
    with (
        make() as backend,
        pytest.raises(SynthesisError, match="no voice 'cosyvoice/x'; choose one of: cosyvoice/anna"),
    ):
        backend.synthesize([request_for(stranger)])
