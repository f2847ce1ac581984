"""The order in which sightings are handled, against a plain sort by everything that decides it."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.crowd.reorder import Reorder, Rows, in_time

TIMES = st.one_of(st.integers(0, 40), st.integers(0, 5_000_000), st.integers(0, 1 << 41))
SOME, MANY = st.lists(TIMES, max_size=80), st.lists(TIMES, min_size=20, max_size=80)


@settings(max_examples=200, deadline=None)
@given(SOME | MANY, st.sampled_from([0, 1_772_420_400_000, -5]))
def test_the_order_is_that_of_a_stable_sort(times: list[int], base: int) -> None:
    ts = np.array(times, np.int64) + base
    np.testing.assert_array_equal(in_time(ts, np.arange(len(ts), dtype=np.uint32)), np.argsort(ts, kind="stable"))


def rows_of(source: int, first: int, times: list[int]) -> Rows:
    """Rows that name their source and place in `pseudonym`, and that in part in all other columns."""
    names = np.array([source * 1000 + first + number for number in range(len(times))], np.uint64)
    return Rows(
        names, np.array(times, np.int64), names.astype(np.uint16), names.astype(np.uint8), (names % 5).astype(np.uint8)
    )


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.lists(st.integers(0, 20), max_size=9)), max_size=9),
    st.lists(st.integers(0, 22), max_size=4),
)
def test_rows_come_once_in_the_total_order(added: list[tuple[int, list[int]]], limits: list[int]) -> None:
    reorder, waiting, placed = Reorder(), [], dict.fromkeys(range(4), 0)
    for source, times in added:
        reorder.add(source, rows_of(source, placed[source], times))
        waiting += [(ts, source, placed[source] + number) for number, ts in enumerate(times)]
        placed[source] += len(times)
    for limit in [*sorted(limits), 99]:
        due = sorted(row for row in waiting if row[0] < limit)
        waiting = [row for row in waiting if row[0] >= limit]
        rows = reorder.take_before(limit)
        names = [source * 1000 + place for _, source, place in due]
        assert rows.pseudonym.tolist() == names
        assert rows.ts.tolist() == [ts for ts, _, _ in due]
        assert rows.zone.tolist() == names
        assert rows.cohort.tolist() == [name % 256 for name in names]
        assert rows.kind.tolist() == [name % 5 for name in names]
        assert reorder.size == len(waiting)
