from __future__ import annotations

import hashlib

import pytest

import tasks.screen_dialogues as screen
from contracts.config import ScreenConfig
from contracts.records import Candidate, Dialogue, Role, Scenario, Turn
from prompts import Prompt
from tasks.plan_scenarios import plan_scenarios
from tasks.screen_dialogues import (
    duplicate_reasons,
    leak_reasons,
    parroting_reasons,
    reasons_for,
    recitation_reasons,
    screen_dialogues,
)

USER = "I burnt the rice again and the guests come at 7."
REPLY = "Oh no, that is a rotten moment for it! Shall we think of something quick together?"
SCENARIO = Scenario(
    id="d000001",
    index=1,
    group="en/cooking/burnt_the_rice",
    seed=5,
    language="en",
    emotion="frustrated",
    intensity=0.65,
    topic="cooking",
    situation="I burnt the rice again",
    speaker_gender="female",
    speaker_age="young_adult",
    num_turns=2,
    paralinguistic=False,
)


def turn(text: str, role: Role = "user") -> Turn:
    return Turn(role=role, text=text, emotion="frustrated")


def candidate(*texts: str, prompt_sha256: str = "") -> Candidate:
    roles: tuple[Role, Role] = ("user", "assistant")
    turns = tuple(turn(text, roles[n % 2]) for n, text in enumerate(texts))
    return Candidate(
        scenario=SCENARIO, dialogue=Dialogue(turns=turns, prompt_sha256=prompt_sha256, model="test", seed=1)
    )


def screened(*texts: str, config: ScreenConfig | None = None, prompt_sha256: str = "") -> Candidate:
    return screen_dialogues([candidate(*texts, prompt_sha256=prompt_sha256)], config=config or ScreenConfig())[0]


def codes(result: Candidate) -> list[tuple[str, int | None]]:
    assert result.rejection is not None and result.rejection.stage == "screen"
    return [(reason.code, reason.turn_index) for reason in result.rejection.reasons]


def test_a_good_dialogue_gets_a_spoken_text_on_every_turn() -> None:
    result = screened(USER, REPLY)
    assert result.alive and result.dialogue
    assert result.dialogue.turns[0].spoken_text == "I burnt the rice again and the guests come at seven."
    assert result.dialogue.turns[1].spoken_text == REPLY
    assert result.dialogue.turns[0].text == USER


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("too_few_words", "Really, yes."),
        ("too_many_words", " ".join(f"w{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(61))),
        ("too_long", " ".join(chr(97 + i) * 18 for i in range(24))),
        ("unspeakable_script", "Ich sage 你好 zu dir"),
        ("unspeakable_placeholder", "Good morning, [Name], how are you"),
        ("role_label_leak", "That is good.\nAssistant: I am happy for you."),
        ("role_label_leak", "That is good. Assistant (calm): I am here for you."),
        ("role_label_leak", "User: the bus was late again"),
        ("role_label_leak", "That is good to hear. <|im_end|>"),
        ("prompt_leak", "Here is a short dialogue between the two of them"),
        ("prompt_leak", "What happened: the bus was late again"),
        ("prompt_leak", "The emotion: frustrated, and I am late again"),
        ("refusal", "I'm sorry, but I can't help with that."),
        ("refusal", "I cannot fulfill this request today."),
        ("prompt_leak", "The user is not only the speaker but also the assistant."),
        ("assistant_speak", "As an AI language model, I hear you there."),
        ("assistant_speak", "I'm just a computer program, but I am glad."),
        ("repetition", "I want to go home, I want to go home now."),
    ],
)
def test_an_unfit_turn_is_rejected_with_its_code(code: str, text: str) -> None:
    assert (code, 1) in codes(screened(USER, text))


def test_too_short_means_hardly_any_letter() -> None:
    assert ("too_short", 0) in codes(screened("I", REPLY, config=ScreenConfig(min_words=1)))


@pytest.mark.parametrize(
    "text",
    [
        "One thing about being human: we forget.",
        "The system works again, and the user manual is thin.",
        "I can't help but smile at that, honestly.",
        "My assistant called me in the morning.",
        "Thank you for the prompt answer, I am glad.",
        "I feel sorry for you, and I mean it.",
        "I can't help you carry it, my back hurts.",
    ],
)
def test_ordinary_talk_is_no_leak(text: str) -> None:
    assert leak_reasons(text) == []


def test_figures_stand_in_the_reason() -> None:
    result = screened("one two three four five", REPLY, config=ScreenConfig(max_words=4))
    assert result.rejection
    reason = result.rejection.reasons[0]
    assert (reason.code, reason.value, reason.threshold, reason.turn_index) == ("too_many_words", 5, 4, 0)
    assert reason.detail == "The turn has 5 words, more than 4."


def test_all_reasons_of_all_turns_are_given() -> None:
    assert codes(screened("User: no", "As an AI, no.")) == [
        ("too_few_words", 0),
        ("role_label_leak", 0),
        ("assistant_speak", 1),
    ]


def test_a_reply_that_parrots_the_line_is_a_repetition() -> None:
    reasons = parroting_reasons("Oh, you burnt the rice again and the guests come at 7.", USER)
    assert [r.code for r in reasons] == ["repetition"]
    assert reasons[0].value is not None and reasons[0].value > 0.5
    assert parroting_reasons(REPLY, USER) == []
    assert parroting_reasons("Oh no", "Oh no") == []


def test_the_same_turn_twice_is_a_duplicate() -> None:
    reasons = duplicate_reasons([turn("I see."), turn("What now?", "assistant"), turn("I SEE")])
    assert [(r.code, r.turn_index, r.value) for r in reasons] == [("duplicate_turns", 2, 0)]


def test_reciting_the_prompts_example_is_a_prompt_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    example = "My cat slept on the radiator until the whole house smelled of warm cat and dust."
    text = f"Write a dialogue. Example: {example}"
    prompt = Prompt(name="dialogue_test", text=text, sha256=hashlib.sha256(text.encode()).hexdigest())
    monkeypatch.setattr(screen, "prompt_names", lambda: (prompt.name,))
    monkeypatch.setattr(screen, "load_prompt", lambda name: prompt)
    assert codes(screened(example, REPLY, prompt_sha256=prompt.sha256)) == [("prompt_leak", 0)]
    assert screened(example, REPLY, prompt_sha256="of another prompt").alive
    assert recitation_reasons("My cat slept on the sofa today.", text) == []


def test_rejected_candidates_pass_untouched_and_order_is_kept() -> None:
    good, bad = candidate(USER, REPLY), candidate("No.", REPLY)
    once = screen_dialogues([bad, good, bad], config=ScreenConfig())
    again = screen_dialogues(once, config=ScreenConfig(min_words=1))
    assert [c.alive for c in once] == [False, True, False]
    assert again == once


def test_screening_is_a_pure_function_of_a_turn() -> None:
    config = ScreenConfig()
    assert reasons_for(turn(USER), "I burnt the rice again.", config) == []
    assert [r.code for r in reasons_for(turn(USER), "No.", config)] == ["too_few_words"]


def test_every_planned_situation_can_be_spoken() -> None:
    from contracts.config import CorpusConfig, TargetConfig
    from tasks.spoken_form import spoken_form

    config = CorpusConfig(name="test", target=TargetConfig(dialogues=1, max_candidates=9))
    texts = {s.situation for s in plan_scenarios(config, 0, 900)}
    assert all(isinstance(spoken_form(text, "en"), str) for text in texts)
