"""The table of subscribers while it grows: whatever columns it has, everybody keeps what is known of them."""

import numpy as np
import pytest
from numpy.typing import NDArray

from schemas.attach import UPDATE
from streams.core.compiled.blocks import BLOCK_ROWS, NEVER, number_of_blocks
from streams.core.crowd import slots, windows
from streams.core.crowd.population import Population
from streams.core.crowd.reorder import Rows
from tests.property.test_crowd_against_oracle import EPOCHS


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
    larger, larger_due, now_at = slots.larger(table, due, 530)
    assert len(larger.rows) > len(table.rows)
    there = np.empty(510, np.int64)
    assert slots.find_or_add(larger.rows, last, np.zeros(510, np.bool_), 0, there) == (0, 510)
    assert np.count_nonzero(larger.rows["pseudonym"]) == 510
    np.testing.assert_array_equal(now_at[found], there)
    for before, after in zip(table, larger, strict=True):
        assert before[found].tobytes() == after[there].tobytes()
    assert len(larger_due) == number_of_blocks(len(larger.rows))
    for block, time in enumerate(larger_due.tolist()):
        inside = there // BLOCK_ROWS == block
        assert time == min(due[found[inside] // BLOCK_ROWS].tolist(), default=NEVER)


def test_a_table_is_enlarged_only_for_whom_there_is_no_room() -> None:
    random = np.random.default_rng(2)
    everybody = random.permutation(np.arange(1, 20_001, dtype=np.uint64) * np.uint64(0x1234567))
    epoch = EPOCHS[0]
    population = Population(epoch, np.zeros(epoch.zones, np.uint16), epoch.parents)

    def heard(who: NDArray[np.uint64]) -> None:
        ones = np.ones(len(who), np.uint8)
        times = np.full(len(who), epoch.opens_ms, np.int64)
        population.handle(Rows(who, times, ones.astype(np.uint16), ones, ones * UPDATE))

    full = slots.SMALLEST * 7 // 8
    heard(everybody[:full])
    heard(everybody[:full])
    assert len(population.slots.rows) == slots.SMALLEST, "enlarged for nobody"
    heard(everybody)
    assert population.heard == len(everybody)
    assert sorted(population.slots.rows["pseudonym"][population.slots.rows["pseudonym"] > 0]) == sorted(everybody)
    assert len(everybody) / len(population.slots.rows) > 0.79
    assert population.running.counts[1, 1, windows.PRESENT] == len(everybody)


def test_a_look_up_stops_at_the_first_whom_there_is_no_room_for() -> None:
    rows = slots.new_slots(64, []).rows
    who, found = np.array([3, 5, 3, 7, 9, 5], np.uint64), np.full(6, -9, np.int64)
    assert slots.find_or_add(rows, who, np.array([1, 1, 1, 0, 1, 1], np.bool_), 2, found) == (2, 4)
    assert found[0] == found[2]
    assert found[3] == -1
    assert sorted(rows["pseudonym"][rows["pseudonym"] > 0]) == [3, 5]


def test_in_a_full_table_everybody_is_found_and_nobody_else() -> None:
    who = np.random.default_rng(3).integers(1, 1 << 63, 1050).astype(np.uint64)
    rows, found = slots.new_slots(600, []).rows, np.empty(1050, np.int64)
    for first in range(0, 525, 25):  # as they come, so that some lie far behind their place
        assert slots.find_or_add(rows, who[first : first + 25], np.ones(25, np.bool_), 25, found) == (25, 25)
    assert slots.find_or_add(rows, who, np.zeros(1050, np.bool_), 0, found) == (0, 1050)
    assert (rows["pseudonym"][found[:525]] == who[:525]).all()
    assert (found[525:] == -1).all()
    behind = found[:525] - (who[:525] * slots.FACTOR >> np.uint64(32)).astype(np.int64) * 600 // (1 << 32)
    assert np.count_nonzero(behind >= slots.AT_HAND) > 50, "everybody is at hand"
