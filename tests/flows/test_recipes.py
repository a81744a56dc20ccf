from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import RecipeError
from flows.recipes import builtin_recipes, load_recipe, parse_settings


def test_every_built_in_recipe_is_valid() -> None:
    assert {"demo", "nightly"} <= set(builtin_recipes())
    for name in builtin_recipes():
        assert load_recipe(name).name == name


def test_settings_are_laid_over_the_recipe() -> None:
    settings = parse_settings(["target.dialogues=5", "generate.llm.extra={min_p: 0.1}", "accept.gates.wer.max=0.05"])
    config = load_recipe("demo", settings)
    assert config.target.dialogues == 5
    assert config.generate.llm.extra == {"min_p": 0.1}
    assert config.accept.gates["wer"].max == 0.05


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["plan.part_sise=3"], "plan.part_sise: unknown key; did you mean part_size"),
        (["plan.whatever=3"], "plan.whatever: unknown key; known are: .*part_size"),
        (["generate.llm.base_urll=x"], "did you mean base_url"),
        (["target.dialogues=many"], r"target.dialogues: .*integer.*'many'"),
        (["target.dialogues=500"], "impossible target: 500 accepted dialogues out of at most 72"),
        (["seed.x=1"], "seed is a value in this recipe, not a group"),
        (["seed"], "--set takes key=value"),
        (["seed=[1"], "is no YAML value"),
        (["plan.num_turns={3: 1}"], "2, 4, 6"),
    ],
)
def test_wrong_setting_says_what_and_where(settings: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe("demo", parse_settings(settings))


def test_unknown_recipe_lists_the_built_in_ones() -> None:
    with pytest.raises(RecipeError, match="No recipe 'dmeo'.*demo"):
        load_recipe("dmeo")


@pytest.mark.parametrize(
    ("text", "message"), [("a: [", "no YAML"), ("- 1", "must be a mapping"), ("", "must be a mapping")]
)
def test_file_that_is_no_recipe_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=message):
        load_recipe(str(path))
