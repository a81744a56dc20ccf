"""The pipeline's stages in order: for each, what decides its output and the function that does it.

plan -> generate -> screen -> cast -> synthesize -> assess -> accept; then pack_shards.py and seal_corpus.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from contracts.config import CastConfig, CorpusConfig, LLMConfig
from contracts.plugins import create
from contracts.protocols import Capabilities, TTSBackend
from contracts.records import Candidate, StageName, Voice
from prompts import load_prompt, taxonomy_sha256
from tasks.accept_dialogues import accept_dialogues
from tasks.assess_speech import assess
from tasks.cast_voices import cast_voices
from tasks.generate_dialogues import STAGE_VERSION, generate_dialogues
from tasks.llm.embedded import EmbeddedEngine
from tasks.plan_scenarios import plan_scenarios
from tasks.screen_dialogues import screen_dialogues
from tasks.stage import Stage, StageContext, part_range
from tasks.synthesize_speech import synthesize
from tasks.voice_quotas import max_casts

PLAN_TAXONOMIES = ("emotions", "topics", "ages")


def tts_backends(config: CastConfig) -> dict[str, TTSBackend]:
    """Every backend that a casting names, not loaded: for voices, capabilities and revisions."""
    names = sorted({*config.users, config.assistant_backend})
    return {name: cast(TTSBackend, create("tts_backends", config.plugin(name))) for name in names}


def casting_choices(config: CastConfig) -> tuple[dict[str, Sequence[Voice]], dict[str, Capabilities]]:
    """Voices and capabilities of the backends that a casting names."""
    backends = tts_backends(config)
    return {n: b.voices() for n, b in backends.items()}, {n: b.capabilities for n, b in backends.items()}


def llm_identity(config: LLMConfig) -> str:
    """The LLM as the recipe names it; what the endpoint says of itself stands in each dialogue."""
    if config.base_url is None:
        return EmbeddedEngine().revision
    return config.model or f"the first model that {config.base_url} lists"


def engine_revisions(config: CorpusConfig) -> dict[str, str]:
    """Engine -> revision, for every engine that a recipe uses; loads nothing."""
    assess_specs = {s.name: create("scorers", s) for s in config.assess.scorers}
    asr = create("asr_backends", config.assess.asr)
    engines = {**tts_backends(config.cast), asr.name: asr, **assess_specs}
    return {"llm": llm_identity(config.generate.llm), **{name: e.revision for name, e in engines.items()}}


def prompt_hashes(config: CorpusConfig) -> dict[str, str]:
    """Prompt or taxonomy -> sha256, for everything in prompts/ that a recipe uses."""
    taxonomies = {name: taxonomy_sha256(name) for name in (*PLAN_TAXONOMIES, "delivery")}
    return {config.generate.prompt: load_prompt(config.generate.prompt).sha256, **taxonomies}


def _plan_identity(config: CorpusConfig) -> Any:
    return [config.seed, config.plan, {name: taxonomy_sha256(name) for name in PLAN_TAXONOMIES}]


def _generate_identity(config: CorpusConfig) -> Any:
    prompt = load_prompt(config.generate.prompt).sha256
    words = [taxonomy_sha256(name) for name in ("emotions", "ages")]
    return [config.generate, llm_identity(config.generate.llm), prompt, words]


def _cast_identity(config: CorpusConfig) -> Any:
    voices, capabilities = casting_choices(config.cast)
    known = {name: [v.model_dump(mode="json") for v in own] for name, own in voices.items()}
    controls = {name: [sorted(c.controls), c.emotion] for name, c in capabilities.items()}
    # The whole plan, for voices are counted over it; of the target, only what it lets a voice do.
    return [_plan_identity(config), config.cast, max_casts(config), known, controls, taxonomy_sha256("delivery")]


def _synthesize_identity(config: CorpusConfig) -> Any:
    backends = {name: [config.cast.plugin(name), b.revision] for name, b in tts_backends(config.cast).items()}
    return [config.seed, config.synthesize, backends]


def _assess_identity(config: CorpusConfig) -> Any:
    scorers = [[s, create("scorers", s).revision] for s in config.assess.scorers]
    return [config.assess, create("asr_backends", config.assess.asr).revision, scorers]


def _plan(_: list[Candidate], context: StageContext) -> list[Candidate]:
    span = part_range(context.config, context.part)
    return [Candidate(scenario=s) for s in plan_scenarios(context.config, span.start, len(span))]


def _generate(candidates: list[Candidate], context: StageContext) -> list[Candidate]:
    settings = context.config.generate
    with context.room.llm(settings.llm, context.store, context.engine_seconds) as client:
        return generate_dialogues(candidates, config=settings, client=client)


def _cast(candidates: list[Candidate], context: StageContext) -> list[Candidate]:
    voices, capabilities = casting_choices(context.config.cast)
    return cast_voices(candidates, config=context.config, voices=voices, capabilities=capabilities)


PIPELINE: Mapping[StageName, Stage] = {
    stage.name: stage
    for stage in (
        Stage(name="plan", version=1, identity=_plan_identity, run=_plan),
        Stage(name="generate", version=STAGE_VERSION, identity=_generate_identity, run=_generate),
        Stage(
            name="screen",
            version=1,
            identity=lambda config: config.screen,
            run=lambda candidates, context: screen_dialogues(candidates, config=context.config.screen),
        ),
        Stage(name="cast", version=2, identity=_cast_identity, run=_cast),
        Stage(name="synthesize", version=2, identity=_synthesize_identity, run=synthesize),
        Stage(name="assess", version=1, identity=_assess_identity, run=assess),
        Stage(
            name="accept",
            version=1,
            identity=lambda config: config.accept,
            run=lambda candidates, context: accept_dialogues(candidates, config=context.config.accept),
        ),
    )
}
