"""What an event costs throng's core, and a subscriber in memory, from small to large: one thread, no servers.

Everybody is heard once (the fill), then events are taken in steady state, 4,000 a second of event time whatever the
size, from record batches to panes. All sizes stand in one process and take a slice each by turns, since a shared
machine is faster and slower by the minute: what is told of a size is the median of its turns. Told: CPU of gateway and
crowd in ns an event; how many presences an event ended, since that is most of a crowd's work, and subscribers who are
heard more rarely have moved more often; bytes a subscriber of the crowds' tables of them. What else a crowd holds goes
by how people live, not by how many they are: `bench_memory.py`. `python -m benchmarks.curves` runs this.
"""

import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from benchmarks.core_job import Chunk, Core, chunks_of
from benchmarks.peers.job import Events, Size, draw
from streams.core.crowd.crowd import Crowd
from streams.core.crowd.departures import HEAD

EVENTS_A_S: Final = 4_000
FILL_MINUTES: Final = 10
SLICE: Final = 250_000
TARGETS: Final = 4
USUAL: Final = (200_000, 1_000, 16)


class Case(NamedTuple):
    """One size. `partitions` of the raw topic, and of sightings but for 4 at least."""

    subscribers: int
    zones: int
    partitions: int


class Steady:
    """A deployment of one size that has heard everybody, and what its turns cost. `turns`: how many it has events
    for, beside a first one that warms it up."""

    def __init__(self, case: Case, turns: int) -> None:
        count = (turns + 1) * SLICE
        minutes = -(-count // (EVENTS_A_S * 60))
        self.case = case
        self.size = Size(case.subscribers, count, minutes, zones=case.zones, cells=max(5_000, 2 * case.zones))
        self.core = Core(self.size, case.partitions, targets=max(TARGETS, case.partitions))
        self.inline = self.core.begin()
        for chunks in slices(self.size, everybody_once(self.size), case.partitions):
            self.core.take(self.inline, chunks)
        drawn = draw(self.size)
        later = drawn._replace(ts=drawn.ts + FILL_MINUTES * 60_000)
        self.chunks = slices(self.size, later, case.partitions)
        self.gateway_ns: list[float] = []
        self.crowd_ns: list[float] = []
        self.core.take(self.inline, next(self.chunks))
        self.ended_before = self.ended()

    def turn(self) -> None:
        """Take a slice."""
        chunks = next(self.chunks)
        self.core.gateway_s = self.core.crowd_s = 0.0
        self.core.take(self.inline, chunks)
        self.gateway_ns.append(self.core.gateway_s / SLICE * 1e9)
        self.crowd_ns.append(self.core.crowd_s / SLICE * 1e9)

    def ended(self) -> int:
        """Presences that have ended so far."""
        populations = (crowd.population for crowd in self.inline.crowds)
        return sum(int(each.departures.span[HEAD]) for each in populations if each is not None)

    def figures(self) -> dict[str, Any]:
        """What is told of this size."""
        both = statistics.median(map(sum, zip(self.gateway_ns, self.crowd_ns, strict=True)))
        return {
            **self.case._asdict(),
            "gateway_ns": round(statistics.median(self.gateway_ns)),
            "crowd_ns": round(statistics.median(self.crowd_ns)),
            "events_per_cpu_s": round(1e9 / both),
            "ended": round((self.ended() - self.ended_before) / (len(self.crowd_ns) * SLICE), 2),
            "row_bytes": round(sum(map(row_bytes, self.inline.crowds)) / self.case.subscribers, 1),
        }


def slices(size: Size, events: Events, partitions: int) -> Iterator[list[Chunk]]:
    """The records of the events, in parts."""
    for first in range(0, len(events.who), SLICE):
        part = Events(*(column[first : first + SLICE] for column in events))
        yield chunks_of(size, "single", partitions, part, sentinels=False)


def everybody_once(size: Size) -> Events:
    """Each subscriber once, in some order, evenly in the first minutes."""
    drawn = draw(size._replace(events=size.subscribers, minutes=FILL_MINUTES))
    who = np.random.default_rng(2).permutation(size.subscribers)
    return drawn._replace(who=who, fault=np.zeros(len(who), np.uint8))


def row_bytes(crowd: Crowd) -> int:
    """Bytes of a crowd's table of subscribers."""
    return 0 if crowd.population is None else sum(column.nbytes for column in crowd.population.slots)


def by_turns(cases: Sequence[Case], turns: int, told: Callable[[str], None]) -> dict[Case, dict[str, Any]]:
    """The figures of all sizes, each of which takes a slice in each of so many turns."""
    steady = []
    for case in cases:
        steady.append(Steady(case, turns))
        told(f"filled {case.subscribers:,} subscribers, {case.zones:,} zones, {case.partitions} partitions")
    for number in range(turns):
        for each in steady:
            each.turn()
        told(f"turn {number + 1} of {turns}")
    return {each.case: each.figures() for each in steady}
