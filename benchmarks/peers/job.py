"""The events that throng and its peers count: numbers by numpy, seeded; JSON by a compiled loop.

A subscriber is at one of three places of their own most of the time, drawn by a Zipf law over the zones, and elsewhere
now and then. All events of a subscriber lie on one partition, in the order of event time. One event in a thousand is
faulty, in one of four ways. Behind the last event of each partition comes a sentinel, an hour later, so that watermarks
pass all panes.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numba import uint64
from numpy.typing import NDArray

from streams.simulate.compiled import kernel
from streams.simulate.files import Block
from streams.simulate.writing import literal, put, put_digits, put_hex, put_text, texts

START_MS: Final = 1_772_427_600_000  # Monday 2026-03-02 06:00 in Berlin: a pane's and an hour's beginning
PARTITIONS: Final = 16
CELLS: Final = 5_000
ZONES: Final = 1_000
PANE_MS: Final = 300_000
SENTINEL_MS: Final = 3_600_000
ARRIVES_MS: Final = 500  # from an event to its record
EVENTS_AN_ARRAY: Final = 100
SHAPES: Final = {"single": 1, "batched": EVENTS_AN_ARRAY}

FAULTY: Final = 0.001
BAD_IMSI, MISSING_FIELD, BAD_TIME, UNKNOWN_CELL = range(1, 5)
KINDS: Final = ("update", "handover", "service", "attach")
_ATTACH = 3
_PLACES = (0.60, 0.85, 0.95)  # at the first, second or third place of one's own; else anywhere
_LONGEST = 224

_ID, _IMSI, _MSISDN, _TAC, _KIND, _TS, _CELL, _NO_CELL, _RAT = (
    literal(text)
    for text in (
        *('{"event_id":"', '","imsi":"', '","msisdn":"+', '","tac":"', '","kind":"', '","ts":', ',"cell":"'),
        *(',"rat":"', '","rat":"'),
    )
)
_END, _YESTERDAY = literal('"}'), literal('"yesterday"')


class Size(NamedTuple):
    """How much of it. `minutes` of event time; panes of `pane_ms` for the peers (throng has its own 5 minutes); `cells`
    a multiple of `zones`."""

    subscribers: int
    events: int
    minutes: int
    pane_ms: int = PANE_MS
    zones: int = ZONES
    cells: int = CELLS

    @property
    def end_ms(self) -> int:
        """The first time after all events."""
        return START_MS + self.minutes * 60_000

    @property
    def panes(self) -> int:
        """How many panes the events lie in."""
        return -(-self.minutes * 60_000 // self.pane_ms)


# 1,670 events/s of a million: the 115 a SIM and day of a national network are 1,330 on average, three times at peak.
# As long as this because a JVM compiles for seconds of CPU: of runs a quarter as long Flink's rounds went from 900,000
# to 2,100,000 events per CPU-second.
WHOLE: Final = Size(1_000_000, 12_000_000, 120)
# Arrays of 100 must span less than throng's lateness, or their first events would be late.
SMALL: Final = Size(20_000, 300_000, 20, 60_000)


def sized(events: int, subscribers: int) -> Size:
    """So many at the rate of `WHOLE`, of which a third ends with a pane."""
    thirds = max(1, round(WHOLE.minutes * events / WHOLE.events / 15))
    return WHOLE._replace(events=events, subscribers=subscribers, minutes=15 * thirds)


class Events(NamedTuple):
    """Columns in the order of time: subscriber, event time, index of the cell, fault (0: none), kind."""

    who: NDArray[np.int64]
    ts: NDArray[np.int64]
    cell: NDArray[np.int64]
    fault: NDArray[np.uint8]
    kind: NDArray[np.uint8]

    @property
    def good(self) -> int:
        """How many count."""
        return int(np.count_nonzero(self.fault == 0))


def draw(size: Size, seed: int = 1) -> Events:
    """The events, without sentinels."""
    draws = np.random.default_rng(seed)
    count = size.events
    places = _cells(draws, size, size.subscribers * len(_PLACES)).reshape(-1, len(_PLACES))
    who = draws.integers(0, size.subscribers, count)
    choice = np.searchsorted(np.array(_PLACES), draws.random(count), side="right")
    own = places[who, np.minimum(choice, len(_PLACES) - 1)]
    fault = np.where(draws.random(count) < FAULTY, draws.integers(BAD_IMSI, UNKNOWN_CELL + 1, count), 0)
    return Events(
        who,
        START_MS + np.sort(draws.integers(0, size.minutes * 60_000, count)),
        np.where(choice < len(_PLACES), own, _cells(draws, size, count)),
        fault.astype(np.uint8),
        draws.choice(len(KINDS), count, p=(0.4, 0.3, 0.2, 0.1)).astype(np.uint8),
    )


def _cells(draws: np.random.Generator, size: Size, count: int) -> NDArray[np.int64]:
    """Cells by a Zipf law over the zones, evenly within a zone."""
    edges = np.cumsum(1 / np.arange(1, size.zones + 1))
    zone = np.searchsorted(edges, draws.random(count) * edges[-1], side="right")
    return zone + size.zones * draws.integers(0, size.cells // size.zones, count)


def zone_of(cell: int, zones: int = ZONES) -> int:
    """The zone of a cell by its index."""
    return cell % zones


def cell_texts(cells: int = CELLS) -> list[str]:
    """The cells as events name them (ECGI)."""
    return [f"001-01-{number * 0x9E3779B1 & 0xFFFFFFF:07x}" for number in range(cells)]


def imsi_of(who: NDArray[np.int64]) -> NDArray[np.int64]:
    """IMSIs of the test network, scattered over its number range."""
    return 1_010_000_000_000 + who * 6_364_136_223 % 10_000_000_000


def partition_of(who: NDArray[np.int64], partitions: int = PARTITIONS) -> NDArray[np.int64]:
    """The raw partition of a subscriber."""
    return ((who * 2_654_435_761) & 0xFFFFFFFF) * partitions >> 32


def blocks(
    size: Size, events: Events, an_array: int, partitions: int = PARTITIONS, sentinels: bool = True
) -> Iterator[Block]:
    """Each partition's records whole, with its sentinel at the end if there are to be any."""
    home = partition_of(events.who, partitions)
    order = np.argsort(home, kind="stable")
    bounds = np.searchsorted(home[order], np.arange(partitions + 1))
    cells = texts((*cell_texts(size.cells), "001-01-fffffff"))
    for partition in range(partitions):
        rows = order[bounds[partition] : bounds[partition + 1]]
        who = np.append(events.who[rows], size.subscribers + partition)
        ts = np.append(events.ts[rows], size.end_ms + SENTINEL_MS)
        firsts = np.append(np.arange(0, len(rows), an_array), len(rows))  # the sentinel is a record of its own
        payload = np.empty(len(who) * _LONGEST, np.uint8)
        length = np.empty(len(firsts), np.int32)
        used = _write(
            payload,
            length,
            firsts,
            an_array > 1,
            np.append(rows, size.events + partition),
            imsi_of(who),
            ts,
            np.append(events.cell[rows], partition),
            np.append(events.fault[rows], 0).astype(np.uint8),
            np.append(events.kind[rows], 0).astype(np.uint8),
            cells,
            texts(KINDS),
            texts(("lte", "nr")),
        )
        times = ts[np.append(firsts[1:], len(who)) - 1] + ARRIVES_MS
        if sentinels:
            yield Block(partition, times, length, payload[:used].tobytes())
        else:
            yield Block(partition, times[:-1], length[:-1], payload[: used - int(length[-1])].tobytes())


