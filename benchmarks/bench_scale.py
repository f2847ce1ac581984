"""One gateway and crowd on one core against two of each on two: what a second worker adds, beside a broker that shares.

The peers' input (`peers/job.py`), on a real Kafka and Redis on the same machine. A *set* is one gateway and one crowd,
bound to one core; the servers may use any. The events are published when all workers are ready, while they stand
still, and a source may be read as far ahead of another as the events go (`align_ms`): they are thin for their number.
There are enough of them for some ten seconds: gateways that wait for each other do so for up to a second.
Told for each number of sets, the median of interleaved rounds:

    wall       events a second of wall time, from when the workers go on to the last pane; a gateway may be done before
    CPU        events per CPU-second of both roles
    servers    CPU-seconds of Kafka and Redis in the same time, as a share of one core, and ns an event
    freed      events a second of wall time that the sets' cores would have left if nobody else had used them: the sets'
               number of cores times events per CPU-second (computed, the bound of perfect scaling)

    python -m benchmarks.bench_scale [--sets 1,2] [--rounds 3] [--shape single] [--events 12000000]
"""

import argparse
import asyncio
import json
import logging
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.peers.job import SHAPES, WHOLE
from benchmarks.peers.measure import servers_cpu_s
from benchmarks.peers.peers import RESULTS
from benchmarks.peers.publish import Input, Packed, prepare, publish, registry
from benchmarks.peers.throng import Deployment, Mark, pane_ends, rates, settings_in
from schemas.topics import ATTACH
from streams.local.stack import Stack, start
from tests.support.deployment import fetch

SHOWN: Final = ("wall_rate", "rate", "servers_share", "servers_ns", "freed")
# Gateways tell each other once a second how far they are, and hold what is further ahead than this. With half an hour
# of event time in a few seconds that would be most of the time; of a whole network's events a minute is 3.7 million.
# The session is longer than publishing takes, while the workers stand still.
OTHERS: Final = {"gateway.align_ms": 1_800_000, "kafka.session_ms": 30_000}
READY_S: Final = 120.0
SETTLED_S: Final = 4.0


class Round(NamedTuple):
    """What one run came to; see the module."""

    sets: int
    wall_rate: float
    rate: float
    servers_share: float
    servers_ns: float


def told(line: str) -> None:
    """Show progress at once."""
    print(line, flush=True)


def pin(pid: int, core: int) -> None:
    """Bind all threads of a process to a core."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


def came_to(sets: int, begin: Mark, end: Mark, servers_s: float) -> Round:
    """A run's figures from how far the workers were when they went on and at the end."""
    run = rates(begin, end, {})
    events = end.crowd_events - begin.crowd_events
    return Round(sets, run.wall_rate, run.rate, servers_s / (end.at_s - begin.at_s), servers_s / events * 1e9)


@contextmanager
def halted(pids: Iterable[int]) -> Iterator[None]:
    """Let processes stand still meanwhile: for seconds, less than the group's session."""
    stopped = list(pids)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


async def ready(deployment: Deployment) -> None:
    """Wait until all workers say so, and have for a while: partitions are shared out and the registry is read."""
    since = time.monotonic()
    async with asyncio.timeout(READY_S):
        while time.monotonic() - since < SETTLED_S:
            await asyncio.sleep(0.25)
            try:
                for port in deployment.workers.ports.values():
                    await asyncio.to_thread(fetch, port, "readyz")
            except OSError:
                since = time.monotonic()


async def one(stack: Stack, made: Input, shape: str, consents: list[Packed], sets: int) -> Round:
    """One run with so many sets."""
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        deployment = Deployment(settings_in(Path(name), stack, made.size, OTHERS), Path(name))
        await deployment.fill([], consents, lambda _: None)
        try:
            await deployment.start(sets)
            for worker, process in deployment.workers.running.items():
                pin(process.pid, cores[int(worker.rpartition("-")[2]) % len(cores)])
            await ready(deployment)
            begin = await asyncio.to_thread(deployment.mark)
            with halted(process.pid for process in deployment.workers.running.values()):
                topic = deployment.settings.topic(ATTACH)
                await publish(stack.kafka, topic, made.packed[shape], lambda _: None)
            begin, servers = begin._replace(at_s=time.monotonic()), servers_cpu_s(stack)
            await deployment.until(pane_ends(made.size)[-1])
            end = await asyncio.to_thread(deployment.mark)
            return came_to(sets, begin, end, servers_cpu_s(stack) - servers)
        finally:
            await deployment.stop()


def summary(rounds: Iterable[Round]) -> dict[str, Any]:
    """By number of sets the medians, and what the most gain over the fewest."""
    by_sets: dict[int, list[Round]] = {}
    for each in rounds:
        by_sets.setdefault(each.sets, []).append(each)
    found: dict[str, Any] = {}
    for sets, some in sorted(by_sets.items()):
        medians = {name: statistics.median(getattr(each, name) for each in some) for name in SHOWN[:-1]}
        found[str(sets)] = {**medians, "freed": sets * medians["rate"], "rounds": len(some)}
    fewest, most = found[str(min(by_sets))], found[str(max(by_sets))]
    gains = {name: most[name] / fewest[name] for name in ("wall_rate", "rate")}
    return {"sets": found, "gain": gains}


def table(found: dict[str, Any]) -> str:
    """A line a number of sets, and the gain."""
    lines = [f"\n{'sets':>6}{'wall':>12}{'CPU':>12}{'servers':>10}{'ns':>8}{'freed':>12}"]
    lines += [
        f"{sets:>6}{each['wall_rate']:12,.0f}{each['rate']:12,.0f}{each['servers_share']:10.0%}"
        f"{each['servers_ns']:8,.0f}{each['freed']:12,.0f}"
        for sets, each in found["sets"].items()
    ]
    gain = found["gain"]
    return "\n".join([*lines, f"gain: {gain['wall_rate']:.2f} by wall time, {gain['rate']:.2f} by CPU time"])


async def run(chosen: argparse.Namespace) -> dict[str, Any]:
    """All rounds, by turns."""
    size = WHOLE._replace(events=chosen.events, subscribers=chosen.subscribers)
    made, consents = prepare(size, told), registry(size.subscribers)
    rounds = []
    with start(ephemeral=True, progress=told, heap_mb=1024) as stack:
        for number in range(chosen.rounds):
            for sets in map(int, chosen.sets.split(",")):
                rounds.append(await one(stack, made, chosen.shape, consents, sets))
                told(f"round {number + 1}, {sets} sets: {rounds[-1].wall_rate:,.0f} events/s")
    return {**summary(rounds), "shape": chosen.shape, "events": chosen.events, "cores": len(os.sched_getaffinity(0))}


def main() -> None:
    """Print the table and the figures as JSON, and keep them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default="1,2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shape", choices=list(SHAPES), default="single")
    parser.add_argument("--events", type=int, default=12_000_000)
    parser.add_argument("--subscribers", type=int, default=WHOLE.subscribers)
    parser.add_argument("--results", type=Path, default=RESULTS / "scale.json")
    chosen = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # retries while topics settle
    found = asyncio.run(run(chosen))
    chosen.results.parent.mkdir(exist_ok=True)
    chosen.results.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
