"""Building the bank: candidates speak, and those stay that are understood, sound well and are unlike all others so far.

A candidate falls as soon as it is clear that it will: after the first probe when it sounds far too poor or is an
accepted voice's twin, after the second for good. What is measured of the survivors is their card.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from pydantic import Field

from contracts.audio import Audio
from contracts.config_base import Config
from contracts.records import VoiceCard
from tasks.speaker_embedding import Embedding, distance
from tasks.voices.candidates import VoiceCandidate, candidates
from tasks.voices.distances import Distinctness, Matrix, distance_matrix, distinctness
from tasks.voices.measure import NEUTRAL, PROBES, Measured, Meter, card_of, voice_embedding
from tasks.voices.personas import Persona, impression
from tasks.voices.speaker_space import speaker_space
from tts_backends.base import parallel_map
from tts_backends.kokoro import SAMPLE_RATE, KokoroEngine, described
from tts_backends.kokoro_voice import STYLES, KokoroVoice, pure
from tts_backends.voice_bank import VoiceBank

LANGUAGE = "en"
USUAL_RATE = 15.5
"""Letters and digits per second on the probes, median of voices whose recipe has the rate 1."""
MOS_SLACK = 0.25
"""A candidate whose first probe is so far below the mark is not heard again: the second seldom makes up for it."""
TWIN_SHARE = 0.7
"""Of min_distance: so near an accepted voice on the first probe, a candidate seldom gets away from it on the second."""
USUAL_YIELD = 0.7
"""Share of the candidates that is accepted, about."""


class BankConfig(Config):
    """What a bank is to hold."""

    count: int = Field(default=200, ge=2)
    """Voices."""
    seed: int = 2
    max_candidates: int = Field(default=420, ge=2)
    """Candidates that are tried before giving up."""
    min_mos: float = 2.8
    """DistillMOS, mean of the probes."""
    max_wer: float = 0.11
    """Over all words of the probes: two words heard wrongly."""
    min_distance: float = Field(default=0.13, ge=0)
    """1 - cosine to every accepted voice, in the speaker space; nearer candidates are dropped."""
    batch_size: int = Field(default=24, ge=1)


@dataclass(frozen=True)
class Progress:
    """How far the building is."""

    accepted: int
    tried: int


@dataclass(frozen=True, kw_only=True)
class BuiltBank:
    """A bank and how it came about."""

    bank: VoiceBank
    matrix: Matrix
    """Distances in the speaker space, in the order of the bank's cards."""
    figures: Distinctness
    """In the speaker space."""
    raw_figures: Distinctness
    """Between the encoder's own vectors."""
    tried: int
    dropped: dict[str, int]
    """Reason -> candidates."""


def build_bank(
    config: BankConfig, *, num_threads: int, report: Callable[[Progress], None] = lambda _: None
) -> BuiltBank:
    """Make a bank of Kokoro voices.

    Args:
        config: what it is to hold.
        num_threads: utterances spoken and measured at once.
        report: called after every batch.

    Raises:
        MissingExtra: an engine is not here.
    """
    builder = _Builder(config, num_threads)
    with Meter(num_threads=num_threads) as meter:
        engine = KokoroEngine()
        drawn = islice(_all_candidates(config.seed), config.max_candidates)
        while batch := list(islice(drawn, builder.next_batch())):
            builder.take(batch, engine, meter)
            report(Progress(accepted=len(builder.cards), tried=builder.tried))
    return builder.finished()


def _all_candidates(seed: int) -> Iterator[VoiceCandidate]:
    """The five styles as they came, then those that are drawn."""
    for name in STYLES:
        yield VoiceCandidate(-1, _person_of(pure(name)), pure(name))
    yield from candidates(seed)


def _person_of(recipe: KokoroVoice) -> Persona:
    found = impression(f0=recipe.natural_f0, vocal_tract=1.0, rate=1.0, male_share=recipe.timbre[-1])
    assert found is not None
    return found


