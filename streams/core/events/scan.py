"""The fast scanner: plain attach events straight from bytes into columns.

In: the value ranges of many records in one payload. Out: columns of events, and for each record whether it was
*split*: an object or an array of objects. An object is plain if it holds only known fields as simple ASCII strings or
integers, and unknown fields as simple strings, integers or literals, and nothing in it is to be refused but for what
goes wrong most: a required field is missing, an IMSI is none, a time begins with no digit. One that isn't gets a row
marked *odd*, for the reference to read, which takes as long as a hundred plain ones. A record that isn't split leaves
no rows here and goes to the reference, whole. So this file decides what is surely good, and what is surely bad and why;
it leaves all doubt to the reference.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from schemas.attach import EARLIEST_MS, LATEST_MS
from schemas.rejects import Reason
from streams.core.compiled.borrowed import borrowed
from streams.core.compiled.words import BLOCK, byte, ones, put_word, unplain, word, zeros
from streams.core.events.fields import (
    BEAT_KIND,
    cell_of,
    digits,
    imsi_of,
    kind_of,
    number_of,
    past_digits,
    rat_of,
    short,
    utc_ms,
)

EVENT_ID, IMSI, TS, CELL, KIND, MSISDN, TAC, RAT = (1 << n for n in range(8))
NEEDED = EVENT_ID | IMSI | TS | CELL
_OK, _BEAT = int(Reason.OK), int(Reason.BEAT)
_MISSING, _BAD_IMSI, _BAD_TIME = int(Reason.missing_field), int(Reason.bad_imsi), int(Reason.bad_time)
# In place of a `Reason`: the reference is to read this element of an array.
ODD = 255
# No event that is plain and good is shorter than `{"kind":"beat"}`; shorter ones are not decided here.
LEAST_BYTES = 15
FAILED = (-1, 0, 0, np.uint64(0), 0, np.uint64(0), 0, 0, 0)
# In place of a mark: there is none. AT_ONCE: marks written without asking whether they are there.
FAR = 1 << 62
AT_ONCE = 16
MARK_BYTES = 8
# Digits of a number that nothing is made of.
LONGEST_NUMBER = 64
W_EVENT_ID, W_IMSI, W_TS, W_CELL = number_of("event_id"), number_of("imsi"), number_of("ts"), number_of("cell")
W_KIND, W_MSISDN, W_TAC, W_RAT = number_of("kind"), number_of("msisdn"), number_of("tac"), number_of("rat")
W_TRUE, W_NULL, W_FALSE = number_of("true"), number_of("null"), number_of("false")


@njit(cache=True, nogil=True, forceinline=True)
def _space(at, end):  # type: ignore[no-untyped-def]
    while at < end and byte(at) <= 32 and _is_space(byte(at)):
        at += 1
    return at


@njit(cache=True, nogil=True, forceinline=True)
def _is_space(found):  # type: ignore[no-untyped-def]
    return found == 32 or found == 10 or found == 13 or found == 9


@njit(cache=True, nogil=True, forceinline=True)
def _is_digit(found):  # type: ignore[no-untyped-def]
    return 48 <= found <= 57


@njit(cache=True, nogil=True, forceinline=True)
def _mark(at, end, mark):  # type: ignore[no-untyped-def]
    """Write to `mark` on the addresses in [at, end) where no plain character of a string is, and FAR behind the last.

    Strings end at the next mark. Found for a whole record in one go, the ends don't wait for one another.
    """
    while at < end:
        bits = unplain(at)
        if end - at < BLOCK:
            bits &= (np.uint64(1) << np.uint64(end - at)) - np.uint64(1)
        following = mark + ones(bits) * MARK_BYTES
        # Mostly these are enough for a block, and a fixed number of steps is faster than the right one.
        for _ in range(AT_ONCE):
            put_word(mark, at + zeros(bits))
            bits &= bits - np.uint64(1)
            mark += MARK_BYTES
        while bits:
            put_word(mark, at + zeros(bits))
            bits &= bits - np.uint64(1)
            mark += MARK_BYTES
        mark = following
        at += BLOCK
    put_word(mark, FAR)


@njit(cache=True, nogil=True, forceinline=True)
def _marked(mark):  # type: ignore[no-untyped-def]
    return np.int64(word(mark))


@njit(cache=True, nogil=True, forceinline=True)
def _next_mark(mark, at):  # type: ignore[no-untyped-def]
    """The first mark at `at` or behind it, which is `mark` or a later one."""
    while _marked(mark) < at:
        mark += MARK_BYTES
    return mark


@njit(cache=True, nogil=True, forceinline=True)
def _literal_end(at, end):  # type: ignore[no-untyped-def]
    """The end of true, false, null or a plain integer, or -1."""
    stop = past_digits(at, end)
    if stop == at:
        if at + 4 <= end and (short(at, at + 4) == W_TRUE or short(at, at + 4) == W_NULL):
            return at + 4
        return at + 5 if at + 5 <= end and short(at, at + 5) == W_FALSE else -1
    if (byte(at) == 48 and stop > at + 1) or stop - at > LONGEST_NUMBER:
        return -1
    return stop


@njit(cache=True, nogil=True, forceinline=True)
def _object(at, end, mark):  # type: ignore[no-untyped-def]
    """One object from its opening brace. Returns its `Reason`, the address behind it, a mark not behind that, and IMSI,
    time, cell, kind, radio access and TAC; or FAILED if it isn't plain."""
    begin = at
    seen = bad = 0
    beat = False
    imsi, ts, cell, kind, rat, tac = np.uint64(0), np.int64(0), np.uint64(0), 0, 0, 0
    at = _space(at + 1, end)
    while True:
        if at >= end or byte(at) != 34:
            return FAILED
        mark = _next_mark(mark, at + 1)
        stop = _marked(mark)
        if stop == FAR or byte(stop) != 34:
            return FAILED
        name = short(at + 1, stop)
        at = _space(stop + 1, end)
        if at >= end or byte(at) != 58:
            return FAILED
        at = _space(at + 1, end)
        if at >= end:
            return FAILED
        is_string = byte(at) == 34
        if is_string:
            start = at + 1
            mark = _next_mark(mark, start)
            stop = _marked(mark)
            if stop == FAR or byte(stop) != 34:
                return FAILED
            after = stop + 1
        else:
            start = at
            stop = _literal_end(at, end)
            if stop < 0:
                return FAILED
            after = stop
        field = 0
        good = is_string
        if name == W_EVENT_ID:
            field = EVENT_ID
            good = good and 1 <= stop - start <= 64
        elif name == W_IMSI:
            field = IMSI
            if good:
                imsi = imsi_of(start, stop)
                good = imsi != 0
        elif name == W_TS:
            field = TS
            ts = utc_ms(start, stop) if is_string else digits(start, stop)
            good = EARLIEST_MS <= ts < LATEST_MS
        elif name == W_CELL:
            field = CELL
            if good:
                cell = cell_of(start, stop)
                good = cell != 0
        elif name == W_KIND:
            field = KIND
            found = kind_of(short(start, stop)) if good else -1
            good = found >= 0
            beat = found == BEAT_KIND
            kind = max(found, 0)
        elif name == W_MSISDN:
            field = MSISDN
            plus = 1 if good and stop > start and byte(start) == 43 else 0
            good = good and 5 <= stop - start - plus <= 15 and digits(start + plus, stop) >= 0
        elif name == W_TAC:
            field = TAC
            tac = digits(start, stop) + 1 if good and stop - start == 8 else 0
            good = tac > 0
        elif name == W_RAT:
            field = RAT
            found = rat_of(short(start, stop)) if good else -1
            good = found >= 0
            rat = max(found, 0)
        else:
            good = True
        if not good:
            # Of another type, or a time that only looks unlike one: the reference knows.
            if not is_string or field & (IMSI | TS) == 0 or (field == TS and _is_digit(byte(start))):
                return FAILED
            bad |= field
        if seen & field:
            return FAILED
        seen |= field
        at = _space(after, end)
        if at >= end:
            return FAILED
        if byte(at) == 125:
            break
        if byte(at) != 44:
            return FAILED
        at = _space(at + 1, end)
    if beat:
        return _BEAT, at + 1, mark, np.uint64(0), np.int64(0), np.uint64(0), 0, 0, 0
    if bad == 0 and seen & NEEDED == NEEDED:
        return _OK, at + 1, mark, imsi, ts, cell, kind, rat, tac
    if at + 1 - begin < LEAST_BYTES:
        return FAILED
    # In the order of the reference's checks.
    reason = _BAD_IMSI if bad & IMSI else _BAD_TIME
    if seen & NEEDED != NEEDED:
        reason = _MISSING
    return reason, at + 1, mark, np.uint64(0), np.int64(0), np.uint64(0), 0, 0, 0


