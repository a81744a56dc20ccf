"""What flows through the pipeline: frozen records, and one that collects them all, the Candidate.

A **candidate** is one planned dialogue on its way through the stages. Every stage takes a list of candidates and
returns the same list with its own field filled in, or with a `Rejection`; it never drops one. So at any point
`candidates = still alive + rejected`, and at the end `candidates = accepted + rejected`.

    plan       -> scenario
    generate   -> dialogue               (or rejected: the LLM produced nothing usable)
    screen     -> dialogue.spoken_text   (or rejected: not fit to be spoken)
    cast       -> split, utterances      (voice and delivery of each turn; no sound yet)
    synthesize -> utterances[].audio     (or rejected: the TTS failed on it)
    assess     -> assessments            (transcript and scores of each utterance)
    accept     -> accepted = True        (or rejected: a gate said no, with figures)
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

Role = Literal["user", "assistant"]
Gender = Literal["female", "male"]
Split = Literal["train", "val", "test"]
StageName = Literal["plan", "generate", "screen", "cast", "synthesize", "assess", "accept"]
STAGES: tuple[StageName, ...] = ("plan", "generate", "screen", "cast", "synthesize", "assess", "accept")


class Record(BaseModel):
    """A frozen row. Unknown keys are refused, so that a file of another version is noticed, not half-read."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Scenario(Record):
    """What a dialogue shall be about, and who speaks how: one cell of the plan."""

    id: str
    """`d` and the candidate's number, e.g. `d000042`; also the dialogue's id and the sample's key. Holds no dots."""
    index: int = Field(ge=0)
    group: str
    """The scenario seed: dialogues of one group (same language, topic and situation) never land in two splits."""
    seed: int
    """Seed of everything random about this candidate."""
    language: str
    """ISO 639-1 code, e.g. `en`."""
    emotion: str
    intensity: float = Field(ge=0, le=1)
    topic: str
    situation: str
    speaker_gender: Gender
    speaker_age: str
    """Age band, a key of prompts/ages.yaml."""
    num_turns: int = Field(ge=2)
    """User and assistant turns together; even."""
    paralinguistic: bool
    """True when the right answer depends on HOW the user says it."""


class Turn(Record):
    """One speaker's turn, in text."""

    role: Role
    text: str
    """As the LLM wrote it, whitespace tidied."""
    spoken_text: str | None = None
    """What a voice is to say: no brackets, digits, emoji, lists. Set by `screen`."""
    emotion: str
    style: str | None = None
    """Tone of voice in free words, e.g. `warm and unhurried`."""


class Dialogue(Record):
    """A dialogue in text, with what made it."""

    turns: tuple[Turn, ...]
    prompt_sha256: str
    model: str
    """The LLM as its endpoint names it, with its revision."""
    seed: int
    attempts: int = Field(default=1, ge=1)
    """How many completions were asked for until one could be used."""


class Voice(Record):
    """A voice that a backend can speak with."""

    id: str
    """`backend/name`, unique over all backends. Holds no dots."""
    backend: str
    name: str
    """What the backend itself calls it."""
    gender: Gender
    age: str | None = None
    """Age band as it sounds, where it is known."""
    languages: tuple[str, ...] = ("en",)
    license: str
    source: str
    """Where the voice comes from: package, file or blend."""
    reference: str | None = None
    """Reference clip, for cloning backends."""
    reference_text: str | None = None
    """What is said in the reference clip."""
    sha256: str | None = None
    """Of what makes the voice: the recipe of a blend, or the reference clip."""


class Prosody(Record):
    """How an utterance sounds, in the figures by which feelings differ; see tasks/prosody.py for how they are taken."""

    f0: float | None
    """Hz, geometric mean over the voiced frames; None when nothing is voiced."""
    f0_range: float | None
    """Semitones, standard deviation of F0 over the voiced frames."""
    rate: float
    """Letters and digits of the text per second of speech, pauses left out."""
    loudness: float
    """LUFS (ITU-R BS.1770), integrated."""


class VoiceCard(Record):
    """What was measured of a voice on the probe sentences: its own neutral, against which deliveries are judged."""

    voice: Voice
    neutral: Prosody
    """Mean over the probes, as the backend renders them, before any finishing."""
    mos: float
    """DistillMOS, mean over the probes."""
    wer: float
    """Word error rate over all words of the probes."""
    recipe: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    """How the backend makes this voice, where it is made and not found: numbers by name."""


