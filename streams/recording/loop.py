"""A recording again and again: each turn is moved on in time by the length of one, events and records alike.

Record times decide what is late and where the watermark is, and neither ever goes back: a turn played as it was
recorded would be late as a whole. So turn n comes with `n x length` added to its record times and to the `ts` of its
events and beats; what can't be read stays as it is. The length is the recording's, rounded up to whole base panes, so
that every turn falls alike into panes. Event ids repeat; nothing is told apart by them.
"""

from collections.abc import Iterator
from itertools import count
from typing import Final

import numpy as np
import pyarrow as pa

from schemas.rejects import Reason
from schemas.topics import ATTACH
from streams.core.events.decode import decode
from streams.recording.columns import SCHEMA, records_of
from streams.recording.elements import read, written
from streams.recording.file import Reader, Run

PANE_MS: Final = 300_000
LONGEST: Final = 64 << 20


def turns(
    reader: Reader, step_ms: int, topics: set[str], from_ms: int, to_ms: int, number: int | None
) -> Iterator[tuple[int, list[Run]]]:
    """`Reader.slices`, `number` times over; None: for ever."""
    length = length_ms(reader, topics, from_ms, to_ms) if number != 1 else 0
    for turn in count() if number is None else range(number):
        nothing = True
        for end_ms, runs in reader.slices(step_ms, topics, from_ms, to_ms):
            nothing = False
            yield end_ms + turn * length, [shifted(run, turn * length) for run in runs]
        if nothing:
            return


def length_ms(reader: Reader, topics: set[str], from_ms: int, to_ms: int) -> int:
    """How long a turn is."""
    first, last = reader.span(topics)
    lasts = min(last + 1, to_ms) - max(first, from_ms)
    return -(-max(lasts, 1) // PANE_MS) * PANE_MS


def shifted(run: Run, by_ms: int) -> Run:
    """The run, later by so much."""
    if not by_ms:
        return run
    table = run.table
    values = table["value"] if run.topic != ATTACH else pa.array(_moved(run, by_ms), pa.binary())
    times = pa.array(run.time + by_ms).cast(SCHEMA.field("timestamp").type)
    changed = {"timestamp": times, "value": values}
    return run._replace(
        time=run.time + by_ms,
        table=pa.table([changed.get(name, table[name]) for name in SCHEMA.names], schema=SCHEMA),
    )


def _moved(run: Run, by_ms: int) -> list[bytes | None]:
    records = records_of(run.table)
    _, _, start, end, payload = records
    events = decode(records, LONGEST)
    text = payload.tobytes()
    values: list[bytes | None] = [None if last < 0 else b"" for last in end.tolist()]
    at = start.tolist()
    readable = np.flatnonzero((events.status == Reason.OK) | (events.status == Reason.BEAT)).tolist()
    for row in readable:
        record, first, last = int(events.record[row]), int(events.start[row]), int(events.end[row])
        moved = _later(text[first:last], int(events.ts[row]) if events.status[row] == Reason.OK else None, by_ms)
        values[record] = (values[record] or b"") + text[at[record] : first] + moved
        at[record] = last
    for record, last in enumerate(end.tolist()):
        if last >= 0:
            values[record] = (values[record] or b"") + text[at[record] : last]
    return values


def _later(element: bytes, ts_ms: int | None, by_ms: int) -> bytes:
    """An event, whose `ts` may be a text, or a beat, whose `ts` may be missing."""
    event = read(element)
    was = event.get("ts") if ts_ms is None else ts_ms
    return written(event | {"ts": was + by_ms}) if isinstance(was, int) else element