class Room(NamedTuple):
    """Memory to work in: `text` u8, for one record; `marks` i64."""

    text: NDArray[np.uint8]
    marks: NDArray[np.int64]


def room_for(longest: int) -> Room:
    """Enough for records of so many bytes."""
    return Room(np.zeros(longest + BLOCK, np.uint8), np.empty(longest + AT_ONCE + 1, np.int64))


@njit(cache=True, nogil=True, forceinline=True)
def _ends(after, stop):  # type: ignore[no-untyped-def]
    """Is what lies before `after` a whole element of an array?"""
    at = _space(after, stop)
    return at < stop and (byte(at) == 44 or byte(at) == 93)


@njit(cache=True, nogil=True)
def _element_end(at, end):  # type: ignore[no-untyped-def]
    """Where the element of an array that begins at `at` ends, as the reference splits: at the comma or bracket behind
    it; -1 if there is none."""
    depth = 0
    in_string = False
    while at < end:
        found = byte(at)
        if in_string:
            if found == 92:
                at += 1
            elif found == 34:
                in_string = False
        elif found == 34:
            in_string = True
        elif found == 123 or found == 91:
            depth += 1
        elif depth > 0:
            if found == 125 or found == 93:
                depth -= 1
        elif found == 44 or found == 93:
            return at
        at += 1
    return -1


