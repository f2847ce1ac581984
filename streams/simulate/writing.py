"""Bytes into a buffer: each function writes from `at` on and returns where the next byte goes."""

from typing import Final

import numpy as np
from numba import int64, uint64
from numpy.typing import NDArray

from streams.simulate.compiled import inlined, kernel


def literal(text: str) -> NDArray[np.uint8]:
    """A text's bytes, for `put`."""
    return np.frombuffer(text.encode(), np.uint8).copy()


def texts(words: tuple[str, ...]) -> NDArray[np.uint8]:
    """Words for `put_text`: each row is a length and then that many bytes."""
    table = np.zeros((len(words), 1 + max(len(w) for w in words)), np.uint8)
    for row, word in zip(table, words, strict=True):
        row[0] = len(word)
        row[1 : 1 + len(word)] = np.frombuffer(word.encode(), np.uint8)
    return table


_HEX: Final = literal("0123456789abcdef")
_QUOTE: Final = 34


@inlined
def put(buf: NDArray[np.uint8], at: int, text: NDArray[np.uint8]) -> int:
    """A literal."""
    for k in range(text.size):
        buf[at + k] = text[k]
    return at + text.size


@inlined
def put_text(buf: NDArray[np.uint8], at: int, words: NDArray[np.uint8], row: int) -> int:
    """A row of `texts`."""
    size = int64(words[row, 0])
    for k in range(size):
        buf[at + k] = words[row, 1 + k]
    end: int = at + size
    return end


@kernel
def put_digits(buf: NDArray[np.uint8], at: int, value: int, width: int) -> int:
    """A number below 2**64, in decimal, with leading zeros."""
    rest = uint64(value)
    for k in range(width - 1, -1, -1):
        tenth = rest // uint64(10)
        buf[at + k] = np.uint8(rest - tenth * uint64(10)) + np.uint8(48)
        rest = tenth
    return at + width


@kernel
def put_hex(buf: NDArray[np.uint8], at: int, value: int) -> int:
    """A u64 as 16 hexadecimal digits."""
    rest = uint64(value)
    for k in range(15, -1, -1):
        buf[at + k] = _HEX[rest & uint64(15)]
        rest >>= uint64(4)
    return at + 16


@kernel
def put_time(buf: NDArray[np.uint8], at: int, ms: int) -> int:
    """A time as `"2026-03-02T03:00:00.123Z"` with its quotes (RFC 3339; the date by Hinnant's civil_from_days)."""
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
    parts = (year, month, day, rest // 3_600_000, rest // 60_000 % 60, rest // 1000 % 60, rest % 1000)
    widths = (4, 2, 2, 2, 2, 2, 3)
    marks = (45, 45, 84, 58, 58, 46, 90)  # - - T : : . Z
    buf[at] = _QUOTE
    at += 1
    for k in range(7):
        at = put_digits(buf, at, parts[k], widths[k])
        buf[at] = marks[k]
        at += 1
    buf[at] = _QUOTE
    return at + 1
