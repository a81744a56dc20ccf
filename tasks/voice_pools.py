"""Which voice may speak in which split: user voices are partitioned, so that no user is heard in two splits.

The voices of one gender and set of languages are shuffled and cut by the splits' shares, one voice at the least for
each split while they last. In a language whose voices do not suffice (say, fewer than three men), a split other than
train is **dropped**: when its voices lack a gender that the language has, that language's scenario groups and voices go
to train instead. So no cast ever lacks a voice; the cost is a corpus without that split, which `voice_pools` foretells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from contracts.config import CastConfig
from contracts.errors import RecipeError
from contracts.records import Split, Voice
from tasks.decks import shuffled

SPLITS: tuple[Split, ...] = ("train", "val", "test")


def user_voices(config: CastConfig, voices: Mapping[str, Sequence[Voice]]) -> list[Voice]:
    """The voices that users may have, sorted by id: never the assistant's.

    Raises:
        RecipeError: a voice that the recipe names does not exist, or none is left.
    """
    known = {voice.id: voice for backend in config.users for voice in voices.get(backend, ())}
    everywhere = {voice.id for own in voices.values() for voice in own}
    _require("user_voices", config.user_voices or (), set(known))
    _require("exclude_voices", config.exclude_voices, everywhere)
    wanted = set(known) if config.user_voices is None else set(config.user_voices)
    left = wanted - {*config.exclude_voices, config.assistant_voice}
    if not left:
        raise RecipeError(
            f"cast: no user voice is left; the backends {', '.join(config.users)} have: "
            f"{', '.join(sorted(known)) or '(none)'}. Check cast.user_voices and cast.exclude_voices, and that the "
            "assistant's voice is not the only one."
        )
    return [known[name] for name in sorted(left)]


def assistant_voice(config: CastConfig, voices: Mapping[str, Sequence[Voice]]) -> Voice:
    """The assistant's voice.

    Raises:
        RecipeError: its backend has no such voice.
    """
    own = {voice.id: voice for voice in voices.get(config.assistant_backend, ())}
    _require("assistant_voice", (config.assistant_voice,), set(own))
    return own[config.assistant_voice]


def voice_pools(config: CastConfig, seed: int, voices: Sequence[Voice]) -> dict[str, dict[Split, list[Voice]]]:
    """Language -> the splits that it keeps -> their user voices; the same for the same config, seed and voices.

    Raises:
        RecipeError: train has no share.
    """
    if "train" not in config.splits:
        raise RecipeError("cast.splits: train must have a share.")
    languages = sorted({language for voice in voices for language in voice.languages})
    kept = {language: [split for split in SPLITS if split in config.splits] for language in languages}
    while True:
        pools = _partition(kept, config.splits, seed, voices)
        covered = {language: _covered(language, kept[language], pools, voices) for language in languages}
        if covered == kept:
            break
        kept = covered  # a dropped split's voices must be dealt out anew
    return {
        language: {split: [v for v in pools[split] if language in v.languages] for split in splits}
        for language, splits in kept.items()
    }


def _partition(
    kept: Mapping[str, list[Split]], shares: Mapping[Split, float], seed: int, voices: Sequence[Voice]
) -> dict[Split, list[Voice]]:
    pools: dict[Split, list[Voice]] = {split: [] for split in SPLITS}
    alike: dict[tuple[str, ...], list[Voice]] = {}
    for voice in sorted(voices, key=lambda v: v.id):
        alike.setdefault((voice.gender, *sorted(voice.languages)), []).append(voice)
    for kind, members in alike.items():
        open_to = {s: shares[s] for s in SPLITS if any(s in kept[language] for language in members[0].languages)}
        left = shuffled(members, seed, "voice pools", kind)
        for split, size in _sizes(open_to, len(left)).items():
            pools[split] += left[:size]
            left = left[size:]
    return pools


def _covered(
    language: str, splits: Sequence[Split], pools: Mapping[Split, Sequence[Voice]], voices: Sequence[Voice]
) -> list[Split]:
    """The splits that have a voice of every gender that the language has at all."""
    wanted = {v.gender for v in voices if language in v.languages}
    return [s for s in splits if wanted == {v.gender for v in pools[s] if language in v.languages}]


def _sizes(shares: Mapping[Split, float], total: int) -> dict[Split, int]:
    """How many of `total` voices each split gets: one each while they last, then whoever is furthest from its share."""
    sizes = {split: int(n < total) for n, split in enumerate(shares)}
    whole = sum(shares.values())
    while sum(sizes.values()) < total:
        neediest = max(shares, key=lambda split: shares[split] / whole * total - sizes[split])
        sizes[neediest] += 1
    return sizes


def _require(field: str, asked: Sequence[str], known: set[str]) -> None:
    for name in asked:
        if name not in known:
            choices = ", ".join(sorted(known)) or "(none)"
            raise RecipeError(f"cast.{field}: no voice {name!r}; choose from: {choices}.")
