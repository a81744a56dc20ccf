"""Where what lies inside a run. Every key of a run is named here and nowhere else.

run.json                              what this run is: recipe, fingerprints, engines, state
parts/00003/synthesize/rows.jsonl     one Candidate a line, in the order of the plan
parts/00003/synthesize/audio.tar      FLAC of each turn (synthesize only); rows point into it
parts/00003/synthesize/manifest.json  written last: the stage of this part is done
packing/1f3c.../shard-00000.json      which dialogues go into which shard of a corpus
seals/1f3c.../                        a sealed corpus, see seals.py
report/                               pictures and the listening page
cache/                                answers of the LLM endpoint, by request
"""

from __future__ import annotations

from contracts.records import StageName

RUN = "run.json"
SEALS = "seals"
REPORT = "report"
CACHE = "cache"


def stage_folder(part: int, stage: StageName) -> str:
    """Folder of one stage of one part."""
    return f"parts/{part:05d}/{stage}"


def rows_key(part: int, stage: StageName) -> str:
    """The candidates after a stage."""
    return f"{stage_folder(part, stage)}/rows.jsonl"


def audio_key(part: int) -> str:
    """The audio of a part."""
    return f"{stage_folder(part, 'synthesize')}/audio.tar"


def manifest_key(part: int, stage: StageName) -> str:
    """The manifest that says the stage is done."""
    return f"{stage_folder(part, stage)}/manifest.json"


def seal_folder(seal: str) -> str:
    """Folder of a sealed corpus."""
    return f"{SEALS}/{seal[:12]}"


def shard_plan_key(seal: str, index: int) -> str:
    """What goes into a shard."""
    return f"packing/{seal[:12]}/shard-{index:05d}.json"
