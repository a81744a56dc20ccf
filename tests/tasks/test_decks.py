from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.decks import HANDS, Deck, shuffled, stable_int, stable_unit

WEIGHTS = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0.01, 100), min_size=1, max_size=8)


def test_stable_numbers_are_the_same_on_every_machine() -> None:
    assert stable_int(7, "scenario", 3) == 8631283024610011133
    assert 0 <= stable_unit(7, "age", 3) < 1


@settings(deadline=None, max_examples=15)
@given(WEIGHTS, st.integers(0, 10**6))
def test_rank_counts_the_equal_cards_before(weights: dict[str, float], seed: int) -> None:
    deck = Deck(seed, "axis", weights)
    seen: Counter[str] = Counter()
    for i in range(3 * len(weights) * HANDS // 2):
        value, rank = deck.deal(i)
        assert rank == seen[value]
        seen[value] += 1


@settings(deadline=None, max_examples=15)
@given(WEIGHTS, st.integers(0, 10**6))
def test_a_whole_deck_holds_every_value_by_its_weight(weights: dict[str, float], seed: int) -> None:
    size = len(weights) * HANDS
    dealt = Counter(Deck(seed, "axis", weights).value(i) for i in range(size))
    total = sum(weights.values())
    assert set(dealt) == set(weights)
    for value, weight in weights.items():
        assert abs(dealt[value] - weight / total * size) <= len(weights) + 1


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 12), st.integers(0, 10**6), st.integers(0, 10**9))
def test_even_weights_give_every_value_once_a_hand(size: int, seed: int, hand: int) -> None:
    deck = Deck(seed, "axis", dict.fromkeys(range(size), 1.0))
    assert sorted(deck.value(hand * size + n) for n in range(size)) == list(range(size))


def test_the_order_of_the_weights_does_not_matter() -> None:
    there, back = Deck(1, "x", {"a": 1.0, "b": 2.0}), Deck(1, "x", {"b": 2.0, "a": 1.0})
    assert [there.deal(i) for i in range(50)] == [back.deal(i) for i in range(50)]


@settings(deadline=None)
@given(st.lists(st.integers()), st.integers())
def test_shuffling_keeps_all_items(items: list[int], seed: int) -> None:
    assert sorted(shuffled(items, seed)) == sorted(items)
