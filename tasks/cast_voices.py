"""Cast: who speaks each turn and how.

A candidate's cast follows from its scenario, the recipe and the set of voices alone, never from what became of others,
so a part can be redone by itself. What it takes for that:

- **Splits** go by scenario group and by user voice (tasks.voice_pools): neither is ever in two splits.
- **User voices** are of the scenario's gender, as near to its age as there are, and of a backend that can make its
  emotion heard (tasks.rendered_share). They are dealt to the plan's candidates in order, the least used first
  (tasks.voice_dealer), and counted over the plan, not over a run (tasks.cast_ledger).
- **Quotas** bound how often one is cast (tasks.voice_quotas says what that guarantees and what it costs). A candidate
  for whom nobody is left is rejected as `voice_quota`.

The user keeps one voice in a dialogue. The assistant has the same voice everywhere, also across splits, for it is the
voice that a model shall learn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import prompts
from contracts.config import CorpusConfig
from contracts.errors import RecipeError
from contracts.protocols import CONTROLS, Capabilities
from contracts.records import Candidate, Delivery, Reason, Scenario, Split, Turn, Utterance, Voice
from prompts.taxonomies import Controls
from tasks.cast_ledger import cast_ledger
from tasks.decks import stable_int
from tasks.ensemble import ensemble_of
from tasks.rendered_share import require_assistant_rendering, require_user_rendering
from tasks.voice_quotas import check_quotas, max_casts, target_dialogues


def cast_voices(
    candidates: Sequence[Candidate],
    *,
    config: CorpusConfig,
    voices: Mapping[str, Sequence[Voice]],
    capabilities: Mapping[str, Capabilities],
) -> list[Candidate]:
    """The same candidates in the same order, alive ones with their split and an utterance for each turn, or rejected.

    Args:
        candidates: of the recipe's plan, screened, that is, alive ones have a spoken text on each turn.
        config: the recipe.
        voices: backend -> its voices.
        capabilities: backend -> what it can do.

    Raises:
        RecipeError: a voice does not exist, or nobody has the gender and language that a scenario asks for.
    """
    casting = _Casting(config, voices, capabilities)
    return [casting.cast(c) if c.alive else c for c in candidates]


def validate_casting(
    config: CorpusConfig, voices: Mapping[str, Sequence[Voice]], capabilities: Mapping[str, Capabilities]
) -> None:
    """Refuse a casting that could not be rendered or would run out of voices; loads nothing.

    Raises:
        RecipeError: an unknown voice; a language, gender, emotion or tone of the plan that nobody has; too few voices
            for cast.max_voice_share. The text names the figures and the choices.
    """
    ensemble = ensemble_of(config, voices, capabilities)
    languages = config.plan.languages
    for backend in config.cast.users:
        spoken = capabilities[backend].languages
        if not set(languages) & set(spoken):
            raise RecipeError(
                f"cast.users: {backend} speaks {', '.join(spoken)}, none of the plan's languages "
                f"({', '.join(languages)}); take it out of cast.users or change plan.languages."
            )
    for language in languages:
        _require_assistant(ensemble.assistant, language, voices)
        for gender in config.plan.genders:
            ensemble.of_gender("train", language, gender)
            require_user_rendering(config, capabilities, language=language, gender=gender, voices=ensemble.users)
    require_assistant_rendering(config, capabilities, ensemble.assistant)
    check_quotas(config, ensemble)


def _require_assistant(assistant: Voice, language: str, voices: Mapping[str, Sequence[Voice]]) -> None:
    if language not in assistant.languages:
        fit = sorted(v.id for own in voices.values() for v in own if language in v.languages)
        raise RecipeError(
            f"cast.assistant_voice: {assistant.id} does not speak {language!r}; choose one of: "
            f"{', '.join(fit) or '(no voice does)'}."
        )


def delivery(emotion: str, intensity: float, controls: Controls, can: Capabilities, instruct: str) -> Delivery:
    """How a turn is said: each control moved from 1 by the intensity's share, as far as the backend renders it."""
    factors = {name: round(1 + (getattr(controls, name) - 1) * intensity, 4) for name in CONTROLS}
    asked = [name for name in CONTROLS if factors[name] != 1]
    instructed = can.emotion == "instruct"  # the words then carry the whole feeling, so no control is missed
    return Delivery(
        emotion=emotion,
        intensity=intensity,
        instruct=instruct if instructed else None,
        unrendered=() if instructed else tuple(name for name in asked if name not in can.controls),
        **{name: factors[name] for name in asked if name in can.controls},
    )


