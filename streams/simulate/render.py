"""Events to bytes: the JSON of the raw contract (`schemas.attach`), its faults included, written by compiled loops.

`record_stream` takes a slice's rows in the order in which each partition's collector records them and writes Kafka
record values: one event each, or arrays of up to `batch` events of the same second of record time. A collector that has
been silent for a second writes a beat. Faults that make the whole record unreadable travel alone; the others sit among
good neighbours.
"""

from typing import Final, NamedTuple

import numpy as np
from numba import int64, uint64
from numpy.typing import NDArray

from streams.simulate.compiled import Row, Rows, kernel
from streams.simulate.fates import NOTES, TEXT_TIME
from streams.simulate.network import ATTACH
from streams.simulate.writing import literal, put, put_digits, put_hex, put_text, put_time

# The faults by the reason that throng rejects them for, numbered from 1. The first five spoil the whole record.
FAULTS: Final = (
    "not_json",
    "encoding",
    "not_an_object",
    "empty",
    "null_value",
    "missing_field",
    "wrong_type",
    "duplicate_key",
    "out_of_range",
    "bad_imsi",
    "bad_msisdn",
    "bad_tac",
    "bad_cell",
    "bad_kind",
    "bad_rat",
    "bad_time",
    "bad_event_id",
    "unknown_cell",
)
(
    NOT_JSON,
    ENCODING,
    NOT_AN_OBJECT,
    EMPTY,
    NULL_VALUE,
    MISSING_FIELD,
    WRONG_TYPE,
    DUPLICATE_KEY,
    OUT_OF_RANGE,
    BAD_IMSI,
    BAD_MSISDN,
    BAD_TAC,
    BAD_CELL,
    BAD_KIND,
    BAD_RAT,
    BAD_TIME,
    BAD_EVENT_ID,
    UNKNOWN_CELL,
) = range(1, len(FAULTS) + 1)

EVENT_BYTES: Final = 208  # the longest event without a fault, and its comma and brackets
FAULT_BYTES: Final = 96  # what a fault adds at most
BEAT_BYTES: Final = 64
BEAT_EVERY_MS: Final = 1_000


_ID, _IMSI, _MSISDN, _TAC, _KIND, _TS, _CELL, _RAT = (
    literal(t)
    for t in (
        '{"event_id":"',
        '","imsi":"',
        '","msisdn":"+',
        '","tac":"',
        '","kind":"',
        '","ts":',
        ',"cell":"',
        '","rat":"',
    )
)
_END = literal('"}')
_BEAT, _BEAT_TS = literal('{"kind":"beat","source":"sim-'), literal('","ts":')
_IMSI_NUMBER, _AFTER_NUMBER = literal('","imsi":'), literal(',"tac":"')
_YESTERDAY, _ROAM, _FIVE_G, _LOST = literal('"yesterday"'), literal("roam"), literal("5g+"), literal('"lost"')
_BAD_CELL, _UNKNOWN_CELL, _SHORT_MSISDN = literal("001-01-12z"), literal("001-01-fffffff"), literal("12x")


class Names(NamedTuple):
    """The texts of events: each row is a length and then that many bytes."""

    kinds: NDArray[np.uint8]
    cells: NDArray[np.uint8]
    rats: NDArray[np.uint8]  # by cell


# Who a subscriber is to the network: numbers of 15, 13 and 8 digits.
IDENTITY: Final = np.dtype([("imsi", np.uint64), ("msisdn", np.uint64), ("tac", np.uint64)])


class Records(NamedTuple):
    """Records by partition and record time; partition p has the rows starts[p] up to starts[p + 1].

    Attributes:
        payload: all values, one after another.
        begin, end: each value's bytes in it; end is -1 for Kafka's null.
        time: record times, ms.
        notes: rows written, by `fates.NOTES`; faults: by FAULTS (from 1).
        beats: beats among the records.
    """

    payload: NDArray[np.uint8]
    begin: NDArray[np.int64]
    end: NDArray[np.int64]
    time: NDArray[np.int64]
    starts: NDArray[np.int64]
    notes: NDArray[np.int64]
    faults: NDArray[np.int64]
    beats: int


