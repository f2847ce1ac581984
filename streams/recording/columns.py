"""Kafka's record batches to Arrow columns and back, whole: keys, values and headers, as columns.

In: uncompressed record batches of one partition. Out: an Arrow table with SCHEMA's columns. Nothing happens per record
in Python, but for records that have headers. What can fail: lengths that don't fit (`ValueError`).
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from streams.core.records import APPEND_TIME, RecordBatch, varint

SCHEMA: Final = pa.schema(
    [
        pa.field("topic", pa.string(), nullable=False),
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("timestamp", pa.timestamp("ms", "UTC"), nullable=False),
        pa.field("key", pa.binary()),
        pa.field("value", pa.binary()),
        pa.field(
            "headers",
            pa.list_(pa.struct([pa.field("name", pa.string()), pa.field("value", pa.binary())])),
            nullable=False,
        ),
    ]
)
_RANGES: Final = 7  # key, value and headers: from and to; number of headers


class _Walked(NamedTuple):
    payload: NDArray[np.uint8]
    offset: NDArray[np.int64]
    time: NDArray[np.int64]
    ranges: NDArray[np.int64]


def to_table(topic: str, partition: int, batches: Sequence[RecordBatch], first: int, last: int) -> pa.Table:
    """The records of the batches at offsets in [first, last).

    Raises:
        ValueError: a batch's lengths don't fit its bytes.
    """
    walked = _walk_all(batches)
    kept = np.flatnonzero((walked.offset >= first) & (walked.offset < last))
    ranges = walked.ranges[kept]
    number = len(kept)
    return pa.table(
        [
            pa.array([topic], pa.string()).take(pa.array(np.zeros(number, np.int8))),
            pa.array(np.full(number, partition, np.int32)),
            pa.array(walked.offset[kept]),
            pa.array(walked.time[kept]).cast(pa.timestamp("ms", "UTC")),
            binary(walked.payload, ranges[:, 0], ranges[:, 1]),
            binary(walked.payload, ranges[:, 2], ranges[:, 3]),
            _headers(walked.payload, ranges),
        ],
        schema=SCHEMA,
    )


def binary(payload: NDArray[np.uint8], start: NDArray[np.int64], end: NDArray[np.int64]) -> pa.Array:
    """An Arrow array of `payload[start:end]`; null where `end` is -1."""
    there = end >= 0
    lengths = np.where(there, end - start, 0)
    offsets = np.zeros(len(start) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    data = np.empty(int(offsets[-1]), np.uint8)
    _gather(payload, start, lengths, data)
    validity = pa.py_buffer(np.packbits(there, bitorder="little")) if not there.all() else None
    return pa.Array.from_buffers(pa.binary(), len(start), [validity, pa.py_buffer(offsets), pa.py_buffer(data)])


def spans(column: pa.ChunkedArray) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """The other way: (payload, start, end) of a binary column; `end` is -1 for null."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], pa.binary())
    _, offsets, data = array.buffers()
    if not len(array):
        return np.empty(0, np.uint8), np.empty(0, np.int64), np.empty(0, np.int64)
    bounds = np.frombuffer(offsets, np.int32)[array.offset : array.offset + len(array) + 1].astype(np.int64)
    payload = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    there = np.asarray(array.is_valid())
    return payload, bounds[:-1], np.where(there, bounds[1:], -1)


def _walk_all(batches: Sequence[RecordBatch]) -> _Walked:
    payload = np.frombuffer(b"".join(batch.payload for batch in batches), np.uint8)
    total = sum(batch.count for batch in batches)
    offset, time = np.empty(total, np.int64), np.empty(total, np.int64)
    ranges = np.empty((total, _RANGES), np.int64)
    begin = row = 0
    for batch in batches:
        stop = begin + len(batch.payload)
        fixed_time = batch.timestamp_type == APPEND_TIME
        base_time = batch.max_timestamp if fixed_time else batch.first_timestamp
        rows = slice(row, row + batch.count)
        if not _walk_batch(
            payload, begin, stop, batch.base_offset, base_time, fixed_time, offset[rows], time[rows], ranges[rows]
        ):
            raise ValueError(f"record batch at {batch.base_offset}: record lengths don't fit its {stop - begin} bytes")
        begin, row = stop, row + batch.count
    return _Walked(payload, offset, time, ranges)


def _headers(payload: NDArray[np.uint8], ranges: NDArray[np.int64]) -> pa.Array:
    if not ranges[:, 6].any():
        empty = pa.array([], SCHEMA.field("headers").type.value_type)
        return pa.ListArray.from_arrays(pa.array(np.zeros(len(ranges) + 1, np.int32)), empty)
    return pa.array(
        [
            _header_list(payload, int(at), int(count)) if count else []
            for at, count in zip(ranges[:, 4], ranges[:, 6], strict=True)
        ],
        SCHEMA.field("headers").type,
    )


def _header_list(payload: NDArray[np.uint8], at: int, count: int) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for _ in range(count):
        length, at = varint(payload, at, len(payload))
        name = payload[at : at + length].tobytes().decode("utf-8", "replace")
        size, at = varint(payload, at + length, len(payload))
        found.append({"name": name, "value": None if size < 0 else payload[at : at + size].tobytes()})
        at += max(size, 0)
    return found


@njit(cache=True, nogil=True)
def _gather(payload, start, lengths, data):  # type: ignore[no-untyped-def]
    at = 0
    for row in range(len(start)):
        for byte in range(lengths[row]):
            data[at + byte] = payload[start[row] + byte]
        at += lengths[row]


@njit(cache=True, nogil=True)
def _walk_batch(data, begin, stop, base_offset, base_time, fixed_time, offset, time, ranges):  # type: ignore[no-untyped-def]
    at = begin
    for row in range(len(offset)):
        length, at = varint(data, at, stop)
        if at < 0 or length < 0 or at + length > stop:
            return False
        after = at + length
        at += 1  # attributes: unused in v2
        time_delta, at = varint(data, at, after)
        if at < 0:
            return False
        offset_delta, at = varint(data, at, after)
        if at < 0:
            return False
        offset[row] = base_offset + offset_delta
        time[row] = base_time if fixed_time else base_time + time_delta
        for column in range(0, 4, 2):
            size, at = varint(data, at, after)
            if at < 0 or size < -1 or size > after - at:
                return False
            ranges[row, column] = at
            ranges[row, column + 1] = at + size if size >= 0 else -1
            at += max(size, 0)
        headers, at = varint(data, at, after)
        if at < 0 or headers < 0:
            return False
        ranges[row, 4], ranges[row, 5], ranges[row, 6] = at, after, headers
        at = after
    return at == stop
