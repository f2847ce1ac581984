"""A guard for CI: throng's core against a loop by hand, on the same events, in this process, by turns.

The core (Kafka's record batches to exact panes, by throng's own rules) is compared with `peers/python/plain.py`'s loop
(aiokafka's records, orjson, keyed BLAKE2b, dicts; the peers' smaller job). What is guarded is the ratio of their CPU
times, loosely: how fast the machine is cancels out. Ends with 1 if the median ratio of a shape is below `--least`.

    python -m benchmarks.bench_quick [--events 200000] [--rounds 5] [--least 2.5]
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Final

from aiokafka.record.default_records import DefaultRecordBatch

from benchmarks.core_job import Chunk, Core, chunks_of
from benchmarks.peers.job import PANE_MS, PARTITIONS, SHAPES, START_MS, Size, cell_texts, zone_of
from benchmarks.peers.python.plain import Job

LEAST: Final = 2.5


def by_hand(chunks: list[Chunk]) -> int:
    """The loop; returns how many events it took."""
    zones = {name: zone_of(number) for number, name in enumerate(cell_texts())}
    job = Job(zones, START_MS, PANE_MS)
    for chunk in chunks:
        for record in DefaultRecordBatch(bytearray(chunk.wire)):
            job.take(record.value)
    return sum(job.events.values()) + job.rejected


def cost_s(work: Callable[[list[Chunk]], int], chunks: list[Chunk], expected: int) -> float:
    """CPU time of one turn, s."""
    began = time.process_time()
    assert work(chunks) == expected
    return time.process_time() - began


def ratios(size: Size, rounds: int) -> dict[str, float]:
    """How many times the core's CPU time the loop takes, by shape: the median of the rounds."""
    work = Core(size).run
    found = {}
    for shape in SHAPES:
        chunks = chunks_of(size, shape)
        expected = size.events + PARTITIONS
        cost_s(work, chunks, expected)  # warms up
        pairs = [(cost_s(by_hand, chunks, expected), cost_s(work, chunks, expected)) for _ in range(rounds)]
        found[shape] = statistics.median(plain / ours for plain, ours in pairs)
        ours = statistics.median(ours for _, ours in pairs)
        print(
            f"{shape:8} {size.events / ours:12,.0f} events/CPU-s, {found[shape]:.1f} times the loop by hand", flush=True
        )
    return found


def main(arguments: list[str] | None = None) -> int:
    """Print a line a shape and the ratios as JSON."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--events", type=int, default=200_000)
    options.add_argument("--subscribers", type=int, default=100_000)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--least", type=float, default=LEAST)
    chosen = options.parse_args(arguments)
    found = ratios(Size(chosen.subscribers, chosen.events, 15), chosen.rounds)
    slow = [shape for shape, ratio in found.items() if ratio < chosen.least]
    for shape in slow:
        print(f"too slow: {shape} is {found[shape]:.2f} times the loop by hand, at least {chosen.least:g} is expected")
    print(json.dumps({shape: round(ratio, 2) for shape, ratio in found.items()}))
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
