"""From a record's arrival in Kafka to what is told of it: producing live on a real Kafka and Redis, seen from outside.

All three roles run as processes. Records of 1,000,000 subscribers are sent at a set rate, a slice each 50 ms to all 16
partitions, with event time `--speed` times as fast as the clock: so a tick (10 s) comes each half second and a pane (5
minutes) each 15 s. Told, in ms, for 1,000 zones and for 10,000:

    counter    from when the record was sent that lets the watermark pass a tick (lateness included, so what is told is
               beyond lateness and tick) to when the tick, or a later one, is seen in Redis; of each partition and tick
    release    from when the record was sent that lets the watermark pass a pane's end to when its released records are
               read from their topic; of each record, of all measures and by measure; and of how many panes these are

The sending itself, and reading and asking (each 10 ms), are in it. The first pane is not: the workers have just begun.
Who ends, or closes a pane without a release, ends the benchmark with its last words. Kept in
benchmarks/results/latency.json: a run whose span has the end of an hour, at which five measures are due together and
three of them for the first time, under `hour`, and every other beside it.

    python -m benchmarks.bench_latency [--rate 500000] [--seconds 75] [--zones 1000,10000]
    python -m benchmarks.bench_latency --minutes 65 --rate 20000 --subscribers 300000 --zones 10000
"""

import argparse
import asyncio
import contextlib
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
from schemas.measures import DEFAULT_MEASURES
from schemas.topics import ATTACH, DWELL, FLOWS, FOOTFALL, VISITS
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
# A release that takes longer than this from the last event on is missing.
PATIENCE_S: Final = 120.0
PANE_MS: Final = 300_000
HOUR_MS: Final = 3_600_000
FIRST_PANE_MS: Final = START_MS + PANE_MS
CELLS: Final = 20_000
HOUR: Final = "hour"
# What follows from a measure's panes beside its own records.
BESIDE: Final = {"arrivals": ("footfall", "departures")}


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
        """When the watermark could pass a boundary, s; None if it couldn't, or for what the first pane holds."""
        number = int(np.searchsorted(self.reached, boundary_ms + lateness_ms))
        if number >= len(self.sent) or boundary_ms <= FIRST_PANE_MS:
            return None
        return float(self.sent[number])

    def passed(self, pane_ms: int, lateness_ms: int) -> dict[int, float]:
        """The ends of the panes of that length that the watermark could pass, ms, and when, s; without the first one's
        of all."""
        ends = range(START_MS + pane_ms, int(self.reached[-1]) + 1, pane_ms)
        return {end: passed for end in ends if (passed := self.passed_at(end, lateness_ms)) is not None}

    def late_s(self) -> float:
        """How much later than due the last slice was sent, s."""
        return float(self.sent[-1] - self.sent[1] - SLICE_S * (len(self.sent) - 2))


def _packed(partition: int, batch: Batch) -> Packed:
    return Packed(partition, batch.record_count(), batch._first_ms, batch._max_ms, batch._records)


class Seen(NamedTuple):
    """When what was seen: (partition, tick, s) of counters; by measure and pane's end the times of released records."""

    ticks: list[tuple[int, int, float]]
    releases: dict[tuple[str, int], list[float]]


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
    topics = [settings.topic(name) for name in (FOOTFALL, FLOWS, DWELL, VISITS)]
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
                    seen.releases.setdefault(pane_of(record.value), []).append(now)
    finally:
        await consumer.stop()


def pane_of(value: bytes) -> tuple[str, int]:
    """The measure of a released record, and its pane's end, ms."""
    said = orjson.loads(value)
    return said["measure"], round(datetime.fromisoformat(said["end"]).timestamp() * 1000)


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


def release_latencies(feed: Feed, seen: Seen, lateness_ms: int) -> dict[str, dict[str, float | int]]:
    """Of each released record from the passing of its pane's end: of all, and by measure. `panes`: of how many these
    are; `due`: how many the watermark has passed."""
    late: dict[str, list[list[float]]] = {}
    for measure in DEFAULT_MEASURES:
        for name in (measure.name, *BESIDE.get(measure.name, ())):
            of = [
                [at - passed for at in seen.releases.get((name, end), ())]
                for end, passed in feed.passed(measure.pane_ms, lateness_ms).items()
                # Nobody was counted at the start of the first window: what needs it has nothing to tell.
                if name == measure.name or end > START_MS + measure.pane_ms
            ]
            if of:
                late[name] = of
    every = {"release": [pane for panes in late.values() for pane in panes]}
    return {
        name: percentiles([each for pane in panes for each in pane])
        | {"panes": sum(map(bool, panes)), "due": len(panes)}
        for name, panes in (every | {f"release of {name}": panes for name, panes in late.items()}).items()
    }


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


