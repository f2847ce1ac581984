"""From a record's arrival in Kafka to what is told of it: producing live on a real Kafka and Redis, seen from outside.

All three roles run as processes. Records of 1,000,000 subscribers are sent at a set rate, a slice each 50 ms to all 16
partitions, with event time `--speed` times as fast as the clock: so a tick (10 s) comes each half second and a pane (5
minutes) each 15 s. Told, in ms, for 1,000 zones and for 10,000:

    counter    from when the record was sent that lets the watermark pass a tick (lateness included, so what is told is
               beyond lateness and tick) to when the tick, or a later one, is seen in Redis; of each partition and tick
    release    from when the record was sent that lets the watermark pass a pane's end to when its released records are
               read from their topic; of each record (present of each pane; hourly measures aren't in the span)

The sending itself, and reading and asking (each 10 ms), are in it. Kept in benchmarks/results/latency.json.

    python -m benchmarks.bench_latency [--rate 50000] [--seconds 75] [--zones 1000,10000]
"""

import argparse
import asyncio
import json
import logging
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from redis.asyncio import Redis

from benchmarks.peers.job import PARTITIONS, START_MS, Size, blocks, draw
from benchmarks.peers.measure import cpu_s
from benchmarks.peers.peers import RESULTS
from benchmarks.peers.publish import Packed, registry
from benchmarks.peers.throng import Deployment, settings_in
from schemas.topics import ATTACH, FLOWS, FOOTFALL
from streams.local.stack import Stack, start
from streams.settings import Settings
from streams.simulate.batches import Batch, batches
from streams.simulate.files import Block
from streams.simulate.publish import producer
from tests.support.deployment import fetch, total

SLICE_S: Final = 0.05
ASK_S: Final = 0.01
WINDOW_MS: Final = 900_000
LOAD_S: Final = 240.0
SETTLE_S: Final = 10.0
PANE_MS: Final = 300_000
WARM_UP: Final = 0.25  # of the time; the first pane, whose noise can't have been drawn ahead, is in it
CELLS: Final = 20_000


class Feed:
    """Slices of records, ready to send, and when each was sent.

    Attributes:
        sent: for each slice the wall time when it was sent, s. reached: the least over the partitions of the largest
            record time up to it, ms.
    """

    def __init__(self, size: Size, speed: float) -> None:
        step = round(SLICE_S * speed * 1000)
        count = (size.end_ms - START_MS) // step
        self.slices: list[list[Packed]] = [[] for _ in range(count)]
        highest = np.zeros((PARTITIONS, count), np.int64)
        for block in blocks(size, draw(size), 1):
            edges = np.searchsorted(block.time, START_MS + step * np.arange(count + 1))
            ends = np.concatenate([[0], np.cumsum(block.length, dtype=np.int64)])
            for number in range(count):
                rows = slice(edges[number], edges[number + 1])
                if rows.start == rows.stop:
                    continue
                part = Block(
                    block.partition,
                    block.time[rows],
                    block.length[rows],
                    block.payload[int(ends[rows.start]) : int(ends[rows.stop])],
                )
                highest[block.partition, number] = int(part.time.max())
                self.slices[number] += [_packed(block.partition, batch) for batch in batches(part)]
        self.reached = np.maximum.accumulate(highest, axis=1).min(axis=0)
        self.sent = np.zeros(count)

    async def go(self, sender: AIOKafkaProducer, topic: str) -> None:
        """Send all but the first, a slice each SLICE_S."""
        due = time.monotonic()
        flying: list[asyncio.Future[object]] = []
        for number, some in enumerate(self.slices[1:], 1):
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self.sent[number] = time.monotonic()
            for each in some:
                batch = Batch(each.count, each.first_ms, each.max_ms, each.records)
                flying.append(await sender.send_batch(batch, topic, partition=each.partition))
            flying = [future for future in flying if not future.done() or future.result() is None]
            due += SLICE_S
        await asyncio.gather(*flying)

    def passed_at(self, boundary_ms: int, lateness_ms: int) -> float | None:
        """When the watermark could pass a boundary, s; None if it couldn't or the feed had just begun."""
        number = int(np.searchsorted(self.reached, boundary_ms + lateness_ms))
        if number >= len(self.sent) or number < len(self.sent) * WARM_UP:
            return None
        return float(self.sent[number])

    def late_s(self) -> float:
        """How much later than due the last slice was sent, s."""
        return float(self.sent[-1] - self.sent[1] - SLICE_S * (len(self.sent) - 2))


