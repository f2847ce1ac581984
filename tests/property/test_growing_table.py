"""The table of subscribers while it grows: whatever columns it has, everybody keeps what is known of them."""

import numpy as np
import pytest

from streams.core import slots
from streams.core.blocks import BLOCK_ROWS, NEVER, number_of_blocks


@pytest.mark.parametrize("caps", [[], [9], [9, 300, 9], [9] * 4, [9] * 8], ids=str)
@pytest.mark.parametrize(("visited", "travelled", "areas"), [(0, False, 0), (5, True, 1), (30_000, True, 2)])
def test_a_larger_table_has_the_same_rows(caps: list[int], visited: int, travelled: bool, areas: int) -> None:
    random = np.random.default_rng(1)
    table = slots.new_slots(600, caps, visited, travelled, areas)
    # Their hashes are the last ones, so that some come to lie at the table's beginning.
    everybody = random.integers(1, 1 << 63, 20_000).astype(np.uint64)
    last = everybody[(everybody * slots.FACTOR) >> np.uint64(63) == 1][:510]
    found = np.empty(510, np.int64)
    assert slots.find_or_add(table.rows, last, np.ones(510, np.bool_), 510, found) == (510, 510)
    assert table.rows["pseudonym"][0], "no row has gone round"
    for column in table:
        column[found] = (
            random.integers(1, 256, (510, column[0].nbytes), np.uint8)
            .view(column.dtype)
            .reshape(510, *column.shape[1:])
        )
    table.rows["pseudonym"][found] = last
    due = random.integers(0, 1000, number_of_blocks(600)).astype(np.int32)
    larger, larger_due = slots.with_room(table, due, 510, 20)
    assert len(larger.rows) > len(table.rows)
    there = np.empty(510, np.int64)
    assert slots.find_or_add(larger.rows, last, np.zeros(510, np.bool_), 0, there) == (0, 510)
    assert np.count_nonzero(larger.rows["pseudonym"]) == 510
    for before, after in zip(table, larger, strict=True):
        assert before[found].tobytes() == after[there].tobytes()
    assert len(larger_due) == number_of_blocks(len(larger.rows))
    for block, time in enumerate(larger_due.tolist()):
        inside = there // BLOCK_ROWS == block
        assert time == min(due[found[inside] // BLOCK_ROWS].tolist(), default=NEVER)
