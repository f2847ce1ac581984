"""Tables as planes of bytes, and back: what a snapshot keeps of them, so that little of it is left by compression.

Out: of n records of r bytes r planes of n bytes, the first bytes of all, then the second ones, and so on: high bytes,
which are much alike, stand together. Subscribers' rows are first brought into a form with less in it: pseudonyms as
their products with the hash's factor (by which the table is ordered, so that the products rise), the zone of the last
stay by how it differs from the present one, and zeros for what can't matter any more. `unpack_rows` gives rows that
any later sighting finds as it would have found the first ones. Nothing can fail but a size that doesn't fit
(ValueError).
"""

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from streams.core.crowd.slots import (
    BARRED,
    BEFORE_BEGUN_BEFORE,
    BEFORE_STAY,
    FACTOR,
    NOWHERE,
    ROW,
    Slots,
)

UNDO_FACTOR: Final = np.uint64(pow(int(FACTOR), -1, 1 << 64))
_AT_ONCE: Final = 64


def pack_rows(slots: Slots, heard: int, opened: int, tail: int, ping_pong: int) -> tuple[bytes, ...]:
    """Planes of the `heard` rows that are not free, and of each of the columns beside them, in their order.

    Args:
        opened: start of the open base pane, ms since the epoch's. tail: the oldest departure that is kept.
    """
    rows, *beside = slots
    taken = rows["pseudonym"] != 0
    lean = np.empty(heard, ROW)
    _lean(rows, opened, tail, ping_pong, lean)
    return to_planes(lean), *(to_planes(column[taken]) for column in beside)


def unpack_rows(planes: bytes, heard: int) -> NDArray[np.void]:
    """The reverse of `pack_rows`: ROW[heard].

    Raises:
        ValueError: the planes are of another number of rows.
    """
    rows = from_planes(planes, heard, ROW.itemsize).reshape(-1).view(ROW)
    rows["pseudonym"] *= UNDO_FACTOR
    rows["stayed"] ^= rows["zone"]
    return rows


def ranks(rows: NDArray[np.void], who: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The numbers that rows of the table have among packed ones."""
    packed: NDArray[np.uint32] = (np.cumsum(rows["pseudonym"] != 0, dtype=np.uint32) - 1)[who]
    return packed


def by_owner(
    keys: NDArray[np.uint32], owners: NDArray[np.uint32], number: int
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """The keys in the order of their owners, of whom there are `number`, and how many each has, u32[number]: in two
    thirds of the bytes that keys and owners take one beside the other, once compressed."""
    times = np.bincount(owners, minlength=number).astype(np.uint32)
    ordered = np.empty_like(keys)
    _by_owner(keys, owners, np.cumsum(times) - times, ordered)
    return ordered, times


@njit(cache=True, nogil=True)
def _by_owner(keys, owners, following, ordered):  # type: ignore[no-untyped-def]
    """`following`: where each owner's next key goes."""
    for i in range(len(keys)):
        ordered[following[owners[i]]] = keys[i]
        following[owners[i]] += 1


def to_planes(records: NDArray[np.generic]) -> bytes:
    """The planes of the records along the first axis."""
    width = records.dtype.itemsize * (records.size // max(1, len(records)))
    planes = np.empty((width, len(records)), np.uint8)
    if planes.size:
        _turn(np.ascontiguousarray(records).view(np.uint8).reshape(-1, width), planes)
    return planes.tobytes()


def from_planes(planes: bytes, number: int, width: int) -> NDArray[np.uint8]:
    """The reverse of `to_planes`: the bytes of `number` records, u8[number, width].

    Raises:
        ValueError: the planes are of another number of records, or of other ones.
    """
    if len(planes) != number * width:
        raise ValueError(f"snapshot: {len(planes)} bytes of planes, {number} records have {number * width}")
    records = np.empty((number, width), np.uint8)
    if records.size:
        _turn(np.frombuffer(planes, np.uint8).reshape(width, number), records)
    return records


@njit(cache=True, nogil=True)
def _turn(matrix, turned):  # type: ignore[no-untyped-def]
    """Transpose, a few rows at a time, so that what is written stays near as well."""
    height, width = matrix.shape
    for first in range(0, height, _AT_ONCE):
        for left in range(0, width, _AT_ONCE):
            for column in range(left, min(left + _AT_ONCE, width)):
                for row in range(first, min(first + _AT_ONCE, height)):
                    turned[column, row] = matrix[row, column]


@njit(cache=True, nogil=True)
def _lean(rows, opened, tail, ping_pong, lean):  # type: ignore[no-untyped-def]
    """Copy the rows that aren't free, with zeros for what no later sighting can ask for."""
    number = 0
    for place in range(len(rows)):
        if rows[place]["pseudonym"] == 0:
            continue
        lean[number] = rows[place]
        row = lean[number]
        number += 1
        row["pseudonym"] *= FACTOR
        row["stayed"] ^= row["zone"]
        if row["left"] < tail:
            row["left"] = 0
        if row["before"] != BARRED and row["start"] + ping_pong < opened:
            row["before"] = NOWHERE
            row["flags"] &= ~(BEFORE_STAY | BEFORE_BEGUN_BEFORE)
        if row["zone"] == NOWHERE:
            row["start"] = 0
            row["last"] = 0
            row["cohort"] = 0
        if row["before"] == NOWHERE or row["before"] == BARRED:
            row["before_start"] = 0
