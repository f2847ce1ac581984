"""How much a batch may unpack to, and of how many records it may be."""

from collections.abc import Callable
from typing import Final

import numpy as np

# Twice the longest request of a worker, before it is packed (`producing`); clients pack a megabyte, by default.
MOST_BYTES: Final = 128 << 20
# A record without anything takes 7 bytes unpacked, next to none packed, and a hundred times as many once it is read.
# librdkafka batches 1,000,000 at the very most, and 10,000 by default.
MOST_RECORDS: Final = 1 << 20


class Unpackable(Exception):  # noqa: N818 - reads as what it is
    """It is not packed as it says, or unpacks to more than `MOST_BYTES`, or to more than `MOST_RECORDS`."""


def whole(unpack_into: Callable[[memoryview, memoryview], int], packed: memoryview) -> memoryview:
    """What is packed, in memory of its own, of which as much is used as it takes."""
    buffer = np.empty(MOST_BYTES, np.uint8).data
    return buffer[: unpack_into(packed, buffer)]
