"""Voice cards: what was measured of each voice, in files that a command writes and everything else reads.

A bank is a folder with, for each backend, `BACKEND.json` (cards) and `BACKEND.npy` (speaker embeddings, one row a card,
float16). The bank of the voices that come with us lies beside this module; `s2s voices build` makes another.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from contracts.errors import ConfigError
from contracts.records import VoiceCard

PACKAGED = Path(str(files("tts_backends"))) / "voice_cards"


@dataclass(frozen=True)
class VoiceBank:
    """Cards and embeddings by voice id, in a fixed order."""

    cards: Mapping[str, VoiceCard] = field(default_factory=dict)
    embeddings: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    """Voice id -> float32, shape (256,), length 1."""

    def __iter__(self) -> Iterator[VoiceCard]:
        return iter(self.cards.values())

    def __len__(self) -> int:
        return len(self.cards)

    def get(self, voice_id: str) -> VoiceCard | None:
        """The card of a voice; None when nobody has measured it."""
        return self.cards.get(voice_id)

    def of(self, backend: str) -> VoiceBank:
        """The part of one backend."""
        names = [name for name, card in self.cards.items() if card.voice.backend == backend]
        return VoiceBank({n: self.cards[n] for n in names}, {n: self.embeddings[n] for n in names})


def load_bank(folder: Path = PACKAGED) -> VoiceBank:
    """All cards of a folder; an empty bank when there are none. Read once as long as its files stay as they are.

    Raises:
        ConfigError: a file is damaged, of another version or without its other half.
    """
    backends = sorted(
        {path.stem for path in folder.glob("*.npy")} | {p.stem for p in folder.glob("*.json")} - {"report"}
    )
    paths = [folder / f"{name}{suffix}" for name in backends for suffix in (".json", ".npy")]
    return _load(folder, tuple((p.name, _stamp(p)) for p in paths))


def _stamp(path: Path) -> tuple[int, int]:
    """What changes with a file's content; zeros for a file that is not there."""
    return (found.st_mtime_ns, found.st_size) if (found := path.stat() if path.exists() else None) else (0, 0)


@lru_cache(maxsize=8)
def _load(folder: Path, stamps: tuple[tuple[str, tuple[int, int]], ...]) -> VoiceBank:
    cards: dict[str, VoiceCard] = {}
    embeddings: dict[str, NDArray[np.float32]] = {}
    for name in sorted({Path(name).stem for name, _ in stamps}):
        own, rows = _read(folder / f"{name}.json")
        cards.update((card.voice.id, card) for card in own)
        embeddings.update((card.voice.id, row) for card, row in zip(own, rows, strict=True))
    return VoiceBank(cards, embeddings)


def _read(path: Path) -> tuple[list[VoiceCard], NDArray[np.float32]]:
    try:
        cards = [VoiceCard.model_validate(row) for row in json.loads(path.read_text(encoding="utf-8"))["cards"]]
        rows = np.load(path.with_suffix(".npy"), allow_pickle=False).astype(np.float32)
    except (OSError, KeyError, ValueError, ValidationError) as error:
        what = str(error).splitlines()[0]
        raise ConfigError(
            f"{path} holds no voice cards that this version reads ({type(error).__name__}: {what}). Make them again "
            "with `s2s voices build`."
        ) from error
    if len(cards) != len(rows):
        raise ConfigError(f"{path} holds {len(cards)} cards and {len(rows)} embeddings. Make them again.")
    return cards, rows / np.linalg.norm(rows, axis=1, keepdims=True)


def bank_files(bank: VoiceBank, backend: str) -> dict[str, bytes]:
    """A backend's part of a bank as the contents of its two files, by file name."""
    own = bank.of(backend)
    cards = [card.model_dump(mode="json", exclude_defaults=True) for card in own]
    lines = ",\n".join(json.dumps(card, ensure_ascii=False, sort_keys=True) for card in cards)
    rows = np.array([own.embeddings[card.voice.id] for card in own], np.float16)
    buffer = io.BytesIO()
    np.save(buffer, rows, allow_pickle=False)
    return {f"{backend}.json": f'{{"cards": [\n{lines}\n]}}\n'.encode(), f"{backend}.npy": buffer.getvalue()}