@dataclass
class _Builder:
    config: BankConfig
    num_threads: int
    cards: list[VoiceCard] = field(default_factory=list)
    embeddings: list[Embedding] = field(default_factory=list)
    """The encoder's, of the voice."""
    projected: list[Embedding] = field(default_factory=list)
    """The same in the speaker space."""
    by_probe: list[list[Embedding]] = field(default_factory=list)
    """The encoder's, of each probe."""
    on_first_probe: list[Embedding] = field(default_factory=list)
    """In the speaker space: the same words, so that these are compared with a candidate's first probe."""
    tried: int = 0
    dropped: Counter[str] = field(default_factory=Counter)

    def next_batch(self) -> int:
        """Candidates to try next: no more than the bank may still need."""
        missing = self.config.count - len(self.cards)
        return min(self.config.batch_size, math.ceil(missing / USUAL_YIELD))

    def take(self, batch: Sequence[VoiceCandidate], engine: KokoroEngine, meter: Meter) -> None:
        """Try a batch of candidates, probe by probe."""
        measured: dict[int, list[Measured]] = {i: [] for i in range(len(batch))}
        for text in PROBES[LANGUAGE]:
            alive = [i for i in measured if not (measured[i] and self._hopeless(measured[i][0]))]
            for i in set(measured) - set(alive):
                self._drop(self._hopeless(measured.pop(i)[0]))
            audios = self._speak([batch[i].recipe for i in alive], text, engine)
            for i, result in zip(alive, meter.measure(audios, [text] * len(alive), language=LANGUAGE), strict=True):
                measured[i].append(result)
        for i, results in measured.items():
            self._decide(batch[i], results)
        self.tried += len(batch)

    def _speak(self, recipes: Sequence[KokoroVoice], text: str, engine: KokoroEngine) -> list[Audio]:
        def one(recipe: KokoroVoice) -> Audio:
            return Audio(np.clip(engine.speak(text, recipe, NEUTRAL), -1, 1), SAMPLE_RATE)

        return parallel_map(one, recipes, num_threads=self.num_threads, cost=lambda r: r.vocal_tract)

    def _hopeless(self, first: Measured) -> str:
        """Why a candidate falls after its first probe; empty when it does not."""
        if first.prosody.f0 is None:
            return "unvoiced"
        if first.mos < self.config.min_mos - MOS_SLACK:
            return "mos"
        if first.errors > 2:
            return "wer"
        place = speaker_space().project(first.embedding)
        near = min((distance(place, own) for own in self.on_first_probe), default=2.0)
        return "too near another" if near < TWIN_SHARE * self.config.min_distance else ""

    def _decide(self, candidate: VoiceCandidate, measured: list[Measured]) -> None:
        if len(self.cards) >= self.config.count:
            return
        recipe = candidate.recipe
        person = _heard_as(recipe, measured)
        if person is None:
            return self._drop("neither man's nor woman's")
        draft = described(self._name(candidate, person), recipe, gender=person.gender, age=person.age)
        card, vector = card_of(draft, measured, recipe.numbers()), voice_embedding(measured)
        if card.mos < self.config.min_mos:
            return self._drop("mos")
        if card.wer > self.config.max_wer:
            return self._drop("wer")
        place = speaker_space().project(vector)
        if min((distance(place, own) for own in self.projected), default=2.0) < self.config.min_distance:
            return self._drop("too near another")
        self.cards.append(card)
        self.embeddings.append(vector)
        self.projected.append(place)
        self.by_probe.append([m.embedding for m in measured])
        self.on_first_probe.append(speaker_space().project(measured[0].embedding))

    def _name(self, candidate: VoiceCandidate, person: Persona) -> str:
        if candidate.number < 0:
            return list(STYLES)[candidate.recipe.timbre.index(1.0)]
        # The bank that comes with us is of the default seed; no voice of another one has the id of one of its voices.
        other = "" if self.config.seed == BankConfig().seed else f"s{self.config.seed}"
        return f"{person.gender[0]}{candidate.number:03d}{other}"

    def _drop(self, why: str) -> None:
        self.dropped[why] += 1

    def finished(self) -> BuiltBank:
        """The bank of what was accepted."""
        names = [card.voice.id for card in self.cards]
        space, matrix = speaker_space(), distance_matrix(self.projected)
        within = [distance(space.project(own[0]), space.project(own[1])) for own in self.by_probe]
        raw_within = [distance(own[0], own[1]) for own in self.by_probe]
        return BuiltBank(
            bank=VoiceBank(dict(zip(names, self.cards, strict=True)), dict(zip(names, self.embeddings, strict=True))),
            matrix=matrix,
            figures=distinctness(matrix, within),
            raw_figures=distinctness(distance_matrix(self.embeddings), raw_within),
            tried=self.tried,
            dropped=dict(self.dropped.most_common()),
        )


def _heard_as(recipe: KokoroVoice, measured: Sequence[Measured]) -> Persona | None:
    pitches = [m.prosody.f0 for m in measured if m.prosody.f0]
    return impression(
        f0=float(np.exp(np.mean(np.log(pitches)))),
        vocal_tract=recipe.vocal_tract,
        rate=float(np.mean([m.prosody.rate for m in measured])) / USUAL_RATE,
        male_share=recipe.timbre[-1],
    )
