"""Dealing values by weight, evenly: what planning and casting use where a plain random choice would clump.

A deck holds cards in proportion to the weights. It is dealt in hands of one card per value, each hand a spread-out
sample of the deck in a shuffled order: with even weights every hand holds every value once. Card i follows from
(seed, axis, weights, i) alone, on any machine: all chance comes from sha256, whose answers no library release changes.
The price: shares are met to 1/64 of a hand, and the weights decide a hand's content, so only its order is random.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Iterable, Mapping
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)
Item = TypeVar("Item")

HANDS = 64
"""Hands per deck; a power of two, so that reversed bits deal them out evenly."""


def stable_int(*key: object) -> int:
    """A number in [0, 2**63) that depends on the key alone; keys are strings, numbers and tuples of them."""
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:8], "big") >> 1


def stable_unit(*key: object) -> float:
    """A number in [0, 1) that depends on the key alone."""
    return (stable_int(*key) >> 10) / 2**53


def shuffled(items: Iterable[Item], *key: object) -> list[Item]:
    """The items in an order that depends on the key and their number alone."""
    listed = list(items)
    return [listed[i] for i in sorted(range(len(listed)), key=lambda i: stable_int(*key, i))]


class Deck(Generic[T]):
    """An endless, evenly dealt sequence of values.

    Args:
        seed: of the corpus.
        axis: what is dealt; decks of different axes are shuffled independently.
        weights: value -> share, in any scale. Every value is dealt, be its share ever so small.
    """

    def __init__(self, seed: int, axis: str, weights: Mapping[T, float]) -> None:
        self._key = (seed, axis)
        self._size = len(weights)
        self._cards = _cards(weights, HANDS * self._size)
        self._dealt = self._count_before_each_hand()

    def deal(self, i: int) -> tuple[T, int]:
        """Card i, and how many cards of the same value lie before it."""
        number, position = divmod(i, self._size)
        hand = shuffled(self._hand(number), *self._key, number)
        value = hand[position]
        rounds, part = divmod(number, HANDS)
        before = rounds * self._cards.count(value) + self._dealt[part].get(value, 0)
        return value, before + hand[:position].count(value)

    def value(self, i: int) -> T:
        """Card i."""
        return self.deal(i)[0]

    def _hand(self, number: int) -> list[T]:
        # Every 64th card; the reversed bits make neighbouring hands start far apart (van der Corput's sequence).
        start = int(f"{number % HANDS:06b}"[::-1], 2)
        return self._cards[start::HANDS]

    def _count_before_each_hand(self) -> list[dict[T, int]]:
        counts: list[dict[T, int]] = [{}]
        for number in range(HANDS - 1):
            running = dict(counts[-1])
            for value in self._hand(number):
                running[value] = running.get(value, 0) + 1
            counts.append(running)
        return counts


def _cards(weights: Mapping[T, float], size: int) -> list[T]:
    """`size` cards in proportion to the weights, at least one of each value, sorted by its name."""
    total = math.fsum(weights.values())
    exact = {value: weights[value] / total * size for value in sorted(weights, key=str)}
    counts = {value: max(1, int(share)) for value, share in exact.items()}
    while missing := size - sum(counts.values()):
        furthest = max if missing > 0 else min
        most_wrong = furthest((v for v in counts if missing > 0 or counts[v] > 1), key=lambda v: exact[v] - counts[v])
        counts[most_wrong] += 1 if missing > 0 else -1
    return [value for value, count in counts.items() for _ in range(count)]
