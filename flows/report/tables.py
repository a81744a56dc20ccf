"""The report's figures: emotions, voices, gates and what a classifier heard, as tables over a run's candidates."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean

from contracts.config import Bounds, CorpusConfig, Gate
from contracts.records import Assessment, Candidate, Record, Utterance
from prompts import ages
from tasks.accept_dialogues import verdict
from tasks.prosody import semitones
from tts_backends.voice_bank import VoiceBank

PROSODY, SER = "emotion_prosody", "ser"
NO_PROSODY = "emotion_prosody was not among the scorers: how the emotions sound was not measured."
NO_SER = "no SER was configured: whether the emotion can be recognised by a classifier was not tested."
UNKNOWN = "unknown"

Turn = tuple[Candidate, Utterance, Assessment]


class EmotionRow(Record):
    """The user turns of one emotion that were assessed; shifts are against the voices' own neutral."""

    emotion: str
    turns: int
    accepted_share: float
    """Of these turns, those whose dialogue was accepted."""
    measured: int
    """Turns that have the figures below."""
    f0_semitones: float | None
    asked_f0_semitones: float
    range_ratio: float | None
    """Geometric mean, as is rate_ratio."""
    rate_ratio: float | None
    asked_rate_ratio: float
    loudness_db: float | None
    agreement: float | None
    """Mean of emotion_prosody."""


class VoiceRow(Record):
    """A user voice of the corpus."""

    voice_id: str
    gender: str
    age: str
    """As it sounds, after its card."""
    dialogues: int
    share: float
    f0: float | None
    """Hz, geometric mean over its turns as they were delivered; None where that was not measured."""


class VoiceTable(Record):
    """Who speaks for the users, over the accepted dialogues."""

    dialogues: int
    voices: tuple[VoiceRow, ...]
    """The most used one first."""
    by_age: dict[str, dict[str, int]]
    """Age band as it sounds, youngest first -> gender -> dialogues."""

    @property
    def most_used_share(self) -> float:
        """Share of the dialogues that the most used voice speaks in; 0 without any."""
        return self.voices[0].share if self.voices else 0.0


class GateRow(Record):
    """What a gate did to the turns that reached it."""

    figure: str
    thresholds: tuple[str, ...]
    """In words, the ones for some turns only after the general one."""
    judged: int
    """Turns of its roles that have the figure or are rejected for lack of it."""
    missing: int
    """Turns without the figure."""
    rejected: int
    pass_share: float | None
    """None where it judged nothing."""


class Confusion(Record):
    """Emotions of user turns, asked x heard by the classifier; an emotion that it does not know is in no row."""

    counts: dict[str, dict[str, int]]
    heard: tuple[str, ...]
    """All that were heard or asked, sorted: the columns."""
    right_share: float


class Tables(Record):
    """All tables of a report."""

    emotions: tuple[EmotionRow, ...]
    prosody_note: str | None
    voices: VoiceTable
    gates: tuple[GateRow, ...]
    ser: Confusion | None
    ser_note: str | None


def make_tables(candidates: Sequence[Candidate], config: CorpusConfig, bank: VoiceBank) -> Tables:
    """All tables over the decided candidates of a run."""
    scorers = {spec.name for spec in config.assess.scorers}
    return Tables(
        emotions=emotion_rows(candidates),
        prosody_note=None if PROSODY in scorers else NO_PROSODY,
        voices=voice_table(candidates, bank),
        gates=gate_rows(candidates, config.accept.gates),
        ser=confusion(candidates) if SER in scorers else None,
        ser_note=None if SER in scorers else NO_SER,
    )


def assessed_turns(candidates: Iterable[Candidate]) -> list[Turn]:
    """Every utterance that was measured, with its candidate."""
    turns = []
    for candidate in candidates:
        heard = {a.utterance_id: a for a in candidate.assessments}
        turns += [(candidate, u, heard[u.id]) for u in candidate.utterances if u.id in heard]
    return turns


def emotion_rows(candidates: Iterable[Candidate]) -> tuple[EmotionRow, ...]:
    """A row for each emotion of the assessed user turns, by name."""
    by_emotion: dict[str, list[Turn]] = defaultdict(list)
    for turn in assessed_turns(candidates):
        if turn[1].role == "user":
            by_emotion[turn[1].delivery.emotion].append(turn)
    return tuple(_emotion_row(emotion, by_emotion[emotion]) for emotion in sorted(by_emotion))


def _emotion_row(emotion: str, turns: Sequence[Turn]) -> EmotionRow:
    def mean(detail: str, transform: Callable[[float], float] = float) -> float | None:
        found = (assessment.figure(f"{PROSODY}{detail}") for _, _, assessment in turns)
        present = [transform(value) for value in found if value is not None]
        return fmean(present) if present else None

    range_log, rate_log = mean(".range_ratio", math.log), mean(".rate_ratio", math.log)
    asked = [u.delivery for _, u, _ in turns]
    return EmotionRow(
        emotion=emotion,
        turns=len(turns),
        accepted_share=fmean(c.accepted for c, _, _ in turns),
        measured=sum(a.figure(PROSODY) is not None for _, _, a in turns),
        f0_semitones=mean(".f0_semitones"),
        asked_f0_semitones=fmean(semitones(d.pitch or 1.0) for d in asked),
        range_ratio=None if range_log is None else math.exp(range_log),
        rate_ratio=None if rate_log is None else math.exp(rate_log),
        asked_rate_ratio=math.exp(fmean(math.log(d.rate or 1.0) for d in asked)),
        loudness_db=mean(".loudness_db"),
        agreement=mean(""),
    )


