"""Hash tables from 64-bit keys to small numbers, for compiled loops.

A table is cache lines of eight words: five keys, 0 where there is none, and behind them their values, two to a word.
A key is in the line that a mixed hash of it says, or, where that was full, in the next that wasn't. Tables are kept at
most 4/5 full, so that a key costs 16 bytes at the fullest and hardly one in ten has left its line: asking waits for
memory once, and all five keys are compared without a branch that could be guessed wrong.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

SMALLEST: Final = 64
KEYS: Final = 5
AT_ONCE: Final = 512
_WORDS: Final = 8
_LINE_BYTES: Final = 64


class Lookup:
    """u64 -> u32. Absent keys read as `absent`.

    Attributes:
        lines: u64[n, 8], replaced when the table grows.
    """

    def __init__(self, absent: int, room: int = SMALLEST) -> None:
        self._absent = np.uint32(absent)
        self.lines = _new_lines(max(SMALLEST, room * 5 // 4) // KEYS + 1)
        self.used = 0

    def put(self, keys: NDArray[np.uint64], values: NDArray[np.uint32]) -> None:
        """Set values; of a key that is there twice the last one stays."""
        if (self.used + len(keys)) * 5 > len(self.lines) * KEYS * 4:
            self._grow(self.used + len(keys))
        self.used += int(_put(self.lines, keys, values))

    def get(self, keys: NDArray[np.uint64]) -> NDArray[np.uint32]:
        """The values of keys u64[n], as u32[n]."""
        found = np.empty(len(keys), np.uint32)
        _get(self.lines, keys, self._absent, found)
        return found

    def _grow(self, needed: int) -> None:
        old = self.lines
        self.lines = _new_lines(max(len(old) * 3 // 2, needed * 4 // 3 // KEYS + 1))
        _move(old, self.lines)


def joined(tables: Sequence[Lookup]) -> NDArray[np.uint64]:
    """The lines of tables, one after another: a loop asks a slice of them."""
    lines = _new_lines(sum(len(table.lines) for table in tables))
    np.concatenate([table.lines for table in tables], out=lines)
    return lines


def _new_lines(number: int) -> NDArray[np.uint64]:
    """Empty lines, each in one of the memory's."""
    memory = np.zeros(number * _WORDS + _WORDS, np.uint64)
    first = -memory.ctypes.data % _LINE_BYTES // memory.itemsize
    return memory[first : first + number * _WORDS].reshape(number, _WORDS)


@njit(cache=True, nogil=True, forceinline=True)
def line_of(lines, key):  # type: ignore[no-untyped-def]
    """The line where the key is, if it has room. The mix is splitmix64's (Steele, Lea and Flood 2014)."""
    mixed = key
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed = mixed ^ (mixed >> np.uint64(31))
    return np.int64(((mixed >> np.uint64(32)) * np.uint64(len(lines))) >> np.uint64(32))


@njit(cache=True, nogil=True, forceinline=True)
def _place(lines, at, key):  # type: ignore[no-untyped-def]
    """The first place in a line that has the key, or KEYS."""
    place = KEYS
    for other in range(KEYS - 1, -1, -1):
        place = other if lines[at, other] == key else place
    return place


@njit(cache=True, nogil=True, forceinline=True)
def find(lines, key, absent):  # type: ignore[no-untyped-def]
    """The key's value, as i64."""
    at = line_of(lines, key)
    place = _place(lines, at, key)
    while place == KEYS:
        if lines[at, KEYS - 1] == 0:
            return np.int64(absent)
        at = at + 1 if at + 1 < len(lines) else 0
        place = _place(lines, at, key)
    return _value(lines, at, place)


@njit(cache=True, nogil=True, forceinline=True)
def _value(lines, at, place):  # type: ignore[no-untyped-def]
    return np.int64(lines[at, KEYS + (place >> 1)] >> np.uint64((place & 1) * 32) & np.uint64(0xFFFFFFFF))


@njit(cache=True, nogil=True, forceinline=True)
def _set(lines, key, value):  # type: ignore[no-untyped-def]
    """Set one value. Returns whether the key is new."""
    at = line_of(lines, key)
    place = _place(lines, at, key)
    while place == KEYS:
        place = _place(lines, at, np.uint64(0))
        if place < KEYS:
            break
        at = at + 1 if at + 1 < len(lines) else 0
        place = _place(lines, at, key)
    new = lines[at, place] == 0
    lines[at, place] = key
    shift = np.uint64((place & 1) * 32)
    others = lines[at, KEYS + (place >> 1)] & ~(np.uint64(0xFFFFFFFF) << shift)
    lines[at, KEYS + (place >> 1)] = others | np.uint64(value) << shift
    return new


@njit(cache=True, nogil=True)
def _put(lines, keys, values):  # type: ignore[no-untyped-def]
    new = 0
    for i in range(len(keys)):
        new += _set(lines, keys[i], values[i])
    return new


@njit(cache=True, nogil=True)
def _get(lines, keys, absent, found):  # type: ignore[no-untyped-def]
    elsewhere = np.empty(AT_ONCE, np.int64)
    for begin in range(0, len(keys), AT_ONCE):
        find_all(lines, keys[begin : begin + AT_ONCE], absent, found[begin : begin + AT_ONCE], elsewhere)


@njit(cache=True, nogil=True)
def find_all(lines, keys, absent, found, elsewhere):  # type: ignore[no-untyped-def]
    """Write the values of keys to `found` u32; `elsewhere` i64 is to work in. For a few hundred keys of a large table.

    Lines are fetched by loops that have no branch which needs what is fetched: so the waits for memory overlap.
    """
    near = np.uint64(0)
    for i in range(len(keys)):
        near |= lines[line_of(lines, keys[i]), 0]
    number = 0
    for i in range(len(keys)):
        at = line_of(lines, keys[i])
        place = _place(lines, at, keys[i])
        found[i] = _value(lines, at, place) if place < KEYS else absent
        elsewhere[number] = i
        number += place == KEYS and lines[at, KEYS - 1] != 0
    for n in range(number):
        at = line_of(lines, keys[elsewhere[n]])
        near |= lines[at + 1 if at + 1 < len(lines) else 0, 0]
    for n in range(number):
        found[elsewhere[n]] = find(lines, keys[elsewhere[n]], absent)
    elsewhere[0] = near  # or the fetching would be left out


@njit(cache=True, nogil=True)
def _move(lines, larger):  # type: ignore[no-untyped-def]
    for at in range(len(lines)):
        for place in range(KEYS):
            if lines[at, place] != 0:
                _set(larger, lines[at, place], _value(lines, at, place))
