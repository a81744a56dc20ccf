from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import prompts
from contracts.config import CastConfig, CorpusConfig
from contracts.errors import RecipeError
from contracts.protocols import Capabilities, Control
from contracts.records import Candidate, Dialogue, Gender, Reason, Role, Turn, Voice
from prompts.taxonomies import Controls
from tasks.cast_voices import cast_voices, delivery, split_of, validate_casting
from tasks.plan_scenarios import plan_scenarios
from tasks.voice_pools import user_voices, voice_pools

GENDERS: tuple[Gender, Gender] = ("female", "male")
ROLES: tuple[Role, Role] = ("user", "assistant")
SEEDS = st.integers(0, 2**32)


def voice(backend: str, name: str, gender: Gender, **more: Any) -> Voice:
    return Voice(id=f"{backend}/{name}", backend=backend, name=name, gender=gender, license="x", source="y", **more)


def choir(backend: str, women: int, men: int, **more: Any) -> list[Voice]:
    sizes = zip(GENDERS, (women, men), strict=True)
    return [voice(backend, f"{gender[0]}{n}", gender, **more) for gender, size in sizes for n in range(size)]


def able(*controls: Control, languages: tuple[str, ...] = ("en",), **more: Any) -> Capabilities:
    return Capabilities(sample_rate=24000, languages=languages, controls=frozenset(controls), **more)


VOICES: dict[str, Sequence[Voice]] = {"one": choir("one", 6, 6), "home": [voice("home", "heart", "female")]}
CAN = {
    "one": able("rate", "pitch"),
    "two": able("rate"),
    "home": able("rate", "energy"),
    "zwei": able(languages=("de",)),
}
CAST = CastConfig(users={"one": 1.0}, assistant_voice="home/heart")


def recipe(seed: int = 0, cast: CastConfig = CAST, **plan: Any) -> CorpusConfig:
    data = {"name": "test", "seed": seed, "target": {"dialogues": 1, "max_candidates": 10**6}, "plan": plan}
    return CorpusConfig.model_validate(data).model_copy(update={"cast": cast})


def screened(seed: int, count: int, start: int = 0, num_turns: int = 2, **plan: Any) -> list[Candidate]:
    candidates = []
    for scenario in plan_scenarios(recipe(seed, num_turns={num_turns: 1}, **plan), start, count):
        turns = tuple(
            Turn(
                role=ROLES[n % 2],
                text=f"turn {n}",
                spoken_text=f"turn {n}.",
                emotion="warm" if n % 2 else scenario.emotion,
            )
            for n in range(num_turns)
        )
        dialogue = Dialogue(turns=turns, prompt_sha256="0", model="test", seed=1)
        candidates.append(Candidate(scenario=scenario, dialogue=dialogue))
    return candidates


def cast(
    candidates: Sequence[Candidate], seed: int = 0, config: CastConfig = CAST, voices: Any = VOICES
) -> list[Candidate]:
    return cast_voices(candidates, config=config, seed=seed, voices=voices, capabilities=CAN)


@settings(deadline=None, max_examples=6)
@given(SEEDS)
def test_no_group_and_no_user_voice_is_in_two_splits(seed: int) -> None:
    splits_of: dict[str, set[str]] = defaultdict(set)
    for c in cast(screened(seed, 200), seed):
        assert c.split
        splits_of[c.scenario.group].add(c.split)
        splits_of[c.utterances[0].voice_id].add(c.split)
    assert {len(splits) for splits in splits_of.values()} == {1}


@settings(deadline=None, max_examples=5)
@given(SEEDS)
def test_voices_fit_the_gender_and_are_used_evenly(seed: int) -> None:
    gender_of = {v.id: v.gender for v in VOICES["one"]}
    used: dict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
    for c in cast(screened(seed, 400), seed):
        user = c.utterances[0].voice_id
        assert gender_of[user] == c.scenario.speaker_gender
        used[c.split, c.scenario.speaker_gender][user] += 1
    for key, counts in used.items():
        assert max(counts.values()) <= 2 * min(counts.values()), (key, counts)
        assert key[0] != "train" or len(counts) == 4


