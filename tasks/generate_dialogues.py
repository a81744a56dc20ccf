"""Stage `generate`: an LLM writes each candidate's dialogue.

Attempts go in rounds over the whole part, so that all requests of a round run together. They are free text after
worked examples, which suits small models; the last is bound by a JSON schema for what did not parse until then. An
answer that is sound in form and weak in content (see `merits`) stays in hand while attempts last, and the best one
wins: small models are cheap enough to be asked again, and large ones seldom need it. What is traded away: a candidate
waits for the slowest of its round.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from contracts.config import GenerateConfig
from contracts.errors import EndpointError
from contracts.records import Candidate, Dialogue, Reason, Scenario, Turn
from prompts import Prompt, emotions, load_prompt
from tasks.llm.client import LLMClient
from tasks.llm.dialogue_merit import merit
from tasks.llm.dialogue_prompt import (
    DialoguePrompt,
    attempt_seed,
    build_messages,
    deck,
    dialogue_prompt,
    json_schema,
    opening,
)
from tasks.llm.dialogue_text import Line, find_faults, overlap, read_answer
from tasks.llm.messages import ChatRequest, Completion, RequestFailed

STAGE_VERSION = 1
"""Part of the stage's fingerprint; raise it when equal answers are no longer read alike."""
SETTLED = 0.85
"""Merit from which on an answer is not asked for again: one rule may be broken."""
MAX_LENGTH = 120
"""Characters per turn that the embedded engine's small model is bounded to in JSON, where it else never ends."""
MAX_COPIED = 0.6
"""Share of a turn's three-word runs that may also stand in an example, or in the turn before it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one answer is worth."""

    turns: tuple[Turn, ...] = ()
    reasons: tuple[Reason, ...] = ()
    merit: float = 0.0
    """Share of the merits that it has; 1 is as good as it gets."""


@dataclass(slots=True)
class _Progress:
    """One candidate on its way through the rounds."""

    candidate: Candidate
    best: Verdict | None = None
    best_attempt: int = 0
    attempts: int = 0
    reasons: list[Reason] = field(default_factory=list)

    @property
    def settled(self) -> bool:
        return self.best is not None and self.best.merit >= SETTLED

    def take(self, verdict: Verdict, attempt: int) -> None:
        self.attempts = attempt + 1
        self.reasons.extend(verdict.reasons)
        if verdict.turns and (self.best is None or verdict.merit > self.best.merit):
            self.best, self.best_attempt = verdict, attempt


def generate_dialogues(
    candidates: Sequence[Candidate], *, config: GenerateConfig, client: LLMClient
) -> list[Candidate]:
    """Fill in each living candidate's dialogue, or reject it; same length, same order.

    Raises:
        EndpointError: the endpoint is down, or not one request of a whole part was answered.
        RecipeError: the prompt does not exist or cannot be read.
    """
    source = load_prompt(config.prompt)
    prompt = dialogue_prompt(source)
    progress = {i: _Progress(candidate) for i, candidate in enumerate(candidates) if candidate.alive}
    for attempt in range(config.attempts):
        open_ones = [one for one in progress.values() if not one.settled]
        _run_round(open_ones, prompt, client, attempt=attempt, last=attempt == config.attempts - 1)
    return [_finish(progress[i], source, client) if i in progress else c for i, c in enumerate(candidates)]


def _run_round(
    open_ones: list[_Progress], prompt: DialoguePrompt, client: LLMClient, *, attempt: int, last: bool
) -> None:
    # Neighbours in this order share their examples, which the server then reads once.
    open_ones.sort(key=lambda one: deck(one.candidate.scenario, attempt))
    requests = [
        build_request(
            one.candidate.scenario,
            prompt,
            attempt=attempt,
            as_json=last and one.best is None,
            small=client.takes_openings,
        )
        for one in open_ones
    ]
    answers = client.complete(requests)
    _raise_if_dead(open_ones, answers)
    for one, answer in zip(open_ones, answers, strict=True):
        one.take(judge(answer, one.candidate.scenario, prompt), attempt)


def _raise_if_dead(open_ones: Sequence[_Progress], answers: Sequence[Completion | Exception]) -> None:
    """Rejecting a whole part for the engine's failure would spend the budget on nothing."""
    failures = [answer for answer in answers if isinstance(answer, Exception)]
    first_round = all(one.attempts == 0 for one in open_ones)
    if failures and first_round and len(failures) == len(answers):
        raise EndpointError(
            f"Not one of {len(failures)} requests of this part was answered; the last failure: {failures[-1]} "
            "Check the LLM server's log, then run again: it resumes."
        ) from failures[-1]


