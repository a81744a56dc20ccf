"""A whole pipeline that takes seconds: a scripted LLM endpoint on a real socket, the fake TTS and the fake ASR.

What is tested with it is everything between the engines: order, reuse, resume, faults. Real engines run in
test_real_build.py.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent.parent / "tasks" / "llm"))

from hostile_server import Handler, Server, answer, serving  # noqa: E402

FEELINGS = "all morning;ever since breakfast;more than I can say;with every step;again and again;deep inside".split(";")


def write_dialogue(handler: Handler, payload: dict[str, Any]) -> None:
    """A well-behaved LLM: says the situation in the first person, so that the answer is on the point."""
    lines = payload["messages"][-1]["content"].splitlines()
    told = re.sub(r"[^\w' ]", "", max(lines, key=len).partition(" (")[0])
    feeling = FEELINGS[payload.get("seed", 0) % len(FEELINGS)]
    reply = "Thank you for telling me, that sounds like a lot to carry"
    handler.reply(answer(f"User: I must tell you, {told}, and I feel it {feeling}.\nAssistant (soothing): {reply}."))


@pytest.fixture
def llm() -> Iterator[Server]:
    with serving(write_dialogue) as server:
        yield server


@dataclass
class Pipeline:
    """A recipe on disk, and a way to build it."""

    recipe: Path
    out: Path
    raw: dict[str, Any]

    def build(self, **settings: Any) -> str | None:
        from flows.build_corpus import build_corpus

        dotted = {key.replace("__", "."): value for key, value in settings.items()}
        return build_corpus(recipe=str(self.recipe), out=str(self.out), settings=dotted)


def recipe_for(url: str) -> dict[str, Any]:
    return {
        "name": "fakes",
        "seed": 3,
        "target": {"dialogues": 10, "max_candidates": 24},
        "plan": {"part_size": 4},
        "generate": {"llm": {"base_url": url, "model": "model-a", "breaker_seconds": 3.0, "timeout": 5.0}},
        "cast": {"users": {"tone": 1.0}, "assistant_voice": "tone/low", "max_voice_share": 1.0},
        "assess": {"asr": "scripted", "scorers": ["clipping", "duration_ratio"]},
        "accept": {"gates": {"clipping": {"max": 0.01}, "duration_ratio": {"max": 1.35}}},
        "run": {"task_retries": 1, "retry_delay": 0.1, "max_parts_in_flight": 3},
    }


@pytest.fixture
def pipeline(prefect_server: None, llm: Server, tmp_path: Path) -> Pipeline:
    raw = recipe_for(llm.url)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(raw))
    return Pipeline(recipe=recipe, out=tmp_path / "run", raw=raw)


@pytest.fixture
def uses() -> Callable[[], dict[str, int]]:
    """How often each engine of this process was used so far."""
    from tasks.engine_room import engine_room

    return lambda: dict(engine_room().uses)
