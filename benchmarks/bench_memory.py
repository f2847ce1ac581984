"""What a subscriber takes in a crowd's memory and in its snapshot in Redis, all of it, at the moment when it is most.

A partition has 62,500 subscribers, as each of 16 partitions has of a million, and 1,000 zones. Two ways of living:

    job    that of the peers' events (`peers/job.py`), two hours: everybody moves on every 20 minutes
    day    that of a simulated town, from 06:00 to 18:00 of a Monday

Both end with a minute to go to the hour, when the panes of an hour hold most. Told in bytes a subscriber, by what it
is for (`Part`), with how many departures of the last hour each has. Kept in benchmarks/results/memory.json.

    python -m benchmarks.bench_memory [--subscribers 62500] [--zones 1000] [--results FILE]
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks import bench_stages
from benchmarks.core_job import Core
from benchmarks.peers.job import WHOLE, draw
from benchmarks.peers.peers import RESULTS
from benchmarks.sizes_by_turns import slices
from streams.core.crowd.crowd import Crowd
from streams.core.crowd.departures import HEAD, TAIL
from streams.core.crowd.snapshot import BESIDE, to_columns
from streams.core.distances import positions_of
from streams.core.events.records import walk
from streams.core.inline import Inline
from streams.stores.snapshots import compress

PARTITIONS: Final = 16
SUBSCRIBERS: Final = 62_500
ZONES: Final = 1_000
DAY_MINUTES: Final = 12 * 60 - 1
ROWS: Final = ("subscriber_planes", *BESIDE)


class Part(NamedTuple):
    """Bytes a subscriber.

    Attributes:
        rows: everybody's own: the row, counts against caps, zones visited. departures: of the last hour. lists: who
            was counted at which key of the open panes. counts: those of places, and room for what is about to be
            listed; the same however many subscribers there are. snapshot_rows: `rows` as stored in Redis, snapshot:
            all of it.
    """

    rows: float
    departures: float
    lists: float
    counts: float
    snapshot_rows: float
    snapshot: float

    @property
    def memory(self) -> float:
        """All that is in memory."""
        return self.rows + self.departures + self.lists + self.counts


def part(crowds: Sequence[Crowd]) -> Part:
    """What they take, a subscriber."""
    subscribers = sum(crowd.subscribers for crowd in crowds)
    snapshots = [to_columns(crowd) for crowd in crowds]
    populations = [crowd.population for crowd in crowds if crowd.population is not None]

    def each(arrays: Iterable[NDArray[np.generic]]) -> float:
        return round(sum(array.nbytes for array in arrays) / subscribers, 1)

    def stored(columns: list[dict[str, bytes]]) -> float:
        return round(sum(len(compress(of)[0]) for of in columns) / subscribers, 1)

    return Part(
        rows=each(column for one in populations for column in one.slots),
        departures=each(one.departures.ring for one in populations),
        lists=each(column for one in populations for parts in one.listed for listed in parts for column in listed),
        counts=each(
            array for one in populations for array in (*one.tally, *one.running) if isinstance(array, np.ndarray)
        ),
        snapshot_rows=stored([{name: column for name, column in of.items() if name in ROWS} for of in snapshots]),
        snapshot=stored(snapshots),
    )


def departures(crowds: Sequence[Crowd]) -> float:
    """Departures of the last hour that a subscriber has."""
    spans = [crowd.population.departures.span for crowd in crowds if crowd.population is not None]
    return round(sum(int(span[HEAD] - span[TAIL]) for span in spans) / sum(crowd.subscribers for crowd in crowds), 1)


def after_the_job(subscribers: int, zones: int) -> list[Crowd]:
    """Crowds that have counted the peers' events, of 16 partitions."""
    whole = WHOLE._replace(
        subscribers=subscribers * PARTITIONS,
        events=WHOLE.events * subscribers * PARTITIONS // WHOLE.subscribers,
        minutes=WHOLE.minutes - 1,
        zones=zones,
        cells=5 * zones,
    )
    core = Core(whole, PARTITIONS, targets=PARTITIONS)
    inline = core.begin()
    for chunks in slices(whole, draw(whole), PARTITIONS):
        core.take(inline, chunks)
    return inline.crowds


def after_a_day(subscribers: int, zones: int) -> list[Crowd]:
    """The crowd of one partition that has counted a simulated town's day."""
    job = bench_stages.prepare(subscribers, DAY_MINUTES, 100, zones, sources=4, targets=1)
    parents, positions = np.array(job.plan.zone_parents(), np.uint16), positions_of(job.plan)

    def provide(ts_ms: int) -> None:
        raise ValueError(f"{ts_ms} is in no epoch")

    inline = Inline(job.context, provide, parents, job.sources, bench_stages.LONGEST_RECORD, positions)
    for number, (source, batches) in enumerate(job.chunks, 1):
        inline.take(source, walk(batches))
        if number % job.sources == 0:
            inline.count()
    inline.count()
    return inline.crowds


def main() -> None:
    """Print a line for each way of living, and keep them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subscribers", type=int, default=SUBSCRIBERS)
    parser.add_argument("--zones", type=int, default=ZONES)
    parser.add_argument("--results", type=Path, default=RESULTS / "memory.json")
    chosen = parser.parse_args()
    found = {}
    for name, live in {"job": after_the_job, "day": after_a_day}.items():
        crowds = live(chosen.subscribers, chosen.zones)
        taken = part(crowds)
        found[name] = {**taken._asdict(), "memory": round(taken.memory, 1), "departures_each": departures(crowds)}
        print(f"{name:6}" + "".join(f"{what:>18}: {value:<6}" for what, value in found[name].items()), flush=True)
    whole = {"subscribers_a_partition": chosen.subscribers, "zones": chosen.zones, **found}
    chosen.results.write_text(json.dumps(whole, indent=1) + "\n")
    print(json.dumps(whole))


if __name__ == "__main__":
    main()
