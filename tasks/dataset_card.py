"""The dataset card: README.md of a sealed corpus, with the front matter that Hugging Face reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from contracts.config import CorpusConfig, FinishConfig
from contracts.records import ShardManifest

HUB_SPLITS = {"train": "train", "val": "validation", "test": "test"}
"""Our splits -> the names that Hugging Face uses."""

CARD = """---
{front_matter}
---

# {name}

{description}

All text was written by a language model and all voices are synthetic. Every utterance was transcribed by an ASR and
scored; only dialogues whose turns all passed the gates are in here.

| | |
|---|---|
| corpus id | `{seal}` |
| dialogues | {dialogues} |
| turns | {turns} |
| speech | {minutes:.1f} minutes |
| user voices | {user_voices} |
| emotions | {emotions} |
| splits | {splits} |
| finishing | {finishing} |
| augmented dialogues (user only) | {augmented} |

No scenario group and no user voice is in two splits.

## Read it

    import webdataset
    for sample in webdataset.WebDataset("train/{name}-train-t02-00000.tar", shardshuffle=False).decode():
        sample["json"]["turns"], sample["t00.flac"], sample["t01.flac"]

A sample is `{{key}}.json` and one FLAC a turn (`{{key}}.t00.flac`, ...); all samples of a tar have the same
number of turns.
`index.parquet` has one row per turn. `s2s verify` reads everything again and checks it.

## Mean scores of the turns

| score | mean |
|---|---|
{scores}

## Licences of the voices

| voice | licence |
|---|---|
{licenses}
"""


def dataset_card(
    config: CorpusConfig,
    *,
    seal: str,
    summary: dict[str, Any],
    shards: Sequence[ShardManifest],
    licenses: dict[str, str],
) -> str:
    """The card's text for a corpus with these statistics and shards."""
    counts = summary["counts"]
    return CARD.format(
        front_matter=yaml.safe_dump(_front_matter(config, shards), sort_keys=False).strip(),
        name=config.name,
        description=config.description or "Synthetic empathetic spoken dialogues.",
        seal=seal,
        dialogues=summary["dialogues"],
        turns=summary["turns"],
        minutes=summary["hours"] * 60,
        user_voices=len(counts.get("user_voice", {})),
        emotions=_listed(counts.get("emotion", {})),
        splits=_listed(counts.get("split", {})),
        finishing=_finishing(config.synthesize.finish),
        augmented=_listed(counts.get("augmentation", {})) or "none",
        scores=_rows(summary["mean_scores"]),
        licenses=_rows(licenses),
    )


def _finishing(config: FinishConfig) -> str:
    steps = [f"silence at the ends cut to {config.edge:g} s", f"{config.pause:g} s of silence after the speech"]
    if config.sample_rate is not None:
        steps.append(f"{config.sample_rate} Hz")
    if config.loudness is not None:
        steps.append(f"{config.loudness:g} LUFS, moved by the energy of the delivery")
    if config.peak is not None:
        steps.append(f"peaks up to {config.peak:g} dBFS")
    return "; ".join(steps)


def _front_matter(config: CorpusConfig, shards: Sequence[ShardManifest]) -> dict[str, Any]:
    strata = sorted({(s.num_turns, s.split) for s in shards})
    return {
        "pretty_name": config.name,
        "language": sorted(config.plan.languages),
        "task_categories": ["audio-to-audio", "text-to-speech", "automatic-speech-recognition"],
        "tags": ["speech-to-speech", "empathetic-dialogue", "synthetic"],
        "configs": [
            {
                "config_name": f"turns_{turns}",
                "data_files": [
                    {"split": HUB_SPLITS[split], "path": f"{split}/*-t{turns:02d}-*.tar"}
                    for own, split in strata
                    if own == turns
                ],
            }
            for turns in sorted({turns for turns, _ in strata})
        ],
    }


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _rows(table: dict[str, Any]) -> str:
    return "\n".join(f"| {name} | {value} |" for name, value in table.items())
