"""The simulation itself: a town's events of a span of time, slice by slice, as Kafka record values by partition.

Comes in: a town and a span. Goes out: slices of record time, each holding every partition's records and the truth that
came to pass. Kept between slices: the crowd (about 240 bytes a subscriber) and the events recorded later than the slice
they happened in. The bytes depend on (town, start, end, partitions, batch, rates), not on the slices' length.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from numba import uint64
from numpy.typing import NDArray

from streams.simulate.compiled import Rows, kernel
from streams.simulate.draws import EVENT_ID, hashed
from streams.simulate.fates import NOTES, ROW, meet_fates
from streams.simulate.mobility import ways
from streams.simulate.network import Crowd, advance, begin, finish, network, room
from streams.simulate.people import imsis, msisdns, populate, tacs
from streams.simulate.rates import Rates
from streams.simulate.render import BEAT_EVERY_MS, FAULTS, IDENTITY, Names, Records, record_stream
from streams.simulate.town import RAT_NAMES, TIMEZONE, Town
from streams.simulate.writing import texts

SLICE_MS = 60_000
LONGEST_SLICE_MS = 1 << 22
MOST_PARTITIONS = 1 << 10
_PLACE_BITS = 22
_LATER = np.uint64(0xFFFFFFFFFFFFFFFF)
KINDS = ("update", "attach", "handover", "service", "detach")


class Slice(NamedTuple):
    """A slice [start_ms, end_ms) of record time: `Records`' columns, what is in it by name, and the truth.

    The truth is where subscribers truly were, one `network.TRUTH` a stretch, told when the stretch ends: the
    subscriber's number, the zone, the mode (0 phone off, 1 staying, 2 on the way), and [begin, end) in ms.
    """

    start_ms: int
    end_ms: int
    payload: NDArray[np.uint8]
    begin: NDArray[np.int64]
    end: NDArray[np.int64]
    time: NDArray[np.int64]
    starts: NDArray[np.int64]
    counts: dict[str, int]
    truth: Rows

    def values(self, partition: int) -> Iterator[tuple[int, bytes | None]]:
        """A partition's records in order: record time and value."""
        payload = self.payload.tobytes()
        for row in range(int(self.starts[partition]), int(self.starts[partition + 1])):
            end = int(self.end[row])
            yield int(self.time[row]), None if end < 0 else payload[int(self.begin[row]) : end]


def generate(
    town: Town,
    start_ms: int,
    end_ms: int,
    partitions: int = 4,
    batch: int = 1,
    rates: Rates | None = None,
    slice_ms: int = SLICE_MS,
) -> Iterator[Slice]:
    """The slices of [start_ms, end_ms); what is recorded later than end_ms is cut off, as when a recording stops.

    Args:
        partitions: raw partitions; a cell's events always go to the same one, as from a collector of its area.
        batch: events a record; more than one makes JSON arrays.
        rates: what goes wrong; `consent` and the rates after it belong to the town and aren't looked at here.

    Raises:
        ValueError: a span, partitions, batch or slice that can't be.
    """
    if not (start_ms % 1000 == end_ms % 1000 == slice_ms % 1000 == 0 and start_ms < end_ms):
        raise ValueError("a simulation runs from one whole second to a later one, in slices of whole seconds")
    if not 0 < slice_ms <= LONGEST_SLICE_MS:
        raise ValueError(f"a slice lasts up to {LONGEST_SLICE_MS // 1000} s, not {slice_ms / 1000} s")
    if not 1 <= partitions <= MOST_PARTITIONS or batch < 1:
        raise ValueError(f"a simulation has 1 to {MOST_PARTITIONS} partitions and batches of 1 or more")
    return _run(town, start_ms, end_ms, partitions, batch, rates or Rates(), slice_ms)


def _run(
    town: Town, start_ms: int, end_ms: int, partitions: int, batch: int, rates: Rates, slice_ms: int
) -> Iterator[Slice]:
    offset = datetime.fromtimestamp(start_ms / 1000, ZoneInfo(TIMEZONE)).utcoffset()
    w = ways(town, round(offset.total_seconds() * 1000) if offset else 0)
    n = network(town, rates.ping_pong)
    people, places, visits = populate(town)
    crowd = Crowd(people, np.zeros(people.size, np.int64), places, visits)
    begin(w, n, crowd, start_ms)
    identities = np.zeros(people.size, IDENTITY)
    identities["imsi"], identities["msisdn"], identities["tac"] = imsis(town), msisdns(town), tacs(town)
    names = Names(texts(KINDS), texts(town.cell_text), texts(RAT_NAMES)[town.cell_rat])
    target = collectors(town, partitions)
    last = np.full(partitions, start_ms - BEAT_EVERY_MS, np.int64)
    waiting = np.empty(0, ROW)
    out = room(max(people.size // 4, 4096), max(people.size // 8, 4096))
    for start in range(start_ms, end_ms, slice_ms):
        end = min(start + slice_ms, end_ms)
        happened, truths = [waiting], []
        first = 0
        while first < people.size:
            out.size[:] = 0
            first = advance(w, n, crowd, out, first, end)
            happened.append(meet_fates(town.seed, out, rates, len(FAULTS)))
            truths.append(out.truths[: out.size[1]].copy())
        if end == end_ms:
            truths.append(finish(crowd, end_ms))
        rows = np.concatenate(happened)
        order, starts = _in_order(rows, target, partitions, start, end)
        order, waiting = order[: starts[-1]], rows[order[starts[-1] :]]
        records = record_stream(rows, order, starts, identities, names, last, end, batch)
        yield Slice(start, end, *records[:5], _counts(records), np.concatenate(truths))


def collectors(town: Town, partitions: int) -> NDArray[np.int64]:
    """Each cell's partition: the cells in a drawn order, dealt out evenly."""
    count = len(town.cell_text)
    order = np.lexsort((np.arange(count), hashed(town.seed, EVENT_ID + 64, count)))
    target = np.empty(count, np.int64)
    target[order] = np.arange(count) % partitions
    return target


def _in_order(
    rows: Rows, target: NDArray[np.int64], partitions: int, start: int, end: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows by partition, record time, subscriber and number, as one sorted integer each; and the partitions' bounds.

    Rows recorded at `end` or later come last, beyond the last bound.
    """
    keys = np.empty(rows.size, np.uint64)
    _sort_keys(rows, target, start, end, keys)
    order = np.argsort(keys)
    bounds = np.arange(partitions + 1, dtype=np.uint64) << np.uint64(_PLACE_BITS + 32)
    bounds[-1] = _LATER
    return order, np.searchsorted(keys[order], bounds)


@kernel
def _sort_keys(rows: Rows, target: NDArray[np.int64], start: int, end: int, keys: NDArray[np.uint64]) -> None:
    for k in range(rows.size):
        row = rows[k]
        place = (target[row.cell] << _PLACE_BITS) + row.recorded - start
        tie = (uint64(row.who) << uint64(6)) | (uint64(row.seq) & uint64(63))
        keys[k] = (uint64(place) << uint64(32)) | tie if row.recorded < end else _LATER


def _counts(records: Records) -> dict[str, int]:
    """Events (rows that a gateway will see, whatever is wrong with them), records, beats, notes and faults by name."""
    counts = {"events": int(records.notes.sum()), "records": records.time.size, "beats": records.beats}
    counts |= {name: int(n) for name, n in zip(NOTES[1:], records.notes[1:], strict=True)}
    return counts | {f"fault_{name}": int(n) for name, n in zip(FAULTS, records.faults[1:], strict=True)}