async def released(deployment: Deployment, feed: Feed) -> None:
    """Wait until all that is due is closed.

    Raises:
        SystemExit: a worker ended, or closed a pane without a release.
    """
    workers, lateness_ms = deployment.workers, deployment.settings.epoch.lateness_ms
    due = {each.name: max(feed.passed(each.pane_ms, lateness_ms), default=0) / 1000 for each in DEFAULT_MEASURES}
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        for name, process in workers.running.items():
            if process.returncode is not None:
                raise SystemExit(f"{name} ended with {process.returncode}:\n{workers.last_words(name)}")
        with contextlib.suppress(OSError):  # it answers late
            said = {"release": await asyncio.to_thread(fetch, workers.ports["release-0"])}
            if voids := total(said, "release", "throng_release_voids_total"):
                raise SystemExit(f"closed without a release: {dict(voids)}\n{workers.last_words('release-0')}")
            ends = total(said, "release", "throng_release_pane_end_seconds")
            if all(ends[name] >= end for name, end in due.items()):
                break
        await asyncio.sleep(1.0)
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
    minutes = event_minutes(chosen)
    size = Size(chosen.subscribers, events, minutes, zones=zones, cells=CELLS)
    print(f"{zones:,} zones: making {events:,} events", flush=True)
    feed, seen = Feed(size, chosen.speed), Seen([], {})
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
            print(f"  sending {chosen.rate:,} events/s for {chosen.seconds:g} s", flush=True)
            before = {n: cpu_s(process.pid) for n, process in deployment.workers.running.items()}
            await feed.go(sender, settings.topic(ATTACH))
            busy = {n: cpu_s(process.pid) - before[n] for n, process in deployment.workers.running.items()}
            await released(deployment, feed)
        finally:
            await ended(watching)
            await sender.stop()
            await deployment.stop()
    figures = {
        "counter": percentiles(counter_latencies(feed, seen, settings)),
        **release_latencies(feed, seen, settings.epoch.lateness_ms),
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
    parser.add_argument("--rate", type=int, default=500_000, help="events a second")
    parser.add_argument("--seconds", type=float, default=75, help="of sending")
    parser.add_argument("--minutes", type=float, help="of event time, in place of --seconds")
    parser.add_argument("--speed", type=float, default=20.0, help="of event time")
    parser.add_argument("--zones", default="1000,10000")
    parser.add_argument("--subscribers", type=int, default=1_000_000)
    parser.add_argument("--results", type=Path, default=RESULTS / "latency.json")
    return parser


async def measured(chosen: argparse.Namespace) -> dict[str, Any]:
    """All runs, kept in the results' file."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # retries while topics settle
    chosen.seconds = seconds(chosen)
    found = await run(chosen)
    keep(chosen, found)
    return found


def keep(chosen: argparse.Namespace, found: dict[str, Any]) -> None:
    """Keep what was found, and what the file has of the other span."""
    names = ("rate", "speed", "seconds", "subscribers")
    kept = {"latency_ms": found, **{name: getattr(chosen, name) for name in names}, "minutes": event_minutes(chosen)}
    before = json.loads(chosen.results.read_text()) if chosen.results.exists() else {}
    if event_minutes(chosen) * 60_000 > HOUR_MS:
        kept = {**(before or {**kept, "latency_ms": {}}), HOUR: kept}
    elif HOUR in before:
        kept[HOUR] = before[HOUR]
    chosen.results.parent.mkdir(exist_ok=True)
    chosen.results.write_text(json.dumps(kept, indent=1) + "\n")


def seconds(chosen: argparse.Namespace) -> float:
    """Of sending."""
    return float(chosen.seconds if chosen.minutes is None else chosen.minutes * 60 / chosen.speed)


def event_minutes(chosen: argparse.Namespace) -> int:
    """Of event time."""
    return round(chosen.seconds * chosen.speed / 60)


def panes(figures: dict[str, Any]) -> str:
    """Of how many panes a figure is; of how many due, if some have no record. Counters have none."""
    came, due = figures.get("panes"), figures.get("due")
    return "" if came is None else f"{came}" if came == due else f"{came} of {due}"


def table(found: dict[str, Any]) -> str:
    """A line a number of zones and kind."""
    lines = [f"\n{'latency, ms':40}{'p50':>10}{'p99':>10}{'samples':>10}{'panes':>8}"]
    for zones, kinds in found.items():
        for kind, figures in kinds.items():
            told = "".join(f"{figures.get(name, '-'):>10}" for name in ("p50", "p99", "samples"))
            lines.append(f"{f'{kind}, {zones}'.replace('_', ' '):40}{told}{panes(figures):>8}")
    return "\n".join(lines)


def main() -> None:
    """Print the figures as a table and as JSON, and keep them."""
    found = asyncio.run(measured(options().parse_args()))
    print(table(found))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
