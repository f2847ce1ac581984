"""Days of event time through a whole deployment: does anything grow beyond the day's rhythm?

A simulated town is played into a real Kafka, faster than it lives, and all three roles follow it over the changes of
epochs. Each hour of event time is told: CPU a sighting, and of each role resident memory, threads and open files; of
Redis its keys and memory. Below the table, what the last day's hours have over the same hours of the day before (the
first day begins with empty tables, so its first hours are left out), and as the last line as JSON what of that grew:
more than `ALLOWED`. Of a run of less than 31 hours nothing can be said: null.

Redis keeps a public key's last record for two days of the clock, of which a run has minutes. So it comes to have one
for each that was ever large enough to be told, and takes some days for that: hence four.

The release must be able to follow (`--speed` 1000 on two cores), or its last hours are all told at the end.

    python -m benchmarks.bench_soak [--hours 98] [--speed 600] [--subscribers 20000]
"""

import argparse
import asyncio
import json
import logging
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Final

import orjson
import psutil
from redis.asyncio import Redis

from benchmarks.peers.measure import cpu_s
from benchmarks.peers.peers import RESULTS
from schemas.topics import ATTACH, REGISTRY
from streams.local.stack import Stack, start
from streams.settings import Settings, load_settings
from streams.simulate import generate, make_town, plan, registry
from streams.simulate.publish import producer as simulator
from streams.simulate.publish import publish, publish_registry
from streams.stores.topics import create
from tests.support.deployment import Workers, fetch, total

HOUR_MS: Final = 3_600_000
DAY_H: Final = 24
FIRST_H: Final = 6
# Monday, 2 March 2026, 05:00 in Berlin.
START_MS: Final = 1_772_424_000_000
ROLES: Final = ("gateway", "crowd", "release")
ASK_S: Final = 0.2
WITHIN_S: Final = 120.0
PARTITIONS: Final = 4
# What isn't growth: as a share of what was there, and besides that. Allocators keep some memory; a thread pool fills.
# Of the keys of Redis that are no released ones a partition has three for its snapshots (a pointer, this one, the next
# while it is written), which come by the minute of the clock, so after some hours of event time.
ALLOWED: Final = {
    **{"MB": (0.0, 5.0), "files": (0.0, 4.0), "threads": (0.0, 2.0)},
    **{"keys": (0.0, 3.0 * PARTITIONS), "released": (0.1, 10.0)},
}


