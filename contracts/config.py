"""The recipe's types: one strict config per stage, composed in CorpusConfig.

Fields marked RUNTIME steer speed and place only; all others are part of the stage's fingerprint, so changing one redoes
the work from that stage on and no earlier.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from contracts.config_base import RUNTIME, Config
from contracts.plugins import PluginSpec
from contracts.records import Role, Split

Share = Annotated[float, Field(gt=0)]


def _as_plugin(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class TargetConfig(Config):
    """When the run is done: accepted dialogues or accepted hours, whichever is set, or the budget is spent."""

    dialogues: int | None = Field(default=None, ge=1)
    hours: float | None = Field(default=None, gt=0)
    max_candidates: int = Field(ge=1)
    """Budget: the run never plans more dialogues than this."""

    @model_validator(mode="after")
    def _reachable(self) -> TargetConfig:
        if (self.dialogues is None) == (self.hours is None):
            raise ValueError("set exactly one of target.dialogues and target.hours")
        if self.dialogues is not None and self.dialogues > self.max_candidates:
            raise ValueError(
                f"impossible target: {self.dialogues} accepted dialogues out of at most {self.max_candidates} "
                "candidates; raise target.max_candidates or lower target.dialogues"
            )
        if self.hours is not None and self.hours * 3600 / self.max_candidates > 600:
            raise ValueError(
                f"impossible target: {self.hours} hours out of at most {self.max_candidates} candidates would take "
                "more than 10 minutes of speech in each; raise target.max_candidates or lower target.hours"
            )
        return self


class PlanConfig(Config):
    """Which scenarios are crossed, with which weights. Names are checked against the taxonomies in prompts/."""

    languages: dict[str, Share] = {"en": 1.0}
    emotions: dict[str, Share] | None = None
    """Emotion -> weight; None takes all of prompts/emotions.yaml evenly."""
    topics: tuple[str, ...] | None = None
    """None takes all of prompts/topics.yaml."""
    genders: dict[Literal["female", "male"], Share] = {"female": 1.0, "male": 1.0}
    ages: dict[str, Share] | None = None
    """Age band -> weight; None takes all of prompts/ages.yaml evenly."""
    intensities: dict[str, Share] | None = None
    """Intensity level -> weight; None takes all of prompts/emotions.yaml evenly."""
    num_turns: dict[int, Share] = {2: 1.0}
    """Number of turns (user and assistant together) -> weight."""
    paralinguistic_share: float = Field(default=0.5, ge=0, le=1)
    """Share of dialogues whose right answer depends on how the user speaks."""
    part_size: int = Field(default=64, ge=1, le=4096)
    """Candidates per part, the unit of work: 20 s to some minutes of a stage's work."""

    @field_validator("num_turns")
    @classmethod
    def _even(cls, value: dict[int, float]) -> dict[int, float]:
        odd = [n for n in value if n < 2 or n % 2]
        if odd:
            raise ValueError(f"a dialogue has user and assistant turns in pairs, so 2, 4, 6, ... turns; got {odd[0]}")
        return value


class LLMConfig(Config):
    """An OpenAI-compatible endpoint, or the embedded engine where `base_url` is not set."""

    base_url: Annotated[str | None, RUNTIME] = None
    """e.g. http://127.0.0.1:8000/v1 of `vllm serve`; None starts the embedded engine in this process."""
    model: str | None = None
    """As the endpoint names it; None takes the first that it lists."""
    api_key_env: Annotated[str, RUNTIME] = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key; without it a dummy is sent, as local servers want."""
    temperature: float = Field(default=0.8, ge=0, le=2)
    top_p: float = Field(default=0.95, gt=0, le=1)
    max_tokens: int = Field(default=256, ge=1)
    """Per completion."""
    extra: dict[str, Any] = Field(default_factory=dict)
    """Further sampling parameters sent as they are, e.g. min_p, repeat_penalty, chat_template_kwargs."""
    send_seed: bool = True
    """Whether the engine takes `seed`. vLLM's CPU build dies of it: set false there."""
    max_concurrency: Annotated[int, RUNTIME] = Field(default=64, ge=1)
    """Ceiling of requests in flight; below it the client finds by itself what the server bears."""
    timeout: Annotated[float, RUNTIME] = Field(default=120.0, gt=0)
    """Seconds per request."""
    request_attempts: Annotated[int, RUNTIME] = Field(default=8, ge=1)
    """Tries of one request against 429, 5xx, timeouts and broken connections, with exponential backoff."""
    breaker_seconds: Annotated[float, RUNTIME] = Field(default=180.0, gt=0)
    """The run ends with a clear message when no request has succeeded for this long although some were tried."""
    num_threads: Annotated[int | None, RUNTIME] = None
    """Embedded engine only; None takes all cores."""