class Delivery(Record):
    """How a turn is to be said. Controls are factors against the voice's own neutral; None leaves one alone."""

    emotion: str
    intensity: float = Field(ge=0, le=1)
    instruct: str | None = None
    rate: float | None = None
    """Speaking rate; 1.1 is ten percent faster."""
    pitch: float | None = None
    """Mean F0."""
    pitch_range: float | None = None
    """Spread of F0 around its mean."""
    energy: float | None = None
    """Loudness as a factor of amplitude."""
    expressiveness: float | None = None
    """How far the voice's own manner of speaking stands out from the mean of all voices."""
    unrendered: tuple[str, ...] = ()
    """Controls that this emotion asks for and the cast backend does not have: said here, never flattened in silence."""


class AudioRef(Record):
    """Where encoded audio lies: a byte range of a file in the run's storage."""

    path: str
    offset: int
    size: int
    sha256: str
    """Of the encoded bytes (FLAC)."""


class Augmentation(Record):
    """A room or a line that was laid over a user's turn, with what it takes to tell which."""

    kind: Literal["room", "telephone"]
    parameters: dict[str, float]


class Finish(Record):
    """What was done to an utterance between the engine and the file."""

    trimmed: float = Field(ge=0)
    """Seconds of silence cut off both ends."""
    pause: float = Field(ge=0)
    """Seconds of silence put after the speech."""
    gain: float
    """dB by which it was made louder."""
    loudness: float | None
    """LUFS that a neutral delivery is brought to; this one differs from it by its own energy. None: left alone."""
    peak_limited: bool
    """True when the peak limit left it quieter than it should be."""
    augmentations: tuple[Augmentation, ...] = ()


class Utterance(Record):
    """One turn as cast and, after `synthesize`, as spoken."""

    id: str
    """`{dialogue id}-t{turn index, two digits}`."""
    turn_index: int
    role: Role
    text: str
    """The spoken text."""
    language: str
    voice_id: str
    backend: str
    delivery: Delivery
    seed: int
    engine: str | None = None
    """Backend and model revision that rendered it."""
    audio: AudioRef | None = None
    duration: float | None = None
    """Seconds."""
    sample_rate: int | None = None
    """Hz."""
    finish: Finish | None = None


class Score(Record):
    """One measurement of one utterance: a number, the numbers behind it, or why it could not be taken."""

    name: str
    value: float | None
    details: dict[str, float] = Field(default_factory=dict)
    """Further figures; a gate names one as `score.detail`, e.g. `silence.leading`."""
    error: str | None = None

    @classmethod
    def failed(cls, name: str, why: str) -> Self:
        """A measurement that could not be taken; a gate on it rejects with the reason `unscored`."""
        return cls(name=name, value=None, error=why)


class Assessment(Record):
    """What was heard and measured of one utterance."""

    utterance_id: str
    transcript: str
    asr: str
    """ASR engine and revision."""
    scores: tuple[Score, ...]

    def figure(self, name: str) -> float | None:
        """The figure called `score` or `score.detail`; None when it is missing."""
        score_name, _, detail = name.partition(".")
        for score in self.scores:
            if score.name == score_name:
                return score.details.get(detail) if detail else score.value
        return None


class Reason(Record):
    """Why something was rejected, in a form that can be counted and in one that can be read."""

    code: str
    """Countable, e.g. `wer_above_max` or `unparsable`."""
    detail: str
    """One sentence with the figures."""
    turn_index: int | None = None
    value: float | None = None
    threshold: float | None = None


class Rejection(Record):
    """The end of a candidate: at which stage, and all the reasons found there."""

    stage: StageName
    reasons: tuple[Reason, ...] = Field(min_length=1)


class Candidate(Record):
    """A planned dialogue on its way through the stages; see the module's docstring."""

    scenario: Scenario
    dialogue: Dialogue | None = None
    split: Split | None = None
    utterances: tuple[Utterance, ...] = ()
    assessments: tuple[Assessment, ...] = ()
    accepted: bool = False
    rejection: Rejection | None = None

    @property
    def id(self) -> str:
        """The scenario's id, which is the dialogue's too."""
        return self.scenario.id

    @property
    def alive(self) -> bool:
        """True until a stage has rejected it."""
        return self.rejection is None

    @property
    def duration(self) -> float:
        """Seconds of speech in all turns that were synthesized."""
        return sum(u.duration or 0.0 for u in self.utterances)

    def rejected(self, stage: StageName, *reasons: Reason) -> Candidate:
        """This candidate with its end written down."""
        return self.model_copy(update={"rejection": Rejection(stage=stage, reasons=reasons)})


class ShardManifest(Record):
    """One tar of a sealed corpus."""

    path: str
    split: Split
    num_turns: int
    num_samples: int
    num_bytes: int
    sha256: str
    sample_keys: tuple[str, ...]