def _packed(partition: int, batch: Batch) -> Packed:
    return Packed(partition, batch.record_count(), batch._first_ms, batch._max_ms, batch._records)


class Seen(NamedTuple):
    """When what was seen: (partition, tick, s) of counters; (pane's end, s) of released records."""

    ticks: list[tuple[int, int, float]]
    releases: list[tuple[int, float]]


async def watch_ticks(settings: Settings, seen: Seen) -> None:
    """Ask Redis for the newest tick of each partition, for ever."""
    last = dict.fromkeys(range(settings.kafka.partitions), 0)
    keys = [f"{settings.kafka.namespace}:{{p{p}}}:counts:{WINDOW_MS // 1000}" for p in last]
    async with Redis.from_url(settings.redis.url) as redis:
        while True:
            async with redis.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.getrange(key, 0, 7)
                found = await pipe.execute()
            now = time.monotonic()
            for partition, head in enumerate(found):
                tick = int.from_bytes(head, "little") if len(head) == 8 else 0
                if tick > last[partition]:
                    last[partition] = tick
                    seen.ticks.append((partition, tick, now))
            await asyncio.sleep(ASK_S)


async def watch_releases(settings: Settings, seen: Seen) -> None:
    """Read what is released, for ever."""
    topics = [settings.topic(FOOTFALL), settings.topic(FLOWS)]
    consumer = AIOKafkaConsumer(
        *topics,
        bootstrap_servers=settings.kafka.bootstrap,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_wait_ms=10,
    )
    await consumer.start()
    try:
        while True:
            found = await consumer.getmany(timeout_ms=100)
            now = time.monotonic()
            for records in found.values():
                for record in records:
                    seen.releases.append((end_of(record.value), now))
    finally:
        await consumer.stop()


def end_of(value: bytes) -> int:
    """The pane's end of a released record, ms."""
    return round(datetime.fromisoformat(orjson.loads(value)["end"]).timestamp() * 1000)


def percentiles(latencies_s: list[float]) -> dict[str, float | int]:
    """p50 and p99 in ms, and of how many."""
    if not latencies_s:
        return {"samples": 0}
    p50, p99 = np.percentile(np.array(latencies_s) * 1000, [50, 99])
    return {"p50": round(float(p50)), "p99": round(float(p99)), "samples": len(latencies_s)}


def counter_latencies(feed: Feed, seen: Seen, settings: Settings) -> list[float]:
    """Of each partition and tick: from passing to the first time that the tick or a later one was seen."""
    found = []
    tick_ms, lateness_ms = settings.epoch.tick_ms, settings.epoch.lateness_ms
    for partition in range(settings.kafka.partitions):
        ticks = [(tick, at) for of, tick, at in seen.ticks if of == partition]
        for boundary in range(START_MS + tick_ms, int(feed.reached[-1]), tick_ms):
            passed = feed.passed_at(boundary, lateness_ms)
            shown = next((at for tick, at in ticks if tick >= boundary), None)
            if passed is not None and shown is not None:
                found.append(shown - passed)
    return found


def release_latencies(feed: Feed, seen: Seen, settings: Settings) -> list[float]:
    """Of each released record: from the passing of its pane's end."""
    found = []
    for end_ms, at in seen.releases:
        passed = feed.passed_at(end_ms, settings.epoch.lateness_ms)
        if passed is not None:
            found.append(at - passed)
    return found


async def warm(deployment: Deployment) -> None:
    """Wait until the first slice is with the crowd: then the gateway has read the registry, twice."""
    async with asyncio.timeout(LOAD_S):
        while True:
            await asyncio.sleep(1.0)
            try:
                said = await asyncio.to_thread(fetch, deployment.workers.ports["crowd-0"])
            except OSError:
                continue
            if sum(total({"crowd": said}, "crowd", "throng_crowd_sightings_total").values()):
                break
    await asyncio.sleep(SETTLE_S)


