"""What an event costs throng's core, and a subscriber in memory, from small to large: one thread, no servers.

Everybody is heard once (the fill), then `--events` events are taken in steady state, 4,000 a second of event time
whatever the size, from record batches to panes. Each size runs in a process of its own. Told: CPU of gateway and crowd
in ns an event; how many presences an event ended, since that is most of a crowd's work, and subscribers who are heard
more rarely have moved more often; bytes a subscriber of the crowd's tables, of the process's memory that came with the
fill, and of a snapshot as stored in Redis (zstd).

    python -m benchmarks.bench_flat [--events 1000000] [--subscribers 10000,100000,1000000,5000000]
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import zstandard

from benchmarks.core_job import Chunk, Core, chunks_of
from benchmarks.peers.job import Events, Size, draw
from benchmarks.peers.measure import memory_mb
from streams.core.crowd import Crowd
from streams.core.departures import HEAD
from streams.core.snapshot import to_columns

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


def run(case: Case, count: int) -> dict[str, Any]:
    """One size, in this process."""
    seconds = count / EVENTS_A_S
    cells = max(5_000, 2 * case.zones)
    size = Size(case.subscribers, count, -int(-seconds // 60), zones=case.zones, cells=cells)
    core = Core(size, case.partitions, targets=max(TARGETS, case.partitions))
    inline = core.begin()
    before_mb = memory_mb(os.getpid())
    for chunks in slices(size, everybody_once(size), case.partitions):
        core.take(inline, chunks)
    after_mb = memory_mb(os.getpid())
    drawn = draw(size)
    later = drawn._replace(ts=drawn.ts + FILL_MINUTES * 60_000)
    warm = Events(*(column[: count // 4] for column in later))
    rest = Events(*(column[count // 4 :] for column in later))
    for chunks in slices(size, warm, case.partitions):
        core.take(inline, chunks)
    core.gateway_s = core.crowd_s = 0.0
    ended_before = sum(map(ended, inline.crowds))
    for chunks in slices(size, rest, case.partitions):
        core.take(inline, chunks)
    taken = len(rest.who)
    return {
        **case._asdict(),
        "gateway_ns": round(core.gateway_s / taken * 1e9),
        "crowd_ns": round(core.crowd_s / taken * 1e9),
        "events_per_cpu_s": round(taken / (core.gateway_s + core.crowd_s)),
        "ended": round((sum(map(ended, inline.crowds)) - ended_before) / taken, 2),
        "table_bytes": round(sum(map(table_bytes, inline.crowds)) / case.subscribers, 1),
        "memory_bytes": round((after_mb - before_mb) * 1e6 / case.subscribers, 1),
        "snapshot_bytes": round(sum(map(snapshot_bytes, inline.crowds)) / case.subscribers, 1),
    }


def ended(crowd: Crowd) -> int:
    """Presences that have ended so far."""
    assert crowd.population is not None
    return int(crowd.population.departures.span[HEAD])


def table_bytes(crowd: Crowd) -> int:
    """Bytes of a crowd's table of subscribers and ring of departures."""
    population = crowd.population
    assert population is not None
    arrays = [*population.slots, *(field for field in population.departures if isinstance(field, np.ndarray))]
    return sum(array.nbytes for array in arrays)


def snapshot_bytes(crowd: Crowd) -> int:
    """Bytes of a crowd's snapshot, compressed."""
    pack = zstandard.ZstdCompressor(level=1)
    return sum(len(pack.compress(column)) for column in to_columns(crowd).values())


def cases(options: argparse.Namespace) -> list[Case]:
    """All sizes: each of the three by itself, the others as usual."""
    subscribers, zones, partitions = USUAL
    return [
        *(Case(int(each), zones, partitions) for each in options.subscribers.split(",")),
        *(Case(subscribers, int(each), partitions) for each in options.zones.split(",")),
        *(Case(subscribers, zones, int(each)) for each in options.partitions.split(",")),
    ]


def alone(case: Case, count: int) -> dict[str, Any]:
    """One size in a process of its own."""
    words = [sys.executable, "-m", "benchmarks.bench_flat", "--events", str(count), "--only", json.dumps(case)]
    said = subprocess.run(words, capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent)
    found: dict[str, Any] = json.loads(said.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print a line a size, then all as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--subscribers", default="10000,100000,1000000,5000000")
    parser.add_argument("--zones", default="100,1000,10000")
    parser.add_argument("--partitions", default="1,4,16,64")
    parser.add_argument("--rounds", type=int, default=1, help="of each size; the one that cost least is told")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results" / "flat.json")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(run(Case(*json.loads(options.only)), options.events)))
        return
    found = []
    for case in cases(options):
        rounds = [alone(case, options.events) for _ in range(options.rounds)]
        best = max(rounds, key=lambda figures: figures["events_per_cpu_s"])
        if not found:
            print("".join(f"{name:>18}" for name in best))
        print("".join(f"{value:>18,}" for value in best.values()), flush=True)
        found.append(best)
    options.results.parent.mkdir(exist_ok=True)
    options.results.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
