"""Arrays without owners are the same memory, and are freed when their real owners are."""

import gc
import sys
import weakref

import numpy as np
import pytest
from numba import njit
from numba.core.dispatcher import Dispatcher
from numba.typed import List

from streams import warm
from streams.core.compiled.borrowed import borrowed
from streams.core.crowd import presence
from streams.core.crowd.reorder import Rows
from streams.core.gateway import screening
from tests.support.compiled import counted_in_loops


@pytest.fixture(scope="module")
def all_compiled() -> None:
    """With the types that real data have."""
    warm.main()


@njit
def _add(rows, number):  # type: ignore[no-untyped-def]
    rows = borrowed(rows)
    for i in range(len(rows.ts)):
        rows.ts[i] += number
    part = rows.ts[1:]
    return part.sum()


def test_what_is_written_to_borrowed_arrays_is_the_callers_and_no_reference_is_kept() -> None:
    kinds = (np.uint64, np.int64, np.uint16, np.uint8, np.uint8)
    rows = Rows(*(np.arange(5).astype(kind) for kind in kinds))
    assert _add(rows, 10) == 11 + 12 + 13 + 14
    assert rows.ts.tolist() == [10, 11, 12, 13, 14]
    held = sys.getrefcount(rows.ts)
    for _ in range(100):
        _add(rows, 1)
    after = sys.getrefcount(rows.ts)  # not in the assertion, which would hold one more
    assert after == held
    gone = weakref.ref(rows.ts)
    del rows
    gc.collect()
    assert gone() is None


@njit
def _refcounts_inside(rows):  # type: ignore[no-untyped-def]
    rows = borrowed(rows)
    total = 0
    for i in range(len(rows.ts)):
        columns = rows
        if columns.zone[i] > 2:
            total += columns.ts[i]
    return total


@njit
def _keeps(column, kept):  # type: ignore[no-untyped-def]
    for i in range(len(column)):
        kept.append(column[i:])


def test_a_reference_that_is_counted_in_a_loop_is_found() -> None:
    kept = List([np.arange(2)])
    _keeps(np.arange(3), kept)
    assert len(kept) == 4
    assert counted_in_loops(_keeps, "_keeps")
    with pytest.raises(LookupError, match="no compiled other"):
        counted_in_loops(_keeps, "other")


@pytest.mark.parametrize(
    ("compiled", "name"),
    [
        (presence.handle, "_handle_block"),
        (presence.handle, "find_or_add"),
        (presence.settle, "settle"),
        (screening.screen_rows, "screen_rows"),
        (screening.screen_rows, "_allowed"),
        (screening.screen_rows, "_named"),
        (screening.screen_rows, "_grouped"),
    ],
)
@pytest.mark.usefixtures("all_compiled")
def test_the_loops_that_every_event_goes_through_count_no_references(compiled: Dispatcher, name: str) -> None:
    assert counted_in_loops(compiled, name) == []


def test_loops_over_borrowed_arrays_count_no_references() -> None:
    kinds = (np.uint64, np.int64, np.uint16, np.uint8, np.uint8)
    rows = Rows(*(np.arange(5).astype(kind) for kind in kinds))
    assert _refcounts_inside(rows) == 7
    (code,) = _refcounts_inside.inspect_llvm().values()
    assert "call void @NRT_incref" not in code
