"""Who may speak in a corpus: the assistant's voice, and the users' voices by language and split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from contracts.config import CorpusConfig
from contracts.errors import RecipeError
from contracts.protocols import Capabilities
from contracts.records import Split, Voice
from tasks.decks import stable_unit
from tasks.rendered_share import emotions_rendered
from tasks.voice_ages import check_ages
from tasks.voice_pools import SPLITS, assistant_voice, user_voices, voice_pools


@dataclass(frozen=True)
class Ensemble:
    """The voices of a recipe."""

    assistant: Voice
    users: tuple[Voice, ...]
    """Sorted by id."""
    pools: Mapping[str, Mapping[Split, Sequence[Voice]]]
    """Language -> the splits that it keeps -> their user voices."""
    renders: Mapping[str, frozenset[str]]
    """Backend -> the plan's emotions that its voices may be cast for."""
    shares: Mapping[Split, float]
    """Of scenario groups, as the recipe has them."""
    seed: int

    def split(self, group: str, language: str) -> Split:
        """The split of a scenario group; train where the language has dropped the group's own."""
        wanted = split_of(group, self.shares, self.seed)
        return wanted if wanted in self.pools.get(language, {}) else "train"

    def split_shares(self, language: str) -> dict[Split, float]:
        """The share of a language's dialogues in each split that it keeps; together 1."""
        whole, kept = sum(self.shares.values()), self.pools.get(language, {})
        shares = {split: share / whole for split, share in self.shares.items() if split in kept}
        return {**shares, "train": shares.get("train", 0.0) + 1 - sum(shares.values())}

    def of_gender(self, split: Split, language: str, gender: str) -> list[Voice]:
        """A split's voices of a language and gender.

        Raises:
            RecipeError: there is none.
        """
        fit = [v for v in self.pools.get(language, {}).get(split, ()) if v.gender == gender]
        if not fit:
            raise RecipeError(
                f"cast: no {gender} user voice speaks {language!r}; the user voices are: "
                f"{', '.join(v.id for v in self.users)}. Add voices to cast.users or cast.user_voices, or take "
                f"{gender} out of plan.genders."
            )
        return fit

    def eligible(self, split: Split, language: str, gender: str, emotion: str) -> list[Voice]:
        """Those of them that can make an emotion heard; empty when none can.

        Raises:
            RecipeError: nobody has the language and gender at all.
        """
        return [v for v in self.of_gender(split, language, gender) if emotion in self.renders[v.backend]]


def ensemble_of(
    config: CorpusConfig, voices: Mapping[str, Sequence[Voice]], capabilities: Mapping[str, Capabilities]
) -> Ensemble:
    """The voices that a recipe chooses.

    Args:
        config: the recipe.
        voices: backend -> its voices.
        capabilities: backend -> what it can do.

    Raises:
        RecipeError: a backend or voice does not exist, or none is left for the users.
    """
    for backend in (*config.cast.users, config.cast.assistant_backend):
        if backend not in voices or backend not in capabilities:
            choices = ", ".join(sorted(set(voices) & set(capabilities))) or "(none)"
            raise RecipeError(f"cast: nothing is known of the backend {backend!r}; choose from: {choices}.")
    users = user_voices(config.cast, voices)
    check_ages(users)
    renders = emotions_rendered(config, capabilities)
    return Ensemble(
        assistant=assistant_voice(config.cast, voices),
        users=tuple(users),
        pools=voice_pools(config.cast, config.seed, users, renders),
        renders=renders,
        shares=config.cast.splits,
        seed=config.seed,
    )


def split_of(group: str, splits: Mapping[Split, float], seed: int) -> Split:
    """The split of a scenario group, by hash: the shares hold over many groups."""
    left = stable_unit(seed, "split", group) * sum(splits.values())
    for split in (ordered := [s for s in SPLITS if s in splits]):
        left -= splits[split]
        if left < 0:
            return split
    return ordered[-1]
