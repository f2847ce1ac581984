"""Each of a subscriber's keys counts once: the compiled look-up against a set."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.panes import pairs
from streams.core.crowd.listed import Listed, counted, first_ones

PAIR = st.tuples(st.integers(0, 6), st.one_of(st.integers(0, 3), st.integers((1 << 32) - 4, (1 << 32) - 1)))
# Without a least size a list has five elements on average: too few to come again.
PAIRS = st.lists(PAIR, max_size=8) | st.lists(PAIR, min_size=15, max_size=60)


def listed_of(made: list[tuple[int, int]]) -> Listed:
    return Listed(np.array([key for key, _ in made], np.uint32), np.array([who for _, who in made], np.uint32))


@settings(max_examples=150, deadline=None)
@given(PAIRS)
def test_the_first_of_each_pair_is_found(made: list[tuple[int, int]]) -> None:
    plain = [pair not in made[:number] for number, pair in enumerate(made)]
    assert first_ones(listed_of(made)).tolist() == plain


@settings(max_examples=100, deadline=None)
@given(st.lists(PAIRS, max_size=4), st.sampled_from([7, 100_000]))
def test_a_key_counts_its_different_subscribers(parts: list[list[tuple[int, int]]], most_keys: int) -> None:
    keys, values = pairs(counted([listed_of(part) for part in parts], most_keys))
    different = {pair for part in parts for pair in part}
    assert list(zip(keys.tolist(), values.tolist(), strict=True)) == sorted(
        Counter(key for key, _ in different).items()
    )
