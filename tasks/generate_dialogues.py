"""Stage `generate`: an LLM writes each candidate's dialogue.

Attempts go in rounds over the whole part, so that all requests of a round run together. The first are free text after
worked examples, which suits small models; the last is bound by a JSON schema, for what did not parse until then. An
answer that is sound but says nothing of the situation is kept in hand while the free attempts last, in case a better one
comes. What is traded away: a candidate waits for the slowest of its round.
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
from tasks.llm.dialogue_prompt import (
    DialoguePrompt,
    attempt_seed,
    build_messages,
    deck,
    dialogue_prompt,
    json_schema,
)
from tasks.llm.dialogue_text import Line, content_words, find_faults, overlap, read_answer, words_of
from tasks.llm.messages import ChatRequest, Completion, RequestFailed

STAGE_VERSION = 1
"""Part of the stage's fingerprint; raise it when equal answers are no longer read alike."""
TOKENS_PER_TURN = 80
MAX_COPIED = 0.6
"""Share of a turn's three-word runs that may also stand in an example, or in the turn before it."""
_FIRST_PERSON = frozenset("i i'm i've i'd i'll my me mine we we're we've our us myself".split())


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one answer is worth."""

    turns: tuple[Turn, ...] = ()
    reasons: tuple[Reason, ...] = ()
    on_topic: bool = False
    """Speaks in the first person, about the situation."""


@dataclass(slots=True)
class _Progress:
    """One candidate on its way through the rounds."""

    candidate: Candidate
    best: tuple[tuple[Turn, ...], int] | None = None
    """Turns in hand and the attempt that brought them."""
    settled: bool = False
    attempts: int = 0
    reasons: list[Reason] = field(default_factory=list)

    def take(self, verdict: Verdict, attempt: int) -> None:
        self.attempts = attempt + 1
        self.reasons.extend(verdict.reasons)
        if verdict.turns and (verdict.on_topic or self.best is None):
            self.best = (verdict.turns, attempt)
        self.settled = verdict.on_topic


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
        last = attempt == config.attempts - 1
        open_ones = [p for p in progress.values() if not p.settled and not (last and p.best)]
        _run_round(open_ones, prompt, client, attempt=attempt, as_json=last)
    return [_finish(progress[i], source, client) if i in progress else c for i, c in enumerate(candidates)]


def _run_round(
    open_ones: list[_Progress], prompt: DialoguePrompt, client: LLMClient, *, attempt: int, as_json: bool
) -> None:
    # Neighbours in this order share their examples, which the server then reads once.
    open_ones.sort(key=lambda p: deck(p.candidate.scenario, attempt))
    requests = [build_request(p.candidate.scenario, prompt, attempt=attempt, as_json=as_json) for p in open_ones]
    answers = client.complete(requests)
    failures = [a for a in answers if isinstance(a, Exception)]
    if answers and len(failures) == len(answers) and all(p.attempts == 0 or p.best is None for p in open_ones):
        _raise_if_dead(failures, open_ones)
    for one, answer in zip(open_ones, answers, strict=True):
        one.take(judge(answer, one.candidate.scenario, prompt), attempt)


def _raise_if_dead(failures: list[Exception], open_ones: list[_Progress]) -> None:
    """Rejecting a whole part for the engine's failure would spend the budget on nothing."""
    raise EndpointError(
        f"Not one of {len(failures)} requests of this part was answered; the last failure: {failures[-1]} "
        "Check the LLM server's log, then run again: it resumes."
    ) from failures[-1]


def build_request(scenario: Scenario, prompt: DialoguePrompt, *, attempt: int, as_json: bool) -> ChatRequest:
    """The completion to ask for at one attempt."""
    return ChatRequest(
        messages=build_messages(scenario, prompt, attempt=attempt, as_json=as_json),
        seed=attempt_seed(scenario, attempt),
        max_tokens=TOKENS_PER_TURN * scenario.num_turns,
        json_schema=json_schema(scenario.num_turns) if as_json else None,
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
    return Verdict(turns=tuple(_turn(line, scenario) for line in lines), on_topic=_is_on_topic(lines, scenario))


def _copies(lines: Sequence[Line], prompt: DialoguePrompt) -> tuple[Reason, ...]:
    shown = [line.text for example in prompt.examples for line in example.lines]
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


def _is_on_topic(lines: Sequence[Line], scenario: Scenario) -> bool:
    said = " ".join(line.text for line in lines)
    about = content_words(scenario.situation)
    shared = content_words(said) & about
    first_person = scenario.language != "en" or bool(_FIRST_PERSON & set(words_of(lines[0].text)))
    return first_person and (len(shared) >= min(2, len(about)) or scenario.language != "en")


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
    turns, attempt = progress.best
    dialogue = Dialogue(
        turns=turns,
        prompt_sha256=source.sha256,
        model=client.identity,
        seed=attempt_seed(candidate.scenario, attempt),
        attempts=progress.attempts,
    )
    return candidate.model_copy(update={"dialogue": dialogue})
