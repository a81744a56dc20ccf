"""`s2s report`: a run in tables and pictures, and a page to listen to its dialogues, accepted and rejected alike."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from contracts.audio import Audio
from contracts.config import CorpusConfig
from contracts.records import Candidate
from flows.report.pictures import funnel_picture, score_picture, spectrogram_picture
from flows.report.speech_pictures import emotion_picture, voice_picture
from flows.report.tables import Tables, make_tables
from flows.status import Status, read_status
from storage import layout, manifests
from storage.audio_files import read_audio, read_flac
from storage.object_store import ObjectStore, open_store
from storage.run_directory import read_run
from tasks.funnel import decided_parts
from tts_backends.voice_bank import VoiceBank, load_bank

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
    tables = _tables(store, candidates)
    sound = _sound_of(store, accepted[0]) if accepted else []
    drawn = {
        "funnel": funnel_picture(status.funnel),
        "emotions": emotion_picture(tables.emotions),
        "voices": voice_picture(tables.voices),
        "scores": score_picture(candidates),
        "spectrogram": spectrogram_picture(sound) if sound else None,
    }
    pictures = {name: png for name, png in drawn.items() if png is not None}
    for name, png in pictures.items():
        store.write(f"{layout.REPORT}/{name}.png", png)
    cards = {"accepted": _cards(store, accepted), "rejected": _cards(store, rejected)}
    page = f"{layout.REPORT}/index.html"
    store.write(page, _render(status, tables, list(pictures), cards).encode())
    places = {name: f"{store.uri}/{layout.REPORT}/{name}.png" for name in pictures}
    return {"listen": f"{store.uri}/{page}", **places}


def read_tables(run: str) -> Tables:
    """The report's tables of a run, without pictures and page.

    Raises:
        NotARun: there is no run.
    """
    store = open_store(run)
    return _tables(store, list(_decided(store)))


def _tables(store: ObjectStore, candidates: Sequence[Candidate]) -> Tables:
    config = read_run(store).config
    return make_tables(candidates, config, _bank(config))


def _bank(config: CorpusConfig) -> VoiceBank:
    """The voice cards that the run's scorers used; those that come with us, where that folder is gone."""
    named = (spec.options.get("bank") for spec in config.assess.scorers)
    folder = next((Path(bank) for bank in named if bank), None)
    return load_bank(folder) if folder and folder.is_dir() else load_bank()


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


def _render(status: Status, tables: Tables, pictures: list[str], cards: dict[str, list[dict[str, Any]]]) -> str:
    template = files(__name__).joinpath("page.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(template).render(status=status, tables=tables, pictures=pictures, **cards)
