"""The funnel: how many candidates each stage let through, why the others fell, and what that cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from pydantic import Field

from contracts.records import STAGES, Record, StageName
from storage.manifests import StageManifest, read_manifest
from storage.object_store import ObjectStore


class FunnelStep(Record):
    """One stage, over all parts that it has finished."""

    stage: StageName
    num_alive: int
    """Candidates still alive after it."""
    rejected: dict[str, int] = Field(default_factory=dict)
    """First reason -> candidates rejected here."""


class Funnel(Record):
    """The whole run in figures. Candidates are those decided: `candidates = accepted + sum(rejected)`."""

    steps: tuple[FunnelStep, ...]
    candidates: int
    accepted: int
    accepted_seconds: float
    rejected: dict[str, int]
    """First reason -> candidates, most frequent first."""
    reasons: dict[str, int]
    """Every reason -> candidates that had it; one with two reasons counts in both."""
    engine_seconds: dict[str, float]
    """Engine -> seconds busy."""

    @property
    def accepted_hours(self) -> float:
        """Hours of accepted speech."""
        return self.accepted_seconds / 3600

    @property
    def acceptance(self) -> float:
        """Share of the decided candidates that were accepted."""
        return self.accepted / self.candidates if self.candidates else 0.0


def decided_parts(store: ObjectStore, parts: Iterable[int]) -> dict[int, list[StageManifest]]:
    """Those of these parts that have been through every stage, with their manifests in the order of the stages."""
    found = {part: [m for m in (read_manifest(store, part, s) for s in STAGES) if m] for part in parts}
    return {part: own for part, own in found.items() if len(own) == len(STAGES)}


def read_funnel(store: ObjectStore, parts: Iterable[int]) -> Funnel:
    """The funnel over those of these parts that are decided."""
    return funnel_of(decided_parts(store, parts).values())


def funnel_of(parts: Iterable[list[StageManifest]]) -> Funnel:
    """The funnel of parts given by all their manifests."""
    alive: Counter[StageName] = Counter()
    rejected: dict[StageName, Counter[str]] = {stage: Counter() for stage in STAGES}
    reasons: Counter[str] = Counter()
    engines: Counter[str] = Counter()
    candidates, seconds = 0, 0.0
    for manifests in parts:
        candidates += manifests[-1].num_candidates
        seconds += manifests[-1].seconds_alive
        for manifest in manifests:
            alive[manifest.stage] += manifest.num_alive
            rejected[manifest.stage].update(manifest.rejected_here)
            reasons.update(manifest.reasons_here)
            engines.update(manifest.engine_seconds)
    total = sum(rejected.values(), Counter())
    return Funnel(
        steps=tuple(
            FunnelStep(stage=stage, num_alive=alive[stage], rejected=dict(rejected[stage].most_common()))
            for stage in STAGES
        ),
        candidates=candidates,
        accepted=alive[STAGES[-1]],
        accepted_seconds=seconds,
        rejected=dict(total.most_common()),
        reasons=dict(reasons.most_common()),
        engine_seconds=dict(engines.most_common()),
    )
