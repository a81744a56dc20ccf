"""Whether an utterance sounds the way its delivery asks for, against the neutral of the same voice.

Mean F0, F0 range, speaking rate and loudness are measured (tasks/prosody.py) and compared with the voice's card. What
is asked for are the controls that the delivery carries; `expressiveness` has no figure to be measured by and is left
out. How shifts become one number is in `_prosody_shift.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

from contracts.audio import Audio
from contracts.protocols import ScoringItem
from contracts.records import Delivery, Role, Score
from prompts import deliveries, taxonomy_sha256
from prompts.taxonomies import Controls
from tasks.prosody import audible_span, measure_prosody
from tasks.scorers._prosody_shift import Figure, agreements, asked_shifts, neutrality, overall, shift_of
from tasks.scorers._shared import Workers, fault, positive_threads, require, versions
from tasks.scorers._voice_cards import Cards


class EmotionProsody:
    """Agreement of the measured prosody with the asked one, in [-1, 1].

    1 is as asked, 0 like neutral, below 0 the wrong way: the mean over the asked controls, weighted by |log factor| in
    units of what sentences of one voice differ by. A finished utterance has the loudness that finishing gave it, so a
    flat rendering keeps there what energy weighs; `pitch_agreement` and its like tell that.

    - A delivery that asks for nothing is held to neutral: 1 within 4 tolerances of it in every figure (3.5 semitones,
      a range of 0.45 to 2.2, a rate of 0.67 to 1.5, 2.1 dB), less by the excess beyond them.
    - A delivery in words (`instruct`, no control) is held to what prompts/delivery.yaml says of its emotion or tone, at
      its intensity: `in_words` is then 1.
    - A voice without a card, and an utterance without an audible or (where pitch is asked) voiced part, cannot be
      scored.

    Details: f0_semitones, range_ratio, rate_ratio, loudness_db (shifts against neutral; those of F0 lack where nothing
    is voiced); f0 (Hz); rate_agreement, pitch_agreement, pitch_range_agreement, energy_agreement (of the asked ones);
    asked (how many controls), in_words (0 or 1), unrendered (controls that the emotion asks for and the backend lacks).

    Args:
        bank: folder with voice cards; None takes those that come with the program.
        num_threads: utterances measured at once.
    """

    name = "emotion_prosody"
    modules: Mapping[str, str] = {"swift_f0": "swift-f0", "pyloudnorm": "pyloudnorm"}

    def __init__(self, *, bank: str | None = None, num_threads: int = 2) -> None:
        self.num_threads = positive_threads(num_threads)
        self._cards = Cards(bank)
        table = f"delivery {taxonomy_sha256('delivery')[:12]}"
        self.revision: str = f"{versions(2, self.modules.values())} {table} {self._cards.revision}"
        self._workers: Workers | None = None

    def check(self) -> None:
        """See contracts.protocols.Engine.

        Raises:
            MissingExtra: a package is missing.
        """
        require(f"The scorer {self.name!r}", self.modules)

    def __enter__(self) -> Self:
        self.check()
        self._workers = Workers(self.num_threads)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._workers is not None:
            self._workers.close()
        self._workers = None

    def score(self, batch: Sequence[ScoringItem], /) -> list[Score]:
        """See contracts.protocols.Scorer."""
        assert self._workers is not None, "use EmotionProsody in a `with` block"
        return self._workers.map(self._score, batch)

    def _score(self, item: ScoringItem) -> Score:
        utterance = item.utterance
        why = fault(item.audio) or _inaudible(item.audio)
        card = self._cards.get(utterance.voice_id)
        if why or card is None:
            return Score.failed(self.name, why or self._cards.why_missing(utterance.voice_id))
        delivery = utterance.delivery
        in_words = delivery.instruct is not None and not asked_shifts(delivery)
        asked = _from_table(delivery, utterance.role) if in_words else asked_shifts(delivery)
        if asked is None:
            tone = delivery.emotion
            return Score.failed(
                self.name, f"prompts/delivery.yaml does not say how {tone!r} sounds, so nothing is asked"
            )
        measured = measure_prosody(item.audio, utterance.text)
        shift = shift_of(measured, card.neutral, utterance.finish)
        held = agreements(shift, asked)
        if asked and not held:
            return Score.failed(self.name, f"nothing that the delivery asks for ({', '.join(asked)}) could be measured")
        details = {
            **shift.details,
            **({"f0": measured.f0} if measured.f0 else {}),
            **{f"{figure}_agreement": value for figure, value in held.items()},
            "asked": float(len(asked)),
            "in_words": float(in_words),
            "unrendered": float(len(delivery.unrendered)),
        }
        return Score(name=self.name, value=overall(held, asked) if asked else neutrality(shift), details=details)


def _inaudible(audio: Audio) -> str | None:
    begin, end = audible_span(audio.samples)
    return None if end > begin else "the audio is silent"


def _from_table(delivery: Delivery, role: Role) -> dict[Figure, float] | None:
    """What prompts/delivery.yaml asks for of an emotion or tone; None when it does not know it."""
    table: Mapping[str, Controls] = getattr(deliveries(), role)
    controls = table.get(delivery.emotion)
    if controls is None:
        return None
    factors = {name: 1 + (value - 1) * delivery.intensity for name, value in controls.model_dump().items()}
    return asked_shifts(delivery.model_copy(update=factors))
