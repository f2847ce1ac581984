"""How much a batch may unpack to."""

from collections.abc import Callable
from typing import Final

import numpy as np

# Twice the longest request of a worker, before it is packed (`producing`); clients pack a megabyte, by default.
MOST_BYTES: Final = 128 << 20


class Unpackable(Exception):  # noqa: N818 - reads as what it is
    """It is not packed as it says, or unpacks to more than `MOST_BYTES`."""


def whole(unpack_into: Callable[[memoryview, memoryview], int], packed: memoryview) -> memoryview:
    """What is packed, in memory of its own, of which as much is used as it takes."""
    buffer = np.empty(MOST_BYTES, np.uint8).data
    return buffer[: unpack_into(packed, buffer)]