class GenerateConfig(Config):
    """Writing the dialogue's text."""

    llm: LLMConfig = LLMConfig()
    prompt: str = "dialogue_en"
    """Name of the prompt in prompts/."""
    attempts: int = Field(default=3, ge=1)
    """Completions asked for until one parses; the last of them is bound by a JSON schema."""


class ScreenConfig(Config):
    """What text is fit to be spoken."""

    max_characters: int = Field(default=400, ge=10)
    """Per turn, in spoken form."""
    min_words: int = Field(default=3, ge=1)
    max_words: int = Field(default=60, ge=1)


class CastConfig(Config):
    """Who speaks."""

    users: dict[str, Share] = {"kokoro": 1.0}
    """TTS backend -> share of the users' turns, wherever several have voices that fit a scenario equally well."""
    user_voices: tuple[str, ...] | None = None
    """Voice ids to choose from; None takes all voices of the backends above."""
    exclude_voices: tuple[str, ...] = ()
    assistant_voice: str = "hibari/heart"
    """The one voice of the assistant, as `backend/name`."""
    backends: dict[str, PluginSpec] = Field(default_factory=dict)
    """Options of a backend named above, where it needs any."""
    splits: dict[Split, Share] = {"train": 0.8, "val": 0.1, "test": 0.1}
    """Shares of scenario groups and of user voices; no group and no user voice is in two splits."""
    max_voice_share: float = Field(default=0.1, gt=0, le=1)
    """No user voice is cast for more than this share of the dialogues that the target asks for; 1 sets no bound."""
    min_rendered: float = Field(default=0.5, ge=0, le=1)
    """How much of an emotion's prosody a backend must render for its voices to be cast for that emotion."""
    assistant_min_rendered: float = Field(default=0.5, ge=0, le=1)
    """The same for the assistant's backend and the tones of its replies."""

    def plugin(self, backend: str) -> PluginSpec:
        """The spec of a backend that this casting names."""
        return self.backends.get(backend, PluginSpec(name=backend))

    @property
    def assistant_backend(self) -> str:
        """Backend of the assistant's voice."""
        return self.assistant_voice.partition("/")[0]


class AugmentConfig(Config):
    """Rooms and lines that the user is heard through. The assistant never is."""

    room: float = Field(default=0.0, ge=0, le=1)
    """Share of the dialogues whose user is in a room that can be heard."""
    telephone: float = Field(default=0.0, ge=0, le=1)
    """Share of the dialogues whose user is on the telephone; drawn apart from the rooms."""


class FinishConfig(Config):
    """What is done to every utterance after synthesis."""

    edge: float = Field(default=0.05, ge=0)
    """Seconds of the engine's own silence that are kept at either end."""
    pause: float = Field(default=0.25, ge=0, le=10)
    """Seconds of silence after the speech; what is kept at its end counts."""
    loudness: float | None = Field(default=-23.0, ge=-60, le=0)
    """LUFS of a delivery without energy of its own, as EBU R 128 has it; null leaves the engine's level."""
    peak: float | None = Field(default=-1.0, ge=-60, le=0)
    """dBFS that no sample passes; an utterance that would is made quieter. Null sets no limit."""
    sample_rate: int | None = Field(default=None, ge=8000, le=192_000)
    """Hz; null leaves each engine's own."""
    augment: AugmentConfig = AugmentConfig()


class SynthesizeConfig(Config):
    """Turning text into speech."""

    batch_size: Annotated[int, RUNTIME] = Field(default=16, ge=1)
    """Requests given to a backend at once."""
    finish: FinishConfig = FinishConfig()


