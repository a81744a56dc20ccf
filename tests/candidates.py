"""Candidates made by hand, for tests of what comes after the engines."""

from __future__ import annotations

import numpy as np

from contracts.audio import Audio
from contracts.records import (
    Assessment,
    Candidate,
    Delivery,
    Dialogue,
    Scenario,
    Score,
    Turn,
    Utterance,
)
from storage import manifests
from storage.audio_files import encode_flac, part_audio_writer
from storage.object_store import ObjectStore

SAMPLE_RATE = 16000
SPLITS = ("train", "train", "val", "test")


def make_candidate(index: int, *, num_turns: int = 2, assessed: bool = False) -> Candidate:
    """Candidate `index`; its split goes round, its group and user voice follow the split."""
    split = SPLITS[index % len(SPLITS)]
    scenario = Scenario(
        id=f"d{index:06d}",
        index=index,
        group=f"en/topic/{split}{index % 3}",
        seed=index,
        language="en",
        emotion="happy" if index % 2 else "sad",
        intensity=0.65,
        topic="topic",
        situation="the bus was late",
        speaker_gender="female",
        speaker_age="senior",
        num_turns=num_turns,
        paralinguistic=False,
    )
    roles = ["user", "assistant"] * (num_turns // 2)
    turns = tuple(
        Turn(role=role, text=f"Line {i} of {index}.", spoken_text=f"Line {i} of {index}.", emotion="sad")
        for i, role in enumerate(roles)
    )
    dialogue = Dialogue(turns=turns, prompt_sha256="0" * 64, model="by hand", seed=index)
    utterances = tuple(
        Utterance(
            id=f"{scenario.id}-t{i:02d}",
            turn_index=i,
            role=turn.role,
            text=turn.text,
            language="en",
            voice_id="tone/low" if turn.role == "assistant" else f"tone/user_{split}",
            backend="tone",
            delivery=Delivery(emotion="sad", intensity=0.65),
            seed=i,
        )
        for i, turn in enumerate(turns)
    )
    candidate = Candidate(scenario=scenario, dialogue=dialogue, split=split, utterances=utterances)
    return assess(candidate) if assessed else candidate


def assess(candidate: Candidate) -> Candidate:
    """The candidate with a perfect transcript and a WER of zero for each utterance."""
    assessments = tuple(
        Assessment(utterance_id=u.id, transcript=u.text, asr="by hand", scores=(Score(name="wer", value=0.0),))
        for u in candidate.utterances
    )
    return candidate.model_copy(update={"assessments": assessments})


def sound(index: int, turn: int, seconds: float = 0.3) -> Audio:
    """A tone whose pitch tells candidate and turn apart."""
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    samples = 0.3 * np.sin(2 * np.pi * (200 + 10 * index + turn) * time)
    return Audio(samples.astype(np.float32), SAMPLE_RATE)


def store_accepted(store: ObjectStore, part: int, indices: range, *, num_turns: int = 2) -> list[Candidate]:
    """Write a part whose candidates are all accepted, audio and rows and manifest, as the pipeline does."""
    after = []
    with part_audio_writer(store, part) as writer:
        for index in indices:
            candidate = make_candidate(index, num_turns=num_turns)
            utterances = tuple(
                u.model_copy(
                    update={
                        "audio": writer.add(u.id, encode_flac(sound(index, u.turn_index))),
                        "duration": 0.3,
                        "sample_rate": SAMPLE_RATE,
                        "engine": "tone 1",
                    }
                )
                for u in candidate.utterances
            )
            spoken = candidate.model_copy(update={"utterances": utterances})
            after.append(assess(spoken).model_copy(update={"accepted": True}))
        entry = writer.close()
    manifests.finish(
        store,
        part=part,
        stage="accept",
        fingerprint="by hand",
        candidates=after,
        files=[entry],
        seconds=0.0,
        engine_seconds={},
    )
    return after
