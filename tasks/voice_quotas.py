"""How often a user voice may be cast, and whether the voices suffice for that.

`cast.max_voice_share` of the target's dialogues, rounded down but one at the least, is the most that a voice is cast
over the whole budget, whatever becomes of those candidates. What follows:

- No voice speaks more accepted dialogues than that, in any sealed corpus of the recipe; when the target is met, no more
  than the share of them (or one dialogue, where the share is less than one).
- When the budget is spent short of the target, that number still holds; as a share of fewer dialogues it is larger.
- A target in hours is turned into dialogues by an estimate (`target_dialogues`); the share holds as far as it does.

The price: a candidate that is rejected later has used its voice up all the same, because a part must not wait for what
became of others. Towards the end of a budget far above the target, voices may therefore run out; candidates that then
find none are rejected as `voice_quota`, to be seen in the funnel. Voices x uses should cover the budget, not only the
target: with 24 dialogues of 72 candidates and a share of 0.1, 36 voices cover all.

The check before a run asks for less: that the voices reach for the target where every candidate is accepted. It works
with the expected numbers of each language, gender, emotion and split; how ages fall does not matter to it, because
neighbouring ages help each other out.
"""

from __future__ import annotations

import math
from collections import defaultdict

from contracts.config import CorpusConfig
from contracts.errors import RecipeError
from contracts.records import Gender, Split
from tasks.ensemble import Ensemble
from tasks.rendered_share import plan_emotions
from tasks.voice_pools import SPLITS

SECONDS_PER_TURN = 8.0
"""For targets in hours. A turn of 20 words lasts about 7 s at 170 words a minute, and most are shorter. Too large a
figure makes the target look like fewer dialogues, and so the bound on a voice stricter than asked for, never looser.
"""


def target_dialogues(config: CorpusConfig) -> int:
    """The accepted dialogues that a target asks for; of hours, an estimate on the low side."""
    target = config.target
    if target.dialogues is not None:
        return target.dialogues
    turns = config.plan.num_turns
    mean_turns = math.fsum(n * share for n, share in turns.items()) / math.fsum(turns.values())
    dialogues = math.floor((target.hours or 0.0) * 3600 / (mean_turns * SECONDS_PER_TURN))
    return max(1, min(dialogues, target.max_candidates))


def max_casts(config: CorpusConfig) -> int | None:
    """How often a user voice may be cast over the whole budget; None: without end."""
    share = config.cast.max_voice_share
    # The least bit more, for 0.07 * 100 is less than 7 in binary.
    return None if share == 1 else max(1, math.floor(share * target_dialogues(config) + 1e-9))


def check_quotas(config: CorpusConfig, ensemble: Ensemble) -> None:
    """Refuse a recipe whose voices, each used as often as it may be, would not reach for the target.

    Raises:
        RecipeError: the text names where, the figures and what to do.
    """
    for split in SPLITS:
        for gender in config.plan.genders:
            _check_split(config, ensemble, split, gender)


def _check_split(config: CorpusConfig, ensemble: Ensemble, split: Split, gender: Gender) -> None:
    quota, target = max_casts(config), target_dialogues(config)
    if quota is None:
        return
    wanted = _wanted(config, ensemble, split, gender)
    # Whatever some candidates share they cannot use twice: so all together are looked at, too.
    for voices in sorted({*wanted, frozenset().union(*wanted)}, key=lambda own: (len(own), sorted(own))):
        dialogues = math.fsum(number for own, number in wanted.items() if own <= voices)
        if dialogues > quota * len(voices) + 1e-9:
            enough = min(1.0, math.ceil(math.ceil(dialogues / len(voices)) / target * 100) / 100)
            about = "" if config.target.dialogues else "about "
            raise RecipeError(
                f"cast.max_voice_share {config.cast.max_voice_share:g}: a user voice may be cast {quota} times for the "
                f"target's {about}{target} dialogues, so the {len(voices)} {gender} user voices that fit in the split "
                f"{split} ({_some(voices)}) come to {quota * len(voices)}; they would have to speak {dialogues:.1f}. "
                f"Add {gender} voices to cast.users or cast.user_voices, or raise cast.max_voice_share to at least "
                f"{enough:g}."
            )


def _wanted(config: CorpusConfig, ensemble: Ensemble, split: Split, gender: Gender) -> dict[frozenset[str], float]:
    """Voices -> how many of the target's dialogues only they can speak, as expected."""
    plan, emotions = config.plan, plan_emotions(config)
    weights = plan.emotions or dict.fromkeys(emotions, 1.0)
    of_gender = plan.genders[gender] / math.fsum(plan.genders.values())
    wanted: dict[frozenset[str], float] = defaultdict(float)
    for language, weight in plan.languages.items():
        here = ensemble.split_shares(language).get(split, 0.0)
        if not here:
            continue
        dialogues = target_dialogues(config) * of_gender * here * weight / math.fsum(plan.languages.values())
        for emotion in emotions:
            fit = frozenset(v.id for v in ensemble.eligible(split, language, gender, emotion))
            wanted[fit] += dialogues * weights[emotion] / math.fsum(weights.values())
    return wanted


def _some(voices: frozenset[str], limit: int = 5) -> str:
    listed = sorted(voices)
    return ", ".join(listed) if len(listed) <= limit else f"{', '.join(listed[:limit])} and {len(listed) - limit} more"
