"""Assess: transcribe every utterance and measure it. Nothing is decided here; that is `accept`'s part."""

from __future__ import annotations

from collections.abc import Sequence

from more_itertools import batched

from contracts.audio import Audio
from contracts.errors import TranscriptionError
from contracts.protocols import ASRBackend, Scorer, ScoringItem, Transcript
from contracts.records import Assessment, Candidate, Reason, Score, Utterance
from storage.audio_files import read_audio
from tasks.stage import StageContext

SYSTEMIC = 4
"""That many failures and no success mean that the engine is at fault."""

Hearing = Transcript | Reason


def hear(audios: Sequence[Audio], asr: ASRBackend, *, language: str, batch_size: int) -> list[Hearing]:
    """Transcribe all, each to a transcript or to the reason why not.

    Raises:
        TranscriptionError: the ASR failed on every utterance.
    """
    hearings = [h for batch in batched(audios, batch_size) for h in _hear_batch(batch, asr, language)]
    failures = [h for h in hearings if isinstance(h, Reason)]
    if len(failures) == len(hearings) >= SYSTEMIC:
        raise TranscriptionError(
            f"ASR {asr.name!r} failed on all {len(failures)} utterances of this part; the first: {failures[0].detail} "
            "Run `s2s doctor` to see what it needs."
        )
    return hearings


def _hear_batch(batch: Sequence[Audio], asr: ASRBackend, language: str) -> list[Hearing]:
    try:
        transcripts = asr.transcribe(batch, language=language)
        if len(transcripts) != len(batch):
            raise TranscriptionError(f"The ASR returned {len(transcripts)} transcripts for {len(batch)} utterances.")
    # A plugin may raise anything; whatever it is, it must cost no more than the utterance that caused it.
    except Exception as error:
        if len(batch) > 1:
            return [h for audio in batch for h in _hear_batch([audio], asr, language)]
        return [Reason(code="asr_error", detail=f"{type(error).__name__}: {error}"[:500])]
    return list(transcripts)


def score_all(items: Sequence[ScoringItem], scorer: Scorer) -> list[Score]:
    """Scores of all items. A scorer that raises costs its own figure on each item, never the item."""
    try:
        scores = list(scorer.score(items))
        if len(scores) != len(items):
            raise ValueError(f"{len(scores)} scores for {len(items)} items")
    # A plugin may raise anything; a figure that is missing is then refused by its gate as `unscored`.
    except Exception as error:
        return [Score.failed(scorer.name, f"{type(error).__name__}: {error}"[:500]) for _ in items]
    return scores


def assess(candidates: list[Candidate], context: StageContext) -> list[Candidate]:
    """Fill `assessments` of every candidate alive."""
    utterances = [u for c in candidates if c.alive for u in c.utterances]
    if not utterances:
        return candidates
    audios = [read_audio(context.store, u.audio) for u in utterances if u.audio]
    hearings, asr_name = _hear_part(utterances, audios, context)
    heard = [(u, a, h) for u, a, h in zip(utterances, audios, hearings, strict=True) if isinstance(h, Transcript)]
    items = [ScoringItem(utterance=u, audio=a, transcript=h) for u, a, h in heard]
    columns: list[list[Score]] = []
    for spec in context.config.assess.scorers:
        with context.room.use("scorers", spec, context.engine_seconds) as scorer:
            columns.append(score_all(items, scorer))
    assessments = {
        item.utterance.id: Assessment(
            utterance_id=item.utterance.id,
            transcript=item.transcript.text,
            asr=asr_name,
            scores=tuple(column[row] for column in columns),
        )
        for row, item in enumerate(items)
    }
    reasons = {
        u.id: h.model_copy(update={"turn_index": u.turn_index})
        for u, h in zip(utterances, hearings, strict=True)
        if isinstance(h, Reason)
    }
    return [_after(c, assessments, reasons) if c.alive else c for c in candidates]


def _hear_part(
    utterances: Sequence[Utterance], audios: Sequence[Audio], context: StageContext
) -> tuple[list[Hearing], str]:
    settings = context.config.assess
    hearings: dict[str, Hearing] = {}
    with context.room.use("asr_backends", settings.asr, context.engine_seconds) as asr:
        for language in sorted({u.language for u in utterances}):
            own = [(u, a) for u, a in zip(utterances, audios, strict=True) if u.language == language]
            heard = hear([a for _, a in own], asr, language=language, batch_size=settings.batch_size)
            hearings.update((u.id, h) for (u, _), h in zip(own, heard, strict=True))
        name = f"{asr.name} {asr.revision}"
    return [hearings[u.id] for u in utterances], name


def _after(candidate: Candidate, assessments: dict[str, Assessment], reasons: dict[str, Reason]) -> Candidate:
    own = tuple(assessments[u.id] for u in candidate.utterances if u.id in assessments)
    candidate = candidate.model_copy(update={"assessments": own})
    failed = [reasons[u.id] for u in candidate.utterances if u.id in reasons]
    return candidate.rejected("assess", *failed) if failed else candidate
