"""What the registry costs a gateway: memory, the time to load it, and look-ups.

Records are made up as `throng simulate` has them (JSON of about 180 bytes, four purposes), in chunks whose making is
not measured. `table`: chunks into the table, decoding and all. `kafka`: the same from the topic `registry` of a broker
started for it, by the gateway's own reader, as at each start. `planned`: bits of a whole network straight into the
table, since nothing but memory is asked there. Look-ups are of subscribers at random, a tenth of them unknown, in
blocks of 512 as the gateway asks, on one core. Of the loads from Kafka the median is told, and how
busy the machine was then (load average of 5 minutes). Kept in benchmarks/results/registry.json.

    python -m benchmarks.bench_registry [--subscribers 5000000] [--planned 46000000] [--rounds 3] [--results FILE]
"""

import argparse
import asyncio
import json
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.peers.peers import RESULTS
from schemas.attach import pack_imsi
from schemas.topics import REGISTRY
from streams.core.compiled.lookup import Lookup
from streams.core.gateway.registry import RegistryTable
from streams.local.stack import start
from streams.settings import Settings, load_settings
from streams.simulate.publish import producer, publish_registry
from streams.stores.registry import RegistryReader
from streams.stores.topics import create

CHUNK = 5000
ASKED = 2_000_000
FIRST = 1_010_000_000_000
STRIDE = 1_999  # so that numbers are not one after the other
STATES = ("granted", "granted", "granted", "denied")
PURPOSES = ("market_research", "marketing", "traffic", "public")
Records = list[tuple[bytes | None, bytes | None]]


def records(subscribers: int) -> Iterator[Records]:
    """The registry, in chunks."""
    for begin in range(0, subscribers, CHUNK):
        chunk: Records = []
        for number in range(begin, min(begin + CHUNK, subscribers)):
            imsi = f"{FIRST + number * STRIDE:015d}"
            consent = ",".join(f'"{purpose}":"{STATES[number % 4]}"' for purpose in PURPOSES)
            value = f'{{"imsi":"{imsi}","birth_year":{1930 + number % 80},"gender":"female","consent":{{{consent}}},'
            chunk.append((imsi.encode(), f'{value}"opted_out":false}}'.encode()))
        yield chunk


def resident() -> int:
    """This process's memory, bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def forget_most() -> None:
    """What `most_resident` tells is from now on."""
    Path("/proc/self/clear_refs").write_text("5")


def most_resident() -> int:
    """The most memory that this process had, bytes."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def asked(subscribers: int) -> np.ndarray:
    """Packed IMSIs, u64."""
    rng = np.random.default_rng(1)
    numbers = rng.integers(0, subscribers * 10 // 9, ASKED)
    first = np.uint64(pack_imsi(f"{FIRST:015d}"))
    return first + numbers.astype(np.uint64) * np.uint64(STRIDE)


def look_ups(table: Lookup | RegistryTable, subscribers: int) -> float:
    """Look-ups a CPU-second, in millions."""
    imsis = asked(subscribers)
    table.get(imsis[:1000])
    best = 0.0
    for _ in range(3):
        began = time.process_time()
        found = sum(int(np.count_nonzero(table.get(imsis[at : at + 512]))) for at in range(0, ASKED, 512))
        best = max(best, ASKED / (time.process_time() - began) / 1e6)
        assert abs(found / ASKED - 0.9) < 0.01
    return best


def by_table(subscribers: int) -> dict[str, float]:
    table, before, spent_s, most = RegistryTable(), resident(), 0.0, 0
    for chunk in records(subscribers):
        began = time.process_time()
        table.take(chunk)
        spent_s += time.process_time() - began
        most = max(most, resident())
    assert table.subscribers == subscribers
    return figures(table.lines.nbytes, before, most, subscribers) | {
        "load_cpu_s": spent_s,
        "records_per_cpu_s": subscribers / spent_s,
        "million_look_ups_per_cpu_s": look_ups(table, subscribers),
    }


def planned(subscribers: int) -> dict[str, float]:
    table, before, spent_s, most = Lookup(0), resident(), 0.0, 0
    first = np.uint64(pack_imsi(f"{FIRST:015d}"))
    for begin in range(0, subscribers, CHUNK):
        numbers = np.arange(begin, min(begin + CHUNK, subscribers), dtype=np.uint64)
        began = time.process_time()
        table.put(first + numbers * np.uint64(STRIDE), np.full(len(numbers), 1 << 31, np.uint32))
        spent_s += time.process_time() - began
        most = max(most, resident())
    return figures(table.lines.nbytes, before, most, subscribers) | {
        "put_cpu_s": spent_s,
        "million_look_ups_per_cpu_s": look_ups(table, subscribers),
    }


def figures(table_bytes: int, before: int, most: int, subscribers: int) -> dict[str, float]:
    return {
        "subscribers": subscribers,
        "table_bytes_each": table_bytes / subscribers,
        "memory_mb": (resident() - before) / 1e6,
        "most_memory_mb": (most - before) / 1e6,
    }


async def by_kafka(subscribers: int, rounds: int) -> dict[str, float]:
    with await asyncio.to_thread(start, ephemeral=True) as stack:
        settings = load_settings(None, {"kafka.bootstrap": stack.kafka, "kafka.namespace": "bench"}, {})
        await create(settings)
        async with producer(settings.kafka.bootstrap) as sender:
            for chunk in records(subscribers):
                await publish_registry(sender, settings.topic(REGISTRY), chunk)  # type: ignore[arg-type]
        loads = [await loaded(settings, subscribers) for _ in range(rounds)]
    wall_s, cpu_s, most = (statistics.median(taken) for taken in zip(*loads, strict=True))
    told = {"load_s": wall_s, "load_cpu_s": cpu_s, "records_per_s": subscribers / wall_s, "rounds": rounds}
    told["most_memory_mb"] = most / 1e6
    return told | {"load_average": os.getloadavg()[1], "cores": len(os.sched_getaffinity(0))}


async def loaded(settings: Settings, subscribers: int) -> tuple[float, float, int]:
    """Seconds that a load of the whole registry takes, those of CPU, and the bytes that it takes at most."""
    reader, before = RegistryReader(settings.kafka, settings.topic(REGISTRY)), resident()
    forget_most()
    began, spent = time.monotonic(), time.process_time()
    await reader.start()
    took_s, spent_s = time.monotonic() - began, time.process_time() - spent
    assert reader.table.subscribers == subscribers
    await reader.stop()
    return took_s, spent_s, most_resident() - before


def main() -> None:
    """Print a line for each way, and keep them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subscribers", type=int, default=5_000_000)
    parser.add_argument("--planned", type=int, default=46_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--results", type=Path, default=RESULTS / "registry.json")
    chosen = parser.parse_args()
    RegistryTable().take(next(records(1)))  # compiled
    found = {
        "table": by_table(chosen.subscribers),
        "kafka": asyncio.run(by_kafka(chosen.subscribers, chosen.rounds)),
        "planned": planned(chosen.planned),
    }
    chosen.results.write_text(json.dumps(found, indent=1) + "\n")
    for name, values in found.items():
        print(f"{name}: " + ", ".join(f"{key} {value:,.4g}" for key, value in values.items()))


if __name__ == "__main__":
    main()
