"""The job through throng's core alone: Kafka's record batches to exact panes in this process, for benchmarks."""

import time
from typing import Final, NamedTuple

import msgspec
import numpy as np
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from benchmarks.peers.job import PARTITIONS, SHAPES, START_MS, Events, Size, blocks, draw
from benchmarks.peers.publish import people, pieces
from benchmarks.peers.throng import zone_plan
from schemas.epochs import Epoch
from schemas.plan import Plan
from streams.core.distances import positions_of
from streams.core.epochs import EpochTable, make_epoch
from streams.core.events.records import RecordBatch, walk
from streams.core.gateway.gateway import Context
from streams.core.gateway.policy import PolicyTable
from streams.core.gateway.pseudonyms import key_state
from streams.core.gateway.registry import RegistryTable
from streams.core.gateway.zones import CellTable
from streams.core.inline import Inline
from streams.settings import Settings
from streams.stores.policies import configured_rules
from streams.stores.terms import terms_of

CHUNK_BYTES: Final = 1_000_000
TARGETS: Final = 4
LONGEST: Final = 1 << 18
_HEADER_BYTES: Final = 61


class Chunk(NamedTuple):
    """Records of a partition as one batch: as they lie on the wire, and as throng's transport hands them on."""

    partition: int
    wire: bytes
    batch: RecordBatch


def chunks_of(
    size: Size,
    shape: str,
    partitions: int = PARTITIONS,
    events: Events | None = None,
    sentinels: bool = True,
    chunk_bytes: int = CHUNK_BYTES,
) -> list[Chunk]:
    """All records, in the order of time, in batches of about `chunk_bytes`. Offsets begin at 0; the core counts them
    anew."""
    found, offsets = [], [0] * partitions
    for block in blocks(size, events or draw(size), SHAPES[shape], partitions, sentinels):
        for piece in pieces(block, chunk_bytes):
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


class Core:
    """throng's core, with everybody's consent. `terms` and `pane_ms`, the base pane's length, may be set before
    `begin`; a measure's panes are as long at least."""

    pane_ms = 300_000

    def __init__(self, size: Size, partitions: int = PARTITIONS, targets: int = TARGETS) -> None:
        self.plan = msgspec.convert(zone_plan(size), Plan)
        self.partitions = partitions
        self.targets = targets
        self.rules = configured_rules(Settings())
        self.terms = terms_of(Settings(), self.plan, self.rules, targets, partitions)
        self.registry = RegistryTable(size.subscribers)
        self.registry.take(people(size.subscribers))
        self.gateway_s = self.crowd_s = 0.0

    def begin(self) -> Inline:
        """A deployment that has seen nothing yet."""
        table, salts = EpochTable(), {}
        policies = PolicyTable(self.rules.policies, self.rules.purpose)
        cells = CellTable(self.plan, ())
        context = Context(table, salts, policies, self.registry, cells, self.targets, self.terms.lateness_ms)

        def provide(ts_ms: int) -> Epoch:
            epoch = table.find(ts_ms) or with_panes(make_epoch(ts_ms, self.terms, table), self.pane_ms)
            table.add(epoch)
            salts[epoch.epoch] = key_state(bytes(range(32)))
            return epoch

        provide(START_MS)
        return Inline(
            context,
            provide,
            np.array(self.plan.zone_parents(), np.uint16),
            self.partitions,
            LONGEST,
            positions_of(self.plan),
        )

    def take(self, inline: Inline, chunks: list[Chunk], every: int | None = None) -> int:
        """Take chunks, counting after each `every` of them; returns how many panes came. Notes each side's CPU time."""
        panes, every = 0, every or self.partitions
        for first in range(0, len(chunks), every):
            began = time.process_time()
            for chunk in chunks[first : first + every]:
                inline.take(chunk.partition, walk([chunk.batch]))
            between = time.process_time()
            panes += len(inline.count())
            self.gateway_s += between - began
            self.crowd_s += time.process_time() - between
        return panes

    def run(self, chunks: list[Chunk]) -> int:
        """Take all of it from the beginning; returns how many events there were."""
        inline = self.begin()
        assert self.take(inline, chunks) > 0
        return inline.events


def with_panes(epoch: Epoch, pane_ms: int) -> Epoch:
    """The epoch with another base pane, and no measure's panes shorter than that."""
    measures = tuple(msgspec.structs.replace(each, pane_ms=max(each.pane_ms, pane_ms)) for each in epoch.measures)
    return msgspec.structs.replace(epoch, pane_ms=pane_ms, measures=measures)
