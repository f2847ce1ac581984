"""Blocks of rows of a table: of each a time is kept, before which nothing in it has to be looked at (`windows`)."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

BLOCK_BITS: Final = 6
BLOCK_ROWS: Final = 1 << BLOCK_BITS
AT_ONCE: Final = np.iinfo(np.int32).min
NEVER: Final = np.iinfo(np.int32).max


def number_of_blocks(rows: int) -> int:
    """How many blocks so many rows have."""
    return -(-rows // BLOCK_ROWS)


def blocks_of(rows: int, due: int) -> NDArray[np.int32]:
    """The blocks of so many rows, all with the same time."""
    return np.full(number_of_blocks(rows), due, np.int32)