def voice_table(candidates: Iterable[Candidate], bank: VoiceBank) -> VoiceTable:
    """The user voices of the accepted dialogues; gender and age after the voice's card, where it has one."""
    accepted = [c for c in candidates if c.accepted]
    uses: Counter[str] = Counter()
    genders: dict[str, str] = {}
    pitch: dict[str, list[float]] = defaultdict(list)
    for candidate in accepted:
        for voice in {u.voice_id for u in candidate.utterances if u.role == "user"}:
            uses[voice] += 1
            genders[voice] = candidate.scenario.speaker_gender
    for _, utterance, assessment in assessed_turns(accepted):
        f0 = assessment.figure(f"{PROSODY}.f0")
        if f0 is not None and utterance.role == "user":
            pitch[utterance.voice_id].append(math.log(f0))
    rows = []
    by_age: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for voice, count in sorted(uses.items(), key=lambda use: (-use[1], use[0])):
        card = bank.get(voice)
        gender = card.voice.gender if card else genders[voice]
        age = (card.voice.age if card else None) or UNKNOWN
        by_age[age][gender] += count
        f0 = math.exp(fmean(pitch[voice])) if pitch[voice] else None
        share = count / len(accepted)
        rows.append(VoiceRow(voice_id=voice, gender=gender, age=age, dialogues=count, share=share, f0=f0))
    bands = [age for age in (*ages().ages, UNKNOWN) if age in by_age]
    bands += sorted(set(by_age) - set(bands))
    return VoiceTable(dialogues=len(accepted), voices=tuple(rows), by_age={age: dict(by_age[age]) for age in bands})


def gate_rows(candidates: Iterable[Candidate], gates: Mapping[str, Gate]) -> tuple[GateRow, ...]:
    """A row for each gate, over the turns of the dialogues that were brought before the gates."""
    brought = [c for c in candidates if c.accepted or (c.rejection is not None and c.rejection.stage == "accept")]
    turns = assessed_turns(brought)
    return tuple(_gate_row(figure, gate, turns) for figure, gate in gates.items())


def _gate_row(figure: str, gate: Gate, turns: Iterable[Turn]) -> GateRow:
    values = [(u, a.figure(figure)) for _, u, a in turns if u.role in gate.roles]
    missing = sum(value is None for _, value in values)
    rejected = sum(verdict(figure, value, gate, u) is not None for u, value in values)
    judged = len(values) - (missing if gate.unscored == "pass" else 0)
    return GateRow(
        figure=figure,
        thresholds=tuple(thresholds(gate)),
        judged=judged,
        missing=missing,
        rejected=rejected,
        pass_share=1 - rejected / judged if judged else None,
    )


def thresholds(gate: Gate) -> list[str]:
    """A gate's bounds in words, e.g. `at least 3`, `sad: at least 2.5`."""
    only = "" if len(gate.roles) > 1 else f" ({gate.roles[0]} turns)"
    own = [f"{_bounds(gate)}{only}"] if _bounds(gate) else []
    special = {**gate.per_emotion, "augmented": gate.augmented}
    return own + [f"{name}: {_bounds(bounds)}{only}" for name, bounds in special.items() if _bounds(bounds)]


def _bounds(bounds: Bounds) -> str:
    low = "" if bounds.min is None else f"at least {bounds.min:g}"
    high = "" if bounds.max is None else f"at most {bounds.max:g}"
    return ", ".join(part for part in (low, high) if part)


def confusion(candidates: Iterable[Candidate]) -> Confusion:
    """What the classifier heard in the user turns whose emotion it knows."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for _, utterance, assessment in assessed_turns(candidates):
        heard = heard_emotion(utterance, assessment)
        if heard is not None and utterance.role == "user":
            counts[utterance.delivery.emotion][heard] += 1
    names = sorted({*counts, *(heard for row in counts.values() for heard in row)})
    total = sum(sum(row.values()) for row in counts.values())
    right = sum(row[asked] for asked, row in counts.items())
    return Confusion(
        counts={asked: dict(sorted(counts[asked].items())) for asked in sorted(counts)},
        heard=tuple(names),
        right_share=right / total if total else 0.0,
    )


def heard_emotion(utterance: Utterance, assessment: Assessment) -> str | None:
    """The emotion that the classifier finds likeliest, the asked one where it shares that place; None if unscored."""
    for score in assessment.scores:
        if score.name == SER and score.value is not None:
            shares = {name.removeprefix("p_"): p for name, p in score.details.items() if name.startswith("p_")}
            return max(shares, key=lambda name: (shares[name], name == utterance.delivery.emotion))
    return None
