"""Events to bytes: the JSON of the raw contract (`schemas.attach`), its faults included, written by compiled loops.

`record_stream` takes a slice's rows in the order in which each partition's collector records them and writes Kafka
record values: one event each, or arrays of up to `batch` events of the same second of record time. A collector that has
been silent for a second writes a beat. Faults that make the whole record unreadable travel alone; the others sit among
good neighbours.
"""

from typing import Final, NamedTuple

import numpy as np
from numba import njit, uint64
from numpy.typing import NDArray

from streams.simulate.fates import NOTES, TEXT_TIME, Rows
from streams.simulate.network import ATTACH

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

NO_MSISDN: Final = np.uint64(0)


def _literal(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode(), np.uint8).copy()


_ID, _IMSI, _MSISDN, _TAC, _KIND, _TS, _CELL, _RAT = (
    _literal(t)
    for t in ('{"event_id":"', '","imsi":"', '","msisdn":"+', '","tac":"', '","kind":"', '","ts":', ',"cell":"', '","rat":"')
)
_END = _literal('"}')
_QUOTE = _literal('"')
_BEAT, _BEAT_TS = _literal('{"kind":"beat","source":"sim-'), _literal('","ts":')
_HEX = _literal("0123456789abcdef")
_IMSI_NUMBER, _AFTER_NUMBER = _literal('","imsi":'), _literal(',"tac":"')
_YESTERDAY, _ROAM, _FIVE_G, _LOST = _literal('"yesterday"'), _literal("roam"), _literal("5g+"), _literal('"lost"')
_BAD_CELL, _UNKNOWN_CELL, _SHORT_MSISDN = _literal("001-01-12z"), _literal("001-01-fffffff"), _literal("12x")


class Names(NamedTuple):
    """The texts of events: each row is a length and then that many bytes."""

    kinds: NDArray[np.uint8]
    cells: NDArray[np.uint8]
    rats: NDArray[np.uint8]  # by cell


class Identities(NamedTuple):
    """Who the subscribers are to the network, by number."""

    imsi: NDArray[np.uint64]
    msisdn: NDArray[np.uint64]
    tac: NDArray[np.int64]


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


def texts(words: tuple[str, ...]) -> NDArray[np.uint8]:
    """Words as a table for `Names`."""
    table = np.zeros((len(words), 1 + max(len(w) for w in words)), np.uint8)
    for row, word in zip(table, words, strict=True):
        row[0] = len(word)
        row[1 : 1 + len(word)] = np.frombuffer(word.encode(), np.uint8)
    return table


