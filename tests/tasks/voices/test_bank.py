"""The bank: recipes, people, distances, files."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import ConfigError
from contracts.records import Prosody, Voice, VoiceCard
from tasks.speaker_embedding import mean_embedding
from tasks.voices import build_bank as building
from tasks.voices.build_bank import BankConfig, VoiceCandidate
from tasks.voices.candidates import MEASURED_LOWER, candidates
from tasks.voices.distances import distance_matrix, distinctness
from tasks.voices.measure import Measured, card_of, count_errors
from tasks.voices.personas import BETWEEN_HZ, PERSONAS, impression
from tasks.voices.speaker_space import fit_speaker_space, packed, speaker_space
from tts_backends.kokoro import Kokoro, described
from tts_backends.kokoro_voice import STYLES, from_numbers, pure
from tts_backends.voice_bank import VoiceBank, bank_files, load_bank


def test_the_packaged_bank_has_two_hundred_distinct_measured_english_voices() -> None:
    bank = load_bank().of("kokoro")
    assert len(bank) >= 200
    assert {(c.voice.gender, c.voice.age) for c in bank} == {(p.gender, p.age) for p in PERSONAS}
    for card in bank:
        assert card.neutral.f0 and card.voice.license and card.voice.sha256
        assert card.mos >= 2.8 and card.wer <= 0.12
    matrix = distance_matrix([bank.embeddings[c.voice.id] for c in bank])
    assert distinctness(matrix, [1.0]).smallest > 0.05


def test_kokoro_offers_the_bank_and_every_recipe_is_the_one_that_was_measured() -> None:
    cards = load_bank().of("kokoro")
    assert [v.id for v in Kokoro().voices()] == list(cards.cards)
    for card in cards:
        assert from_numbers(card.recipe).sha256 == card.voice.sha256


def test_every_voice_of_the_demo_has_a_card() -> None:
    bank = load_bank()
    assert {"hibari/heart", "piper/joe"} <= set(bank.cards)


def test_candidates_are_the_same_every_time_and_differ_by_seed() -> None:
    first = [c.recipe for c in islice(candidates(1), 40)]
    assert first == [c.recipe for c in islice(candidates(1), 40)]
    assert not set(first) & {c.recipe for c in islice(candidates(2), 40)}


def test_shares_of_a_candidate_add_up_to_one_and_its_f0_is_near_the_persona() -> None:
    for candidate in islice(candidates(5), 60):
        recipe = candidate.recipe
        assert sum(recipe.timbre) == pytest.approx(1, abs=1e-3) and sum(recipe.prosody) == pytest.approx(1, abs=1e-3)
        wanted = candidate.persona
        distance = abs(12 * np.log2(recipe.natural_f0 * recipe.f0_scale / MEASURED_LOWER / wanted.f0))
        assert distance <= wanted.f0_spread + 0.1


def test_personas_are_dealt_by_weight() -> None:
    counts: dict[str, int] = {}
    for candidate in islice(candidates(1), 440):
        key = f"{candidate.persona.gender} {candidate.persona.age}"
        counts[key] = counts.get(key, 0) + 1
    whole = sum(p.weight for p in PERSONAS)
    for persona in PERSONAS:
        assert counts[f"{persona.gender} {persona.age}"] == pytest.approx(440 * persona.weight / whole, abs=5)


@pytest.mark.parametrize("persona", PERSONAS, ids=lambda p: f"{p.gender}-{p.age}")
def test_a_typical_voice_of_a_kind_is_taken_for_one(persona: building.Persona) -> None:
    share = (0.2 if persona.gender == "male" else 0.0) if persona.age == "child" else 0.5
    found = impression(f0=persona.f0, vocal_tract=persona.vocal_tract, rate=persona.rate, male_share=share)
    assert found == persona


def test_a_grown_voice_between_a_mans_and_a_womans_is_nobodys() -> None:
    assert impression(f0=sum(BETWEEN_HZ) / 2, vocal_tract=1.0, rate=1.0, male_share=0.5) is None


def test_a_recipe_survives_its_card_and_an_expressive_one_differs() -> None:
    recipe = next(candidates(9)).recipe
    assert from_numbers(recipe.numbers()) == recipe
    styles = np.random.default_rng(0).standard_normal((5, 510, 256)).astype(np.float32)
    plain, loud = recipe.table(styles), recipe.table(styles, expressiveness=1.5)
    np.testing.assert_array_equal(plain[:, :128], loud[:, :128])
    assert not np.allclose(plain[:, 128:], loud[:, 128:])
    np.testing.assert_allclose(pure("kumo").table(styles), styles[4], atol=1e-5)


@given(st.integers(2, 12), st.integers(0, 10))
def test_distances_are_symmetric_and_zero_only_to_oneself(count: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).standard_normal((count, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    matrix = distance_matrix(list(vectors))
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-6)
    np.testing.assert_allclose(np.diag(matrix), 0, atol=1e-6)
    figures = distinctness(matrix, [0.5])
    assert figures.smallest <= figures.nearest_neighbour <= figures.typical * 1.0001 + 1e-6
    assert figures.ratio == pytest.approx(figures.nearest_neighbour / 0.5)


def test_the_speaker_space_takes_the_words_out() -> None:
    rng = np.random.default_rng(0)
    people, words = rng.standard_normal((80, 256)), 2 * rng.standard_normal((3, 256))
    people[:, 32:] *= 0.2  # people differ in some directions, words in all
    said = np.array([[p + w + 0.3 * rng.standard_normal(256) for w in words] for p in people], np.float32)
    space = fit_speaker_space(list(said[:40]), dimensions=16)
    new = said[40:]

    def ratio(vectors: np.ndarray) -> float:
        unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
        within = [1 - float(v[0] @ v[1]) for v in unit]
        return distinctness(distance_matrix([mean_embedding(list(v)) for v in unit]), within).ratio

    assert ratio(np.array([[space.project(u) for u in v] for v in new])) > 2 * ratio(new)


def test_the_packaged_space_has_the_form_that_its_file_keeps(tmp_path: Path) -> None:
    space = speaker_space()
    assert space.directions.shape == (256, 24)
    assert np.linalg.norm(space.project(np.ones(256, np.float32))) == pytest.approx(1, abs=1e-5)
    again = np.load(BytesIO(packed(space)), allow_pickle=False)
    np.testing.assert_array_equal(again[0], space.mean)


def test_errors_are_words_in_english_and_characters_in_chinese() -> None:
    assert count_errors("Please sit down.", "please sit town", "en") == (1, 3)
    assert count_errors("请坐下。", "请坐吓", "zh") == (1, 3)


def measured(direction: int, *, mos: float = 4.0, errors: int = 0, f0: float = 210.0, jitter: float = 0.0) -> Measured:
    vector = np.zeros(256, np.float32)
    vector[direction] = 1
    vector[255] = jitter
    prosody = Prosody(f0=f0, f0_range=2.5, rate=building.USUAL_RATE, loudness=-25.0)
    return Measured(
        prosody=prosody, mos=mos, errors=errors, words=10, embedding=vector / np.float32(np.linalg.norm(vector))
    )


class FakeEngines:
    """Stands in for the network and the ears: each recipe is measured as its seed says."""

    def __init__(self, plan: dict[int, Measured]) -> None:
        self.plan, self.spoken = plan, []

    def speak(self, text: str, recipe: object, delivery: object) -> np.ndarray:
        self.spoken.append(recipe.seed)  # type: ignore[attr-defined]
        return np.full(2400, recipe.seed / 1000, np.float32)  # type: ignore[attr-defined]

    def measure(self, audios: object, texts: object, *, language: str) -> list[Measured]:
        return [self.plan[round(float(a.samples[0]) * 1000)] for a in audios]  # type: ignore[attr-defined]


def test_poor_unclear_and_near_candidates_are_dropped_with_their_reasons_and_early_where_it_is_clear() -> None:
    base = next(candidates(1))
    plan = {
        1: measured(1),
        2: measured(2, mos=2.0),  # hopeless after one sentence
        3: measured(3, mos=2.6),  # below the mark, but not hopeless
        4: measured(4, errors=3),
        5: measured(1, jitter=0.1),  # the first one's twin
        6: measured(6, f0=160.0),  # neither
        7: measured(7),
    }
    engines = FakeEngines(plan)
    builder = building._Builder(BankConfig(count=5), num_threads=1)
    grown = replace(base.recipe, vocal_tract=1.0)
    batch = [VoiceCandidate(seed, base.persona, replace(grown, seed=seed)) for seed in plan]
    builder.take(batch[:1], engines, engines)  # type: ignore[arg-type]
    builder.take(batch[1:], engines, engines)  # type: ignore[arg-type]
    built = builder.finished()
    assert [c.voice.name for c in built.bank] == ["f001", "f007"]
    assert built.dropped == {"mos": 2, "wer": 1, "too near another": 1, "neither man's nor woman's": 1}
    assert engines.spoken.count(2) == engines.spoken.count(4) == engines.spoken.count(5) == 1
    assert engines.spoken.count(3) == 2 and built.tried == 7


def test_a_bank_survives_its_files_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    recipe = next(candidates(1)).recipe
    voice = described("f001", recipe, gender="female", age="senior")
    card = card_of(voice, [measured(1), measured(1, errors=1)], recipe.numbers())
    assert (card.wer, card.mos) == (0.05, 4.0)
    for name, content in bank_files(VoiceBank({voice.id: card}, {voice.id: measured(1).embedding}), "kokoro").items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "report.json").write_text("{}")
    bank = load_bank(tmp_path)
    assert bank.get(voice.id) == card and bank.get("kokoro/nobody") is None
    assert Kokoro(bank=str(tmp_path)).voices() == (voice,)
    (tmp_path / "kokoro.json").write_text('{"cards": [{"voice": 1}]}')
    with pytest.raises(ConfigError, match=r"kokoro.json holds no voice cards.*s2s voices build"):
        load_bank(tmp_path)
    (tmp_path / "kokoro.json").unlink()
    with pytest.raises(ConfigError, match=r"kokoro.json holds no voice cards"):
        load_bank(tmp_path)
    with pytest.raises(ConfigError, match=r"holds no kokoro.json.*s2s voices build"):
        Kokoro(bank=str(tmp_path / "nowhere"))


def test_without_a_bank_kokoro_has_its_five_styles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tts_backends.kokoro.load_bank", lambda _: VoiceBank())
    assert [v.name for v in Kokoro().voices()] == list(STYLES)


def test_a_card_of_another_version_is_not_half_read() -> None:
    voice = Voice(id="x/y", backend="x", name="y", gender="male", license="CC0", source="here")
    with pytest.raises(ValueError, match="shoe_size"):
        VoiceCard.model_validate({"voice": voice, "neutral": measured(1).prosody, "mos": 4, "wer": 0, "shoe_size": 44})
