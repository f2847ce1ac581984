"""Open-addressed tables from 64-bit keys to small numbers, for compiled loops.

A row is a key and its value side by side, 12 bytes, so that asking waits for memory once; key 0 marks an empty row.
Linear probing from a mixed hash of the key; tables are kept at most 4/5 full, so a key costs 15 bytes at the fullest,
and three rows are looked at, of which a cache line has five. A loop that does nothing but ask, over many keys,
overlaps its waits for memory.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

SMALLEST = 64
ROW = np.dtype([("key", "<u8"), ("value", "<u4")])


class Lookup:
    """u64 -> u32. Absent keys read as `absent`.

    Attributes:
        rows: ROW[n], replaced when the table grows.
    """

    def __init__(self, absent: int, room: int = SMALLEST) -> None:
        self._absent = np.uint32(absent)
        self.rows: NDArray[np.void] = np.zeros(max(SMALLEST, room * 5 // 4 + 1), ROW)
        self.used = 0

    def put(self, keys: NDArray[np.uint64], values: NDArray[np.uint32]) -> None:
        """Set values; of a key that is there twice the last one stays."""
        if (self.used + len(keys)) * 5 > len(self.rows) * 4:
            self._grow(self.used + len(keys))
        self.used += int(_put(self.rows, keys, values))

    def get(self, keys: NDArray[np.uint64]) -> NDArray[np.uint32]:
        """The values of keys u64[n], as u32[n]."""
        found = np.empty(len(keys), np.uint32)
        _get(self.rows, keys, self._absent, found)
        return found

    def _grow(self, needed: int) -> None:
        old = self.rows
        self.rows = np.zeros(max(len(old) * 3 // 2, needed * 4 // 3), ROW)
        _move(old, self.rows)


@njit(cache=True, nogil=True, forceinline=True)
def slot(rows, key):  # type: ignore[no-untyped-def]
    """Where the key is, or would go. The mix is splitmix64's (Steele, Lea and Flood 2014)."""
    mixed = key
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed = mixed ^ (mixed >> np.uint64(31))
    at = np.int64(((mixed >> np.uint64(32)) * np.uint64(len(rows))) >> np.uint64(32))
    while rows[at]["key"] != key and rows[at]["key"] != 0:
        at += 1
        if at == len(rows):
            at = np.int64(0)
    return at


@njit(cache=True, nogil=True)
def _put(rows, keys, values):  # type: ignore[no-untyped-def]
    new = 0
    for i in range(len(keys)):
        row = rows[slot(rows, keys[i])]
        new += row["key"] == 0
        row["key"] = keys[i]
        row["value"] = values[i]
    return new


@njit(cache=True, nogil=True)
def _get(rows, keys, absent, found):  # type: ignore[no-untyped-def]
    for i in range(len(keys)):
        row = rows[slot(rows, keys[i])]
        found[i] = row["value"] if row["key"] != 0 else absent


@njit(cache=True, nogil=True)
def _move(rows, larger):  # type: ignore[no-untyped-def]
    for i in range(len(rows)):
        if rows[i]["key"] != 0:
            larger[slot(larger, rows[i]["key"])] = rows[i]
