"""The values of an attach event's fields, from plain text to numbers, for the scanner.

In: the addresses [start, end) of text, with 8 more bytes behind it that may be read. Out: the value, or what says
that it isn't surely a good one (-1, or 0 for what is packed). Eight characters at a time: as one number, whose bytes
are handled side by side.
"""

from typing import Final

import numpy as np
from numba import njit

from schemas.attach import CELL_MARK, LONG_IMSI
from streams.core.compiled.words import byte, word, zeros

_LONG = np.uint64(LONG_IMSI)
_MARK = np.uint64(CELL_MARK)


def _each(value: int) -> np.uint64:
    """Eight bytes of this value."""
    return np.uint64(value * 0x0101010101010101)


def number_of(text: str) -> np.uint64:
    """Up to 8 ASCII characters as `short` gives them."""
    return np.uint64(int.from_bytes(text.encode(), "little"))


_HIGH: Final = _each(0x80)
_ZEROS: Final = _each(ord("0"))
_ABOVE_9: Final = _each(0x80 - 10)  # added to a byte below 0x80, it sets the highest bit of one above 9
# What makes digits of a cell's `MCC-MNC-` the numbers 0 to 9 and its dashes 0; and what then, added, sets the highest
# bit of a digit above 9 and of a dash that isn't one.
_CELL_2, _CELL_3 = number_of("000-00-\0"), number_of("000-000-")
_ABOVE_2, _ABOVE_3 = (
    np.uint64(int.from_bytes(bytes(add[mark] for mark in shape), "little"))
    for add in [{"0": 0x80 - 10, "-": 0x7F, "x": 0}]
    for shape in ("000-00-x", "000-000-")
)

W_GSM, W_UMTS, W_LTE, W_NR = number_of("gsm"), number_of("umts"), number_of("lte"), number_of("nr")
W_GSM2, W_UMTS2, W_LTE2, W_NR2 = number_of("GSM"), number_of("UMTS"), number_of("LTE"), number_of("NR")
W_UPDATE, W_ATTACH, W_HANDOVER = number_of("update"), number_of("attach"), number_of("handover")
W_SERVICE, W_DETACH, W_BEAT = number_of("service"), number_of("detach"), number_of("beat")
BEAT_KIND: Final = 5


@njit(cache=True, nogil=True, forceinline=True)
def short(start, end):  # type: ignore[no-untyped-def]
    """1 to 8 bytes as a little-endian number; 0 if there are more or none."""
    if end - start > 8 or end == start:
        return np.uint64(0)
    rest = np.uint64(8 * (8 - (end - start)))
    return word(start) << rest >> rest


@njit(cache=True, nogil=True, forceinline=True)
def _padded(start, size):  # type: ignore[no-untyped-def]
    """1 to 8 characters behind as many zeros (the digit) as make them 8."""
    rest = np.uint64(8 * (8 - size))
    return word(start) << rest | _ZEROS & ((np.uint64(1) << rest) - np.uint64(1))


@njit(cache=True, nogil=True, forceinline=True)
def _not_digits(text):  # type: ignore[no-untyped-def]
    """Not 0 if one of 8 characters is no digit; its lowest set bit is in the first of them."""
    digits = text ^ _ZEROS
    return (digits | (digits + _ABOVE_9)) & _HIGH


@njit(cache=True, nogil=True, forceinline=True)
def _eight_digits(text):  # type: ignore[no-untyped-def]
    """The decimal number, or -1: digits to pairs, pairs to the whole by two multiplications."""
    if _not_digits(text):
        return np.int64(-1)
    pairs = text - _ZEROS
    pairs = pairs * np.uint64(10) + (pairs >> np.uint64(8))
    first_and_third = (pairs & np.uint64(0x000000FF_000000FF)) * np.uint64(100 + (1_000_000 << 32))
    others = (pairs >> np.uint64(16) & np.uint64(0x000000FF_000000FF)) * np.uint64(1 + (10_000 << 32))
    return np.int64((first_and_third + others) >> np.uint64(32))


@njit(cache=True, nogil=True, forceinline=True)
def digits(start, end):  # type: ignore[no-untyped-def]
    """The decimal number, or -1 if not all are digits (at most 16)."""
    size = end - start
    if size < 1 or size > 16:
        return np.int64(-1)
    if size <= 8:
        return _eight_digits(_padded(start, size))
    high, low = _eight_digits(_padded(start, size - 8)), _eight_digits(word(end - 8))
    return np.int64(-1) if (high | low) < 0 else high * 100_000_000 + low


@njit(cache=True, nogil=True, forceinline=True)
def past_digits(at, end):  # type: ignore[no-untyped-def]
    """Where, from `at` on, the first byte is that is no digit; at the latest `end`."""
    while at < end:
        others = _not_digits(word(at))
        if others:
            return min(at + (zeros(others) >> 3), end)
        at += 8
    return end


@njit(cache=True, nogil=True, forceinline=True)
def _eight_hex(text):  # type: ignore[no-untyped-def]
    """The hexadecimal number of 8 plain characters, or -1."""
    small = text | _each_20
    digit = (text + _each_50) & ~(text + _each_46)  # highest bit: from 0x30 on, and below 0x3A
    letter = (small + _each_1f) & ~(small + _each_19)  # from 0x61 on, and below 0x67
    if (digit | letter) & _HIGH != _HIGH:
        return np.int64(-1)
    nibbles = (text & _each_0f) + ((text >> np.uint64(6)) & _each_01) * np.uint64(9)
    octets = (nibbles << np.uint64(4) | nibbles >> np.uint64(8)) & np.uint64(0x00FF00FF_00FF00FF)
    halves = (octets << np.uint64(8) | octets >> np.uint64(16)) & np.uint64(0x0000FFFF_0000FFFF)
    return np.int64((halves << np.uint64(16) | halves >> np.uint64(32)) & np.uint64(0xFFFFFFFF))