@njit(cache=True, nogil=True)
def scan(data, begins, ends, longest, room, events, whole):  # type: ignore[no-untyped-def]
    """Scan all records; fills columns and `whole`. Returns how many rows there are, or -1 if there isn't space for
    them; how many of them are odd; and how many records aren't split.

    Args:
        data: u8. begins, ends: i64, of records in it. longest: bytes; a record with more isn't split.
        room: for the longest record that isn't longer than that.
        events: `decode.Events`, of any length. whole: bool, one a record: is it split?
    """
    events = borrowed(events)
    row = odd = others = 0
    text = np.int64(data.ctypes.data)
    spare, marks = np.int64(room.text.ctypes.data), np.int64(room.marks.ctypes.data)
    for number in range(len(begins)):
        whole[number] = False
        others += 1
        begin, stop = begins[number], ends[number]
        if stop < 0 or stop - begin > longest:
            continue
        base = text
        if stop + BLOCK > len(data):
            room.text[: stop - begin] = data[begin:stop]
            base = spare - begin
        stop += base
        at = _space(base + begin, stop)
        if at >= stop:
            continue
        array = byte(at) == 91
        first, odd_before = row, odd
        if array:
            at = _space(at + 1, stop)
        _mark(at, stop, marks)
        mark = marks
        while at < stop and byte(at) == 123:
            found, after, further, imsi, ts, cell, kind, rat, tac = _object(at, stop, mark)
            behind = after
            if not array:
                behind = stop
                if found < 0 or _space(after, stop) != stop:
                    found = ODD
            elif found >= 0 and (found <= _BEAT or _ends(after, stop)):
                mark = further
            else:
                found = ODD
                behind = _element_end(at, stop)
                if behind - at < LEAST_BYTES:
                    break
                after = behind
                while _space(after - 1, after) == after:
                    after -= 1
            if row == len(events.record):
                return -1, 0, 0
            events.record[row] = number
            events.index[row] = row - first
            events.status[row] = found
            odd += found == ODD
            events.imsi[row] = imsi
            events.ts[row] = ts
            events.cell[row] = cell
            events.kind[row] = kind
            events.rat[row] = rat
            events.tac[row] = tac
            events.start[row] = at - base
            events.end[row] = after - base
            row += 1
            at = _space(behind, stop)
            if not array:
                whole[number] = True
                events.start[row - 1] = begin
                events.end[row - 1] = ends[number]
                break
            if at < stop and byte(at) == 93:
                whole[number] = _space(at + 1, stop) == stop
                break
            if at >= stop or byte(at) != 44:
                break
            at = _space(at + 1, stop)
        if whole[number]:
            others -= 1
        else:
            row, odd = first, odd_before
    return row, odd, others
