"""What a release costs by its size: from a pane's last partition to the bytes that are published, step by step.

Each measure of the default policy by itself, with as many zones as told: exact counts of 16 partitions are summed,
noise is drawn by OpenDP, the ledger record is made, and what it publishes is read from it, as the release role does;
Kafka and Redis are left out, and the noise is drawn here and now. Of many pairs 100,000 occur. Wall and CPU time of one
pane, the median of the rounds.

    python benchmarks/bench_release.py [--zones 1000,10000] [--rounds 3]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import TypeVar

import msgspec
import numpy as np

from schemas.epochs import Epoch
from schemas.measures import DEFAULT_MEASURES, Measure
from schemas.panes import Pane, sealed, sparse
from schemas.plan import Parent, Plan, Zone
from streams.core.release.budget import rho_for
from streams.core.release.release import Draw, next_record, publications
from streams.core.release.render import Page
from streams.core.release.sums import Sums
from streams.stores.noise import OnTheSpot, draw, draw_pane
from streams.stores.released import redis_values

PARTITIONS = 16
HOUR_MS = 3_600_000
PANE_MS = 300_000
NUMBER = 12
MOST_OCCURRING = 100_000
NOISE = OnTheSpot(draw)
T = TypeVar("T")


def plan_of(zones: int) -> Plan:
    """A plan with a district for 20 zones."""
    parents = tuple(Parent(f"district-{number}", "") for number in range(max(1, zones // 20)))
    return Plan(
        *(1, "bench", "UTC", parents),
        tuple(Zone(f"zone-{number}", "", parents[number // 20 % len(parents)].id) for number in range(zones)),
        (),
    )


def epoch_of(zones: int, parents: int, measure: Measure) -> Epoch:
    """A day that has this measure only."""
    rho = rho_for(2.0, 2e-9)
    return Epoch(
        *(0, 0, 24 * HOUR_MS, 0, "UTC", PARTITIONS, "", zones, parents, (measure,), 2.0, 2e-9, rho, 20, "", "", (0,))
    )


def panes_of(epoch: Epoch, measure: Measure, draws: np.random.Generator, number: int) -> list[bytes]:
    """What the partitions send of one base pane: by a Zipf law, some thousand people in the largest place."""
    keys = measure.keys(epoch.zones, epoch.parents)
    occurring = np.unique(draws.integers(0, keys, MOST_OCCURRING)) if keys > MOST_OCCURRING else np.arange(keys)
    share = draws.permutation(5_000 / np.arange(1, len(occurring) + 1)) / PARTITIONS
    panes = []
    for partition in range(PARTITIONS):
        counted = draws.poisson(share)
        counts = {measure.name: sparse(occurring[counted > 0], counted[counted > 0])}
        start = (number - 1) * PANE_MS
        pane = Pane(*(0, partition, PARTITIONS, number, start, start + PANE_MS, 1, counts, 1_000_000))
        panes.append(msgspec.msgpack.encode(sealed(pane)))
    return panes


class Clock:
    """Wall and CPU times by step, ms."""

    def __init__(self) -> None:
        self.wall: dict[str, list[float]] = {}
        self.cpu: dict[str, list[float]] = {}

    def timed(self, name: str, work: Callable[[], T]) -> T:
        """Run a step."""
        wall, cpu = time.perf_counter(), time.process_time()
        result = work()
        self.wall.setdefault(name, []).append((time.perf_counter() - wall) * 1e3)
        self.cpu.setdefault(name, []).append((time.process_time() - cpu) * 1e3)
        return result

    def line(self) -> str:
        """Medians."""
        wall = {name: statistics.median(times) for name, times in self.wall.items()}
        cpu = {name: statistics.median(times) for name, times in self.cpu.items()}
        steps = "  ".join(f"{name} {cpu[name]:,.0f}" for name in wall)
        return f"{sum(wall.values()):9,.0f} {sum(cpu.values()):9,.0f}   {steps}"


def measure_one(plan: Plan, measure: Measure, rounds: int) -> None:
    """Release a pane `rounds` times, each on top of the one before."""
    epoch = epoch_of(len(plan.zones), len(plan.parents), measure)
    page, clock, last, told = Page(plan, 0.95), Clock(), None, 0
    draws = np.random.default_rng(1)
    for number in range(NUMBER, NUMBER * (rounds + 1), NUMBER):
        sums = Sums()
        sums.begin_anywhere()
        panes = panes_of(epoch, measure, draws, number)

        def add(panes: list[bytes] = panes, sums: Sums = sums) -> None:
            for offset, pane in enumerate(panes):
                sums.add(msgspec.msgpack.decode(pane, type=Pane), offset, epoch)

        clock.timed("sum", add)
        whole = sums.first_whole()
        assert whole is not None
        noisy, keys = clock.timed("noise", lambda: draw_pane(NOISE, epoch, measure, whole.counts[measure.name]))  # noqa: B023
        drawn = Draw(epoch, measure, number, whole.end_ms, noisy, keys)
        last = clock.timed("record", lambda: next_record(drawn, last, None, page, 0, "bench"))  # noqa: B023
        items = clock.timed("read", lambda: publications(last))  # noqa: B023
        clock.timed("show", lambda: redis_values(items, measure.name))  # noqa: B023
        told = len(items)
    most = measure.keys(len(plan.zones), len(plan.parents))
    print(f"{len(plan.zones):7,} {measure.name:15} {most:11,} {told:8,} {clock.line()}")


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    """Print a line for each size and measure."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--zones", type=_numbers, default=[316, 1_000, 10_000])
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    print("  zones measure                keys  records   wall ms    CPU ms   of it")
    for zones in chosen.zones:
        plan = plan_of(zones)
        for measure in DEFAULT_MEASURES:
            measure_one(plan, measure, chosen.rounds)


if __name__ == "__main__":
    main()
