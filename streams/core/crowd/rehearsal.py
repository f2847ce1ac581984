"""Every compiled loop of the crowd once, on a made-up hour of two zones, before anybody waits for it.

Loading a compiled loop takes up to a tenth of a second, compiling it seconds. A worker does this before it joins its
group, so that taking up partitions costs what their states cost.
"""

import numpy as np

from schemas.attach import DETACH
from schemas.epochs import Epoch
from schemas.measures import DEFAULT_MEASURES, Measure
from schemas.sightings import Section, encode_control, encode_frame
from streams.core.crowd.crowd import Crowd
from streams.core.crowd.slots import SMALLEST
from streams.core.crowd.snapshot import restore, to_columns
from streams.core.events.records import RecordBatch, walk

HOUR_MS = 3_600_000
# Where the hour's people are: at home and away.
PLACES = 2
NULL_RECORD = b"\x0c\x00\x00\x00\x01\x00\x00"


def rehearse(measures: tuple[Measure, ...] = DEFAULT_MEASURES, zones: int = PLACES) -> None:
    """Take a crowd with these measures through an hour and through a snapshot; nothing is kept.

    Which measures there are, caps above 255 and many zones take other forms of the table, and with it loops of their
    own.
    """
    zones = max(zones, PLACES)
    epoch = _epoch(measures, zones)
    walk([RecordBatch(0, 1, 0, 0, 0, 1, NULL_RECORD)])
    parents = np.arange(zones, dtype=np.uint16) % 2
    crowd = Crowd(0, parents)
    crowd.add_epoch(epoch)
    crowd.feed(encode_control(1, [0]), 0)
    for number in range(4):
        crowd.feed(_frame(number), number + 1)
    again = Crowd(0, parents)
    again.add_epoch(epoch)
    restore(again, to_columns(crowd))
    again.feed(_frame(4), 5)


def _epoch(measures: tuple[Measure, ...], zones: int) -> Epoch:
    return Epoch(
        *(0, 0, 24 * HOUR_MS, 0, "UTC", 1, "", zones, 2),
        *(measures, 2.0, 2e-9, 0.05, 20, "", "", (0,)),
    )


def _frame(number: int) -> bytes:
    """Enough subscribers for the table to grow, at home and then away, for a stay each, one of them detaching."""
    rows = SMALLEST
    begin = number * HOUR_MS // 6
    kinds = np.zeros(rows, np.uint8)
    kinds[0] = DETACH
    section = Section(
        *(0, 0, number * rows, (number + 1) * rows, begin + HOUR_MS // 6),
        np.arange(1, rows + 1, dtype=np.uint64),
        begin + np.arange(rows, dtype=np.int64),
        np.arange(number * rows, (number + 1) * rows),
        np.zeros(rows, np.uint32),
        np.full(rows, number // 2 % PLACES, np.uint16),
        np.zeros(rows, np.uint8),
        kinds,
    )
    return encode_frame([section])
