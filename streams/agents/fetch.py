"""Whole Kafka record batches from aiokafka's fetcher, for one consumer alone.

In: what a broker answers to a fetch, the bytes of one partition. Stock aiokafka makes a Python object of every
record in them. Out: `Fetched` values, runs of batches (format v2) whose checksums are right and whose records
sections are decompressed but not split; the core walks them in columns. A run ends once it holds `run_bytes`.

Offsets: a run covers every offset in [first_offset, next_offset), those without a record too (compaction, control
batches, aborted transactions), so runs of a partition follow each other without a hole. The broker's answer begins
with the whole batch that holds the wanted position: rows below `first_offset` are the reader's to drop.

What can fail: a wrong checksum or a batch of a format before v2 (which Kafka 4 no longer has) raises
`CorruptRecordException`; the position stays where it was. In place of a batch that can't be unpacked, or to too much,
stands one record, longer than any event may be: a gateway rejects it as that, and goes on.

`hand_out_batches` exchanges two names in one fetcher's response handler; other consumers of the process, and
aiokafka's modules, are as they were. `tests/unit/test_transport_contract.py` holds this against stock aiokafka.
"""

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final, NamedTuple

import numpy as np
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED
from aiokafka.errors import CorruptRecordException
from aiokafka.record.control_record import ABORT_MARKER, ControlRecord
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from crc32c import crc32c

from streams.agents.reused import looked_at
from streams.core.events.records import RecordBatch
from streams.stores.batches import APPEND_TIME, CODEC_MASK, CONTROL, CRC_FROM, HEADER, TRANSACTIONAL, BatchViews, Header
from streams.stores.bounded import MOST_BYTES, MOST_RECORDS, Unpackable
from streams.stores.rebound import rebind
from streams.stores.unpacking import unpacked

log = logging.getLogger("throng.transport")

# Of the record in place of a batch that can't be unpacked: longer than gateway.max_record_bytes may be.
STANDS_BYTES: Final = 1 << 20
# What a run's last batch may need beyond `run_bytes`; a longer one lies elsewhere.
LAST_BATCH: Final = 1 << 20
# As many as are on their way from fetcher to role at once.
MOST_ROOMS: Final = 8


class Fetched(NamedTuple):
    """A run of batches that covers the offsets [first_offset, next_offset); `batches` may be empty."""

    batches: tuple[RecordBatch, ...]
    first_offset: int
    next_offset: int


class Rooms:
    """Memory for what comes out of a run's batches, one behind the other, used again once nobody looks at it."""

    def __init__(self, run_bytes: int) -> None:
        self._size = run_bytes + LAST_BATCH
        self._rooms: list[bytearray] = []

    def unused(self) -> memoryview:
        """A room that nobody looks at."""
        for room in self._rooms:
            if not looked_at(room):
                return memoryview(room)
        if len(self._rooms) == MOST_ROOMS:
            return np.empty(self._size, np.uint8).data
        self._rooms.append(bytearray(self._size))
        return memoryview(self._rooms[-1])


