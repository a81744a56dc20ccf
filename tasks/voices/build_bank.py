"""Building the bank: candidates speak, and those stay that are understood, sound well and are unlike all others so far.

A candidate falls as soon as it is clear that it will: after the first probe for its sound or for being too near an
accepted voice on that same sentence, after the second for good. What is measured of the survivors is their card.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from more_itertools import chunked
from pydantic import Field

from contracts.audio import Audio
from contracts.config_base import Config
from contracts.records import VoiceCard
from tasks.speaker_embedding import Embedding, distance
from tasks.voices.candidates import VoiceCandidate, candidates
from tasks.voices.distances import Distinctness, Matrix, distance_matrix, distinctness
from tasks.voices.measure import NEUTRAL, PROBES, Measured, Meter, card_of, voice_embedding
from tasks.voices.personas import Persona, impression
from tts_backends.base import parallel_map
from tts_backends.kokoro import SAMPLE_RATE, KokoroEngine, described
from tts_backends.kokoro_voice import STYLES, KokoroVoice, pure
from tts_backends.voice_bank import VoiceBank

LANGUAGE = "en"
USUAL_RATE = 13.6
"""Letters and digits per second on the probes, median of voices whose recipe has the rate 1."""
EARLY_SHARE = 0.75
"""Of min_distance: nearer than that on one sentence, a candidate will not get away from the other on two."""


class BankConfig(Config):
    """What a bank is to hold."""

    count: int = Field(default=210, ge=2)
    """Voices."""
    seed: int = 1
    max_candidates: int = Field(default=420, ge=2)
    """Candidates that are tried before giving up."""
    min_mos: float = 3.0
    """DistillMOS, mean of the probes."""
    max_wer: float = 0.11
    """Over all words of the probes: two words heard wrongly."""
    min_distance: float = Field(default=0.15, ge=0)
    """1 - cosine to every accepted voice; nearer candidates are dropped."""
    batch_size: int = Field(default=12, ge=1)


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
    """Distances, in the order of the bank's cards."""
    figures: Distinctness
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
        for batch in chunked(islice(_all_candidates(config.seed), config.max_candidates), config.batch_size):
            builder.take(batch, engine, meter)
            report(Progress(accepted=len(builder.cards), tried=builder.tried))
            if len(builder.cards) >= config.count:
                break
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
    by_probe: list[list[Embedding]] = field(default_factory=list)
    tried: int = 0
    dropped: Counter[str] = field(default_factory=Counter)

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
        if first.mos < self.config.min_mos - 0.5:
            return "mos"
        if first.errors > 2:
            return "wer"
        near = min((distance(first.embedding, own[0]) for own in self.by_probe), default=2.0)
        return "too near another" if near < EARLY_SHARE * self.config.min_distance else ""

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
        if min((distance(vector, own) for own in self.embeddings), default=2.0) < self.config.min_distance:
            return self._drop("too near another")
        self.cards.append(card)
        self.embeddings.append(vector)
        self.by_probe.append([m.embedding for m in measured])

    def _name(self, candidate: VoiceCandidate, person: Persona) -> str:
        if candidate.number < 0:
            return list(STYLES)[candidate.recipe.timbre.index(1.0)]
        return f"{person.gender[0]}{candidate.number:03d}"

    def _drop(self, why: str) -> None:
        self.dropped[why] += 1

    def finished(self) -> BuiltBank:
        """The bank of what was accepted."""
        names = [card.voice.id for card in self.cards]
        matrix = distance_matrix(self.embeddings)
        return BuiltBank(
            bank=VoiceBank(dict(zip(names, self.cards, strict=True)), dict(zip(names, self.embeddings, strict=True))),
            matrix=matrix,
            figures=distinctness(matrix, [distance(own[0], own[1]) for own in self.by_probe]),
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
