"""Which voice may speak in which split: user voices are partitioned, so that no user is heard in two splits.

Voices alike in gender, languages and the emotions that can be heard of them are one **kind**. A kind is dealt out by
the splits' shares, each age band by itself: a band with a voice for every split gives each at least one, so that every
split has that age, at the price of a smaller part for train. The bands with fewer are shuffled and dealt out together,
train first.

In a language whose voices do not suffice (say, fewer than three men), a split other than train is **dropped**: when its
voices lack a gender that the language has, or an emotion that a gender can make heard, that language's scenario groups
and voices go to train instead. Train is dealt a voice of each kind first, so it lacks none. So no cast ever lacks a
voice; the cost is a corpus without that split, which `voice_pools` foretells.
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


def voice_pools(
    config: CastConfig, seed: int, voices: Sequence[Voice], renders: Mapping[str, frozenset[str]] | None = None
) -> dict[str, dict[Split, list[Voice]]]:
    """Language -> the splits that it keeps -> their user voices; the same for the same config, seed and voices.

    Args:
        config: who may speak, and the splits' shares.
        seed: of the corpus.
        voices: the users'.
        renders: backend -> the emotions that can be heard of its voices; None: all are alike in that.

    Raises:
        RecipeError: train has no share.
    """
    if "train" not in config.splits:
        raise RecipeError("cast.splits: train must have a share.")
    emotions = {voice.backend: (renders or {}).get(voice.backend, frozenset()) for voice in voices}
    languages = sorted({language for voice in voices for language in voice.languages})
    kept = {language: [split for split in SPLITS if split in config.splits] for language in languages}
    while True:
        pools = _partition(kept, config.splits, seed, voices, emotions)
        covered = {language: _covered(language, kept[language], pools, emotions) for language in languages}
        if covered == kept:
            break
        kept = covered  # a dropped split's voices must be dealt out anew
    return {
        language: {split: [v for v in pools[split] if language in v.languages] for split in splits}
        for language, splits in kept.items()
    }


def _partition(
    kept: Mapping[str, list[Split]],
    shares: Mapping[Split, float],
    seed: int,
    voices: Sequence[Voice],
    emotions: Mapping[str, frozenset[str]],
) -> dict[Split, list[Voice]]:
    pools: dict[Split, list[Voice]] = {split: [] for split in SPLITS}
    alike: dict[tuple[object, ...], list[Voice]] = {}
    for voice in sorted(voices, key=lambda v: v.id):
        heard = tuple(sorted(emotions[voice.backend]))
        alike.setdefault((voice.gender, tuple(sorted(voice.languages)), heard), []).append(voice)
    for kind, members in alike.items():
        open_to = {s: shares[s] for s in SPLITS if any(s in kept[language] for language in members[0].languages)}
        for age, own in _bands(members, len(open_to)).items():
            left = shuffled(own, seed, "voice pools", kind, age)
            for split, size in _sizes(open_to, len(left)).items():
                pools[split] += left[:size]
                left = left[size:]
    return pools


def _bands(voices: Sequence[Voice], enough: int) -> dict[str, list[Voice]]:
    """Voices by age band; those of bands with fewer than `enough` of them together."""
    bands: dict[str, list[Voice]] = {}
    for voice in voices:
        bands.setdefault(voice.age or "unknown", []).append(voice)
    large = {age: own for age, own in bands.items() if len(own) >= enough}
    small = [voice for age, own in bands.items() if age not in large for voice in own]
    return {**large, "several": small} if small else large


def _covered(
    language: str,
    splits: Sequence[Split],
    pools: Mapping[Split, Sequence[Voice]],
    emotions: Mapping[str, frozenset[str]],
) -> list[Split]:
    """The splits that have a voice of every gender that the language has, for every emotion that it can make heard."""
    reach = {
        split: {(v.gender, what) for v in own if language in v.languages for what in (None, *emotions[v.backend])}
        for split, own in pools.items()
    }
    wanted = set().union(*reach.values())
    return [split for split in splits if reach[split] == wanted]


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
