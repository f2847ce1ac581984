"""The fast scanner: plain attach events straight from bytes into columns.

In: the value ranges of many records in one payload. Out: columns of events, and for each record whether it was
*plain*: an object or an array of objects that hold only known fields as simple ASCII strings or integers, and
unknown fields as simple strings, integers or literals, and in which nothing is to be refused. An object that isn't so
among others in an array gets a row marked *odd*, for the reference to read. Whatever else isn't plain leaves no rows
here and goes to the reference, whole. So this file never decides that an event is bad, only that it is surely good.
"""

import numpy as np
from numba import njit

from schemas.attach import CELL_MARK, EARLIEST_MS, LATEST_MS, LONG_IMSI

EVENT_ID, IMSI, TS, CELL, KIND, MSISDN, TAC, RAT = (1 << n for n in range(8))
NEEDED = EVENT_ID | IMSI | TS | CELL
OK, BEAT = 1, 2
# No event that is good is shorter.
ROW_BYTES = 20
_LONG = np.uint64(LONG_IMSI)
_MARK = np.uint64(CELL_MARK)


def _word(text: str) -> np.uint64:
    """Up to 8 ASCII characters as a little-endian number."""
    return np.uint64(int.from_bytes(text.encode(), "little"))


W_EVENT_ID, W_IMSI, W_TS, W_CELL = _word("event_id"), _word("imsi"), _word("ts"), _word("cell")
W_KIND, W_MSISDN, W_TAC, W_RAT = _word("kind"), _word("msisdn"), _word("tac"), _word("rat")
W_UPDATE, W_ATTACH, W_HANDOVER = _word("update"), _word("attach"), _word("handover")
W_SERVICE, W_DETACH, W_BEAT = _word("service"), _word("detach"), _word("beat")
W_GSM, W_UMTS, W_LTE, W_NR = _word("gsm"), _word("umts"), _word("lte"), _word("nr")
W_GSM2, W_UMTS2, W_LTE2, W_NR2 = _word("GSM"), _word("UMTS"), _word("LTE"), _word("NR")


@njit(cache=True, nogil=True, inline="always")
def _space(data, at, end):  # type: ignore[no-untyped-def]
    while at < end and (data[at] == 32 or data[at] == 10 or data[at] == 13 or data[at] == 9):
        at += 1
    return at


@njit(cache=True, nogil=True)
def _string_end(data, at, end):  # type: ignore[no-untyped-def]
    """The closing quote of a plain string that begins at `at`, or -1."""
    while at < end:
        byte = data[at]
        if byte == 34:
            return at
        if byte < 32 or byte >= 127 or byte == 92:
            return -1
        at += 1
    return -1


@njit(cache=True, nogil=True)
def _short(data, start, end):  # type: ignore[no-untyped-def]
    """Up to 8 bytes as a little-endian number; 0 if there are more or none."""
    if end - start > 8:
        return np.uint64(0)
    word = np.uint64(0)
    for at in range(end - 1, start - 1, -1):
        word = (word << np.uint64(8)) | np.uint64(data[at])
    return word


@njit(cache=True, nogil=True)
def _digits(data, start, end):  # type: ignore[no-untyped-def]
    """The decimal number, or -1 if not all are digits (at most 18)."""
    if end <= start or end - start > 18:
        return np.int64(-1)
    number = np.int64(0)
    for at in range(start, end):
        digit = np.int64(data[at]) - 48
        if digit < 0 or digit > 9:
            return np.int64(-1)
        number = number * 10 + digit
    return number


@njit(cache=True, nogil=True)
def _hex(data, start, end):  # type: ignore[no-untyped-def]
    number = np.int64(0)
    for at in range(start, end):
        byte = np.int64(data[at])
        if 48 <= byte <= 57:
            digit = byte - 48
        elif 65 <= byte <= 70:
            digit = byte - 55
        elif 97 <= byte <= 102:
            digit = byte - 87
        else:
            return np.int64(-1)
        number = number * 16 + digit
    return number


@njit(cache=True, nogil=True)
def _imsi(data, start, end):  # type: ignore[no-untyped-def]
    """Packed, or 0."""
    size = end - start
    if size != 14 and size != 15:
        return np.uint64(0)
    number = _digits(data, start, end)
    mcc = _digits(data, start, start + 3)
    if number < 0 or not (mcc == 1 or 200 <= mcc <= 799):
        return np.uint64(0)
    return np.uint64(number) | (_LONG if size == 15 else np.uint64(0))