def record_stream(
    rows: Rows,
    order: NDArray[np.int64],
    starts: NDArray[np.int64],
    identities: Rows,
    names: Names,
    last: NDArray[np.int64],
    end_ms: int,
    batch: int,
) -> Records:
    """The records of a slice that ends at `end_ms`.

    Args:
        order: the rows of all partitions, each partition's by record time; partition p has starts[p] to starts[p + 1].
        last: per partition the time of its last record so far; brought up to date.
    """
    partitions = starts.size - 1
    beats = int(np.sum((end_ms - last) // BEAT_EVERY_MS + 1))
    faulty = int(np.count_nonzero(rows["fault"]))
    room = order.size * EVENT_BYTES + faulty * FAULT_BYTES + beats * BEAT_BYTES
    most = order.size + beats
    records = Records(
        payload=np.empty(room, np.uint8),
        begin=np.empty(most, np.int64),
        end=np.empty(most, np.int64),
        time=np.empty(most, np.int64),
        starts=np.zeros(partitions + 1, np.int64),
        notes=np.zeros(len(NOTES), np.int64),
        faults=np.zeros(len(FAULTS) + 1, np.int64),
        beats=0,
    )
    size, count, beats = _write(rows, order, starts, identities, names, last, end_ms, batch, records)
    return records._replace(
        payload=records.payload[:size],
        begin=records.begin[:count],
        end=records.end[:count],
        time=records.time[:count],
        beats=beats,
    )


@kernel
def _write(
    rows: Rows,
    order: NDArray[np.int64],
    starts: NDArray[np.int64],
    who: Rows,
    names: Names,
    last: NDArray[np.int64],
    end_ms: int,
    batch: int,
    out: Records,
) -> tuple[int, int, int]:
    buf, at, count, beats = out.payload, 0, 0, 0
    for p in range(last.size):
        out.starts[p] = count
        row, stop = starts[p], starts[p + 1]
        while True:
            group = _group(rows, order, row, stop, batch)
            until = rows[order[row + group - 1]].recorded if row < stop else end_ms
            while last[p] + BEAT_EVERY_MS < until:
                last[p] += BEAT_EVERY_MS
                out.begin[count], out.time[count] = at, last[p]
                at = _beat(buf, at, p, last[p])
                out.end[count] = at
                count, beats = count + 1, beats + 1
            if row >= stop:
                break
            last[p] = until
            out.begin[count], out.time[count] = at, until
            spoilt = rows[order[row]].fault
            arrayed = batch > 1 and not 0 < spoilt <= NULL_VALUE
            for k in range(row, row + group):
                if arrayed:
                    buf[at] = 91 if k == row else 44  # [ or ,
                    at += 1
                at = _event(buf, at, rows[order[k]], who, names)
                out.notes[rows[order[k]].note & ~TEXT_TIME] += 1
                out.faults[rows[order[k]].fault] += 1
            if arrayed:
                buf[at] = 93  # ]
                at += 1
            out.end[count] = -1 if spoilt == NULL_VALUE else at
            count += 1
            row += group
    out.starts[last.size] = count
    return at, count, beats


@kernel
def _group(rows: Rows, order: NDArray[np.int64], row: int, stop: int, batch: int) -> int:
    """How many rows from `row` on share a record."""
    if row >= stop:
        return 0
    if batch == 1 or 0 < rows[order[row]].fault <= NULL_VALUE:
        return 1
    second = rows[order[row]].recorded // 1000
    size = 1
    while size < batch and row + size < stop:
        k = order[row + size]
        if rows[k].recorded // 1000 != second or 0 < rows[k].fault <= NULL_VALUE:
            break
        size += 1
    return size


@kernel
def _event(buf: NDArray[np.uint8], at: int, e: Row, who: Rows, names: Names) -> int:
    """Write a row as JSON; a fault goes where it belongs. Returns where the next byte goes."""
    fault, i, cell, begin = e.fault, e.who, e.cell, at
    if fault == NULL_VALUE or fault == EMPTY:
        return at
    if fault == NOT_AN_OBJECT:
        result: int = put(buf, at, _LOST)
        return result
    at = put_hex(buf, put(buf, at, _ID), e.ident)
    if fault == BAD_EVENT_ID:
        for _ in range(4):
            at = put_hex(buf, at, e.ident)
    if fault == WRONG_TYPE:
        at = put_digits(buf, put(buf, at, _IMSI_NUMBER), who[i].imsi + uint64(200 * 10**12), 15)
        at = put(buf, at, _AFTER_NUMBER)
    else:
        at = put_digits(buf, put(buf, at, _IMSI), who[i].imsi, 15)
        if fault == BAD_IMSI:
            buf[at - 3] = 120  # x
        if fault == BAD_MSISDN:
            at = put(buf, put(buf, at, _MSISDN), _SHORT_MSISDN)
        elif e.kind == ATTACH:
            at = put_digits(buf, put(buf, at, _MSISDN), who[i].msisdn, 13)
        at = put(buf, at, _TAC)
    at = put_digits(buf, at, who[i].tac, 6 if fault == BAD_TAC else 8)
    at = put(buf, at, _KIND)
    at = put(buf, at, _ROAM) if fault == BAD_KIND else put_text(buf, at, names.kinds, e.kind)
    at = put(buf, at, _TS)
    if fault == BAD_TIME:
        at = put(buf, at, _YESTERDAY)
    elif fault == OUT_OF_RANGE:
        at = put_digits(buf, at, uint64(e.ts // 1000), 10)  # seconds, not milliseconds: long before 2000
    elif e.note & TEXT_TIME:
        at = put_time(buf, at, e.ts)
    else:
        at = put_digits(buf, at, uint64(e.ts), 13)
    if fault == DUPLICATE_KEY:
        at = put_digits(buf, put(buf, at, _TS[1:]), uint64(e.ts), 13)
    at = put(buf, at, _CELL) if fault != MISSING_FIELD else put(buf, at, _RAT[1:])
    if fault == BAD_CELL:
        at = put(buf, at, _BAD_CELL)
    elif fault == UNKNOWN_CELL:
        at = put(buf, at, _UNKNOWN_CELL)
    elif fault != MISSING_FIELD:
        at = put_text(buf, at, names.cells, cell)
    if fault != MISSING_FIELD:
        at = put(buf, at, _RAT)
    at = put(buf, at, _FIVE_G) if fault == BAD_RAT else put_text(buf, at, names.rats, cell)
    at = put(buf, at, _END)
    if fault == ENCODING:
        buf[begin + 15] = 0xFF
    if fault == NOT_JSON:
        at -= 4 + int64(e.ident & uint64(63))
    return at


@kernel
def _beat(buf: NDArray[np.uint8], at: int, partition: int, ts: int) -> int:
    at = put(buf, at, _BEAT)
    width = 1 if partition < 10 else 2 if partition < 100 else 3 if partition < 1000 else 4
    at = put_digits(buf, at, uint64(partition), width)
    at = put_digits(buf, put(buf, at, _BEAT_TS), uint64(ts), 13)
    buf[at] = 125  # }
    return at + 1
