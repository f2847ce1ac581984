"""Records one at a time, as aiokafka gives them, of batches that unpack to no more than a bound.

For the readers of small topics, which may pass nothing over: an opt-out may be in any batch of the registry. So a batch
that can't be unpacked, to too much or to too many records ends its reader with a line (`ThrongError`), where it could
take all of the machine's memory.

`bound_batches` exchanges two names in one fetcher's response handler, as `fetch` does.
"""

from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch

from streams.errors import ThrongError
from streams.stores.batches import CODEC_MASK, HEADER, BatchViews, Header
from streams.stores.bounded import MOST_BYTES, MOST_RECORDS, Unpackable
from streams.stores.rebound import rebind
from streams.stores.unpacking import unpacked


class BoundedBatches(BatchViews):
    """Stands for aiokafka's `MemoryRecords`. `tp`: whose they are."""

    tp: TopicPartition

    def next_batch(self) -> DefaultRecordBatch:
        """The next batch, which is known to unpack to no more than the bound."""
        view = super().next_batch()
        header = Header._make(HEADER.unpack_from(view))
        if header.magic != 2:
            raise CorruptRecordException(f"Record format v{header.magic} in {self.tp.topic}: only v2 is read")
        try:
            _check(header, view)
        except Unpackable as error:
            raise ThrongError(
                "unpackable",
                f"{self.tp.topic}, partition {self.tp.partition}, offset {header.base_offset}: a batch of "
                f"{header.records} records, {len(view)} bytes packed, has too many, can't be unpacked, or to over "
                f"{MOST_BYTES >> 20} MB: nothing of it may be passed over",
            ) from error
        return DefaultRecordBatch(view)


def _check(header: Header, view: memoryview) -> None:
    codec = header.attributes & CODEC_MASK
    if header.records > MOST_RECORDS:
        raise Unpackable
    if codec:
        unpacked(codec, view[HEADER.size :])


class BoundedRecords(PartitionRecords):
    """aiokafka's own records of a partition, which tells its batches whose they are."""

    def __init__(self, tp: TopicPartition, records: BoundedBatches, *others: Any) -> None:
        records.tp = tp
        super().__init__(tp, records, *others)


def bound_batches(consumer: AIOKafkaConsumer) -> None:
    """Make a started consumer refuse batches that unpack to too much."""
    rebind(consumer._fetcher, "_proc_fetch_request", MemoryRecords=BoundedBatches, PartitionRecords=BoundedRecords)