@settings(deadline=None, max_examples=6)
@given(SEEDS, st.integers(0, 10**5), st.randoms(use_true_random=False))
def test_a_cast_depends_on_nothing_but_its_scenario(seed: int, start: int, random: Any) -> None:
    candidates = screened(seed, 30, start)
    together = cast(candidates, seed)
    mixed = {name: random.sample(list(own), len(own)) for name, own in VOICES.items()}
    alone = [cast([c], seed, voices=mixed)[0] for c in candidates]
    assert alone == together
    order = random.sample(range(30), 30)
    assert cast([candidates[n] for n in order], seed) == [together[n] for n in order]


def test_the_user_keeps_one_voice_and_the_assistant_has_its_own() -> None:
    for c in cast(screened(0, 40, num_turns=4)):
        users = {u.voice_id for u in c.utterances if u.role == "user"}
        assert len(users) == 1 and "home/heart" not in users
        assert [u.voice_id for u in c.utterances if u.role == "assistant"] == ["home/heart"] * 2


def test_utterances_carry_all_but_the_sound() -> None:
    done = cast(screened(0, 1, start=42, num_turns=4))[0]
    assert [u.id for u in done.utterances] == [f"d000042-t0{n}" for n in range(4)]
    assert [u.turn_index for u in done.utterances] == [0, 1, 2, 3]
    assert [u.text for u in done.utterances] == [f"turn {n}." for n in range(4)]
    assert len({u.seed for u in done.utterances}) == 4
    assert {(u.engine, u.audio, u.duration, u.sample_rate) for u in done.utterances} == {(None,) * 4}


def test_rejected_candidates_pass_untouched() -> None:
    dead = screened(0, 1)[0].rejected("screen", Reason(code="too_long", detail="x"))
    assert cast([dead]) == [dead]


def test_the_assistants_voice_is_never_a_users() -> None:
    config = CastConfig(users={"one": 1.0}, assistant_voice="one/f0")
    for c in cast(screened(0, 100), config=config):
        assert c.utterances[0].voice_id != "one/f0"


def test_groups_meet_the_splits_shares() -> None:
    counts = Counter(split_of(f"en/topic/{n}", {"train": 8, "val": 1, "test": 1}, 0) for n in range(5000))
    assert abs(counts["train"] / 5000 - 0.8) < 0.03 and abs(counts["val"] / 5000 - 0.1) < 0.02


def test_pools_meet_the_splits_shares_with_both_genders_in_each() -> None:
    pools = voice_pools(CAST, 0, choir("one", 20, 10))["en"]
    sizes = {split: Counter(v.gender for v in own) for split, own in pools.items()}
    assert sizes == {
        "train": {"female": 16, "male": 8},
        "val": {"female": 2, "male": 1},
        "test": {"female": 2, "male": 1},
    }


@pytest.mark.parametrize(
    ("women", "men", "kept"),
    [(3, 3, {"train", "val", "test"}), (5, 2, {"train", "val"}), (5, 1, {"train"}), (4, 0, {"train", "val", "test"})],
)
def test_a_split_without_voices_is_dropped_and_train_takes_its_groups(women: int, men: int, kept: set[str]) -> None:
    voices = {**VOICES, "one": choir("one", women, men)}
    genders = {"female": 1.0, **({"male": 1.0} if men else {})}
    done = cast(screened(0, 300, genders=genders), voices=voices)
    assert {c.split for c in done} == kept
    assert len({c.utterances[0].voice_id for c in done}) == women + men, "no voice lies idle"


def test_a_language_with_few_voices_costs_no_other_language_its_splits() -> None:
    voices = [*choir("one", 6, 6), *choir("zwei", 1, 1, languages=("de",))]
    pools = voice_pools(CAST, 0, voices)
    assert set(pools["en"]) == {"train", "val", "test"} and set(pools["de"]) == {"train"}


def test_backends_get_their_shares_as_far_as_they_have_a_voice() -> None:
    config = CastConfig(users={"one": 3.0, "two": 1.0}, assistant_voice="home/heart")
    voices = {**VOICES, "two": [voice("two", "joe", "male")]}
    done = [c for c in cast(screened(0, 800), config=config, voices=voices) if c.split == "train"]
    used = Counter((c.scenario.speaker_gender, c.utterances[0].backend) for c in done)
    total = used["male", "one"] + used["male", "two"]
    joes_split = {c.split for c in done if c.utterances[0].voice_id == "two/joe"}
    assert used["female", "two"] == 0
    assert not joes_split or abs(used["male", "two"] / total - 0.25) < 0.06