@njit(cache=True, nogil=True)
def _cell(data, start, end):  # type: ignore[no-untyped-def]
    """Packed, or 0."""
    if end - start < 14 or data[start + 3] != 45:
        return np.uint64(0)
    mnc_end = start + 6 if data[start + 6] == 45 else start + 7
    mcc, mnc = _digits(data, start, start + 3), _digits(data, start + 4, mnc_end)
    if mcc < 0 or mnc < 0 or data[mnc_end] != 45:
        return np.uint64(0)
    first = mnc_end + 1
    size = end - first
    if size == 9 and data[first + 4] == 45:
        high, low = _hex(data, first, first + 4), _hex(data, first + 5, end)
        kind, identity = 0, (high << 16) | low
        if high < 0 or low < 0:
            return np.uint64(0)
    elif size == 7 or size == 9:
        kind, identity = (1 if size == 7 else 2), _hex(data, first, end)
        if identity < 0:
            return np.uint64(0)
    else:
        return np.uint64(0)
    long_mnc = 1 if mnc_end == start + 7 else 0
    return _MARK | np.uint64((kind << 58) | (mcc << 48) | (long_mnc << 47) | (mnc << 37) | identity)


@njit(cache=True, nogil=True)
def _utc_ms(data, start, end):  # type: ignore[no-untyped-def]
    """ms of `YYYY-MM-DDTHH:MM:SS[.fff]Z`, or -1. Days from the civil date: Howard Hinnant, days_from_civil."""
    size = end - start
    if size < 20 or data[end - 1] != 90 or data[start + 10] != 84:
        return np.int64(-1)
    if data[start + 4] != 45 or data[start + 7] != 45 or data[start + 13] != 58 or data[start + 16] != 58:
        return np.int64(-1)
    year, month = _digits(data, start, start + 4), _digits(data, start + 5, start + 7)
    day, hour = _digits(data, start + 8, start + 10), _digits(data, start + 11, start + 13)
    minute, second = _digits(data, start + 14, start + 16), _digits(data, start + 17, start + 19)
    if year < 2000 or year > 2099 or month < 1 or month > 12 or day < 1 or hour < 0 or hour > 23:
        return np.int64(-1)
    if minute < 0 or minute > 59 or second < 0 or second > 59:
        return np.int64(-1)
    longest = 31 - (month == 4 or month == 6 or month == 9 or month == 11)
    if month == 2:
        longest = 29 if year % 4 == 0 else 28  # 2000 was a leap year, 2100 is out of range
    if day > longest:
        return np.int64(-1)
    fraction = np.int64(0)
    if size != 20:
        if data[start + 19] != 46 or size != 24:
            return np.int64(-1)
        fraction = _digits(data, start + 20, start + 23)
        if fraction < 0:
            return np.int64(-1)
    shifted = year - (month <= 2)
    era = shifted // 400
    of_era = shifted - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    days = era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468
    return ((days * 24 + hour) * 60 + minute) * 60_000 + second * 1000 + fraction


@njit(cache=True, nogil=True)
def _kind(word):  # type: ignore[no-untyped-def]
    if word == W_SERVICE:
        return 3
    if word == W_UPDATE:
        return 0
    if word == W_HANDOVER:
        return 2
    if word == W_ATTACH:
        return 1
    if word == W_DETACH:
        return 4
    return 5 if word == W_BEAT else -1


@njit(cache=True, nogil=True)
def _rat(word):  # type: ignore[no-untyped-def]
    if word == W_LTE or word == W_LTE2:
        return 3
    if word == W_NR or word == W_NR2:
        return 4
    if word == W_GSM or word == W_GSM2:
        return 1
    return 2 if word == W_UMTS or word == W_UMTS2 else -1


@njit(cache=True, nogil=True)
def _literal_end(data, at, end):  # type: ignore[no-untyped-def]
    """The end of true, false, null or a plain integer, or -1."""
    if at + 4 <= end:
        word = _short(data, at, at + 4)
        if word == np.uint64(0x65757274) or word == np.uint64(0x6C6C756E):
            return at + 4
        if word == np.uint64(0x736C6166) and at + 5 <= end and data[at + 4] == 101:
            return at + 5
    first = at
    while at < end and 48 <= data[at] <= 57:
        at += 1
    if at == first or (data[first] == 48 and at > first + 1) or at - first > 18:
        return -1
    return at


