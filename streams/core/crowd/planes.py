"""Tables as planes of bytes, and back.

Out: of n records of r bytes r planes of n bytes, the first bytes of all, then the second ones, and so on: high bytes,
which are much alike, stand together, so that little of them is left by compression. Nothing can fail but a size that
doesn't fit (ValueError).
"""

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

_AT_ONCE: Final = 64


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


def words(planes: bytes, number: int) -> NDArray[np.uint32]:
    """So many numbers, u32[number].

    Raises:
        ValueError: the planes are of another number of them.
    """
    return from_planes(planes, number, 4).view("<u4").ravel()


@njit(cache=True, nogil=True)
def _turn(matrix, turned):  # type: ignore[no-untyped-def]
    """Transpose, a few rows at a time, so that what is written stays near as well."""
    height, width = matrix.shape
    for first in range(0, height, _AT_ONCE):
        for left in range(0, width, _AT_ONCE):
            for column in range(left, min(left + _AT_ONCE, width)):
                for row in range(first, min(first + _AT_ONCE, height)):
                    turned[column, row] = matrix[row, column]