_each_20, _each_50, _each_46, _each_1f = _each(0x20), _each(0x80 - 0x30), _each(0x80 - 0x3A), _each(0x80 - 0x61)
_each_19, _each_0f, _each_01 = _each(0x80 - 0x67), _each(0x0F), _each(0x01)


@njit(cache=True, nogil=True, forceinline=True)
def imsi_of(start, end):  # type: ignore[no-untyped-def]
    """Packed, or 0."""
    size = end - start
    if size != 14 and size != 15:
        return np.uint64(0)
    number = digits(start, end)
    mcc = number // 10**12 if size == 15 else number // 10**11
    if number < 0 or not (mcc == 1 or 200 <= mcc <= 799):
        return np.uint64(0)
    return np.uint64(number) | (_LONG if size == 15 else np.uint64(0))


@njit(cache=True, nogil=True, forceinline=True)
def cell_of(start, end):  # type: ignore[no-untyped-def]
    """Packed, or 0. The characters are plain ones."""
    if end - start < 14:
        return np.uint64(0)
    text = word(start)
    long_mnc = byte(start + 6) != 45
    network = text ^ (_CELL_3 if long_mnc else _CELL_2)
    if (network + (_ABOVE_3 if long_mnc else _ABOVE_2)) & (_HIGH if long_mnc else _HIGH >> np.uint64(8)):
        return np.uint64(0)
    mcc = _place(network, 0) * 100 + _place(network, 1) * 10 + _place(network, 2)
    mnc = _place(network, 4) * 10 + _place(network, 5)
    first = start + 7
    if long_mnc:
        mnc = mnc * 10 + _place(network, 6)
        first = start + 8
    kind, identity = _identity(first, end)
    if identity < 0:
        return np.uint64(0)
    return _MARK | np.uint64((kind << 58) | (mcc << 48) | (np.int64(long_mnc) << 47) | (mnc << 37) | identity)


@njit(cache=True, nogil=True, forceinline=True)
def _place(number, at):  # type: ignore[no-untyped-def]
    return np.int64(number >> np.uint64(8 * at) & np.uint64(0xFF))


@njit(cache=True, nogil=True, forceinline=True)
def _identity(first, end):  # type: ignore[no-untyped-def]
    """(type, number) of a cell's identity; the number is -1 if it is none."""
    size = end - first
    if size == 7:
        return 1, _eight_hex(_padded(first, 7))
    if size != 9:
        return 0, np.int64(-1)
    if byte(first + 4) == 45:
        code = word(first) & np.uint64(0xFFFFFFFF) | word(first + 5) << np.uint64(32)
        return 0, _eight_hex(code)
    high, low = _eight_hex(_padded(first, 1)), _eight_hex(word(first + 1))
    return 2, np.int64(-1) if (high | low) < 0 else high << 32 | low


@njit(cache=True, nogil=True)
def utc_ms(start, end):  # type: ignore[no-untyped-def]
    """ms of `YYYY-MM-DDTHH:MM:SS[.fff]Z`, or -1. Days from the civil date: Howard Hinnant, days_from_civil."""
    size = end - start
    if size < 20 or byte(end - 1) != 90 or byte(start + 10) != 84:
        return np.int64(-1)
    if byte(start + 4) != 45 or byte(start + 7) != 45 or byte(start + 13) != 58 or byte(start + 16) != 58:
        return np.int64(-1)
    year, month = digits(start, start + 4), digits(start + 5, start + 7)
    day, hour = digits(start + 8, start + 10), digits(start + 11, start + 13)
    minute, second = digits(start + 14, start + 16), digits(start + 17, start + 19)
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
        if byte(start + 19) != 46 or size != 24:
            return np.int64(-1)
        fraction = digits(start + 20, start + 23)
        if fraction < 0:
            return np.int64(-1)
    shifted = year - (month <= 2)
    era = shifted // 400
    of_era = shifted - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    days = era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468
    return ((days * 24 + hour) * 60 + minute) * 60_000 + second * 1000 + fraction


@njit(cache=True, nogil=True, forceinline=True)
def kind_of(name):  # type: ignore[no-untyped-def]
    """The kind by its name as `short` gives it, BEAT_KIND, or -1."""
    if name == W_SERVICE:
        return 3
    if name == W_UPDATE:
        return 0
    if name == W_HANDOVER:
        return 2
    if name == W_ATTACH:
        return 1
    if name == W_DETACH:
        return 4
    return BEAT_KIND if name == W_BEAT else -1


@njit(cache=True, nogil=True, forceinline=True)
def rat_of(name):  # type: ignore[no-untyped-def]
    """The radio access by its name as `short` gives it, or -1."""
    if name == W_LTE or name == W_LTE2:
        return 3
    if name == W_NR or name == W_NR2:
        return 4
    if name == W_GSM or name == W_GSM2:
        return 1
    return 2 if name == W_UMTS or name == W_UMTS2 else -1
