"""What becomes of an event on its way to the topic: how long it takes, and what goes wrong.

An event's identity is a hash of (seed, subscriber, its number), and all that happens to it is drawn from that identity,
so that it doesn't depend on the slice that it was made in. At most one thing goes wrong with an event.
"""

from typing import Final, NamedTuple

import numpy as np
from numba import njit, uint64
from numpy.typing import NDArray

from streams.simulate.draws import EVENT_ID, FATE, below, mixed, named, threshold
from streams.simulate.network import Out
from streams.simulate.rates import Rates

# What happened to a row besides a fault.
PLAIN, DUPLICATE, LATE, CLOCK_AHEAD, CLOCK_BEHIND = range(5)
NOTES: Final = ("plain", "duplicate", "late", "clock_ahead", "clock_behind")
LONGEST_DELAY_MS: Final = 302_000
TEXT_TIME: Final = 0x80  # set in `note`: the time is told as RFC 3339 text


class Rows(NamedTuple):
    """Events on their way: as told (time, cell, kind), when recorded, and what is wrong with them."""

    who: NDArray[np.uint32]
    ts: NDArray[np.int64]
    cell: NDArray[np.uint16]
    kind: NDArray[np.uint8]
    seq: NDArray[np.uint32]
    ident: NDArray[np.uint64]
    recorded: NDArray[np.int64]
    fault: NDArray[np.uint8]
    note: NDArray[np.uint8]


def no_rows() -> Rows:
    """Nothing on its way."""
    return _empty(0)


def _empty(size: int) -> Rows:
    u64, u32, u16, u8, i64 = np.uint64, np.uint32, np.uint16, np.uint8, np.int64
    return Rows(*(np.empty(size, kind) for kind in (u32, i64, u16, u8, u32, u64, i64, u8, u8)))


def meet_fates(seed: int, out: Out, rates: Rates, faults: int) -> Rows:
    """The rows that a slice's events become, in their order, a duplicate after its event; faults are 1..faults."""
    edges = np.cumsum([threshold(r) for r in (rates.malformed, rates.late, rates.clock_error, rates.duplicates)])
    size = int(out.size[0])
    rows = _empty(size + size // 4 + 16 if rates.duplicates < 0.2 else 2 * size)
    filled = _meet(seed, out, edges, threshold(rates.reorder), threshold(rates.rfc3339), faults, rows)
    return Rows(*(column[:filled] for column in rows))


@njit(cache=True, nogil=True)
def _meet(
    seed: int, out: Out, edges: NDArray[np.int64], reorder: int, text_time: int, faults: int, rows: Rows
) -> int:
    at = 0
    for k in range(out.size[0]):
        ident = named(seed, EVENT_ID, (np.int64(out.who[k]) << 32) + out.seq[k])
        draw = mixed(ident + uint64(FATE))
        more = mixed(draw)
        fate = np.int64(draw >> uint64(32))
        ts, recorded, fault, note = out.ts[k], out.ts[k] + 40 + below(draw << uint64(32), 400), 0, PLAIN
        if np.int64(more >> uint64(32)) < reorder:
            recorded += 2_000 + below(draw << uint64(40), 6_000)
        if fate < edges[0]:
            fault = 1 + below(more << uint64(32), faults)
        elif fate < edges[1]:
            note, recorded = LATE, ts + 12_000 + below(more << uint64(32), 290_000)
        elif fate < edges[2]:
            off = below(more << uint64(32), 86_000_000)
            if more & uint64(1):
                note, ts = CLOCK_AHEAD, ts + 61_000 + LONGEST_DELAY_MS + off
            else:
                note, ts = CLOCK_BEHIND, ts - 300_000 - off
        if text_time and np.int64(mixed(more) >> uint64(32)) < text_time:
            note |= TEXT_TIME
        put_row(rows, at, out, k, ident, ts, recorded, fault, note)
        at += 1
        if edges[2] <= fate < edges[3]:
            again = recorded + 20 + below(more << uint64(32), 4_000)
            put_row(rows, at, out, k, ident, ts, again, fault, DUPLICATE | (note & TEXT_TIME))
            at += 1
    return at


@njit(cache=True, nogil=True)
def put_row(
    rows: Rows, at: int, out: Out, k: int, ident: int, ts: int, recorded: int, fault: int, note: int
) -> None:
    """Write one row."""
    rows.who[at], rows.cell[at], rows.kind[at], rows.seq[at] = out.who[k], out.cell[k], out.kind[k], out.seq[k]
    rows.ident[at], rows.ts[at], rows.recorded[at] = ident, ts, recorded
    rows.fault[at], rows.note[at] = fault, note