class Soak:
    """A deployment under way, and what its hours came to."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.workers = Workers(settings, folder)
        self.hours: list[dict[str, Any]] = []
        self._before = (0.0, 0)

    async def start(self) -> None:
        for role in ROLES:
            await self.workers.start(role)

    async def follow(self, end_ms: int) -> None:
        """Sample whenever an hour has been released, up to the end."""
        for due in range(START_MS + HOUR_MS, end_ms, HOUR_MS):
            async with asyncio.timeout(WITHIN_S):
                while await self._released_ms() < due:
                    assert self.workers.all_up(), "a worker ended"
                    await asyncio.sleep(ASK_S)
            self.hours.append(await self._sample((due - START_MS) // HOUR_MS))
            print(line(self.hours[-1]), flush=True)

    async def _ask(self, role: str, metric: str) -> Counter:
        try:
            text = await asyncio.to_thread(fetch, self.workers.ports[role])
        except OSError:
            return Counter()
        return total({role: text}, role, metric)

    async def _released_ms(self) -> float:
        return (await self._ask("release", "throng_release_pane_end_seconds"))["present"] * 1000.0

    async def _sample(self, hour: int) -> dict[str, Any]:
        running = {role: psutil.Process(self.workers.running[role].pid) for role in ROLES}
        spent = sum(cpu_s(process.pid) for process in running.values())
        counted = (await self._ask("crowd", "throng_crowd_sightings_total")).total()
        before, self._before = self._before, (spent, counted)
        async with Redis.from_url(self.settings.redis.url) as redis:
            memory = (await redis.info("memory"))["used_memory"]
            keys = await redis.dbsize()
            released = len([key async for key in redis.scan_iter("*released:*", 1_000)])
        return {
            "hour": hour,
            "sightings": counted - before[1],
            "ns": (spent - before[0]) * 1e9 / max(counted - before[1], 1),
            "memory_mb": {role: process.memory_info().rss / 1e6 for role, process in running.items()},
            "files": {role: process.num_fds() for role, process in running.items()},
            "threads": {role: process.num_threads() for role, process in running.items()},
            "rejected": dict(await self._ask("gateway", "throng_gateway_rejects_total")),
            "dropped": dict(await self._ask("gateway", "throng_gateway_drops_total")),
            "redis_keys": keys - released,
            "redis_released": released,
            "redis_mb": memory / 1e6,
        }


def line(hour: dict[str, Any]) -> str:
    """One hour, as a row of the table."""
    each = "  ".join(
        f"{hour['memory_mb'][role]:6.0f} {hour['threads'][role]:3} {hour['files'][role]:4}" for role in ROLES
    )
    return (
        f"{hour['hour']:4} {hour['sightings']:10,} {hour['ns']:8,.0f}  {each}  "
        f"{hour['redis_keys']:5} {hour['redis_released']:8} {hour['redis_mb']:7.1f}"
    )


def growth(hours: list[dict[str, Any]]) -> dict[str, float]:
    """The most that an hour of the last day has over the same hour of the day before: MB, files, threads, keys."""
    begin = max(DAY_H + FIRST_H, len(hours) - DAY_H)
    later = [(hours[at - DAY_H], hours[at]) for at in range(begin, len(hours))]
    if not later:
        return {}
    return {
        **{f"{role} MB": max(b["memory_mb"][role] - a["memory_mb"][role] for a, b in later) for role in ROLES},
        **{f"{role} files": max(b["files"][role] - a["files"][role] for a, b in later) for role in ROLES},
        **{f"{role} threads": max(b["threads"][role] - a["threads"][role] for a, b in later) for role in ROLES},
        "Redis keys": max(b["redis_keys"] - a["redis_keys"] for a, b in later),
        "Redis released": max(b["redis_released"] - a["redis_released"] for a, b in later),
        "Redis MB": max(b["redis_mb"] - a["redis_mb"] for a, b in later),
    }


def grown(hours: list[dict[str, Any]], grew: dict[str, float]) -> list[str] | None:
    """What has more than is allowed; None if there weren't hours enough to tell."""
    if not grew:
        return None
    first = hours[max(FIRST_H, len(hours) - 2 * DAY_H)]
    had = {**{f"{role} MB": first["memory_mb"][role] for role in ROLES}, "Redis MB": first["redis_mb"]}
    had["Redis released"] = first["redis_released"]

    def most(what: str) -> float:
        share, besides = ALLOWED[what.rpartition(" ")[2]]
        return besides + share * had.get(what, 0.0)

    return [what for what, more in grew.items() if more > most(what)]


async def run(stack: Stack, folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Play the town and follow it."""
    town = make_town(1, options.subscribers, 60)
    (folder / "plan.json").write_bytes(orjson.dumps(plan(town)))
    settings = load_settings(
        None,
        {
            **{"kafka.bootstrap": stack.kafka, "redis.url": stack.redis, "kafka.keep_forever": True},
            **{"kafka.raw_partitions": PARTITIONS, "kafka.partitions": PARTITIONS},
            **{"gateway.plan": str(folder / "plan.json"), "gateway.keys": str(folder / "keys")},
        },
        {},
    )
    await create(settings)
    soak = Soak(settings, folder)
    sender = simulator(stack.kafka)
    await sender.start()
    try:
        await publish_registry(sender, settings.topic(REGISTRY), registry(town))
        await soak.start()
        end_ms = START_MS + options.hours * HOUR_MS
        slices = generate(town, START_MS, end_ms, PARTITIONS)
        playing = asyncio.create_task(publish(sender, settings.topic(ATTACH), slices, options.speed, lambda _: None))
        await soak.follow(end_ms)
        await playing
        return soak.hours
    finally:
        await soak.workers.stop()
        await sender.stop()


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--hours", type=int, default=98)
    command.add_argument("--speed", type=float, default=600.0, help="seconds of event time a second")
    command.add_argument("--subscribers", type=int, default=20_000)
    command.add_argument("--results", type=Path, default=RESULTS / "soak.json")
    options = command.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    each = "  ".join(f"{role + ' MB':>6} thr file" for role in ROLES)
    with start(ephemeral=True, progress=print, heap_mb=1024) as stack, tempfile.TemporaryDirectory() as name:
        print(f"hour  sightings  ns each  {each}  Redis keys released MB", flush=True)
        hours = asyncio.run(run(stack, Path(name), options))
    grew = growth(hours)
    options.results.parent.mkdir(exist_ok=True)
    options.results.write_text(json.dumps({"hours": hours, "grew": grew}, indent=1) + "\n")
    print("\nmost that an hour of the last day has over the same hour of the day before:")
    for what, more in grew.items():
        print(f"  {what:16} {more:+.1f}")
    print(json.dumps({"grew": grown(hours, grew), "more": {what: round(more, 2) for what, more in grew.items()}}))


if __name__ == "__main__":
    main()