class BatchRuns:
    """Stands for aiokafka's `PartitionRecords`: yields `Fetched` and keeps `next_fetch_offset`.

    The parameters are those of `PartitionRecords`, but for `run_bytes` and `rooms`.
    """

    def __init__(
        self,
        tp: TopicPartition,
        records: BatchViews,
        aborted_transactions: Sequence[tuple[int, int]] | None,
        fetch_offset: int,
        key_deserializer: object,
        value_deserializer: object,
        check_crcs: bool,
        isolation_level: int,
        *,
        run_bytes: int,
        rooms: Rooms | None = None,
    ) -> None:
        self._tp = tp
        self._rooms = rooms or Rooms(run_bytes)
        self._records = records
        self._aborted = sorted(aborted_transactions or [], key=lambda aborted: aborted[1])
        self._aborted_producers: set[int] = set()
        self._check_crcs = check_crcs
        self._read_committed = isolation_level == READ_COMMITTED
        self._run_bytes = run_bytes
        self.next_fetch_offset = fetch_offset
        self._runs = self._unpack()

    def __iter__(self) -> Iterator[Fetched]:
        return self

    def __next__(self) -> Fetched:
        return next(self._runs)

    def _unpack(self) -> Iterator[Fetched]:
        first = at = self.next_fetch_offset
        batches: list[RecordBatch] = []
        size = 0
        room = self._rooms.unused()
        while self._records.has_next():
            view = self._records.next_batch()
            header = self._checked(view)
            if header.next_offset <= at:
                continue
            at = header.next_offset
            if header.records and not self._skipped(header, view):
                batches.append(self._opened(header, view, room, size))
                size += len(batches[-1].payload)
            if size >= self._run_bytes:
                self.next_fetch_offset = at
                yield Fetched(tuple(batches), first, at)
                first, batches, size, room = at, [], 0, self._rooms.unused()
        if at > first:
            self.next_fetch_offset = at
            yield Fetched(tuple(batches), first, at)

    def _checked(self, view: memoryview) -> Header:
        header = Header._make(HEADER.unpack_from(view))
        if header.magic != 2:
            raise CorruptRecordException(f"Record format v{header.magic} at {self._where(header)}: only v2 is read")
        if self._check_crcs and crc32c(view[CRC_FROM:]) != header.crc:
            raise CorruptRecordException(f"Wrong checksum at {self._where(header)}")
        return header

    def _where(self, header: Header) -> str:
        return f"{self._tp.topic}, partition {self._tp.partition}, offset {header.base_offset}"

    def _opened(self, header: Header, view: memoryview, room: memoryview, begin: int) -> RecordBatch:
        try:
            return _opened(header, view, room, begin)
        except Unpackable:
            log.error(
                "%s: a batch of %d records, %d bytes packed, has too many, can't be unpacked, or to over %d MB: one "
                "record stands for all of it",
                *(self._where(header), header.records, len(view), MOST_BYTES >> 20),
            )
            return _in_place_of(header, view)

    def _skipped(self, header: Header, view: memoryview) -> bool:
        """Whether the batch is a control batch, or aborted and not to be read."""
        control = bool(header.attributes & CONTROL)
        if self._read_committed:
            while self._aborted and self._aborted[0][1] <= header.base_offset:
                self._aborted_producers.add(self._aborted.pop(0)[0])
            if control and _is_abort(view):
                self._aborted_producers.discard(header.producer_id)
            if header.attributes & TRANSACTIONAL and header.producer_id in self._aborted_producers:
                return True
        return control


def _is_abort(view: memoryview) -> bool:
    marker = next(DefaultRecordBatch(view), None)
    return marker is not None and ControlRecord.parse(marker.key) == ABORT_MARKER


def _opened(header: Header, view: memoryview, room: memoryview, begin: int) -> RecordBatch:
    """The batch, in the room from `begin` on if it fits there and has to be unpacked."""
    if header.records > MOST_RECORDS:
        raise Unpackable
    section = view[HEADER.size :]
    codec = header.attributes & CODEC_MASK
    payload = unpacked(codec, section, room[begin:]) if codec else section
    in_room = isinstance(payload, memoryview) and payload.obj is room.obj
    return _batch(header, header.records, payload, begin if in_room else -1)


def _in_place_of(header: Header, view: memoryview) -> RecordBatch:
    """One record at the batch's first offset: the batch's section as it came, with zeros behind it."""
    value = bytes(view[HEADER.size :]).ljust(STANDS_BYTES, b"\0")
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, len(value) + LAST_BATCH)
    builder.append(0, header.first_timestamp, None, value, [])
    return _batch(header, 1, memoryview(bytes(builder.build()))[HEADER.size :], -1)


def _batch(header: Header, records: int, payload: bytes | memoryview, begin: int) -> RecordBatch:
    return RecordBatch(
        base_offset=header.base_offset,
        next_offset=header.next_offset,
        timestamp_type=1 if header.attributes & APPEND_TIME else 0,
        first_timestamp=header.first_timestamp,
        max_timestamp=header.max_timestamp,
        count=records,
        payload=payload,
        begin=begin,
    )


def hand_out_batches(consumer: AIOKafkaConsumer, run_bytes: int) -> None:
    """Make a started consumer's `getmany` give `Fetched` values instead of records.

    Must be called before the consumer subscribes. aiokafka names the classes that unpack an answer as globals of its
    module, so the handler is bound once more with other globals, to this fetcher only.
    """
    runs = partial(BatchRuns, run_bytes=run_bytes, rooms=Rooms(run_bytes))
    rebind(consumer._fetcher, "_proc_fetch_request", MemoryRecords=BatchViews, PartitionRecords=runs)
