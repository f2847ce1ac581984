"""Snapshots as earlier releases wrote them, so that a newer worker goes on from an older one's.

In: columns in which departures stand as they lay in the ring, with the numbers that they had there, and subscribers'
rows in the order of the table; still earlier ones have the number of its subscriber beside each listed key. What can
fail: planes of another size (ValueError).
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from streams.core.crowd.departures import DEPARTURE, HEAD, TAIL
from streams.core.crowd.packing import UNDO_FACTOR, Unpacked, restored
from streams.core.crowd.planes import from_planes, words
from streams.core.crowd.slots import ROW


def is_earlier(columns: Mapping[str, bytes]) -> bool:
    """Are these an earlier release's?"""
    return "departure_planes" in columns


def unpack_earlier(columns: Mapping[str, bytes], heard: int, span: tuple[int, int]) -> Unpacked:
    """As `packing.unpack`; `span` is that of the ring.

    Raises:
        ValueError: the planes are of other numbers.
    """
    rows = from_planes(columns["subscriber_planes"], heard, ROW.itemsize).reshape(-1).view(ROW)
    rows["pseudonym"] *= UNDO_FACTOR
    rows["stayed"] ^= rows["zone"]
    planes = from_planes(columns["departure_planes"], span[HEAD] - span[TAIL], DEPARTURE.itemsize)
    return Unpacked(rows, restored(planes.reshape(-1).view(DEPARTURE), np.array(span, np.int64)))


def owners_of(columns: Mapping[str, bytes], number: int, keys: int) -> NDArray[np.uint32] | None:
    """The number of its subscriber for each key of a list, where it stands beside it."""
    return words(columns[f"who_{number}"], keys) if f"who_{number}" in columns else None
