"""The job by hand, in one Python process: aiokafka, orjson, keyed BLAKE2b, dicts. No framework, no parallelism.

The reference for the harness (`python -m benchmarks.peers check plain`), and what a short script costs.
"""

import argparse
import asyncio
import hashlib
import os
import re
import time
from collections import Counter
from pathlib import Path

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

SPAN = 3
TELL_S = 0.5
IMSI = re.compile(r"(001|[2-7][0-9]{2})[0-9]{11,12}", re.ASCII)


class Job:
    """State by pseudonym, and the deltas that haven't been told yet, by pane."""

    def __init__(self, zones: dict[str, int], start_ms: int, pane_ms: int) -> None:
        self.zones, self.start_ms, self.pane_ms = zones, start_ms, pane_ms
        self.salt = os.urandom(32)
        self.where: dict[bytes, tuple[int, int]] = {}
        self.clear()

    def clear(self) -> None:
        self.events, self.rejected = Counter(), 0
        self.present, self.recent, self.arrivals, self.trips = Counter(), Counter(), Counter(), Counter()

    def take(self, value: bytes) -> None:
        decoded = orjson.loads(value)
        for event in decoded if isinstance(decoded, list) else (decoded,):
            imsi, ts, zone = event.get("imsi"), event.get("ts"), self.zones.get(event.get("cell"))
            if zone is None or type(ts) is not int or type(imsi) is not str or not IMSI.fullmatch(imsi):
                self.rejected += 1
            else:
                self._count(hashlib.blake2b(imsi.encode(), key=self.salt, digest_size=8).digest(), zone, ts)

    def _count(self, who: bytes, zone: int, ts: int) -> None:
        pane = (ts - self.start_ms) // self.pane_ms
        before = self.where.get(who)
        self.where[who] = (zone, pane)
        self.events[pane] += 1
        if before is not None:
            for each in range(pane, before[1] + SPAN):
                self.recent[each, before[0]] -= 1
        for each in range(pane, pane + SPAN):
            self.recent[each, zone] += 1
        if before is None or before[0] != zone:
            self.present[pane, zone] += 1
            self.arrivals[pane, zone] += 1
            if before is not None:
                self.present[pane, before[0]] -= 1
                self.trips[pane, f"{before[0]}-{zone}"] += 1

    def told(self) -> list[bytes]:
        records = {pane: {"pane": pane, "events": number, "rejected": 0} for pane, number in self.events.items()}
        for name in ("present", "recent", "arrivals", "trips"):
            for (pane, key), delta in getattr(self, name).items():
                records.setdefault(pane, {"pane": pane}).setdefault(name, {})[str(key)] = delta
        if self.rejected:
            records.setdefault(0, {"pane": 0})["rejected"] = self.rejected
        self.clear()
        return [orjson.dumps(record) for record in records.values()]


def zones_in(cells: Path) -> dict[str, int]:
    return {cell: int(zone) for cell, zone in (line.split(",") for line in cells.read_text().splitlines())}


async def main() -> None:
    options = argparse.ArgumentParser()
    for name in ("bootstrap", "input", "output", "cells", "start-ms", "pane-ms", "shape", "group"):
        options.add_argument(f"--{name}", required=True)
    chosen = options.parse_args()
    job = Job(zones_in(Path(chosen.cells)), int(chosen.start_ms), int(chosen.pane_ms))
    consumer = AIOKafkaConsumer(bootstrap_servers=chosen.bootstrap, enable_auto_commit=False, fetch_max_bytes=1 << 24)
    producer = AIOKafkaProducer(bootstrap_servers=chosen.bootstrap, max_request_size=1 << 24)
    await consumer.start()
    await producer.start()
    consumer.assign([TopicPartition(chosen.input, number) for number in range(16)])
    await consumer.seek_to_beginning()
    due = time.monotonic()
    while True:
        for records in (await consumer.getmany(timeout_ms=200)).values():
            for record in records:
                job.take(record.value)
        if time.monotonic() >= due:
            for told in job.told():
                await producer.send_and_wait(chosen.output, told)
            due = time.monotonic() + TELL_S


if __name__ == "__main__":
    asyncio.run(main())