class AssessConfig(Config):
    """Listening to what was spoken."""

    asr: PluginSpec = PluginSpec(name="faster_whisper")
    scorers: tuple[PluginSpec, ...] = tuple(
        PluginSpec(name=n)
        for n in ("wer", "cer", "dnsmos", "distillmos", "duration_ratio", "silence", "clipping", "loudness")
    )
    batch_size: Annotated[int, RUNTIME] = Field(default=16, ge=1)

    @field_validator("asr", mode="before")
    @classmethod
    def _asr(cls, value: Any) -> Any:
        return _as_plugin(value)

    @field_validator("scorers", mode="before")
    @classmethod
    def _scorers(cls, value: Any) -> Any:
        return [_as_plugin(v) for v in value] if isinstance(value, (list, tuple)) else value


class Bounds(Config):
    """What a figure may be, both ends included; None leaves an end open."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _passable(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"a gate with min {self.min} above max {self.max} lets nothing through")
        return self


class Gate(Bounds):
    """Bounds on one figure, and on which turns.

    Where several bounds fit a turn, `augmented` goes before `per_emotion`, and that before the gate's own. Each end is
    looked up by itself, so `{min: 3, augmented: {min: 2}, max: 4.9}` lets a telephone turn be anything from 2 to 4.9.
    """

    roles: tuple[Role, ...] = ("user", "assistant")
    per_emotion: dict[str, Bounds] = Field(default_factory=dict)
    """Emotion of the delivery (for the assistant: its tone) -> bounds of such turns."""
    augmented: Bounds = Bounds()
    """Bounds of turns that a room or a line was laid over (`finish.augmentations`)."""
    unscored: Literal["reject", "pass"] = "reject"
    """What becomes of a turn whose figure is missing: rejected as `unscored`, or let through without being judged."""

    @model_validator(mode="after")
    def _decides(self) -> Self:
        layers: list[Bounds] = [self, self.augmented, *self.per_emotion.values()]
        if all(bounds.min is None and bounds.max is None for bounds in layers):
            raise ValueError("a gate needs min, max or both")
        for own in (Bounds(), *self.per_emotion.values()):
            for augmented in (Bounds(), self.augmented):
                low = next((b.min for b in (augmented, own, self) if b.min is not None), None)
                high = next((b.max for b in (augmented, own, self) if b.max is not None), None)
                if low is not None and high is not None and low > high:
                    raise ValueError(f"where its bounds meet, min {low} is above max {high}: nothing gets through")
        return self


class AcceptConfig(Config):
    """Thresholds: figure (`score` or `score.detail`) -> gate. Changing one re-decides and calls no engine."""

    gates: dict[str, Gate] = {"wer": Gate(max=0.15)}


class PackConfig(Config):
    """Shards."""

    shard_megabytes: float = Field(default=256.0, gt=0)
    """A split's samples are spread evenly over the fewest tars that stay below this."""


class RunConfig(Config):
    """How the work is driven; nothing here changes what comes out."""

    max_parts_in_flight: Annotated[int, RUNTIME] = Field(default=4, ge=1)
    """The bounded window between stages."""
    task_retries: Annotated[int, RUNTIME] = Field(default=2, ge=0)
    retry_delay: Annotated[float, RUNTIME] = Field(default=2.0, ge=0)
    """Seconds before the first retry of a stage; doubles each time."""
    give_up_after: Annotated[int, RUNTIME] = Field(default=6, ge=1)
    """The run ends when this many parts are done and not one dialogue is accepted."""


class CorpusConfig(Config):
    """A recipe."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    description: str = ""
    seed: int = 0
    target: TargetConfig
    plan: PlanConfig = PlanConfig()
    generate: GenerateConfig = GenerateConfig()
    screen: ScreenConfig = ScreenConfig()
    cast: CastConfig = CastConfig()
    synthesize: SynthesizeConfig = SynthesizeConfig()
    assess: AssessConfig = AssessConfig()
    accept: AcceptConfig = AcceptConfig()
    pack: PackConfig = PackConfig()
    run: RunConfig = RunConfig()
