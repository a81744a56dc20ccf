"""Classifiers of emotion in speech, by the folder that holds their weights; nothing is fetched from anywhere."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from contracts.audio import Samples
from contracts.errors import ConfigError, MissingExtra
from tasks.scorers._shared import is_importable

Kind = Literal["transformers", "funasr"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SAMPLE_RATE = 16_000
INSTALL: Mapping[Kind, str] = {
    "transformers": 'pip install "transformers>=5" torch',
    "funasr": "pip install funasr modelscope",
}

Classifier = Callable[[Samples], dict[str, float]]
"""Samples at 16 kHz -> probability of each of the model's own labels. May be called from several threads."""


def check_model(model: str | None, kind: Kind) -> Path:
    """The folder of a classifier, after a look at what it takes to run it.

    Raises:
        MissingExtra: no folder is named, it is not there, or the package that reads it is not installed.
    """
    what = "The scorer 'ser'"
    if model is None:
        fix = (
            "download the folder of a model, e.g. emotion2vec_plus_base (kind: funasr) or any audio-classification "
            "model of the transformers library, and name it in the recipe: "
            "assess.scorers: [{name: ser, options: {model: FOLDER, kind: transformers}}]"
        )
        raise MissingExtra(what, "a classifier of emotion in speech (option `model`)", fix)
    folder = Path(model)
    if not (folder / ("config.json" if kind == "transformers" else "config.yaml")).is_file():
        fix = f"download the whole folder of the model to {folder}, or set the option `model` to where it lies"
        raise MissingExtra(what, f"a {kind} model in {folder}", fix)
    if not is_importable(kind):
        raise MissingExtra(what, kind, INSTALL[kind])
    return folder


def model_revision(model: str | None) -> str:
    """Of a model's folder, without reading its weights: names and sizes of all files, content of the small ones."""
    if model is None or not Path(model).is_dir():
        return "no model"
    digest = hashlib.sha256()
    for path in sorted(p for p in Path(model).rglob("*") if p.is_file()):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(model)} {size}\n".encode())
        if size < 1_000_000:
            digest.update(path.read_bytes())
    return f"model {digest.hexdigest()[:12]}"


def labels_of(folder: Path, kind: Kind) -> tuple[str, ...]:
    """The labels of a model, read from its small files.

    Raises:
        ConfigError: the folder does not say them.
    """
    try:
        if kind == "transformers":
            named: dict[str, str] = json.loads((folder / "config.json").read_text(encoding="utf-8"))["id2label"]
            return tuple(named[key] for key in sorted(named, key=int))
        lines = (folder / "tokens.txt").read_text(encoding="utf-8").split()
        return tuple(line for line in lines if not line.startswith("unuse"))
    except (OSError, ValueError, KeyError) as error:
        where = "id2label in config.json" if kind == "transformers" else "tokens.txt"
        raise ConfigError(
            f"The model in {folder} does not say which emotions it tells apart ({where}: {type(error).__name__}). "
            "Take one that was trained to classify emotions."
        ) from error


def load_classifier(folder: Path, kind: Kind) -> Classifier:
    """A classifier with its weights.

    Raises:
        ConfigError: the folder holds something else.
    """
    try:
        return _transformers(folder) if kind == "transformers" else _funasr(folder)
    # Both libraries raise whatever their parts raise; what matters is which folder and what was wrong with it.
    except Exception as error:
        raise ConfigError(
            f"The {kind} model in {folder} cannot be loaded: {type(error).__name__}: {error}. Download it again, or "
            "see whether the option `kind` fits it."
        ) from error


def _transformers(folder: Path) -> Classifier:
    import torch
    from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

    extractors: Any = AutoFeatureExtractor
    features = extractors.from_pretrained(folder, local_files_only=True)
    network: Any = AutoModelForAudioClassification.from_pretrained(folder, local_files_only=True).eval()
    labels = labels_of(folder, "transformers")

    def classify(samples: Samples) -> dict[str, float]:
        inputs = features(samples, sampling_rate=SAMPLE_RATE, return_tensors="pt")
        with torch.inference_mode():
            probabilities = torch.softmax(network(**inputs).logits[0].float(), dim=-1).tolist()
        return dict(zip(labels, probabilities, strict=True))

    return classify


def _funasr(folder: Path) -> Classifier:
    os.environ.setdefault("MODELSCOPE_OFFLINE", "1")
    from funasr import AutoModel

    model: Any = AutoModel(model=str(folder), device="cpu", disable_update=True, disable_pbar=True)

    def classify(samples: Samples) -> dict[str, float]:
        found = model.generate(input=samples, fs=SAMPLE_RATE, granularity="utterance", extract_embedding=False)[0]
        return {str(k): float(v) for k, v in zip(found["labels"], found["scores"], strict=True)}

    return classify