@njit(cache=True, nogil=True)
def _object(data, at, end, row, imsi, ts, cell, kind, rat):  # type: ignore[no-untyped-def]
    """One object from its opening brace. Returns (OK or BEAT, position behind it), or (0, -1) if it isn't plain."""
    seen = 0
    beat = False
    kind[row] = 0
    rat[row] = 0
    at = _space(data, at + 1, end)
    while True:
        if at >= end or data[at] != 34:
            return 0, -1
        stop = _string_end(data, at + 1, end)
        if stop < 0:
            return 0, -1
        name = _short(data, at + 1, stop)
        at = _space(data, stop + 1, end)
        if at >= end or data[at] != 58:
            return 0, -1
        at = _space(data, at + 1, end)
        if at >= end:
            return 0, -1
        is_string = data[at] == 34
        if is_string:
            start = at + 1
            stop = _string_end(data, start, end)
            after = stop + 1
        else:
            start = at
            stop = _literal_end(data, at, end)
            after = stop
        if stop < 0:
            return 0, -1
        field = 0
        good = is_string
        if name == W_EVENT_ID:
            field = EVENT_ID
            good = good and 1 <= stop - start <= 64
        elif name == W_IMSI:
            field = IMSI
            if good:
                imsi[row] = _imsi(data, start, stop)
                good = imsi[row] != 0
        elif name == W_TS:
            field = TS
            ts[row] = _utc_ms(data, start, stop) if is_string else _digits(data, start, stop)
            good = EARLIEST_MS <= ts[row] < LATEST_MS
        elif name == W_CELL:
            field = CELL
            if good:
                cell[row] = _cell(data, start, stop)
                good = cell[row] != 0
        elif name == W_KIND:
            field = KIND
            found = _kind(_short(data, start, stop)) if good else -1
            good = found >= 0
            beat = found == 5
            kind[row] = max(found, 0)
        elif name == W_MSISDN:
            field = MSISDN
            plus = 1 if good and stop > start and data[start] == 43 else 0
            good = good and 5 <= stop - start - plus <= 15 and _digits(data, start + plus, stop) >= 0
        elif name == W_TAC:
            field = TAC
            good = good and stop - start == 8 and _digits(data, start, stop) >= 0
        elif name == W_RAT:
            field = RAT
            found = _rat(_short(data, start, stop)) if good else -1
            good = found >= 0
            rat[row] = max(found, 0)
        else:
            good = True
        if not good or seen & field:
            return 0, -1
        seen |= field
        at = _space(data, after, end)
        if at >= end:
            return 0, -1
        if data[at] == 125:
            break
        if data[at] != 44:
            return 0, -1
        at = _space(data, at + 1, end)
    if beat:
        imsi[row] = 0
        ts[row] = 0
        cell[row] = 0
        kind[row] = 0
        rat[row] = 0
        return BEAT, at + 1
    return (OK, at + 1) if seen & NEEDED == NEEDED else (0, -1)


@njit(cache=True, nogil=True)
def _element_end(data, at, end):  # type: ignore[no-untyped-def]
    """Where the element of an array that begins at `at` ends, as the reference splits: at the comma or bracket behind
    it; -1 if there is none."""
    depth = 0
    in_string = False
    while at < end:
        found = data[at]
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
def scan(data, begins, ends, longest, record, index, beats, odd, imsi, ts, cell, kind, rat, start, end, plain):  # type: ignore[no-untyped-def]
    """Scan all records; fills the columns and `plain`. Returns the number of rows.

    The columns must have room for a row for every ROW_BYTES of payload, and one more a record.
    """
    row = 0
    for number in range(len(begins)):
        plain[number] = False
        stop = ends[number]
        if stop < 0 or stop - begins[number] > longest:
            continue
        at = _space(data, begins[number], stop)
        if at >= stop:
            continue
        array = data[at] == 91
        first = row
        if array:
            at = _space(data, at + 1, stop)
        place = 0
        while at < stop and data[at] == 123:
            found, after = _object(data, at, stop, row, imsi, ts, cell, kind, rat)
            behind = after
            if found == 0:
                behind = _element_end(data, at, stop) if array else -1
                if behind - at < ROW_BYTES:
                    break
                after = behind
                while _space(data, after - 1, after) == after:
                    after -= 1
            record[row] = number
            index[row] = place
            beats[row] = found == BEAT
            odd[row] = found == 0
            start[row] = at
            end[row] = after
            row += 1
            place += 1
            at = _space(data, behind, stop)
            if not array:
                plain[number] = at == stop
                start[row - 1] = begins[number]
                end[row - 1] = stop
                break
            if at < stop and data[at] == 93:
                plain[number] = _space(data, at + 1, stop) == stop
                break
            if at >= stop or data[at] != 44:
                break
            at = _space(data, at + 1, stop)
        if not plain[number]:
            row = first
    return row