@kernel
def _write(payload, length, firsts, arrays, number, imsi, ts, cell, fault, kind, cells, kinds, rats):  # type: ignore[no-untyped-def]
    """Write all records and their lengths. Returns how many bytes they take."""
    at = 0
    for record in range(firsts.size):
        begin = at
        after = firsts[record + 1] if record + 1 < firsts.size else imsi.size
        for row in range(firsts[record], after):
            if arrays:
                payload[at] = 91 if row == firsts[record] else 44  # [ or ,
                at += 1
            ident = uint64(number[row] + 1) * uint64(0x9E3779B97F4A7C15)
            at = put_hex(payload, put(payload, at, _ID), ident)
            at = put_digits(payload, put(payload, at, _IMSI), imsi[row], 15)
            if fault[row] == BAD_IMSI:
                payload[at - 3] = 120  # x
            if kind[row] == _ATTACH:
                at = put_digits(payload, put(payload, at, _MSISDN), 4_915_000_000_000 + imsi[row] % 1_000_000_000, 13)
            at = put_digits(payload, put(payload, at, _TAC), 35_000_000 + imsi[row] % 4_999, 8)
            at = put_text(payload, put(payload, at, _KIND), kinds, kind[row])
            at = put(payload, at, _TS)
            at = put(payload, at, _YESTERDAY) if fault[row] == BAD_TIME else put_digits(payload, at, ts[row], 13)
            if fault[row] == MISSING_FIELD:
                at = put(payload, at, _NO_CELL)
            else:
                named = cells.shape[0] - 1 if fault[row] == UNKNOWN_CELL else cell[row]
                at = put(payload, put_text(payload, put(payload, at, _CELL), cells, named), _RAT)
            at = put(payload, put_text(payload, at, rats, cell[row] & 1), _END)
        if arrays:
            payload[at] = 93  # ]
            at += 1
        length[record] = at - begin
    return at