def record_stream(
    rows: Rows,
    order: NDArray[np.int64],
    starts: NDArray[np.int64],
    identities: Identities,
    names: Names,
    last: NDArray[np.int64],
    end_ms: int,
    batch: int,
) -> Records:
    """The records of a slice that ends at `end_ms`.

    Args:
        order: the rows of all partitions, each partition's by record time; partition p's are starts[p] up to starts[p + 1].
        last: per partition the time of its last record so far; brought up to date.
    """
    partitions = starts.size - 1
    beats = int(np.sum((end_ms - last) // BEAT_EVERY_MS + 1))
    faulty = int(np.count_nonzero(rows.fault))
    room = order.size * EVENT_BYTES + faulty * FAULT_BYTES + beats * BEAT_BYTES
    columns = (np.empty(order.size + beats, np.int64) for _ in range(3))
    records = Records(
        np.empty(room, np.uint8),
        *columns,
        np.zeros(partitions + 1, np.int64),
        np.zeros(len(NOTES), np.int64),
        np.zeros(len(FAULTS) + 1, np.int64),
        0,
    )
    size, count, beats = _write(rows, order, starts, identities, names, last, end_ms, batch, records)
    return records._replace(
        payload=records.payload[:size],
        begin=records.begin[:count],
        end=records.end[:count],
        time=records.time[:count],
        beats=beats,
    )


@njit(cache=True, nogil=True)
def _write(
    rows: Rows,
    order: NDArray[np.int64],
    starts: NDArray[np.int64],
    who: Identities,
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
            until = rows.recorded[order[row + group - 1]] if row < stop else end_ms
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
            spoilt = rows.fault[order[row]]
            arrayed = batch > 1 and not 0 < spoilt <= NULL_VALUE
            for k in range(row, row + group):
                if arrayed:
                    buf[at] = 91 if k == row else 44  # [ or ,
                    at += 1
                at = _event(buf, at, rows, order[k], who, names)
                out.notes[rows.note[order[k]] & ~TEXT_TIME] += 1
                out.faults[rows.fault[order[k]]] += 1
            if arrayed:
                buf[at] = 93  # ]
                at += 1
            out.end[count] = -1 if spoilt == NULL_VALUE else at
            count += 1
            row += group
    out.starts[last.size] = count
    return at, count, beats


@njit(cache=True, nogil=True)
def _group(rows: Rows, order: NDArray[np.int64], row: int, stop: int, batch: int) -> int:
    """How many rows from `row` on share a record."""
    if row >= stop:
        return 0
    if batch == 1 or 0 < rows.fault[order[row]] <= NULL_VALUE:
        return 1
    second = rows.recorded[order[row]] // 1000
    size = 1
    while size < batch and row + size < stop:
        k = order[row + size]
        if rows.recorded[k] // 1000 != second or 0 < rows.fault[k] <= NULL_VALUE:
            break
        size += 1
    return size


@njit(cache=True, nogil=True)
def _event(buf: NDArray[np.uint8], at: int, rows: Rows, k: int, who: Identities, names: Names) -> int:
    """Write row k as JSON; a fault goes where it belongs. Returns where the next byte goes."""
    fault, i, cell, begin = rows.fault[k], rows.who[k], rows.cell[k], at
    if fault == NULL_VALUE or fault == EMPTY:
        return at
    if fault == NOT_AN_OBJECT:
        return _put(buf, at, _LOST)
    at = _hex(buf, _put(buf, at, _ID), rows.ident[k])
    if fault == BAD_EVENT_ID:
        for _ in range(4):
            at = _hex(buf, at, rows.ident[k])
    if fault == WRONG_TYPE:
        at = _digits(buf, _put(buf, at, _IMSI_NUMBER), who.imsi[i] + uint64(200 * 10**12), 15)
        at = _put(buf, at, _AFTER_NUMBER)
    else:
        at = _digits(buf, _put(buf, at, _IMSI), who.imsi[i], 15)
        if fault == BAD_IMSI:
            buf[at - 3] = 120  # x
        if fault == BAD_MSISDN:
            at = _put(buf, _put(buf, at, _MSISDN), _SHORT_MSISDN)
        elif rows.kind[k] == ATTACH:
            at = _digits(buf, _put(buf, at, _MSISDN), who.msisdn[i], 13)
        at = _put(buf, at, _TAC)
    at = _digits(buf, at, uint64(who.tac[i]), 6 if fault == BAD_TAC else 8)
    at = _put(buf, at, _KIND)
    at = _put(buf, at, _ROAM) if fault == BAD_KIND else _text(buf, at, names.kinds[rows.kind[k]])
    at = _put(buf, at, _TS)
    if fault == BAD_TIME:
        at = _put(buf, at, _YESTERDAY)
    elif fault == OUT_OF_RANGE:
        at = _digits(buf, at, uint64(rows.ts[k] // 1000), 10)  # seconds, not milliseconds: long before 2000
    elif rows.note[k] & TEXT_TIME:
        at = _rfc3339(buf, at, rows.ts[k])
    else:
        at = _digits(buf, at, uint64(rows.ts[k]), 13)
    if fault == DUPLICATE_KEY:
        at = _digits(buf, _put(buf, at, _TS[2:]), uint64(rows.ts[k]), 13)
    at = _put(buf, at, _CELL) if fault != MISSING_FIELD else _put(buf, at, _RAT[1:])
    if fault == BAD_CELL:
        at = _put(buf, at, _BAD_CELL)
    elif fault == UNKNOWN_CELL:
        at = _put(buf, at, _UNKNOWN_CELL)
    elif fault != MISSING_FIELD:
        at = _text(buf, at, names.cells[cell])
    if fault != MISSING_FIELD:
        at = _put(buf, at, _RAT)
    at = _put(buf, at, _FIVE_G) if fault == BAD_RAT else _text(buf, at, names.rats[cell])
    at = _put(buf, at, _END)
    if fault == ENCODING:
        buf[begin + 15] = 0xFF
    if fault == NOT_JSON:
        at -= 4 + np.int64(rows.ident[k] & uint64(63))
    return at


@njit(cache=True, nogil=True)
def _beat(buf: NDArray[np.uint8], at: int, partition: int, ts: int) -> int:
    at = _put(buf, at, _BEAT)
    width = 1 if partition < 10 else 2 if partition < 100 else 3 if partition < 1000 else 4
    at = _digits(buf, at, uint64(partition), width)
    at = _digits(buf, _put(buf, at, _BEAT_TS), uint64(ts), 13)
    buf[at] = 125  # }
    return at + 1


@njit(cache=True, nogil=True, inline="always")
def _put(buf: NDArray[np.uint8], at: int, literal: NDArray[np.uint8]) -> int:
    for k in range(literal.size):
        buf[at + k] = literal[k]
    return at + literal.size


@njit(cache=True, nogil=True, inline="always")
def _text(buf: NDArray[np.uint8], at: int, word: NDArray[np.uint8]) -> int:
    size = np.int64(word[0])
    for k in range(size):
        buf[at + k] = word[1 + k]
    return at + size


@njit(cache=True, nogil=True)
def _digits(buf: NDArray[np.uint8], at: int, value: int, width: int) -> int:
    rest = uint64(value)
    for k in range(width - 1, -1, -1):
        tenth = rest // uint64(10)
        buf[at + k] = np.uint8(rest - tenth * uint64(10)) + np.uint8(48)
        rest = tenth
    return at + width


@njit(cache=True, nogil=True)
def _hex(buf: NDArray[np.uint8], at: int, value: int) -> int:
    rest = uint64(value)
    for k in range(15, -1, -1):
        buf[at + k] = _HEX[rest & uint64(15)]
        rest >>= uint64(4)
    return at + 16


@njit(cache=True, nogil=True)
def _rfc3339(buf: NDArray[np.uint8], at: int, ms: int) -> int:
    """`"2026-03-02T03:00:00.123Z"`; the date by Howard Hinnant's civil_from_days."""
    days, rest = ms // 86_400_000, ms % 86_400_000
    z = days + 719_468
    era = z // 146_097
    of_era = z - era * 146_097
    year_of_era = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * of_year + 2) // 153
    day = of_year - (153 * shifted + 2) // 5 + 1
    month = shifted + 3 if shifted < 10 else shifted - 9
    year = year_of_era + era * 400 + (1 if month <= 2 else 0)
    at = _put(buf, at, _QUOTE)
    parts = (year, month, day, rest // 3_600_000, rest // 60_000 % 60, rest // 1000 % 60, rest % 1000)
    marks = (45, 45, 84, 58, 58, 46, 90)  # - - T : : . Z
    for k in range(7):
        at = _digits(buf, at, uint64(parts[k]), 4 if k == 0 else 3 if k == 6 else 2)
        buf[at] = marks[k]
        at += 1
    return _put(buf, at, _QUOTE)
