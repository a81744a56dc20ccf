"""Cast: who speaks each turn and how.

A candidate's cast follows from its scenario, the config, the seed and the set of voices alone, never from its
neighbours or its part, so a part can be redone by itself. Splits go by scenario group and by user voice
(tasks.voice_pools): neither is ever in two splits. Voices are dealt by the candidate's number (tasks.decks): evenly
over the corpus, though not to the last one, for nothing is counted. The user keeps one voice in a dialogue. The
assistant has the same voice everywhere, also across splits, for it is the voice that a model shall learn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import prompts
from contracts.config import CastConfig, CorpusConfig
from contracts.errors import RecipeError
from contracts.protocols import CONTROLS, Capabilities
from contracts.records import Candidate, Delivery, Scenario, Split, Turn, Utterance, Voice
from prompts.taxonomies import Controls
from tasks.decks import Deck, stable_int, stable_unit
from tasks.voice_pools import SPLITS, assistant_voice, user_voices, voice_pools


def cast_voices(
    candidates: Sequence[Candidate],
    *,
    config: CastConfig,
    seed: int,
    voices: Mapping[str, Sequence[Voice]],
    capabilities: Mapping[str, Capabilities],
) -> list[Candidate]:
    """The same candidates in the same order, alive ones with their split and an utterance for each turn.

    Args:
        candidates: screened, that is, alive ones have a spoken text on each turn.
        config: who may speak.
        seed: of the corpus.
        voices: backend -> its voices.
        capabilities: backend -> what it can do.

    Raises:
        RecipeError: a voice does not exist, or nobody has the gender and language that a scenario asks for.
    """
    casting = _Casting(config, seed, voices, capabilities)
    return [casting.cast(c) if c.alive else c for c in candidates]


def validate_casting(
    config: CorpusConfig, voices: Mapping[str, Sequence[Voice]], capabilities: Mapping[str, Capabilities]
) -> None:
    """Refuse a casting that could not be rendered; loads nothing.

    Raises:
        RecipeError: an unknown voice, or a language or gender of the plan that nobody has; the text names the choices.
    """
    casting = _Casting(config.cast, config.seed, voices, capabilities)
    languages = config.plan.languages
    for backend in config.cast.users:
        spoken = capabilities[backend].languages
        if not set(languages) & set(spoken):
            raise RecipeError(
                f"cast.users: {backend} speaks {', '.join(spoken)}, none of the plan's languages "
                f"({', '.join(languages)}); take it out of cast.users or change plan.languages."
            )
    for language in languages:
        _require_assistant(casting.assistant, language, voices)
        for gender in config.plan.genders:
            casting.eligible("train", language, gender)


def _require_assistant(assistant: Voice, language: str, voices: Mapping[str, Sequence[Voice]]) -> None:
    if language not in assistant.languages:
        fit = sorted(v.id for own in voices.values() for v in own if language in v.languages)
        raise RecipeError(
            f"cast.assistant_voice: {assistant.id} does not speak {language!r}; choose one of: "
            f"{', '.join(fit) or '(no voice does)'}."
        )


def split_of(group: str, splits: Mapping[Split, float], seed: int) -> Split:
    """The split of a scenario group, by hash: the shares hold over many groups."""
    left = stable_unit(seed, "split", group) * sum(splits.values())
    for split in (ordered := [s for s in SPLITS if s in splits]):
        left -= splits[split]
        if left < 0:
            return split
    return ordered[-1]


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
    """A config and a set of voices, made ready to cast any candidate."""

    def __init__(
        self,
        config: CastConfig,
        seed: int,
        voices: Mapping[str, Sequence[Voice]],
        capabilities: Mapping[str, Capabilities],
    ) -> None:
        _require_backends(config, voices, capabilities)
        self._config, self._seed, self._capabilities = config, seed, capabilities
        self.assistant = assistant_voice(config, voices)
        self._users = {voice.id: voice for voice in user_voices(config, voices)}
        self.pools = voice_pools(config, seed, list(self._users.values()))
        self._decks: dict[tuple[str, ...], Deck[str]] = {}
        self._emotions, self._deliveries = prompts.emotions(), prompts.deliveries()

    def cast(self, candidate: Candidate) -> Candidate:
        """A candidate with split and utterances."""
        scenario, dialogue = candidate.scenario, candidate.dialogue
        assert dialogue is not None, f"{candidate.id} is alive without a dialogue"
        wanted = split_of(scenario.group, self._config.splits, self._seed)
        split: Split = wanted if wanted in self.pools.get(scenario.language, {}) else "train"
        user = self._user(scenario, split)
        utterances = tuple(self._utterance(scenario, n, turn, user) for n, turn in enumerate(dialogue.turns))
        return candidate.model_copy(update={"split": split, "utterances": utterances})

    def eligible(self, split: Split, language: str, gender: str) -> list[Voice]:
        """The split's voices of a language and gender.

        Raises:
            RecipeError: there is none.
        """
        fit = [v for v in self.pools.get(language, {}).get(split, ()) if v.gender == gender]
        if not fit:
            raise RecipeError(
                f"cast: no {gender} user voice speaks {language!r}; the user voices are: {', '.join(self._users)}. Add "
                f"voices to cast.users or cast.user_voices, or take {gender} out of plan.genders."
            )
        return fit

    def _user(self, scenario: Scenario, split: Split) -> Voice:
        key = (split, scenario.language, scenario.speaker_gender, scenario.speaker_age)
        if key not in self._decks:
            fit = self.eligible(split, scenario.language, scenario.speaker_gender)
            self._decks[key] = self._deck(_of_age(fit, scenario.speaker_age), "/".join(key[:3]))
        return self._users[self._decks[key].value(scenario.index)]

    def _deck(self, fit: Sequence[Voice], axis: str) -> Deck[str]:
        """Voices by the share of their backend, evenly within one; a backend that has none here yields its share."""
        of_backend = {backend: sum(v.backend == backend for v in fit) for backend in self._config.users}
        weights = {voice.id: self._config.users[voice.backend] / of_backend[voice.backend] for voice in fit}
        return Deck(self._seed, f"voice/{axis}", weights)

    def _utterance(self, scenario: Scenario, index: int, turn: Turn, user: Voice) -> Utterance:
        assert turn.spoken_text is not None, f"{scenario.id} turn {index} was not screened"
        voice = user if turn.role == "user" else self.assistant
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


def _of_age(voices: list[Voice], age: str) -> list[Voice]:
    """Voices that sound of that age; else those that say no age; else all."""
    matching = [v for v in voices if v.age == age]
    return matching or [v for v in voices if v.age is None] or voices


def _require_backends(
    config: CastConfig, voices: Mapping[str, Sequence[Voice]], capabilities: Mapping[str, Capabilities]
) -> None:
    for backend in (*config.users, config.assistant_backend):
        if backend not in voices or backend not in capabilities:
            choices = ", ".join(sorted(set(voices) & set(capabilities))) or "(none)"
            raise RecipeError(f"cast: nothing is known of the backend {backend!r}; choose from: {choices}.")
