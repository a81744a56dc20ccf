from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import pytest
from castings import CAN, CAST, GENDERS, VOICES, able, cast_of, choir, recipe, screened, voice
from hypothesis import given, settings
from hypothesis import strategies as st

import prompts
from contracts.config import CastConfig
from contracts.errors import RecipeError
from contracts.records import Reason
from prompts.taxonomies import Controls
from tasks.cast_voices import cast_voices, delivery, validate_casting
from tasks.ensemble import split_of
from tasks.voice_pools import user_voices, voice_pools

SEEDS = st.integers(0, 2**32)


@settings(deadline=None, max_examples=6)
@given(SEEDS)
def test_no_group_and_no_user_voice_is_in_two_splits(seed: int) -> None:
    splits_of: dict[str, set[str]] = defaultdict(set)
    for c in cast_of(recipe(seed), 200):
        assert c.split
        splits_of[c.scenario.group].add(c.split)
        splits_of[c.utterances[0].voice_id].add(c.split)
    assert {len(splits) for splits in splits_of.values()} == {1}


@settings(deadline=None, max_examples=5)
@given(SEEDS)
def test_voices_fit_the_gender_and_none_is_ahead_of_another_by_more_than_one(seed: int) -> None:
    gender_of = {v.id: v.gender for v in VOICES["one"]}
    used: dict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
    for c in cast_of(recipe(seed), 400):
        user = c.utterances[0].voice_id
        assert gender_of[user] == c.scenario.speaker_gender
        used[c.split, c.scenario.speaker_gender][user] += 1
    for key, counts in used.items():
        assert max(counts.values()) - min(counts.values()) <= 1, (key, counts)
        assert key[0] != "train" or len(counts) == 4


@settings(deadline=None, max_examples=6)
@given(SEEDS, st.integers(0, 800), st.randoms(use_true_random=False))
def test_a_cast_depends_on_nothing_but_its_plan(seed: int, start: int, random: Any) -> None:
    config = recipe(seed)
    candidates = screened(config, 30, start)
    together = cast_of(config, 30, start)
    mixed = {name: random.sample(list(own), len(own)) for name, own in VOICES.items()}
    alone = [cast_voices([c], config=config, voices=mixed, capabilities=CAN)[0] for c in candidates]
    assert alone == together
    order = random.sample(range(30), 30)
    again = cast_voices([candidates[n] for n in order], config=config, voices=VOICES, capabilities=CAN)
    assert again == [together[n] for n in order]


def test_the_user_keeps_one_voice_and_the_assistant_has_its_own() -> None:
    for c in cast_of(recipe(num_turns={4: 1}), 40):
        users = {u.voice_id for u in c.utterances if u.role == "user"}
        assert len(users) == 1 and "home/heart" not in users
        assert [u.voice_id for u in c.utterances if u.role == "assistant"] == ["home/heart"] * 2


def test_utterances_carry_all_but_the_sound() -> None:
    done = cast_of(recipe(num_turns={4: 1}), 1, start=42)[0]
    assert [u.id for u in done.utterances] == [f"d000042-t0{n}" for n in range(4)]
    assert [u.turn_index for u in done.utterances] == [0, 1, 2, 3]
    assert [u.text for u in done.utterances] == [f"turn {n}." for n in range(4)]
    assert len({u.seed for u in done.utterances}) == 4
    assert {(u.engine, u.audio, u.duration, u.sample_rate) for u in done.utterances} == {(None,) * 4}


def test_rejected_candidates_pass_untouched() -> None:
    dead = screened(recipe(), 1)[0].rejected("screen", Reason(code="too_long", detail="x"))
    assert cast_voices([dead], config=recipe(), voices=VOICES, capabilities=CAN) == [dead]


def test_the_assistants_voice_is_never_a_users() -> None:
    for c in cast_of(recipe(cast=CAST.model_copy(update={"assistant_voice": "one/f0"})), 100):
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


def test_every_split_has_every_age_that_has_a_voice_for_each() -> None:
    sizes = {"child": 3, "teenager": 6, "young_adult": 30, "middle_aged": 2}
    voices = [v for age, size in sizes.items() for v in choir("one", size, size, prefix=age, age=age)]
    pools = voice_pools(CAST, 0, voices)["en"]
    for own in pools.values():
        assert {(v.gender, v.age) for v in own} >= {(g, age) for g in GENDERS for age in list(sizes)[:3]}
    assert sum(v.age == "young_adult" for v in pools["train"]) == 48
    assert sum(len(own) for own in pools.values()) == len(voices)


