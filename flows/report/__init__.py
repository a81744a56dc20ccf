"""`s2s report`: pictures of a run and a page to listen to its dialogues, accepted and rejected side by side."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files
from typing import Any

import jinja2

from contracts.audio import Audio
from contracts.records import Candidate
from flows.report.pictures import funnel_picture, score_picture, spectrogram_picture
from flows.status import Status, read_status
from storage import layout, manifests
from storage.audio_files import read_audio, read_flac
from storage.object_store import ObjectStore, open_store
from storage.run_directory import read_run
from tasks.funnel import decided_parts

NUM_ACCEPTED, NUM_REJECTED = 18, 6
"""Dialogues on the page."""


def write_report(run: str) -> dict[str, str]:
    """Write the report of a run; returns what there is to look at -> its path.

    Raises:
        NotARun: there is no run.
    """
    store = open_store(run)
    status = read_status(store)
    candidates = list(_decided(store))
    accepted = stratified([c for c in candidates if c.accepted], NUM_ACCEPTED)
    rejected = stratified([c for c in candidates if not c.alive and c.assessments], NUM_REJECTED)
    pictures = {"funnel": funnel_picture(status.funnel), "scores": score_picture(candidates)}
    if accepted:
        pictures["spectrogram"] = spectrogram_picture(_sound_of(store, accepted[0]))
    for name, png in pictures.items():
        store.write(f"{layout.REPORT}/{name}.png", png)
    cards = {"accepted": _cards(store, accepted), "rejected": _cards(store, rejected)}
    page = f"{layout.REPORT}/index.html"
    store.write(page, _render(status, list(pictures), cards).encode())
    places = {name: f"{store.uri}/{layout.REPORT}/{name}.png" for name in pictures}
    return {"listen": f"{store.uri}/{page}", **places}


def _decided(store: ObjectStore) -> Iterator[Candidate]:
    record = read_run(store)
    for part in decided_parts(store, range(record.parts_used or record.num_parts)):
        yield from manifests.read_rows(store, part, "accept")


def stratified(candidates: Sequence[Candidate], count: int) -> list[Candidate]:
    """Up to `count` candidates, taken in turn from every emotion, so that no feeling is missed by chance."""
    by_emotion: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        by_emotion[candidate.scenario.emotion].append(candidate)
    for own in by_emotion.values():
        random.Random(0).shuffle(own)
    chosen: list[Candidate] = []
    while len(chosen) < min(count, len(candidates)):
        for emotion in sorted(by_emotion):
            if by_emotion[emotion] and len(chosen) < count:
                chosen.append(by_emotion[emotion].pop())
    return chosen


def _sound_of(store: ObjectStore, candidate: Candidate) -> list[tuple[str, Audio]]:
    return [(f"{u.role}: {u.text}", read_audio(store, u.audio)) for u in candidate.utterances if u.audio]


def _cards(store: ObjectStore, candidates: Iterable[Candidate]) -> list[dict[str, Any]]:
    return [_card(store, candidate) for candidate in candidates]


def _card(store: ObjectStore, candidate: Candidate) -> dict[str, Any]:
    heard = {a.utterance_id: a for a in candidate.assessments}
    turns = []
    for utterance in candidate.utterances:
        sound = None
        if utterance.audio:
            sound = f"audio/{utterance.id}.flac"
            store.write(f"{layout.REPORT}/{sound}", read_flac(store, utterance.audio))
        turns.append({"utterance": utterance, "sound": sound, "heard": heard.get(utterance.id)})
    return {"candidate": candidate, "turns": turns}


def _render(status: Status, pictures: list[str], cards: dict[str, list[dict[str, Any]]]) -> str:
    template = files(__name__).joinpath("page.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(template).render(status=status, pictures=pictures, **cards)
