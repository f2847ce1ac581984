"""Frames for all targets at once, written where they lie in the end: what `schemas.sightings.encode_frame` writes for
each of them, which is what this is tested against.

In: for each source what was screened since the last flush, in the order of its log, each batch grouped by target. Out:
one frame a target. The frames stand in one piece of memory; each row is written once, to its place in its target's
section. Nothing can fail.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from schemas.sightings import FRAME_BYTES, ROW_BYTES, SECTION_BYTES, put_frame_header, put_section_header
from streams.core.gateway.gateway import Screened

_LATEST = np.iinfo(np.int64).max


class Outgoing(NamedTuple):
    """A source's section for every target: see `schemas.sightings.Section`. `parts`: batches of its rows."""

    source: int
    flags: int
    from_: int
    to: int
    watermark_ms: int
    parts: list[Screened]


class _Memory(NamedTuple):
    """The same bytes as columns are written to them. Headers and rows are of multiples of 8 bytes, so each column
    lies at a multiple of its width."""

    u64: NDArray[np.uint64]
    i32: NDArray[np.int32]
    u32: NDArray[np.uint32]
    u16: NDArray[np.uint16]
    u8: NDArray[np.uint8]


def frames(sections: Sequence[Outgoing], targets: int) -> list[bytes]:
    """The frame of each target."""
    rows = np.zeros((len(sections), targets), np.int64)
    for number, section in enumerate(sections):
        for part in section.parts:
            rows[number] += np.diff(part.starts)
    sizes = SECTION_BYTES + ROW_BYTES * rows
    frame_at = np.concatenate(([0], np.cumsum(FRAME_BYTES + sizes.sum(axis=0))))
    section_at = frame_at[:-1] + FRAME_BYTES + np.cumsum(sizes, axis=0) - sizes
    words = np.empty(int(frame_at[-1]) // 8, np.uint64)
    memory = _Memory(words, words.view(np.int32), words.view(np.uint32), words.view(np.uint16), words.view(np.uint8))
    for begin in frame_at[:-1].tolist():
        put_frame_header(memory.u8.data, begin, len(sections))
    for number, section in enumerate(sections):
        _put_section(section, section_at[number], rows[number], memory)
    return [memory.u8[begin:end].tobytes() for begin, end in pairwise(frame_at.tolist())]


def _put_section(section: Outgoing, at: NDArray[np.int64], rows: NDArray[np.int64], memory: _Memory) -> None:
    """Write a source's sections of all targets, which begin at byte `at` and have so many `rows`."""
    base_ts = np.full(len(rows), _LATEST)
    for part in section.parts:
        _take_least(part.ts, part.starts, base_ts)
    base_ts[rows == 0] = 0
    header = section[:5]
    for begin, base, number in zip(at.tolist(), base_ts.tolist(), rows.tolist(), strict=True):
        put_section_header(memory.u8.data, begin, *header, base, number)
    done = np.zeros(len(rows), np.int64)
    for part in section.parts:
        columns = part.pseudonym, part.ts, part.offset, part.index, part.zone, part.cohort, part.kind
        _put_rows(*columns, part.starts, section.from_, base_ts, at + SECTION_BYTES, rows, done, memory)


@njit(cache=True, nogil=True)
def _take_least(ts, starts, least):  # type: ignore[no-untyped-def]
    for target in range(len(starts) - 1):
        for row in range(starts[target], starts[target + 1]):
            least[target] = min(least[target], ts[row])


@njit(cache=True, nogil=True)
def _put_rows(who, ts, offset, index, zone, cohort, kind, starts, first, base_ts, at, rows, done, memory: _Memory):  # type: ignore[no-untyped-def]
    """Write a batch's rows behind those that are `done`, of each target's `rows`; its columns begin at byte `at`."""
    for target in range(len(starts) - 1):
        begin, number = starts[target], starts[target + 1] - starts[target]
        place, total, base = at[target], rows[target], base_ts[target]
        words, halves = place // 8 + done[target], place // 4 + 2 * total + done[target]
        quarters, octets = place // 2 + 10 * total + done[target], place + 22 * total + done[target]
        for i in range(number):
            memory.u64[words + i] = who[begin + i]
        for i in range(number):
            memory.i32[halves + i] = ts[begin + i] - base
        for i in range(number):
            memory.u32[halves + total + i] = offset[begin + i] - first
        for i in range(number):
            memory.u32[halves + 2 * total + i] = index[begin + i]
        for i in range(number):
            memory.u16[quarters + i] = zone[begin + i]
        for i in range(number):
            memory.u8[octets + i] = cohort[begin + i]
        for i in range(number):
            memory.u8[octets + total + i] = kind[begin + i]
        done[target] += number
