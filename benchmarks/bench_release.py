"""What a release costs by its size: from a pane's last partition to the bytes that are published, step by step.

Each measure of the default policy by itself, with as many zones as told: exact counts of 16 partitions are summed,
noise is drawn by OpenDP, the ledger record is made, and what it publishes is read from it, as the release role does;
Kafka and Redis are left out, and the noise is drawn here and now. Of many pairs 100,000 occur: few people on most, so
that hardly any is told; and once more with 800 trips on each, so that all are. Wall and CPU time of one pane, the
median of the rounds. Kept in benchmarks/results/release.json.

    python -m benchmarks.bench_release [--zones 1000,10000] [--rounds 4] [--results FILE]
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from benchmarks.peers.peers import RESULTS
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
MANY_TRIPS = 800
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


def panes_of(
    epoch: Epoch, measure: Measure, draws: np.random.Generator, number: int, each: int | None = None
) -> list[bytes]:
    """What the partitions send of one base pane: by a Zipf law, some thousand people in the largest place; or as many
    at each key."""
    keys = measure.keys(epoch.zones, epoch.parents)
    occurring = np.unique(draws.integers(0, keys, MOST_OCCURRING)) if keys > MOST_OCCURRING else np.arange(keys)
    people = 5_000 / np.arange(1, len(occurring) + 1) if each is None else np.full(len(occurring), each)
    share = draws.permutation(people) / PARTITIONS
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

    def medians(self) -> dict[str, dict[str, float]]:
        """Of wall and CPU, by step."""
        both = {"wall_ms": self.wall, "cpu_ms": self.cpu}
        return {of: {name: statistics.median(ms) for name, ms in steps.items()} for of, steps in both.items()}


def measure_one(plan: Plan, measure: Measure, rounds: int, each: int | None = None) -> dict[str, Any]:
    """Release a pane `rounds` times, each on top of the one before; `each`: so many people at each key."""
    epoch = epoch_of(len(plan.zones), len(plan.parents), measure)
    page, clock, last, told = Page(plan, 0.95), Clock(), None, 0
    draws = np.random.default_rng(1)
    for number in range(NUMBER, NUMBER * (rounds + 1), NUMBER):
        sums = Sums()
        sums.begin_anywhere()
        panes = panes_of(epoch, measure, draws, number, each)

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
    keys_of_all = measure.keys(len(plan.zones), len(plan.parents))
    named = {"measure": measure.name, "zones": len(plan.zones), "keys": keys_of_all, "each": each, "records": told}
    return named | clock.medians()


def line(pane: dict[str, Any]) -> str:
    """A pane's figures."""
    steps = "  ".join(f"{name} {ms:,.0f}" for name, ms in pane["cpu_ms"].items())
    return (
        f"{pane['zones']:7,} {pane['measure']:15} {pane['keys']:11,} {pane['records']:8,} "
        f"{sum(pane['wall_ms'].values()):9,.0f} {sum(pane['cpu_ms'].values()):9,.0f}   {steps}"
    )


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    """Print a line for each size and measure, and keep them."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--zones", type=_numbers, default=[316, 1_000, 10_000])
    options.add_argument("--rounds", type=int, default=4)
    options.add_argument("--results", type=Path, default=RESULTS / "release.json")
    chosen = options.parse_args()
    print("  zones measure                keys  records   wall ms    CPU ms   of it")
    panes = []
    for zones in chosen.zones:
        plan = plan_of(zones)
        for measure in DEFAULT_MEASURES:
            from_data = measure.keys_from_data(zones, len(plan.parents))
            for each in (None, MANY_TRIPS) if from_data else (None,):
                panes.append(measure_one(plan, measure, chosen.rounds, each))
                print(line(panes[-1]), flush=True)
    chosen.results.write_text(json.dumps({"rounds": chosen.rounds, "panes": panes}, indent=1) + "\n")


if __name__ == "__main__":
    main()
