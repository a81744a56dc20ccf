"""Synthesize: every cast utterance becomes FLAC in the part's tar, or its dialogue is rejected with the reason.

What an engine gives is refused where it is defective and finished where it is not (finish_speech.py).

A batch that a backend refuses is tried again one request at a time, so that one bad text costs one dialogue. When a
backend fails on everything that a part asks of it, the fault is the engine's, not the texts': that is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from more_itertools import batched

from contracts.audio import Audio
from contracts.config import CorpusConfig
from contracts.errors import EndpointDown, SynthesisError
from contracts.protocols import SpeechRequest, TTSBackend
from contracts.records import AudioRef, Candidate, Reason, Utterance, Voice
from storage.audio_files import PartAudioWriter, encode_flac, part_audio_writer
from tasks.augment_speech import augmentations_of
from tasks.finish_speech import finish_speech
from tasks.stage import StageContext

SILENT_BELOW = 1e-3
"""Peak under which a rendering counts as silence (-60 dBFS)."""
MIN_DURATION = 0.1
"""Seconds; nothing that a person says is shorter."""
SYSTEMIC = 4
"""That many failures and no success mean that the engine is at fault."""

Rendering = Audio | Reason


def defect(audio: Audio, sample_rate: int) -> Reason | None:
    """What is wrong with a rendering; None when it can be used."""
    samples = audio.samples
    if audio.sample_rate != sample_rate:
        detail = f"The backend returned {audio.sample_rate} Hz and had promised {sample_rate} Hz."
        return Reason(code="tts_wrong_rate", detail=detail, value=audio.sample_rate, threshold=sample_rate)
    if audio.duration < MIN_DURATION:
        detail = f"The backend returned {audio.duration:.3f} s of audio."
        return Reason(code="tts_empty", detail=detail, value=audio.duration, threshold=MIN_DURATION)
    if not np.isfinite(samples).all():
        return Reason(code="tts_not_finite", detail="The backend returned NaN or infinite samples.")
    peak = float(np.abs(samples).max())
    if peak < SILENT_BELOW:
        detail = f"The backend returned silence (peak {peak:.5f})."
        return Reason(code="tts_silent", detail=detail, value=peak, threshold=SILENT_BELOW)
    return None


def render(requests: Sequence[SpeechRequest], backend: TTSBackend, *, batch_size: int) -> list[Rendering]:
    """Speak all requests, each one to a usable Audio or to the reason why not.

    Raises:
        SynthesisError: the backend failed on every request.
    """
    renderings = [r for batch in batched(requests, batch_size) for r in _render_batch(batch, backend)]
    failures = [r for r in renderings if isinstance(r, Reason)]
    if len(failures) == len(renderings) >= SYSTEMIC:
        raise SynthesisError(
            f"TTS backend {backend.name!r} failed on all {len(failures)} requests of this part; the first: "
            f"{failures[0].detail} Try it alone with `s2s say 'Hello there.' --backend {backend.name} --out x.wav`."
        )
    return renderings


def _render_batch(batch: Sequence[SpeechRequest], backend: TTSBackend) -> list[Rendering]:
    try:
        audios = backend.synthesize(batch)
        if len(audios) != len(batch):
            raise SynthesisError(f"The backend returned {len(audios)} renderings for {len(batch)} requests.")
    except EndpointDown:
        raise  # nobody speaks any more: that is no fault of the texts
    # A plugin may raise anything; whatever it is, it must cost no more than the request that caused it.
    except Exception as error:
        if len(batch) > 1:
            return [r for request in batch for r in _render_batch([request], backend)]
        return [Reason(code="tts_error", detail=f"{type(error).__name__}: {error}"[:500])]
    rate = backend.capabilities.sample_rate
    return [defect(audio, rate) or audio for audio in audios]


def synthesize(candidates: list[Candidate], context: StageContext) -> list[Candidate]:
    """Fill `utterances[].audio` and `finish` of every candidate alive."""
    cast, settings = context.config.cast, context.config.synthesize
    wanted = [u for c in candidates if c.alive for u in c.utterances]
    dialogues = {u.id: c.id for c in candidates for u in c.utterances}
    reasons: dict[str, Reason] = {}
    spoken: dict[str, Utterance] = {}
    with part_audio_writer(context.store, context.part) as writer:
        for name in sorted({u.backend for u in wanted}):
            own = [u for u in wanted if u.backend == name]
            with context.room.use("tts_backends", cast.plugin(name), context.engine_seconds) as backend:
                voices = {v.id: v for v in backend.voices()}
                requests = [request_of(u, voices) for u in own]
                renderings = render(requests, backend, batch_size=settings.batch_size)
                engine = f"{backend.name} {backend.revision}"
            for utterance, rendering in zip(own, renderings, strict=True):
                if isinstance(rendering, Reason):
                    reasons[utterance.id] = rendering.model_copy(update={"turn_index": utterance.turn_index})
                else:
                    finished, audio = finish(utterance, rendering, dialogues[utterance.id], context.config)
                    spoken[utterance.id] = _stored(finished, audio, engine, writer)
        context.files.append(writer.close())
    return [_after(c, spoken, reasons) if c.alive else c for c in candidates]


def request_of(utterance: Utterance, voices: Mapping[str, Voice]) -> SpeechRequest:
    """What to ask of the backend for an utterance."""
    return SpeechRequest(
        text=utterance.text,
        voice=voices[utterance.voice_id],
        language=utterance.language,
        delivery=utterance.delivery,
        seed=utterance.seed,
    )


def finish(utterance: Utterance, rendering: Audio, dialogue: str, config: CorpusConfig) -> tuple[Utterance, Audio]:
    """The utterance with its finish written down, and the finished sound; `dialogue` is the dialogue's id."""
    settings = config.synthesize.finish
    audio, done = finish_speech(
        rendering,
        settings,
        energy=utterance.delivery.energy,
        augmentations=augmentations_of(dialogue, utterance.role, settings.augment, config.seed),
    )
    return utterance.model_copy(update={"finish": done}), audio


def _stored(utterance: Utterance, audio: Audio, engine: str, writer: PartAudioWriter) -> Utterance:
    ref: AudioRef = writer.add(utterance.id, encode_flac(audio))
    return utterance.model_copy(
        update={"audio": ref, "engine": engine, "duration": round(audio.duration, 4), "sample_rate": audio.sample_rate}
    )


def _after(candidate: Candidate, spoken: Mapping[str, Utterance], reasons: Mapping[str, Reason]) -> Candidate:
    utterances = tuple(spoken.get(u.id, u) for u in candidate.utterances)
    candidate = candidate.model_copy(update={"utterances": utterances})
    failed = [reasons[u.id] for u in utterances if u.id in reasons]
    return candidate.rejected("synthesize", *failed) if failed else candidate