class _Casting:
    """A recipe and a set of voices, made ready to cast any candidate of the plan."""

    def __init__(
        self,
        config: CorpusConfig,
        voices: Mapping[str, Sequence[Voice]],
        capabilities: Mapping[str, Capabilities],
    ) -> None:
        self._config, self._capabilities = config, capabilities
        self._ensemble = ensemble_of(config, voices, capabilities)
        self._ledger = cast_ledger(config, self._ensemble)
        self._emotions, self._deliveries = prompts.emotions(), prompts.deliveries()

    def cast(self, candidate: Candidate) -> Candidate:
        """A candidate with split and utterances, or rejected because no voice is left for it."""
        scenario, dialogue = candidate.scenario, candidate.dialogue
        assert dialogue is not None, f"{candidate.id} is alive without a dialogue"
        split = self._ensemble.split(scenario.group, scenario.language)
        placed = candidate.model_copy(update={"split": split})
        user = self._ledger.voice(scenario.index)
        if user is None:
            return placed.rejected("cast", self._nobody_left(scenario, split))
        assert user.gender == scenario.speaker_gender, f"{candidate.id} is not of this recipe's plan"
        utterances = tuple(self._utterance(scenario, n, turn, user) for n, turn in enumerate(dialogue.turns))
        return placed.model_copy(update={"utterances": utterances})

    def _nobody_left(self, scenario: Scenario, split: Split) -> Reason:
        fit = self._ensemble.eligible(split, scenario.language, scenario.speaker_gender, scenario.emotion)
        quota, target = max_casts(self._config), target_dialogues(self._config)
        return Reason(
            code="voice_quota",
            detail=(
                f"All {len(fit)} {scenario.speaker_gender} user voices of the split {split} that speak "
                f"{scenario.language!r} and can sound {scenario.emotion} are cast {quota} times before this candidate, "
                f"which is the most that cast.max_voice_share {self._config.cast.max_voice_share:g} of {target} "
                "dialogues allows."
            ),
            value=quota,
            threshold=quota,
        )

    def _utterance(self, scenario: Scenario, index: int, turn: Turn, user: Voice) -> Utterance:
        assert turn.spoken_text is not None, f"{scenario.id} turn {index} was not screened"
        voice = user if turn.role == "user" else self._ensemble.assistant
        return Utterance(
            id=f"{scenario.id}-t{index:02d}",
            turn_index=index,
            role=turn.role,
            text=turn.spoken_text,
            language=scenario.language,
            voice_id=voice.id,
            backend=voice.backend,
            delivery=self._delivery(scenario, turn, self._capabilities[voice.backend]),
            seed=stable_int(scenario.seed, "utterance", index) % 2**31,
        )

    def _delivery(self, scenario: Scenario, turn: Turn, can: Capabilities) -> Delivery:
        if turn.role == "user":
            emotion = turn.emotion if turn.emotion in self._deliveries.user else scenario.emotion
            controls = self._deliveries.user[emotion]
            words = f"The speaker {self._emotions.emotions[emotion].description}."
        else:
            emotion = turn.emotion
            tone = emotion if emotion in self._deliveries.assistant else self._tone(scenario)
            controls = self._deliveries.assistant[tone]
            words = f"A kind listener, {self._emotions.reply_tones[tone]}."
        instruct = turn.style or words
        return delivery(emotion, scenario.intensity, controls, can, instruct)

    def _tone(self, scenario: Scenario) -> str:
        return self._emotions.emotions[scenario.emotion].reply_tone