def test_voices_of_the_speakers_age_are_preferred() -> None:
    children = choir("one", 3, 3, age="child")
    others = [voice("one", f"{gender}{n}", gender) for gender in GENDERS for n in range(3)]
    config = CastConfig(users={"one": 1.0}, assistant_voice="home/heart", splits={"train": 1.0})
    for c in cast(screened(0, 100), config=config, voices={**VOICES, "one": [*children, *others]}):
        sounds_like_child = c.utterances[0].voice_id in {v.id for v in children}
        assert sounds_like_child == (c.scenario.speaker_age == "child")


def test_delivery_is_scaled_by_intensity_and_says_what_it_cannot_render() -> None:
    sad = Controls(rate=0.88, pitch=0.95, pitch_range=0.8, energy=0.8)
    full = delivery("sad", 1.0, sad, able("rate", "pitch", "pitch_range", "energy"), "")
    assert (full.rate, full.pitch, full.pitch_range, full.energy) == (0.88, 0.95, 0.8, 0.8) and not full.unrendered
    half = delivery("sad", 0.5, sad, able("rate"), "")
    assert (half.rate, half.pitch, half.unrendered) == (0.94, None, ("pitch", "pitch_range", "energy"))
    still = delivery("neutral", 1.0, Controls(), able("rate"), "")
    assert (still.rate, still.instruct, still.unrendered) == (None, None, ())
    told = delivery("sad", 1.0, sad, able(emotion="instruct"), "Speak sadly.")
    assert (told.rate, told.instruct, told.unrendered) == (None, "Speak sadly.", ())


def test_users_sound_as_they_feel_and_the_assistant_as_a_kind_listener() -> None:
    table, known = prompts.deliveries(), prompts.emotions()
    for c in cast(screened(0, 40)):
        user, assistant = (u.delivery for u in c.utterances)
        felt = table.user[c.scenario.emotion].rate
        tone = table.assistant[known.emotions[c.scenario.emotion].reply_tone].rate
        assert (user.rate or 1.0) == pytest.approx(1 + (felt - 1) * c.scenario.intensity, abs=1e-4)
        assert (assistant.rate or 1.0) == pytest.approx(1 + (tone - 1) * c.scenario.intensity, abs=1e-4)
        assert (user.emotion, assistant.emotion) == (c.scenario.emotion, "warm")


BAD = [
    (
        CastConfig(users={"one": 1.0}, assistant_voice="home/soul"),
        {},
        r"assistant_voice: no voice 'home/soul'.*home/heart",
    ),
    (CastConfig(users={"three": 1.0}, assistant_voice="home/heart"), {}, "nothing is known of the backend 'three'"),
    (CAST.model_copy(update={"user_voices": ("one/x",)}), {}, r"user_voices: no voice 'one/x'; choose from: one/f0"),
    (CAST.model_copy(update={"exclude_voices": ("one/x",)}), {}, "exclude_voices: no voice 'one/x'"),
    (CastConfig(users={"home": 1.0}, assistant_voice="home/heart"), {}, "no user voice is left"),
    (CastConfig(users={"zwei": 1.0}, assistant_voice="home/heart"), {}, "zwei speaks de, none of the plan's languages"),
    (CAST, {"languages": {"de": 1.0}}, "one speaks en, none of the plan's languages"),
    (CastConfig(users={"one": 1}, assistant_voice="zwei/f0"), {}, "zwei/f0 does not speak 'en'; choose one of: home"),
    (CAST.model_copy(update={"user_voices": ("one/f1",)}), {}, "no male user voice speaks 'en'; the user voices are"),
    (CAST.model_copy(update={"splits": {"val": 1.0}}), {}, "train must have a share"),
]


@pytest.mark.parametrize(("config", "plan", "says"), BAD)
def test_an_impossible_casting_is_refused_with_the_choices(config: CastConfig, plan: dict[str, Any], says: str) -> None:
    voices = {**VOICES, "zwei": choir("zwei", 2, 2, languages=("de",))}
    with pytest.raises(RecipeError, match=says):
        validate_casting(recipe(cast=config, **plan), voices, CAN)


def test_a_good_casting_is_valid() -> None:
    validate_casting(recipe(), VOICES, CAN)
    assert len(user_voices(CAST, VOICES)) == 12
