"""Seal: index, statistics, dataset card and, last, the manifest that names every file by its hash."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean
from typing import Any

import yaml

from contracts.config import CorpusConfig
from contracts.records import Candidate, ShardManifest
from storage import layout
from storage.corpus_index import INDEX, write_index
from storage.manifests import FileEntry
from storage.object_store import ObjectStore
from storage.run_directory import RunRecord, now
from storage.seals import SealManifest, write_seal
from storage.shards import audio_member, canonical_json
from tasks.dataset_card import dataset_card
from tasks.funnel import Funnel
from tasks.pack_shards import accepted_candidates
from tasks.stages import casting_choices


def index_rows(candidate: Candidate, shard: str) -> list[dict[str, Any]]:
    """The index's rows of a dialogue, one a turn."""
    scenario, dialogue = candidate.scenario, candidate.dialogue
    assert dialogue is not None
    shared = scenario.model_dump(
        include={
            "group",
            "language",
            "topic",
            "situation",
            "emotion",
            "intensity",
            "paralinguistic",
            "speaker_gender",
            "speaker_age",
            "num_turns",
        }
    )
    rows = []
    for turn, utterance, assessment in zip(dialogue.turns, candidate.utterances, candidate.assessments, strict=True):
        assert utterance.audio is not None
        rows.append(
            {
                **shared,
                "dialogue_id": candidate.id,
                "turn_index": utterance.turn_index,
                "split": candidate.split,
                "shard": shard,
                "member": audio_member(utterance.turn_index),
                "role": turn.role,
                "text": turn.text,
                "spoken_text": turn.spoken_text,
                "turn_emotion": turn.emotion,
                "voice_id": utterance.voice_id,
                "backend": utterance.backend,
                "duration": utterance.duration,
                "sample_rate": utterance.sample_rate,
                "transcript": assessment.transcript,
                "audio_sha256": utterance.audio.sha256,
                **{f"score_{s.name}": s.value for s in assessment.scores},
            }
        )
    return rows


class CorpusStats:
    """Counts and means over accepted dialogues, gathered in one pass."""

    def __init__(self) -> None:
        self.dialogues = self.turns = 0
        self.seconds = 0.0
        self.counts: dict[str, Counter[str]] = defaultdict(Counter)
        self._scores: dict[str, list[float]] = defaultdict(list)

    def add(self, candidate: Candidate) -> None:
        """Count a dialogue."""
        scenario = candidate.scenario
        self.dialogues += 1
        self.turns += len(candidate.utterances)
        self.seconds += candidate.duration
        for axis, value in (
            ("split", candidate.split),
            ("emotion", scenario.emotion),
            ("topic", scenario.topic),
            ("speaker_gender", scenario.speaker_gender),
            ("speaker_age", scenario.speaker_age),
            ("num_turns", scenario.num_turns),
            ("paralinguistic", scenario.paralinguistic),
        ):
            self.counts[axis][str(value)] += 1
        for utterance in candidate.utterances:
            self.counts[f"{utterance.role}_voice"][utterance.voice_id] += 1
        self.counts["augmentation"].update(
            {a.kind for u in candidate.utterances if u.finish for a in u.finish.augmentations}
        )
        for assessment in candidate.assessments:
            for score in assessment.scores:
                if score.value is not None:
                    self._scores[score.name].append(score.value)

    def summary(self) -> dict[str, Any]:
        """The figures, ready for JSON."""
        return {
            "dialogues": self.dialogues,
            "turns": self.turns,
            "hours": round(self.seconds / 3600, 6),
            "mean_scores": {name: round(fmean(values), 4) for name, values in sorted(self._scores.items())},
            "counts": {axis: dict(counter.most_common()) for axis, counter in self.counts.items()},
        }


def voice_licenses(config: CorpusConfig, stats: CorpusStats) -> dict[str, str]:
    """Voice -> licence, for every voice heard in the corpus."""
    voices, _ = casting_choices(config.cast)
    heard = {*stats.counts["user_voice"], *stats.counts["assistant_voice"]}
    return {v.id: v.license for own in voices.values() for v in own if v.id in heard}


def seal_corpus(
    store: ObjectStore, record: RunRecord, *, seal: str, shards: Sequence[ShardManifest], funnel: Funnel
) -> SealManifest:
    """Write everything beside the shards, and the manifest last."""
    config, folder = record.config, layout.seal_folder(seal)
    where = {key: shard.path for shard in shards for key in shard.sample_keys}
    stats = CorpusStats()
    scores = [spec.name for spec in config.assess.scorers]
    with store.writer(f"{folder}/{INDEX}") as index:
        write_index(index, _row_batches(store, range(record.parts_used), where, stats), scores)
    entries = [FileEntry(key=INDEX, num_bytes=index.tell(), sha256=index.sha256)]
    summary, licenses = stats.summary(), voice_licenses(config, stats)
    texts = {
        "recipe.yaml": yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False).encode(),
        "stats.json": canonical_json({**summary, "funnel": funnel}),
        "README.md": dataset_card(config, seal=seal, summary=summary, shards=shards, licenses=licenses).encode(),
    }
    for name, data in texts.items():
        with store.writer(f"{folder}/{name}") as file:
            file.write(data)
        entries.append(FileEntry(key=name, num_bytes=file.tell(), sha256=file.sha256))
    manifest = SealManifest(
        seal=seal,
        name=config.name,
        shards=tuple(shards),
        files=tuple(entries),
        num_dialogues=stats.dialogues,
        num_turns=stats.turns,
        hours=stats.seconds / 3600,
        licenses=licenses,
        provenance={**record.engines, **record.prompts},
        code_version=record.code_version,
        sealed_at=now(),
    )
    write_seal(store, folder, manifest)
    return manifest


def _row_batches(
    store: ObjectStore, parts: Iterable[int], where: dict[str, str], stats: CorpusStats
) -> Iterator[list[dict[str, Any]]]:
    for part in parts:
        batch: list[dict[str, Any]] = []
        for _, candidate in accepted_candidates(store, [part]):
            stats.add(candidate)
            batch.extend(index_rows(candidate, where[candidate.id]))
        yield batch
