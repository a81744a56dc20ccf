"""CosyVoice 2 and 3: a reference clip's voice speaks any text, and says it as it is told to, which is OpenS2S's way.

It has NOT been run on our hardware: its weights are not within our reach. What is tested is that it calls the published
Python API (`AutoModel`, `inference_zero_shot`, `inference_instruct2`, as of Fun-CosyVoice3) with what that expects.

To install it, on a machine with a GPU:

    git clone --recursive https://github.com/FunAudioLLM/CosyVoice.git
    pip install -r CosyVoice/requirements.txt
    hf download FunAudioLLM/Fun-CosyVoice3-0.5B-2512 --local-dir models/Fun-CosyVoice3-0.5B

Its requirements pin packages that this project needs newer (numpy 1.26, pydantic 2.7, pyarrow 18 and others), so both
in one environment means to install its requirements without their pins, which its authors do not promise to work. The
other way is to serve it in an environment of its own, and to use the backend `openai_speech`.

Voices are yours to bring, see reference_voices.py; options in a recipe:

    {name: cosyvoice, options: {model_dir: models/Fun-CosyVoice3-0.5B, code_dir: CosyVoice, voices: my_voices}}
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import threading
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from contracts.audio import Audio, Samples
from contracts.errors import ConfigError, EngineError, MissingExtra
from contracts.protocols import Capabilities, SpeechRequest
from contracts.records import Voice
from tts_backends.base import LocalBackend, join_chunks, speaking_rate
from tts_backends.reference_voices import ReferenceCheck, check_reference_voices, stamp

SAMPLE_RATE = 24_000
"""Hz, of CosyVoice 2 and 3 alike."""
CLONE = "git clone --recursive https://github.com/FunAudioLLM/CosyVoice.git (then set the option code_dir to it)"
DOWNLOAD = "hf download FunAudioLLM/Fun-CosyVoice3-0.5B-2512 --local-dir models/Fun-CosyVoice3-0.5B"
END_OF_PROMPT = "<|endofprompt|>"
SYSTEM = "You are a helpful assistant."
"""CosyVoice 3 was trained with these words before every prompt."""
_GENERATIONS = {"cosyvoice2.yaml": 2, "cosyvoice3.yaml": 3}


class CosyVoice(LocalBackend):
    """CosyVoice 2 or 3 with voices from a folder of reference clips; 24 kHz; one utterance at a time.

    Args:
        model_dir: folder with the weights; it holds cosyvoice2.yaml or cosyvoice3.yaml. Nothing is downloaded.
        code_dir: the cloned repository; None where `cosyvoice` can be imported as it is.
        voices: folder of clips with voices.jsonl. None: it has no voices, and check() says how to give it some.
        instruct: say utterances as `Delivery.instruct` tells; false clones the manner of the clip too.
        text_frontend: let CosyVoice spell out numbers and symbols; the pipeline's texts hold none.
        fp16: half precision; CUDA only.
        load_vllm: run its language model on vLLM; CUDA only.
        num_threads: threads of PyTorch on the CPU.
    """

    name = "cosyvoice"

    def __init__(
        self,
        *,
        model_dir: str = "models/Fun-CosyVoice3-0.5B",
        code_dir: str | None = None,
        voices: str | None = None,
        instruct: bool = True,
        text_frontend: bool = False,
        fp16: bool = False,
        load_vllm: bool = False,
        num_threads: int = 2,
    ) -> None:
        super().__init__(num_threads=num_threads)
        self.model_dir = Path(model_dir)
        self.code_dir = Path(code_dir) if code_dir else None
        self.folder = Path(voices) if voices else None
        self.instruct, self.text_frontend, self.fp16, self.load_vllm = instruct, text_frontend, fp16, load_vllm
        self.torch_threads, self.num_threads = num_threads, 1
        # The seed is that of the whole process, so nobody may draw between setting it and the last sample.
        self._alone = threading.Lock()

    @cached_property
    def _references(self) -> ReferenceCheck | None:
        return None if self.folder is None else _listened(self.folder, stamp(self.folder))

    @property
    def generation(self) -> int | None:
        """2 or 3, by the file in model_dir; None when neither is there."""
        return next((g for file, g in _GENERATIONS.items() if (self.model_dir / file).is_file()), None)

    @cached_property
    def capabilities(self) -> Capabilities:  # type: ignore[override]
        """Its languages are those that its voices declare."""
        languages = dict.fromkeys(code for voice in self.voices() for code in voice.languages)
        return Capabilities(
            sample_rate=SAMPLE_RATE,
            languages=tuple(languages),
            emotion="instruct" if self.instruct else "none",
            controls=frozenset({"rate"}),
            cloning=True,
        )

    @cached_property
    def revision(self) -> str:  # type: ignore[override]
        """The model's configuration, the sizes of its weights and the contents of the reference clips."""
        if self.generation is None:
            return "unavailable"
        digest = hashlib.sha256()
        for file in sorted(self.model_dir.iterdir()):
            if file.suffix in (".yaml", ".json"):
                digest.update(file.read_bytes())
            elif file.suffix in (".pt", ".onnx", ".safetensors"):
                digest.update(f"{file.name} {file.stat().st_size}\n".encode())
        clips = hashlib.sha256("".join(f"{v.id} {v.sha256} {v.reference_text}\n" for v in self.voices()).encode())
        return f"CosyVoice{self.generation} {digest.hexdigest()[:12]} voices {clips.hexdigest()[:12]}"

    def voices(self) -> Sequence[Voice]:
        """The voices of the folder, in the order of voices.jsonl; none without a folder.

        Raises:
            ConfigError: a clip has a fault; the text names all of them.
        """
        if self._references is None:
            return ()
        if faults := self._references.faults:
            listed = "\n".join(f"  {fault}" for fault in faults)
            raise ConfigError(
                f"cosyvoice: the voices in {self.folder} cannot be used; mend or remove the lines:\n{listed}"
            )
        return self._references.voices

    def check(self) -> None:
        """Say whether code, weights and voices are here.

        Raises:
            MissingExtra: code or weights are not.
            ConfigError: there are no voices, or a clip has a fault.
        """
        what = f"TTS backend {self.name!r}"
        if self.code_dir is not None and not (self.code_dir / "cosyvoice" / "cli" / "cosyvoice.py").is_file():
            raise MissingExtra(what, f"the cloned repository at {self.code_dir}", CLONE)
        if self.code_dir is None and importlib.util.find_spec("cosyvoice") is None:
            raise MissingExtra(what, "the Python package 'cosyvoice'", CLONE)
        if self.generation is None:
            raise MissingExtra(what, f"weights of CosyVoice 2 or 3 in {self.model_dir} (option model_dir)", DOWNLOAD)
        if not self.voices():
            raise ConfigError(
                "cosyvoice clones voices and was given none: set the option voices to a folder of clips with a "
                "voices.jsonl (tts_backends/reference_voices.py shows a line)."
            )

    def _load(self) -> None:
        for folder in _import_paths(self.code_dir):
            if str(folder) not in sys.path:
                sys.path.append(str(folder))
        cli = importlib.import_module("cosyvoice.cli.cosyvoice")
        if not hasattr(cli, "AutoModel"):
            raise EngineError("This checkout of CosyVoice has no AutoModel: it is too old. Update it with `git pull`.")
        importlib.import_module("torch").set_num_threads(self.torch_threads)
        self._set_seed = importlib.import_module("cosyvoice.utils.common").set_all_random_seed
        self._model: Any = cli.AutoModel(model_dir=str(self.model_dir), fp16=self.fp16, load_vllm=self.load_vllm)

    def _unload(self) -> None:
        del self._model

    def _speak(self, request: SpeechRequest, /) -> Samples:
        if not request.text.strip():
            self._refuse(request, "there is nothing to say", "give it a text with words in its language")
        with self._alone:
            self._set_seed(request.seed % 2**32)
            chunks = [np.asarray(c["tts_speech"], np.float32).reshape(-1) for c in self._chunks(request)]
        rate = int(self._model.sample_rate)
        return Audio(join_chunks(chunks, rate), rate).resampled(SAMPLE_RATE).samples

    def _chunks(self, request: SpeechRequest) -> Iterator[dict[str, Any]]:
        """The model's output, one piece of the text at a time; `tts_speech` has shape (1, num_samples)."""
        voice, told = self._voices[request.voice.id], request.delivery.instruct
        # An empty system line for CosyVoice 2, which knows none.
        system = SYSTEM if self.generation == 3 else ""
        how = {"stream": False, "speed": speaking_rate(request), "text_frontend": self.text_frontend}
        if self.instruct and told:
            instruction = f"{system} {told}".strip() + END_OF_PROMPT
            yield from self._model.inference_instruct2(request.text, instruction, voice.reference, **how)
        else:
            said = (f"{system}{END_OF_PROMPT}" if system else "") + (voice.reference_text or "")
            yield from self._model.inference_zero_shot(request.text, said, voice.reference, **how)


@lru_cache(maxsize=4)
def _listened(folder: Path, _stamp: tuple[tuple[str, int, int], ...]) -> ReferenceCheck:
    """A folder's check; a pipeline makes this backend anew for every stage, and the clips need no second hearing."""
    return check_reference_voices(folder, backend=CosyVoice.name)


def _import_paths(code_dir: Path | None) -> tuple[Path, ...]:
    # The repository is no package that could be installed, and imports Matcha-TTS from its own submodule.
    return () if code_dir is None else (code_dir.resolve(), (code_dir / "third_party" / "Matcha-TTS").resolve())
