"""Memory counts as looked at as long as any view of it is there, whatever else refers to it."""

from collections.abc import Callable

import numpy as np
import pytest

from streams.agents.fetch import MOST_ROOMS, Rooms
from streams.agents.reused import looked_at


@pytest.mark.parametrize(
    "look",
    [
        memoryview,
        lambda memory: memoryview(memory)[3:5],
        lambda memory: np.frombuffer(memory, np.uint8),
        lambda memory: np.frombuffer(memoryview(memory)[8:], np.uint64)[1:].view(np.int32),
        lambda memory: memoryview(np.frombuffer(memory, np.uint8)[:7]),
        lambda memory: {"in": [iter(memoryview(memory))]},
    ],
)
def test_any_view_counts_and_no_reference_does(look: Callable[[bytearray], object]) -> None:
    memory = bytearray(64)
    references = [memory] * 5
    assert not looked_at(memory)
    view = look(memory)
    for _ in range(3):
        assert looked_at(memory)
    del view
    assert not looked_at(memory)
    assert len(references[0]) == 64


def test_it_stays_where_it_is() -> None:
    memory = bytearray(range(200))
    where = np.frombuffer(memory, np.uint8).__array_interface__["data"]
    for _ in range(1000):
        assert not looked_at(memory)
    assert np.frombuffer(memory, np.uint8).__array_interface__["data"] == where
    assert memory[:199] == bytes(range(199)) and len(memory) == 200


def test_a_room_is_not_given_twice_whoever_else_refers_to_it_and_those_beyond_the_most_are_not_kept() -> None:
    rooms = Rooms(10)
    views = [rooms.unused() for _ in range(MOST_ROOMS + 2)]
    known = list(rooms._rooms)
    assert len(known) == MOST_ROOMS
    assert len({np.frombuffer(view, np.uint8).__array_interface__["data"] for view in views}) == MOST_ROOMS + 2
    part = views[3][5:6]
    del views
    again = [rooms.unused() for _ in range(MOST_ROOMS - 1)]
    assert {id(view.obj) for view in again} == {id(room) for room in known} - {id(known[3])}
    del part
    assert rooms.unused().obj is known[3]
