from __future__ import annotations

import threading
from typing import Any

import pytest
from castings import CAN, CAST, VOICES, cast_of, choir, recipe

from contracts.errors import RecipeError
from contracts.protocols import CONTROLS, Capabilities, Control
from prompts.taxonomies import Controls
from tasks.cast_ledger import CastLedger, cast_ledger
from tasks.cast_voices import validate_casting
from tasks.ensemble import ensemble_of
from tasks.rendered_share import rendered_share
from tasks.voice_quotas import max_casts, target_dialogues

SAD = Controls(rate=0.5, pitch=2.0, energy=4.0)


def quota(share: float, **target: Any) -> int | None:
    goal = {"max_candidates": 10**5, **target}
    return max_casts(recipe(cast=CAST.model_copy(update={"max_voice_share": share}), target=goal))


def test_a_bound_is_the_share_of_the_target_rounded_down_but_one_at_least() -> None:
    assert [quota(0.1, dialogues=n) for n in (1, 9, 10, 24, 29, 30)] == [1, 1, 1, 2, 2, 3]
    assert quota(0.07, dialogues=100) == 7, "0.07 * 100 is less than 7 in binary"
    assert quota(1.0, dialogues=5) is None


def test_the_bound_depends_on_the_target_not_on_the_budget() -> None:
    assert quota(0.1, dialogues=24, max_candidates=24) == quota(0.1, dialogues=24, max_candidates=10**6) == 2


def test_hours_are_taken_for_few_dialogues() -> None:
    hours = {"hours": 1.0, "max_candidates": 10**4}
    assert target_dialogues(recipe(target=hours)) == 225
    assert target_dialogues(recipe(target=hours, num_turns={2: 1, 6: 1})) == 112
    assert target_dialogues(recipe(target={"hours": 1.0, "max_candidates": 100})) == 100


@pytest.mark.parametrize(
    ("controls", "emotion", "share"),
    [
        (("rate",), "prosody", 0.25),
        (("rate", "energy"), "none", 0.75),
        (("pitch_range",), "prosody", 0.0),
        (CONTROLS, "prosody", 1.0),
        ((), "instruct", 1.0),
        ((), "reference", 1.0),
    ],
)
def test_the_share_of_a_feeling_is_weighed_by_how_far_each_control_moves(
    controls: tuple[Control, ...], emotion: Any, share: float
) -> None:
    can = Capabilities(sample_rate=1, languages=("en",), emotion=emotion, controls=frozenset(controls))
    assert rendered_share(SAD, can) == pytest.approx(share)
    assert rendered_share(Controls(), can) == 1.0


def test_what_a_refusal_proposes_is_accepted() -> None:
    target = {"dialogues": 30, "max_candidates": 90}
    voices = {**VOICES, "one": choir("one", 3, 40)}

    def check(share: float) -> None:
        config = CAST.model_copy(update={"max_voice_share": share, "splits": {"train": 1.0}})
        validate_casting(recipe(cast=config, target=target), voices, CAN)

    with pytest.raises(
        RecipeError, match=r"the 3 female .* come to 9; they would have to speak 15\.0.* at least 0\.17\."
    ):
        check(0.1)
    check(0.17)


def test_what_a_refusal_proposes_to_lower_is_accepted() -> None:
    config, voices = CAST.model_copy(update={"users": {"slow": 1.0}}), {**VOICES, "slow": choir("slow", 3, 3)}
    with pytest.raises(RecipeError, match=r"lower cast.min_rendered to 0\.\d+") as refusal:
        validate_casting(recipe(cast=config), voices, CAN)
    proposed = float(str(refusal.value).partition("lower cast.min_rendered to ")[2].split(",")[0])
    validate_casting(recipe(cast=config.model_copy(update={"min_rendered": proposed})), voices, CAN)


def test_another_target_changes_no_cast_before_voices_run_out() -> None:
    voices = {**VOICES, "one": choir("one", 30, 30)}
    config = CAST.model_copy(update={"max_voice_share": 0.1, "splits": {"train": 1.0}})
    small, large = (
        cast_of(recipe(cast=config, target={"dialogues": n, "max_candidates": 90}), 90, voices=voices) for n in (20, 90)
    )
    assert small == large


def test_a_ledger_is_kept_for_its_recipe_and_may_be_asked_from_any_thread() -> None:
    config = recipe(5)
    ensemble = ensemble_of(config, VOICES, CAN)
    assert cast_ledger(config, ensemble) is cast_ledger(config, ensemble_of(config, VOICES, CAN))
    assert cast_ledger(config, ensemble) is not cast_ledger(recipe(6), ensemble)
    ledger, alone = CastLedger(config, ensemble), CastLedger(config, ensemble)
    found: dict[int, Any] = {}
    threads = [
        threading.Thread(target=lambda n=n: found.update({i: ledger.voice(i) for i in range(n, 1200, 4)}))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {i: alone.voice(i) for i in range(1200)}
