"""Raw records without Kafka: values in, the columns that the walker would give out."""

from collections.abc import Sequence

import numpy as np
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from streams.core.events.records import RecordBatch, Records

# Record time, key, value, headers.
Written = tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]


def records_of(values: list[bytes | None], times: list[int] | None = None) -> Records:
    """The columns of records with these values at offsets 0, 1, ..."""
    starts, ends, payload = [], [], b""
    for value in values:
        starts.append(len(payload))
        payload += value or b""
        ends.append(-1 if value is None else len(payload))
    return Records(
        np.arange(len(values)),
        np.array(times or [0] * len(values), np.int64),
        np.array(starts, np.int64),
        np.array(ends, np.int64),
        np.frombuffer(payload, np.uint8),
    )


def batch_of(records: Sequence[Written], base_offset: int = 100, most: int = 1 << 20) -> RecordBatch:
    """A batch as aiokafka's own writer makes it, of so many bytes at most."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, most)
    for number, (time, key, value, headers) in enumerate(records):
        assert builder.append(number, time, key, value, headers) is not None
    data = bytes(builder.build())
    stock = DefaultRecordBatch(bytearray(data))
    return RecordBatch(
        base_offset,
        base_offset + len(records),
        0,
        stock.first_timestamp,
        stock.max_timestamp,
        len(records),
        data[61:],
    )