@pytest.mark.parametrize(
    ("women", "men", "kept"),
    [(3, 3, {"train", "val", "test"}), (5, 2, {"train", "val"}), (5, 1, {"train"}), (4, 0, {"train", "val", "test"})],
)
def test_a_split_without_voices_is_dropped_and_train_takes_its_groups(women: int, men: int, kept: set[str]) -> None:
    voices = {**VOICES, "one": choir("one", women, men)}
    genders = {"female": 1.0, **({"male": 1.0} if men else {})}
    done = cast_of(recipe(genders=genders), 300, voices=voices)
    assert {c.split for c in done} == kept
    assert len({c.utterances[0].voice_id for c in done}) == women + men, "no voice lies idle"


def test_a_split_whose_voices_cannot_make_an_emotion_heard_is_dropped() -> None:
    voices = [*choir("one", 1, 6), *choir("slow", 6, 0)]
    renders = {"one": frozenset({"neutral", "sad"}), "slow": frozenset({"neutral"})}
    assert set(voice_pools(CAST, 0, voices)["en"]) == {"train", "val", "test"}
    pools = voice_pools(CAST, 0, voices, renders)["en"]
    assert set(pools) == {"train"} and len(pools["train"]) == 13


def test_a_language_with_few_voices_costs_no_other_language_its_splits() -> None:
    voices = [*choir("one", 6, 6), *choir("zwei", 1, 1, languages=("de",))]
    pools = voice_pools(CAST, 0, voices)
    assert set(pools["en"]) == {"train", "val", "test"} and set(pools["de"]) == {"train"}


def test_backends_get_their_shares_as_far_as_they_have_a_voice() -> None:
    config = CAST.model_copy(update={"users": {"one": 3.0, "two": 1.0}, "splits": {"train": 1.0}})
    voices = {**VOICES, "two": [voice("two", "joe", "male")]}
    done = cast_of(recipe(cast=config), 800, voices=voices)
    used = Counter((c.scenario.speaker_gender, c.utterances[0].backend) for c in done)
    assert used["female", "two"] == 0
    assert used["male", "two"] / (used["male", "one"] + used["male", "two"]) == pytest.approx(0.25, abs=0.01)


def test_a_backend_is_cast_for_the_emotions_that_it_renders_alone() -> None:
    config = CAST.model_copy(update={"users": {"one": 1.0, "slow": 1.0}, "splits": {"train": 1.0}})
    voices = {**VOICES, "slow": choir("slow", 2, 2)}
    by_emotion = defaultdict(set)
    for c in cast_of(recipe(cast=config), 300, voices=voices):
        by_emotion[c.scenario.emotion].add(c.utterances[0].backend)
    assert by_emotion["neutral"] == {"one", "slow"}
    assert by_emotion["surprised"] == {"one"}


def test_an_age_is_met_exactly_else_by_a_voice_of_unknown_age_else_by_the_nearest() -> None:
    voices = [
        *choir("one", 2, 2, prefix="child", age="child"),
        *choir("one", 2, 2, prefix="senior", age="senior"),
        *choir("one", 2, 2, prefix="unknown"),
    ]
    config = CAST.model_copy(update={"splits": {"train": 1.0}})
    wanted = {"child": "child", "teenager": "child", "young_adult": None, "middle_aged": None, "senior": "senior"}
    age_of = {v.id: v.age for v in voices}
    for c in cast_of(recipe(cast=config), 100, voices={**VOICES, "one": voices}):
        assert age_of[c.utterances[0].voice_id] == wanted[c.scenario.speaker_age]


def test_a_voice_at_its_bound_gives_way_to_its_neighbours_and_then_the_candidate_is_rejected() -> None:
    ages = ("teenager", "young_adult", "middle_aged", "senior")
    voices = {**VOICES, "one": [v for age in ages for v in choir("one", 1, 1, prefix=age, age=age)]}
    config = CAST.model_copy(update={"splits": {"train": 1.0}, "max_voice_share": 0.1})
    target = {"dialogues": 20, "max_candidates": 72}
    done = cast_of(recipe(cast=config, target=target, ages={"senior": 1.0}), 72, voices=voices)
    spoken = [c for c in done if c.alive]
    assert len(spoken) == 16 and {Counter(c.utterances[0].voice_id for c in spoken)[v.id] for v in voices["one"]} == {2}
    women = [c.utterances[0].voice_id for c in spoken if c.scenario.speaker_gender == "female"]
    assert women == [f"one/{age}f0" for age in reversed(ages) for _ in range(2)]
    for c in done:
        if not c.alive:
            assert c.rejection and c.rejection.stage == "cast" and not c.utterances
            (reason,) = c.rejection.reasons
            assert (reason.code, reason.threshold) == ("voice_quota", 2)
            assert "All 4" in reason.detail and "max_voice_share 0.1 of 20 dialogues" in reason.detail


