"""Begin a run, or go on with one: check the whole recipe before any work, then freeze it in run.json."""

from __future__ import annotations

import subprocess
from importlib.metadata import version
from pathlib import Path

from contracts.config import CorpusConfig
from contracts.errors import NotARun, RecipeError
from contracts.plugins import create
from contracts.records import StageName
from prompts import load_prompt
from storage.object_store import ObjectStore
from storage.run_directory import RunRecord, now, read_run, write_run
from tasks.accept_dialogues import validate_gates
from tasks.cast_voices import validate_casting
from tasks.plan_scenarios import validate_plan
from tasks.stage import num_parts
from tasks.stages import PIPELINE, casting_choices, engine_revisions, prompt_hashes, tts_backends


def code_version() -> str:
    """The program's version, with the git commit where it runs from a checkout."""
    release = version("opens2s-forge")
    here = Path(__file__).resolve().parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=here, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return release
    return f"{release}+{described.stdout.strip()}"


def validate_recipe(config: CorpusConfig) -> None:
    """Refuse what cannot work, before anything is started.

    Raises:
        ConfigError: an unknown plugin, prompt, emotion, voice, language ...; the text lists the choices.
    """
    load_prompt(config.generate.prompt)
    validate_plan(config)
    voices, capabilities = casting_choices(config.cast)
    validate_casting(config, voices, capabilities)
    create("asr_backends", config.assess.asr)
    for spec in config.assess.scorers:
        create("scorers", spec)
    _require_one_bank(config)
    validate_gates(config.accept, measured={spec.name for spec in config.assess.scorers})


READ_CARDS = frozenset({"emotion_prosody", "speaker_similarity", "distillmos"})
"""Scorers that hold an utterance against its voice's card."""


def _require_one_bank(config: CorpusConfig) -> None:
    """Refuse scorers that would hold the cast voices against the cards of other people."""
    own = {spec.options["bank"] for spec in config.cast.backends.values() if "bank" in spec.options}
    for spec in config.assess.scorers:
        named = spec.options.get("bank")
        if own and spec.name in READ_CARDS and named not in own:
            raise RecipeError(
                f"assess.scorers: {spec.name} reads its voice cards from {named or 'the bank that comes with us'}, but "
                f"cast.backends speaks with the bank {', '.join(sorted(own))}: one name may be two people. Give the "
                "scorer the same option `bank`."
            )


def check_engines(config: CorpusConfig) -> None:
    """Refuse to start when an engine that will be needed cannot run here; loads nothing.

    Raises:
        MissingExtra: a package or program is missing; the text says how to get it.
        EngineError: an endpoint does not answer.
    """
    for backend in tts_backends(config.cast).values():
        backend.check()
    create("asr_backends", config.assess.asr).check()
    for spec in config.assess.scorers:
        create("scorers", spec).check()


def begin_run(store: ObjectStore, config: CorpusConfig) -> RunRecord:
    """Write run.json for a new run, or for the next attempt at an old one.

    Raises:
        ConfigError: the recipe cannot work.
        StorageError: the place cannot be used.
    """
    validate_recipe(config)
    fingerprints: dict[StageName, str] = {name: stage.fingerprint(config) for name, stage in PIPELINE.items()}
    before = _earlier(store)
    if before is None or any(before.fingerprints.get(s) != fingerprints[s] for s in fingerprints if s != "accept"):
        check_engines(config)
    record = RunRecord(
        state="running",
        recipe=config.model_dump(mode="json"),
        fingerprints=fingerprints,
        engines=engine_revisions(config),
        prompts=prompt_hashes(config),
        code_version=code_version(),
        started_at=before.started_at if before else now(),
        updated_at=now(),
        num_parts=num_parts(config),
        seconds=before.seconds if before else 0.0,
        # An earlier seal stays good until another takes its place.
        seal=before.seal if before else None,
    )
    write_run(store, record)
    return record


def _earlier(store: ObjectStore) -> RunRecord | None:
    try:
        return read_run(store)
    except NotARun:
        # A directory that holds something else is refused by the caller only where a run.json cannot be read.
        if store.exists("run.json"):
            raise
        return None
