"""A guard for CI: throng's core against a loop by hand, on the same events, in this process, by turns.

The core (Kafka's record batches to exact panes, by throng's own rules) is compared with `peers/python/plain.py`'s loop
(aiokafka's records, orjson, keyed BLAKE2b, dicts; the peers' smaller job). What is guarded is the ratio of their CPU
times, loosely: how fast the machine is cancels out. Ends with 1 if the median ratio of a shape is below `--least`.

    python -m benchmarks.bench_quick [--events 200000] [--rounds 5] [--least 2.0]
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec
import numpy as np
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from benchmarks.peers.job import (
    PANE_MS,
    PARTITIONS,
    SHAPES,
    START_MS,
    Size,
    blocks,
    cell_texts,
    draw,
    zone_of,
)
from benchmarks.peers.publish import people, pieces
from benchmarks.peers.python.plain import Job
from benchmarks.peers.throng import zone_plan
from schemas.epochs import Epoch
from schemas.plan import Plan
from streams.agents.terms import terms_of
from streams.core.epochs import EpochTable, make_epoch
from streams.core.gateway import Context
from streams.core.inline import Inline
from streams.core.policy import PolicyTable
from streams.core.pseudonyms import key_state
from streams.core.records import RecordBatch, walk
from streams.core.registry import RegistryTable
from streams.core.zones import CellTable
from streams.settings import Settings
from streams.stores.policies import load_policies

LEAST: Final = 2.0
CHUNK_BYTES: Final = 1_000_000
TARGETS: Final = 4
LONGEST: Final = 1 << 18
_HEADER_BYTES: Final = 61


class Chunk(NamedTuple):
    """Records of a partition as one batch, as each side gets them."""

    partition: int
    wire: bytes
    batch: RecordBatch


def chunks_of(size: Size, shape: str) -> list[Chunk]:
    """All records, in the order of time."""
    found, offsets = [], [0] * PARTITIONS
    for block in blocks(size, draw(size), SHAPES[shape]):
        for piece in pieces(block, CHUNK_BYTES):
            builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 30)
            values = list(piece.values())
            for number, (at, value) in enumerate(values):
                builder.append(number, at, None, value, [])
            wire, first = bytes(builder.build()), offsets[piece.partition]
            times = [at for at, _ in values]
            offsets[piece.partition] = after = first + len(values)
            batch = RecordBatch(first, after, 0, times[0], max(times), len(values), wire[_HEADER_BYTES:])
            found.append(Chunk(piece.partition, wire, batch))
    return sorted(found, key=lambda chunk: chunk.batch.max_timestamp)


def core(size: Size) -> Callable[[list[Chunk]], int]:
    """throng's core with everybody's consent; what it returns counts chunks and says how many events it took."""
    plan = msgspec.convert(zone_plan(), Plan)
    policies = load_policies()
    terms = terms_of(Settings(), plan, policies, TARGETS, PARTITIONS)
    registry = RegistryTable(size.subscribers)
    registry.take(people(size.subscribers))

    def run(chunks: list[Chunk]) -> int:
        table = EpochTable()
        salts = {}
        context = Context(
            *(table, salts, PolicyTable(policies, "marketing"), registry, CellTable(plan, ()), TARGETS, 10_000)
        )

        def provide(ts_ms: int) -> Epoch:
            epoch = table.find(ts_ms) or make_epoch(ts_ms, terms, table)
            table.add(epoch)
            salts[epoch.epoch] = key_state(bytes(range(32)))
            return epoch

        provide(START_MS)
        inline = Inline(context, provide, np.array(plan.zone_parents(), np.uint16), PARTITIONS, LONGEST)
        panes = 0
        for number, chunk in enumerate(chunks, 1):
            inline.take(chunk.partition, walk([chunk.batch]))
            if number % PARTITIONS == 0:
                panes += len(inline.count())
        panes += len(inline.count())
        assert panes >= size.panes * TARGETS
        return inline.events

    return run


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
    work = core(size)
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