def test_with_a_bank_of_two_hundred_nobody_speaks_more_than_a_tenth_of_a_small_corpus() -> None:
    voices = {**VOICES, "one": [v for age in prompts.ages().ages for v in choir("one", 20, 20, prefix=age, age=age)]}
    config = CAST.model_copy(update={"max_voice_share": 0.1})
    age_of = {v.id: v.age for v in voices["one"]}
    for seed in range(8):
        done = cast_of(recipe(seed, cast=config, target={"dialogues": 24, "max_candidates": 72}), 72, voices=voices)
        users = Counter(c.utterances[0].voice_id for c in done)
        assert max(users.values()) <= 2
        assert all(age_of[c.utterances[0].voice_id] == c.scenario.speaker_age for c in done)


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
    for c in cast_of(recipe(), 40):
        user, assistant = (u.delivery for u in c.utterances)
        felt = table.user[c.scenario.emotion].rate
        tone = table.assistant[known.emotions[c.scenario.emotion].reply_tone].rate
        assert (user.rate or 1.0) == pytest.approx(1 + (felt - 1) * c.scenario.intensity, abs=1e-4)
        assert (assistant.rate or 1.0) == pytest.approx(1 + (tone - 1) * c.scenario.intensity, abs=1e-4)
        assert (user.emotion, assistant.emotion) == (c.scenario.emotion, "warm")


def changed(**settings: Any) -> CastConfig:
    return CAST.model_copy(update=settings)


BAD = [
    (changed(assistant_voice="home/soul"), {}, r"assistant_voice: no voice 'home/soul'.*home/heart"),
    (changed(users={"three": 1.0}), {}, "nothing is known of the backend 'three'"),
    (changed(user_voices=("one/x",)), {}, r"user_voices: no voice 'one/x'; choose from: one/f0"),
    (changed(exclude_voices=("one/x",)), {}, "exclude_voices: no voice 'one/x'"),
    (changed(users={"home": 1.0}), {}, "no user voice is left"),
    (changed(users={"zwei": 1.0}), {}, "zwei speaks de, none of the plan's languages"),
    (CAST, {"languages": {"de": 1.0}}, "one speaks en, none of the plan's languages"),
    (changed(assistant_voice="zwei/f0"), {}, "zwei/f0 does not speak 'en'; choose one of: home"),
    (changed(user_voices=("one/f1",)), {}, "no male user voice speaks 'en'; the user voices are"),
    (changed(splits={"val": 1.0}), {}, "train must have a share"),
    (changed(users={"odd": 1.0}), {}, r"odd/f0 says that it sounds like 'ancient', which is no age band.*child, teen"),
    (
        changed(users={"slow": 1.0}),
        {"emotions": {"neutral": 1.0, "surprised": 1.0}},
        r"min_rendered 0.5: of no female user voice that speaks 'en' .*surprised \(slow renders \d+%\); "
        r"slow has the controls rate\. Add another backend.*lower cast.min_rendered to 0\.\d+, or take surprised out",
    ),
    (
        changed(assistant_voice="slow/f0"),
        {"emotions": {"neutral": 1.0, "happy": 1.0}},
        r"assistant_min_rendered 0.5: of slow/f0 .*cheerful \(slow renders \d+%\).*take .*happy out of plan.emotions",
    ),
    (
        changed(user_voices=("one/f0", "one/m0", "one/m1"), max_voice_share=0.1),
        {},
        r"max_voice_share 0.1: .* 100 times .* 1000 dialogues, so the 1 female user voices .* train \(one/f0\) come to "
        r"100; they would have to speak 500.0\. Add female voices .*max_voice_share to at least 0.5\.",
    ),
]


@pytest.mark.parametrize(("config", "plan", "says"), BAD)
def test_an_impossible_casting_is_refused_with_the_choices(config: CastConfig, plan: dict[str, Any], says: str) -> None:
    voices = {
        **VOICES,
        "zwei": choir("zwei", 2, 2, languages=("de",)),
        "slow": choir("slow", 3, 3),
        "odd": choir("odd", 3, 3, age="ancient"),
    }
    with pytest.raises(RecipeError, match=says):
        validate_casting(recipe(cast=config, **plan), voices, {**CAN, "odd": CAN["one"]})


def test_a_good_casting_is_valid() -> None:
    validate_casting(recipe(), VOICES, CAN)
    assert len(user_voices(CAST, VOICES)) == 12
