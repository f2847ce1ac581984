"""What becomes of an event on its way to the topic: how long it takes, and what goes wrong.

An event's identity is a hash of (seed, subscriber, its number), and all that happens to it is drawn from that identity,
so that it doesn't depend on the slice that it was made in. At most one thing goes wrong with an event.
"""

from typing import Final

import numpy as np
from numba import int64, uint64
from numpy.typing import NDArray

from streams.simulate.compiled import Row, Rows, kernel
from streams.simulate.draws import EVENT_ID, FATE, below, mixed, named, threshold
from streams.simulate.network import Out
from streams.simulate.rates import Rates

# What happened to a row besides a fault.
PLAIN, DUPLICATE, LATE, CLOCK_AHEAD, CLOCK_BEHIND = range(5)
NOTES: Final = ("plain", "duplicate", "late", "clock_ahead", "clock_behind")
TEXT_TIME: Final = 0x80  # set in `note`: the time is told as RFC 3339 text


# An event on its way: as told (time, cell, kind), when it is recorded, and what is wrong with it.
ROW: Final = np.dtype(
    [
        ("ident", np.uint64),
        ("ts", np.int64),
        ("recorded", np.int64),
        ("who", np.uint32),
        ("seq", np.uint32),
        ("cell", np.uint16),
        ("kind", np.uint8),
        ("fault", np.uint8),
        ("note", np.uint8),
    ],
    align=True,
)


def meet_fates(seed: int, out: Out, rates: Rates, faults: int) -> Rows:
    """The ROWs that a slice's events become, in their order, a duplicate after its event; faults are 1..faults."""
    edges = np.cumsum([threshold(r) for r in (rates.malformed, rates.late, rates.clock_error, rates.duplicates)])
    size = int(out.size[0])
    rows = np.empty(2 * size, ROW)
    filled = _meet(seed, out, edges, threshold(rates.reorder), threshold(rates.rfc3339), faults, rows)
    return rows[:filled]


@kernel
def _meet(seed: int, out: Out, edges: NDArray[np.int64], reorder: int, text_time: int, faults: int, rows: Rows) -> int:
    at = 0
    for k in range(out.size[0]):
        e = out.events[k]
        ident = named(seed, EVENT_ID, (int64(e.who) << 32) + e.seq)
        draw = mixed(ident + uint64(FATE))
        more = mixed(draw)
        fate = int64(draw >> uint64(32))
        ts, recorded, fault, note = e.ts, e.ts + 40 + below(draw << uint64(32), 400), 0, PLAIN
        if int64(more >> uint64(32)) < reorder:
            recorded += 2_000 + below(draw << uint64(40), 6_000)
        if fate < edges[0]:
            fault = 1 + below(more << uint64(32), faults)
        elif fate < edges[1]:
            note, recorded = LATE, ts + 12_000 + below(more << uint64(32), 290_000)
        elif fate < edges[2]:
            off = below(more << uint64(32), 86_000_000)
            if more & uint64(1):
                note, ts = CLOCK_AHEAD, ts + 75_000 + off
            else:
                note, ts = CLOCK_BEHIND, ts - 300_000 - off
        if text_time and int64(mixed(more) >> uint64(32)) < text_time:
            note |= TEXT_TIME
        put_row(rows, at, e, ident, ts, recorded, fault, note)
        at += 1
        if edges[2] <= fate < edges[3]:
            again = recorded + 20 + below(more << uint64(32), 4_000)
            put_row(rows, at, e, ident, ts, again, fault, DUPLICATE | (note & TEXT_TIME))
            at += 1
    return at


@kernel
def put_row(rows: Rows, at: int, e: Row, ident: int, ts: int, recorded: int, fault: int, note: int) -> None:
    """Write one row."""
    row = rows[at]
    row.who, row.cell, row.kind, row.seq = e.who, e.cell, e.kind, e.seq
    row.ident, row.ts, row.recorded, row.fault, row.note = ident, ts, recorded, fault, note