def build_request(
    scenario: Scenario, prompt: DialoguePrompt, *, attempt: int, as_json: bool, small: bool = False
) -> ChatRequest:
    """The completion to ask for at one attempt.

    Args:
        scenario: what it shall be about.
        prompt: the prompt file, taken apart.
        attempt: from 0.
        as_json: whether to bind the answer to a schema.
        small: whether the engine is the embedded one, whose small model needs its first words given and its lines
            bounded.
    """
    return ChatRequest(
        messages=build_messages(scenario, prompt, attempt=attempt, as_json=as_json),
        seed=attempt_seed(scenario, attempt),
        json_schema=json_schema(scenario.num_turns, max_length=MAX_LENGTH if small else None) if as_json else None,
        opening=opening(scenario) if small and not as_json else "",
    )


def judge(answer: Completion | Exception, scenario: Scenario, prompt: DialoguePrompt) -> Verdict:
    """Turns, or the reasons why there are none."""
    if isinstance(answer, RequestFailed):
        return Verdict(reasons=(Reason(code="request_failed", detail=str(answer)),))
    if isinstance(answer, Exception):
        raise answer
    if answer.finish_reason == "oversized":
        return Verdict(reasons=(Reason(code="too_long", detail="The answer was far larger than asked for."),))
    lines = read_answer(answer.text)
    faults = find_faults(
        lines,
        answer.text,
        num_turns=scenario.num_turns,
        language=scenario.language,
        cut=answer.finish_reason == "length",
    )
    lines = lines[: scenario.num_turns]
    faults = faults or _copies(lines, prompt)
    if faults:
        return Verdict(reasons=faults)
    return Verdict(
        turns=tuple(_turn(line, scenario) for line in lines), merit=merit(lines, scenario, shown=_shown(prompt))
    )


def _shown(prompt: DialoguePrompt) -> list[Line]:
    return [line for example in prompt.examples for line in example.lines]


def _copies(lines: Sequence[Line], prompt: DialoguePrompt) -> tuple[Reason, ...]:
    shown = [line.text for line in _shown(prompt)]
    faults = []
    for index, line in enumerate(lines):
        if (share := overlap(line.text, shown)) > MAX_COPIED:
            faults.append(_copy("copied_example", "copied from an example", index, share))
        if (share := overlap(line.text, (before.text for before in lines[:index]))) > MAX_COPIED:
            faults.append(_copy("repeated_turn", "repeated from an earlier turn", index, share))
    return tuple(faults)


def _copy(code: str, words: str, index: int, share: float) -> Reason:
    detail = f"{share:.0%} of the turn is {words}, at most {MAX_COPIED:.0%}."
    return Reason(code=code, detail=detail, turn_index=index, value=round(share, 3), threshold=MAX_COPIED)


def _turn(line: Line, scenario: Scenario) -> Turn:
    table = emotions()
    emotion = table.emotions.get(scenario.emotion)
    if line.role == "user":
        graded = emotion is not None and emotion.graded
        style = f"{table.words_for(scenario.intensity)} {scenario.emotion}" if graded else scenario.emotion
        return Turn(role="user", text=line.text, emotion=scenario.emotion, style=style)
    fallback = emotion.reply_tone if emotion is not None else next(iter(table.reply_tones))
    tone = _known_tone(line.tone) or fallback
    return Turn(role="assistant", text=line.text, emotion=tone, style=table.reply_tones[tone])


def _known_tone(words: str | None) -> str | None:
    """The first of our tones that a model's words name: `warm, soothing` is soothing."""
    tones = emotions().reply_tones
    return next((word for word in re.findall(r"[a-z]+", words or "") if word in tones), None)


def _finish(progress: _Progress, source: Prompt, client: LLMClient) -> Candidate:
    candidate = progress.candidate
    if progress.best is None:
        return candidate.rejected("generate", *progress.reasons)
    dialogue = Dialogue(
        turns=progress.best.turns,
        prompt_sha256=source.sha256,
        model=client.identity,
        seed=attempt_seed(candidate.scenario, progress.best_attempt),
        attempts=progress.attempts,
    )
    return candidate.model_copy(update={"dialogue": dialogue})
