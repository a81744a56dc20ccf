"""What casting promises for any bank of voices and any small recipe; see tasks/voice_dealer.py and voice_quotas.py."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from castings import CAST, able, recipe, screened, voice
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

import prompts
from contracts.config import CorpusConfig
from contracts.errors import RecipeError
from contracts.protocols import CONTROLS, Capabilities
from contracts.records import Candidate, Voice
from tasks import cast_ledger
from tasks.cast_voices import cast_voices, validate_casting
from tasks.ensemble import Ensemble, ensemble_of
from tasks.plan_scenarios import validate_plan
from tasks.voice_quotas import max_casts

NUM_CANDIDATES = 100
BACKENDS = ("one", "two", "three")
AGES = tuple(prompts.ages().ages)
ADULTS = AGES[2:]
EMOTIONS = tuple(prompts.emotions().emotions)
WEIGHTS = st.sampled_from([0.2, 1.0, 3.0])
QUICK = (Phase.explicit, Phase.reuse, Phase.generate)
"""Without shrinking: a case takes a tenth of a second, so making a failing one smaller would take minutes."""


@dataclass(frozen=True)
class Case:
    """A recipe with the voices and capabilities that it meets."""

    config: CorpusConfig
    voices: Mapping[str, Sequence[Voice]]
    can: Mapping[str, Capabilities]

    @property
    def ensemble(self) -> Ensemble:
        return ensemble_of(self.config, self.voices, self.can)

    def cast(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        return cast_voices(candidates, config=self.config, voices=self.voices, capabilities=self.can)


def some(values: Sequence[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(st.sampled_from(values), WEIGHTS, min_size=1)


@st.composite
def cases(draw: Any) -> Case:
    backends = draw(some(BACKENDS))
    languages = draw(st.sampled_from([{"en": 1.0}, {"en": 1.0}, {"en": 1.0, "de": 0.5}]))
    speaks = st.sampled_from([tuple(languages), tuple(languages), ("en",)])
    controls = st.one_of(st.just(CONTROLS), st.sets(st.sampled_from(CONTROLS)))
    one_age = st.sampled_from([None, *AGES])
    voices: dict[str, list[Voice]] = {"home": [voice("home", "heart", "female", languages=("en", "de"))]}
    can = {"home": able(*CONTROLS, languages=("en", "de"))}
    for backend in backends:
        kinds = draw(
            st.lists(st.tuples(st.sampled_from(("female", "male")), one_age, speaks, st.integers(1, 4)), max_size=12)
        )
        voices[backend] = [
            voice(backend, f"{gender}-{age}-{n}-{k}", gender, age=age, languages=own)
            for n, (gender, age, own, size) in enumerate(kinds)
            for k in range(size)
        ]
        can[backend] = able(*draw(controls), languages=tuple(languages))
    cast = CAST.model_copy(
        update={
            "users": backends,
            "max_voice_share": draw(st.sampled_from([0.05, 0.1, 0.3, 1.0])),
            "min_rendered": draw(st.sampled_from([0.0, 0.3, 0.5, 0.9])),
            "splits": draw(st.sampled_from([{"train": 0.8, "val": 0.1, "test": 0.1}, {"train": 1.0, "test": 1.0}])),
        }
    )
    plan: dict[str, Any] = {"languages": languages}
    if draw(st.booleans()):
        plan["emotions"] = draw(some(EMOTIONS))
    if draw(st.booleans()):
        plan["ages"] = draw(some(AGES))
    target = {"dialogues": draw(st.integers(1, 60)), "max_candidates": NUM_CANDIDATES}
    return Case(
        recipe(draw(st.integers(0, 9)), cast, target, genders=draw(some(("female", "male"))), **plan), voices, can
    )


def planned(case: Case) -> list[Candidate]:
    """The candidates of a case whose plan can be had."""
    try:
        return screened(case.config, NUM_CANDIDATES)
    except RecipeError:
        assume(False)
        raise


def castable(case: Case) -> None:
    """Go on with cases that may be cast at all, be it for more dialogues than their voices reach."""
    try:
        validate_casting(case.config, case.voices, case.can)
    except RecipeError as refusal:
        assume("max_voice_share" in str(refusal))


def fitting(case: Case, ensemble: Ensemble, candidate: Candidate) -> list[Voice]:
    s = candidate.scenario
    assert candidate.split
    pool = ensemble.pools[s.language][candidate.split]
    return [v for v in pool if v.gender == s.speaker_gender and s.emotion in ensemble.renders[v.backend]]


def strangeness(own: Voice, age: str) -> tuple[int, bool]:
    """How far a voice is from an age, and whether that is only supposed."""
    bands = (own.age,) if own.age else ADULTS
    return min(abs(AGES.index(b) - AGES.index(age)) for b in bands), own.age is None


RUNS = settings(
    deadline=None,
    max_examples=40,
    phases=QUICK,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)


@RUNS
@given(cases())
def test_casting_keeps_its_promises(case: Case) -> None:
    castable(case)
    candidates = planned(case)
    ensemble, bound = case.ensemble, max_casts(case.config)
    voices = {v.id: v for v in ensemble.users}
    uses = dict.fromkeys(voices, 0)
    alike: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    split_of = {v.id: split for pools in ensemble.pools.values() for split, own in pools.items() for v in own}
    for v in voices.values():
        alike[split_of[v.id], v.backend, v.gender, v.age, v.languages].append(v.id)
    group_splits: dict[str, set[str | None]] = defaultdict(set)
    dealt: dict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
    for c in case.cast(candidates):
        s = c.scenario
        group_splits[s.group].add(c.split)
        free = [v for v in fitting(case, ensemble, c) if bound is None or uses[v.id] < bound]
        if not c.alive:
            assert c.rejection and c.rejection.reasons[0].code == "voice_quota" and not free
            continue
        own = voices[c.utterances[0].voice_id]
        assert own in free, "gender, language, split, emotion and the bound on its uses"
        assert all(u.voice_id == (own.id if u.role == "user" else "home/heart") for u in c.utterances)
        best = min(strangeness(v, s.speaker_age) for v in free)
        assert strangeness(own, s.speaker_age) == best, "the nearest age that there is"
        backends = sorted({v.backend for v in free if strangeness(v, s.speaker_age) == best})
        dealt[(c.split, s.language, s.speaker_gender, s.speaker_age, *backends)][own.backend] += 1
        uses[own.id] += 1
        equals = [uses[v] for v in alike[split_of[own.id], own.backend, own.gender, own.age, own.languages]]
        assert max(equals) - min(equals) <= 1, "every voice before any comes again"
    assert {len(splits) for splits in group_splits.values()} == {1}
    assert bound is None or max(uses.values()) <= bound
    for key, counts in dealt.items():
        weights = {b: case.config.cast.users[b] for b in key[4:]}
        for backend, weight in weights.items():
            assert abs(counts[backend] - counts.total() * weight / sum(weights.values())) <= 4


@settings(RUNS, max_examples=25)
@given(cases(), st.lists(st.integers(1, NUM_CANDIDATES - 1), max_size=5), st.randoms(use_true_random=False))
def test_any_partition_into_parts_gives_the_same_cast(case: Case, cuts: list[int], random: Any) -> None:
    castable(case)
    candidates = planned(case)
    whole = case.cast(candidates)
    bounds = [0, *sorted(set(cuts)), NUM_CANDIDATES]
    parts = list(zip(bounds, bounds[1:], strict=False))
    random.shuffle(parts)
    mixed = {name: random.sample(list(own), len(own)) for name, own in case.voices.items()}
    other = Case(case.config, mixed, case.can)
    done: dict[int, list[Candidate]] = {}
    for first, last in parts:
        if random.random() < 0.5:
            cast_ledger._ledgers.clear()  # as another process would begin
        done[first] = other.cast(candidates[first:last])
    assert [c for first in sorted(done) for c in done[first]] == whole


@RUNS
@given(cases())
def test_a_split_never_shares_a_voice_and_train_lacks_nobody(case: Case) -> None:
    try:
        ensemble = case.ensemble
    except RecipeError as refusal:
        assert "no user voice is left" in str(refusal)
        return
    of_split: dict[str, set[str]] = defaultdict(set)
    for pools in ensemble.pools.values():
        for split, own in pools.items():
            of_split[split].update(v.id for v in own)
    assert sum(len(own) for own in of_split.values()) == len(set().union(*of_split.values())) == len(ensemble.users)
    for language, pools in ensemble.pools.items():
        assert abs(sum(ensemble.split_shares(language).values()) - 1) < 1e-9
        for own in pools.values():
            reach = {(v.gender, e) for v in own for e in ensemble.renders[v.backend]}
            speakers = [v for v in ensemble.users if language in v.languages]
            assert reach == {(v.gender, e) for v in speakers for e in ensemble.renders[v.backend]}


@RUNS
@given(cases())
def test_what_is_refused_says_what_to_do_and_what_is_not_reaches_the_target(case: Case) -> None:
    try:
        validate_plan(
            case.config.model_copy(update={"plan": case.config.plan.model_copy(update={"languages": {"en": 1}})})
        )
    except RecipeError:
        assume(False)
    try:
        validate_casting(case.config, case.voices, case.can)
    except RecipeError as refusal:
        said = str(refusal)
        assert said.startswith("cast") and said.endswith(".")
        assert any(word in said for word in ("Add ", "Choose ", "Check ", "raise ", "take it out"))
        return
    bound, ensemble = max_casts(case.config), case.ensemble
    for gender in case.config.plan.genders:
        assert any(v.gender == gender for v in ensemble.users)
    assert bound is None or bound * len(ensemble.users) >= case.config.target.dialogues - 1e-6
