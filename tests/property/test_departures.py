"""The ring of departures: number `n` lies at `n` modulo the ring's size, however it grows."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.crowd.departures import (
    DEPARTURE,
    HEAD,
    SMALLEST,
    TAIL,
    new_departures,
    of_records,
    with_room,
)
from tests.support.departures import in_order


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3 * SMALLEST), st.integers(0, 3 * SMALLEST)), max_size=8))
def test_what_is_kept_stays_through_growth(steps: list[tuple[int, int]]) -> None:
    departures, plain = new_departures(), dict[int, int]()
    for more, kept in steps:
        since = max(plain.values(), default=0) - kept
        departures = with_room(departures, more, since)
        plain = {number: end for number, end in plain.items() if end > since}
        ring, span = departures
        assert len(ring) >= len(plain) + more
        for number in range(int(span[HEAD]), int(span[HEAD]) + more):
            ring["end"][number % len(ring)] = plain[number] = number * 2
        span[HEAD] += more
        assert (int(span[TAIL]), int(span[HEAD])) == (min(plain), max(plain) + 1)
        assert in_order(departures)["end"].tolist() == list(plain.values())
        assert [int(ring["end"][number % len(ring)]) for number in plain] == list(plain.values())


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 40), st.integers(1, 1000), st.integers(1, 40))
def test_records_come_back_in_a_ring_of_any_size(number: int, tail: int, slack: int) -> None:
    records = np.zeros(number, DEPARTURE)
    records["end"] = np.arange(number)
    departures = of_records(records, np.array([tail, tail + number]), number + slack)
    assert departures.span.tolist() == [tail, tail + number]
    np.testing.assert_array_equal(in_order(departures), records)
