"""Where scorers find what was measured of a voice: a bank of voice cards, ours or one that an option names."""

from __future__ import annotations

import hashlib
from pathlib import Path

from contracts.errors import ConfigError
from contracts.records import VoiceCard
from tts_backends.voice_bank import PACKAGED, VoiceBank, load_bank


class Cards:
    """The voice cards that a scorer holds utterances against.

    Args:
        bank: folder with voice cards; None takes those that come with the program.

    Raises:
        ConfigError: the folder does not exist.
    """

    def __init__(self, bank: str | None = None) -> None:
        self.folder = PACKAGED if bank is None else Path(bank)
        if bank is not None and not self.folder.is_dir():
            raise ConfigError(
                f"The option `bank` must be a folder with voice cards; {bank} is none. `s2s voices build` makes one."
            )

    @property
    def revision(self) -> str:
        """Of the cards' content."""
        return f"cards {bank_sha256(self.folder)[:12]}"

    @property
    def bank(self) -> VoiceBank:
        """All of them, with their speaker embeddings; read from disk once per process."""
        return load_bank(self.folder)

    def get(self, voice_id: str) -> VoiceCard | None:
        """The card of a voice; None when nobody has measured it."""
        return self.bank.get(voice_id)

    def why_missing(self, voice_id: str) -> str:
        """What to say of a voice that has no card, and what to do."""
        backend = voice_id.partition("/")[0]
        return (
            f"the voice {voice_id} has no voice card in {self.folder}; measure the voices of {backend} with "
            f"`s2s voices measure {backend}` and name the folder in the scorer's option `bank`, or let the gate pass "
            "what is missing with `unscored: pass`"
        )


def bank_sha256(folder: Path) -> str:
    """Sha256, in hex, of a bank's files with their names; of nothing for an empty bank."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.glob("*") if p.suffix in (".json", ".npy")):
        digest.update(path.name.encode() + b"\0")
        digest.update(path.read_bytes())
    return digest.hexdigest()
