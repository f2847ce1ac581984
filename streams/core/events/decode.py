"""Raw records to events, in columns: the fast scanner for what is plain, the reference for the rest.

In: records (`records.walk`). Out: at least one event a record, in the order of (record, index); a bad one with its
reason and its bytes' place, a good one with its fields as numbers. Nothing raises: a record can be anything.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.rejects import Reason
from streams.core.events.decode_reference import decode_element, decode_value
from streams.core.events.records import RecordBatch, Records, as_one
from streams.core.events.scan import LEAST_BYTES, ODD, room_for, scan

# Of an event: hardly ever less.
USUAL_BYTES = 128
SMALLEST = 16
# What is left to the reference at once: a second or two of it, if all of it is the shortest elements of arrays.
MOST_BYTES_LEFT = 128 << 10
# Bad events at once: each that is rejected takes half a kilobyte, and 8 MB may hold a million empty records.
MOST_BAD = 100_000


class Events(NamedTuple):
    """Columns of n events.

    Attributes:
        record: i32, row in `Records`. index: u32, place in the record's array. status: u8, a `Reason`.
        imsi, cell: u64 packed (`schemas.attach`), ts: i64 ms, kind, rat: u8, tac: u32 packed (`machines.pack_tac`), 0
        if it isn't there; all 0 unless the status is OK.
        start, end: i64, the event's bytes in the payload.
    """

    record: NDArray[np.int32]
    index: NDArray[np.uint32]  # type: ignore[assignment]  # hides tuple.index: the contract's word
    status: NDArray[np.uint8]
    imsi: NDArray[np.uint64]
    ts: NDArray[np.int64]
    cell: NDArray[np.uint64]
    kind: NDArray[np.uint8]
    rat: NDArray[np.uint8]
    tac: NDArray[np.uint32]
    start: NDArray[np.int64]
    end: NDArray[np.int64]


TYPES = (
    *(np.int32, np.uint32, np.uint8, np.uint64, np.int64, np.uint64, np.uint8, np.uint8),
    *(np.uint32, np.int64, np.int64),
)


def events_in(events: Events) -> int:
    """How many there are, whether they could be read or not; beats are none."""
    return int(np.count_nonzero(events.status != Reason.BEAT))


class _Scanned(NamedTuple):
    """What the scanner has found: events, some of them odd, and which records it could split."""

    events: Events
    odd: int
    whole: NDArray[np.bool_]


def decode(records: Records, max_record_bytes: int) -> Events:
    """All events of the records."""
    return _read(records, max_record_bytes, _scanned(records, max_record_bytes))


def decode_in_parts(records: Records, max_record_bytes: int) -> Iterator[tuple[Records, Events]]:
    """All events of the records, in parts: one, unless much is left to the reference, which takes seconds for what
    isn't an event at all, such as long arrays of numbers, or very many are bad. There is no part without a record but
    of no records."""
    scanned = _scanned(records, max_record_bytes)
    ends = _ends(records, scanned)
    if len(ends) == 1:
        yield records, _read(records, max_record_bytes, scanned)
        return
    for begin, end in pairwise((0, *ends)):
        offset, time, start, stop = (column[begin:end] for column in records[:4])
        part = Records(offset, time, start, stop, records.payload)
        yield part, decode(part, max_record_bytes)


def malformed(batch: RecordBatch) -> tuple[Records, Events]:
    """A batch that can't be walked, as one bad event."""
    records = as_one(batch)
    events = Events._make(np.zeros(1, kind) for kind in TYPES)
    return records, events._replace(status=np.array([Reason.malformed], np.uint8), end=records.end)


def _ends(records: Records, scanned: _Scanned) -> list[int]:
    """Behind which records the parts end, so that each leaves about `MOST_BYTES_LEFT` to the reference, and has about
    `MOST_BAD` bad events, or less of both."""
    number = len(records.offset)
    events = scanned.events
    bad = np.flatnonzero(events.status > Reason.BEAT)
    if not scanned.odd and scanned.whole.all() and len(bad) <= MOST_BAD:
        return [number]
    left = np.where(scanned.whole, 0, np.maximum(records.end - records.start, 0))
    odd = np.flatnonzero(events.status == ODD)
    np.add.at(left, events.record[odd], (events.end - events.start)[odd])
    refused = np.bincount(events.record[bad], minlength=number) + ~scanned.whole
    part = np.cumsum(left) // MOST_BYTES_LEFT + np.cumsum(refused) // MOST_BAD
    return [*(np.flatnonzero(np.diff(part)) + 1).tolist(), number]


def _scanned(records: Records, max_record_bytes: int) -> _Scanned:
    number, size = len(records.offset), int(np.maximum(records.end - records.start, 0).sum())
    work = room_for(min(int((records.end - records.start).max(initial=0)), max_record_bytes))
    whole = np.empty(number, np.bool_)
    for rows in (max(number, size // USUAL_BYTES) + SMALLEST, number + size // LEAST_BYTES + SMALLEST):
        events = Events._make(np.empty(rows, kind) for kind in TYPES)
        found, odd, _ = scan(records.payload, records.start, records.end, max_record_bytes, work, events, whole)
        if found >= 0:
            break
    return _Scanned(Events._make(column[:found] for column in events), odd, whole)


def _read(records: Records, max_record_bytes: int, scanned: _Scanned) -> Events:
    """What was scanned, with what is left to the reference."""
    events = scanned.events
    if scanned.odd:
        _read_odd(records, events, np.flatnonzero(events.status == ODD))
    others = np.flatnonzero(~scanned.whole)
    if not len(others):
        return events
    read = decode_reference(records, max_record_bytes, others)
    order = np.argsort(np.concatenate([events.record, read.record]), kind="stable")
    return Events(*(np.concatenate([ours, theirs])[order] for ours, theirs in _pairs(events, read)))


def _read_odd(records: Records, events: Events, rows: NDArray[np.intp]) -> None:
    """Read events by the reference, into the rows that they have already."""
    for row in rows.tolist():
        event = decode_element(records.payload[events.start[row] : events.end[row]].tobytes())
        events.status[row] = event.reason
        events.imsi[row], events.ts[row], events.cell[row] = event.imsi, event.ts, event.cell
        events.kind[row], events.rat[row], events.tac[row] = event.kind, event.rat, event.tac


def _pairs(one: Events, other: Events) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    yield from zip(one, other, strict=True)


def decode_reference(records: Records, max_record_bytes: int, numbers: NDArray[np.intp] | None = None) -> Events:
    """The same by the reference alone, for the given records or all."""
    rows: list[tuple[int, ...]] = []
    chosen = range(len(records.offset)) if numbers is None else numbers.tolist()
    for number in chosen:
        begin, end = int(records.start[number]), int(records.end[number])
        value = None if end < 0 else records.payload[begin:end].tobytes()
        for index, event in enumerate(decode_value(value, max_record_bytes)):
            fields = (event.reason, event.imsi, event.ts, event.cell, event.kind, event.rat, event.tac)
            rows.append((number, index, *fields, begin + event.start, begin + event.end))
    columns = zip(*rows, strict=True) if rows else [()] * len(TYPES)
    return Events(*(np.array(column, kind) for column, kind in zip(columns, TYPES, strict=True)))