async def ended(watching: list[asyncio.Task[None]]) -> None:
    """End them. Asked more than once: a wait for an answer that comes just then swallows it (Python before 3.12,
    https://github.com/python/cpython/issues/86296)."""
    left = set(watching)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=1)


async def measure(stack: Stack, zones: int, chosen: argparse.Namespace, consents: list[Packed]) -> dict[str, Any]:
    """One run."""
    events = round(chosen.rate * chosen.seconds)
    minutes = round(chosen.seconds * chosen.speed / 60)
    size = Size(chosen.subscribers, events, minutes, zones=zones, cells=CELLS)
    print(f"{zones:,} zones: making {events:,} events", flush=True)
    feed, seen = Feed(size, chosen.speed), Seen([], [])
    sender = producer(stack.kafka)
    with tempfile.TemporaryDirectory() as name:
        settings = settings_in(Path(name), stack, size)
        deployment = Deployment(settings, Path(name))
        await deployment.fill(feed.slices[0], consents, lambda _: None)
        watching = []
        try:
            await sender.start()
            await deployment.start()
            await deployment.workers.start("release-0")
            watching = [asyncio.create_task(watch(settings, seen)) for watch in (watch_ticks, watch_releases)]
            await warm(deployment)
            print(f"  sending {chosen.rate:,} events/s for {chosen.seconds} s", flush=True)
            before = {n: cpu_s(process.pid) for n, process in deployment.workers.running.items()}
            await feed.go(sender, settings.topic(ATTACH))
            busy = {n: cpu_s(process.pid) - before[n] for n, process in deployment.workers.running.items()}
            await asyncio.sleep(SETTLE_S)
        finally:
            await ended(watching)
            await sender.stop()
            await deployment.stop()
    figures = {
        "counter": percentiles(counter_latencies(feed, seen, settings)),
        "release": percentiles(release_latencies(feed, seen, settings)),
    }
    shares = ", ".join(f"{n.split('-')[0]} {spent / chosen.seconds:.0%}" for n, spent in busy.items())
    print(f"  {figures}; of a core: {shares}; the feed was {feed.late_s():.1f} s late at its end", flush=True)
    return figures


async def run(chosen: argparse.Namespace) -> dict[str, Any]:
    """All runs."""
    consents = registry(chosen.subscribers)
    found = {}
    with start(ephemeral=True, progress=print, heap_mb=1024) as stack:
        for zones in map(int, chosen.zones.split(",")):
            found[f"{zones}_zones"] = await measure(stack, zones, chosen, consents)
    return found


def options() -> argparse.ArgumentParser:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=50_000, help="events a second")
    parser.add_argument("--seconds", type=int, default=75)
    parser.add_argument("--speed", type=float, default=20.0, help="of event time")
    parser.add_argument("--zones", default="1000,10000")
    parser.add_argument("--subscribers", type=int, default=1_000_000)
    parser.add_argument("--results", type=Path, default=RESULTS / "latency.json")
    return parser


async def measured(chosen: argparse.Namespace) -> dict[str, Any]:
    """All runs, kept in the results' file."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # retries while topics settle
    found = await run(chosen)
    kept = {"latency_ms": found, "rate": chosen.rate, "speed": chosen.speed, "subscribers": chosen.subscribers}
    chosen.results.parent.mkdir(exist_ok=True)
    chosen.results.write_text(json.dumps(kept, indent=1) + "\n")
    return found


def table(found: dict[str, Any]) -> str:
    """A line a number of zones and kind."""
    lines = [f"\n{'latency, ms':34}{'p50':>10}{'p99':>10}{'samples':>10}"]
    for zones, kinds in found.items():
        for kind, figures in kinds.items():
            told = "".join(f"{figures.get(name, '-'):>10}" for name in ("p50", "p99", "samples"))
            lines.append(f"{f'{kind}, {zones}'.replace('_', ' '):34}{told}")
    return "\n".join(lines)


def main() -> None:
    """Print the figures as a table and as JSON, and keep them."""
    found = asyncio.run(measured(options().parse_args()))
    print(table(found))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
