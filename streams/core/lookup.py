"""Open-addressed tables from 64-bit keys to small numbers, looked up a batch at a time.

Keys and values are two arrays; key 0 marks an empty slot. Linear probing from a mixed hash of the key; tables are
kept at most 7/8 full, so an entry of u64 and u32 costs 13.7 bytes at the fullest.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

SMALLEST = 64


class Lookup:
    """u64 -> u32. Absent keys read as `absent`."""

    def __init__(self, absent: int, room: int = SMALLEST) -> None:
        self._absent = np.uint32(absent)
        self.keys = np.zeros(max(SMALLEST, room * 8 // 7 + 1), np.uint64)
        self.values = np.zeros(len(self.keys), np.uint32)
        self.used = 0

    def put(self, keys: NDArray[np.uint64], values: NDArray[np.uint32]) -> None:
        """Set values; of a key that is there twice the last one stays."""
        if (self.used + len(keys)) * 8 > len(self.keys) * 7:
            self._grow(self.used + len(keys))
        self.used += int(_put(self.keys, self.values, keys, values))

    def get(self, keys: NDArray[np.uint64]) -> NDArray[np.uint32]:
        """The values of keys u64[n], as u32[n]."""
        found = np.empty(len(keys), np.uint32)
        _get(self.keys, self.values, keys, self._absent, found)
        return found

    def _grow(self, needed: int) -> None:
        old_keys, old_values = self.keys, self.values
        self.keys = np.zeros(max(len(old_keys) * 3 // 2, needed * 5 // 4), np.uint64)
        self.values = np.zeros(len(self.keys), np.uint32)
        there = old_keys != 0
        _put(self.keys, self.values, old_keys[there], old_values[there])


@njit(cache=True, nogil=True)
def _slot(keys, key):  # type: ignore[no-untyped-def]
    """Where the key is, or would go. The mix is splitmix64's (Steele, Lea and Flood 2014)."""
    mixed = key
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed = mixed ^ (mixed >> np.uint64(31))
    slot = np.int64(((mixed >> np.uint64(32)) * np.uint64(len(keys))) >> np.uint64(32))
    while keys[slot] != 0 and keys[slot] != key:
        slot += 1
        if slot == len(keys):
            slot = np.int64(0)
    return slot


@njit(cache=True, nogil=True)
def _put(table_keys, table_values, keys, values):  # type: ignore[no-untyped-def]
    new = 0
    for at in range(len(keys)):
        slot = _slot(table_keys, keys[at])
        if table_keys[slot] == 0:
            table_keys[slot] = keys[at]
            new += 1
        table_values[slot] = values[at]
    return new


@njit(cache=True, nogil=True)
def _get(table_keys, table_values, keys, absent, found):  # type: ignore[no-untyped-def]
    for at in range(len(keys)):
        slot = _slot(table_keys, keys[at])
        found[at] = table_values[slot] if table_keys[slot] != 0 else absent
