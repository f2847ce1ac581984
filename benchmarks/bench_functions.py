"""Each hot function alone, ns of CPU a unit: what the stages of `bench_stages.py` are made of.

On the peers' events (one a record), one partition's tables, one thread; the median of rounds over everything, after one
that warms up.

    python -m benchmarks.bench_functions [--events 500000] [--subscribers 200000] [--rounds 5]
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import numpy as np

from benchmarks.bench_release import epoch_of, panes_of
from benchmarks.core_job import LONGEST, Core, chunks_of
from benchmarks.peers.job import PARTITIONS, Size, imsi_of
from benchmarks.peers.peers import RESULTS
from schemas.measures import DEFAULT_MEASURES
from schemas.panes import Pane
from streams.core.crowd.population import Population
from streams.core.crowd.reorder import Reorder, Rows, select
from streams.core.crowd.snapshot import to_columns
from streams.core.events.decode import TYPES, Events, decode
from streams.core.events.records import Records, walk
from streams.core.events.scan import room_for, scan
from streams.core.gateway.framing import Framer, Mark
from streams.core.gateway.gateway import NEVER_MS, Screened, screen
from streams.core.gateway.lateness import behind
from streams.core.gateway.pseudonyms import key_state, pseudonyms
from streams.core.release.budget import rho_of, sensitivity, sigma
from streams.core.release.sums import Sums
from streams.stores.noise import draw
from streams.stores.snapshots import compress

T = TypeVar("T")
MINUTES: Final = 30
KEYS: Final = 10_000
PANE: Final = 12
# What each function's unit is, in the order of the table.
UNITS: Final = {
    "walk": "event",
    "scan": "event",
    "decode": "event",
    "registry look-up": "event",
    "pseudonym": "event",
    "screen": "event",
    "frame": "sighting",
    "reorder": "sighting",
    "presence": "sighting",
    "windows": "sighting",
    "close a pane": "sighting",
    "snapshot": "subscriber",
    "sum": "key of a partition",
    "discrete Gaussian": "key",
}


class Functions:
    """The input, and the functions' CPU times by round, s, with how many units they were for."""

    def __init__(self, size: Size) -> None:
        self.core = Core(size, targets=1)
        self.chunks = chunks_of(size, "single", sentinels=False)
        self.inline = self.core.begin()
        self.context = self.inline._context
        self.spent: dict[str, list[float]] = {}
        self.units: dict[str, int] = {}

    def round(self) -> None:
        """Every function once."""
        self._release()
        self._snapshot(self._crowd(self._gateway()))

    def ns(self) -> dict[str, float]:
        """Medians, ns a unit."""
        return {
            name: round(statistics.median(self.spent[name]) / max(self.units[name], 1) * 1e9, 1)
            for name in UNITS
            if name in self.spent
        }

    def _gateway(self) -> list[tuple[int, Screened, int]]:
        number = sum(chunk.batch.count for chunk in self.chunks)
        sources = [chunk.partition for chunk in self.chunks]
        records = self._timed("walk", number, lambda: [walk([chunk.batch]) for chunk in self.chunks])
        self._timed("scan", number, lambda: [scanned(some) for some in records])
        events = self._timed("decode", number, lambda: [decode(some, LONGEST) for some in records])
        imsis = imsi_of(np.arange(self.core.registry.subscribers - PARTITIONS)).astype(np.uint64)
        asked = np.random.default_rng(1).choice(imsis, number)
        self._timed("registry look-up", number, lambda: self.core.registry.get(asked))
        out, state = np.empty(number, np.uint64), key_state(bytes(range(32)))
        self._timed("pseudonym", number, lambda: pseudonyms(asked, state, out))
        pairs = list(zip(records, events, strict=True))
        rows = self._timed("screen", number, lambda: [screen(r, e, NEVER_MS, self.context) for r, e in pairs])
        afters = [chunk.batch.next_offset for chunk in self.chunks]
        screened = list(zip(sources, rows, afters, strict=True))
        self._timed("frame", sum(len(some.ts) for some in rows), lambda: framed(screened))
        return screened

    def _crowd(self, screened: list[tuple[int, Screened, int]]) -> int:
        waiting = [
            (source, Rows(some.pseudonym, some.ts, some.zone, some.cohort, some.kind)) for source, some, _ in screened
        ]
        number = sum(len(rows.ts) for _, rows in waiting)
        rows = self._timed("reorder", number, lambda: ordered(waiting))
        epoch = self.context.epochs.epochs[0]
        people = Population(epoch, np.array(self.core.plan.zone_parents(), np.uint16), epoch.parents)
        spent = dict.fromkeys(("presence", "windows", "close a pane"), 0.0)
        steps = {"windows": people.advance, "close a pane": people.close_pane}
        first = (int(rows.ts[0]) // epoch.tick_ms + 1) * epoch.tick_ms
        done = 0
        for boundary in range(first, int(rows.ts[-1]) + 1, epoch.tick_ms):
            due = int(np.searchsorted(rows.ts, boundary))
            some = select(rows, slice(done, due))
            spent["presence"] += _cpu_s(lambda: people.handle(some))  # noqa: B023
            spent["windows"] += _cpu_s(lambda: steps["windows"](boundary))  # noqa: B023
            if boundary % epoch.pane_ms == 0:
                spent["close a pane"] += _cpu_s(lambda: steps["close a pane"](boundary))  # noqa: B023
            done = due
        for name, s in spent.items():
            self._note(name, number, s)
        return number

    def _snapshot(self, sightings: int) -> None:
        if not self.inline.crowds[0].subscribers:
            self.core.take(self.inline, self.chunks)
        crowd = self.inline.crowds[0]
        assert sightings and crowd.subscribers
        self._timed("snapshot", crowd.subscribers, lambda: compress(to_columns(crowd)))

    def _release(self) -> None:
        present = DEFAULT_MEASURES[0]
        epoch = epoch_of(KEYS, 1, present)
        panes = panes_of(epoch, present, np.random.default_rng(1), PANE)
        sums = Sums()
        sums.begin_anywhere()

        def add() -> None:
            for offset, pane in enumerate(panes):
                sums.add(msgspec.msgpack.decode(pane, type=Pane), offset, epoch)

        self._timed("sum", KEYS * len(panes), add)
        distance, scale, cost = sensitivity(present, epoch), sigma(present, epoch), rho_of(present, epoch)
        self._timed("discrete Gaussian", KEYS, lambda: draw(np.zeros(KEYS, np.int64), distance, scale, cost))

    def _timed(self, name: str, units: int, work: Callable[[], T]) -> T:
        began = time.process_time()
        result = work()
        self._note(name, units, time.process_time() - began)
        return result

    def _note(self, name: str, units: int, s: float) -> None:
        self.spent.setdefault(name, []).append(s)
        self.units[name] = units


def _cpu_s(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def scanned(records: Records) -> int:
    """The scanner alone, as `decode` calls it; how many rows it found."""
    number, size = len(records.offset), len(records.payload)
    events = Events._make(np.empty(number + size // 64 + 64, kind) for kind in TYPES)
    room = room_for(int((records.end - records.start).max()))
    whole = np.empty(number, np.bool_)
    return int(scan(records.payload, records.start, records.end, LONGEST, room, events, whole)[0])


def framed(screened: list[tuple[int, Screened, int]]) -> int:
    """Frames for one target, a flush after a chunk of each source; how many bytes."""
    framer, size = Framer(1, behind(10_000)), 0
    for source in range(PARTITIONS):
        framer.open(source, Mark(0, NEVER_MS))
    for number, (source, rows, after) in enumerate(screened, 1):
        framer.add(source, rows, after)
        if number % PARTITIONS == 0 or number == len(screened):
            flush = framer.take()
            size += sum(map(len, flush.frames)) if flush else 0
    return size


def ordered(waiting: list[tuple[int, Rows]]) -> Rows:
    """All rows through the reorder buffer, taken out after a chunk of each source, in one piece."""
    buffer, found, highest = Reorder(), [], dict.fromkeys(range(PARTITIONS), 0)
    for number, (source, rows) in enumerate(waiting, 1):
        buffer.add(source, rows)
        highest[source] = max(highest[source], int(rows.ts.max(initial=0)))
        if number % PARTITIONS == 0:
            found.append(buffer.take_before(min(highest.values())))
    found.append(buffer.take_before(max(highest.values()) + 1))
    return Rows(*(np.concatenate(columns) for columns in zip(*found, strict=True)))


def table(ns: dict[str, float]) -> str:
    """A line a function."""
    lines = [f"{'function':20}{'ns':>10}  {'a':20}{'millions a CPU-second':>24}"]
    return "\n".join(
        [*lines, *(f"{name:20}{cost:10,.1f}  {UNITS[name]:20}{1e3 / cost:24,.2f}" for name, cost in ns.items())]
    )


def measured(size: Size, rounds: int) -> dict[str, Any]:
    """Run and count; what the results' file holds."""
    functions = Functions(size)
    functions.round()
    functions.spent.clear()
    for _ in range(rounds):
        functions.round()
    return {"ns": functions.ns(), "events": size.events, "subscribers": size.subscribers, "rounds": rounds}


def main() -> None:
    """Print the table, and keep it."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--events", type=int, default=500_000)
    options.add_argument("--subscribers", type=int, default=200_000)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--results", type=Path, default=RESULTS / "functions.json")
    chosen = options.parse_args()
    found = measured(Size(chosen.subscribers, chosen.events, MINUTES), chosen.rounds)
    chosen.results.parent.mkdir(exist_ok=True)
    chosen.results.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found["ns"]))
    print(json.dumps(found["ns"]))


if __name__ == "__main__":
    main()
