"""Kafka's record batches to Arrow columns and back, whole: keys, values and headers, as columns.

In: uncompressed record batches of one partition. Out: an Arrow table with SCHEMA's columns. Nothing happens per record
in Python, but for records that have headers. What can fail: lengths that don't fit (`ValueError`).
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from streams.core.events.records import RecordBatch, Records, keys_and_headers, varint, walk

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


def to_table(topic: str, partition: int, batches: Sequence[RecordBatch], first: int, last: int) -> pa.Table:
    """The records of the batches at offsets in [first, last).

    Raises:
        ValueError: a batch's lengths don't fit its bytes.
    """
    walked = walk(batches)
    others = keys_and_headers(walked)
    kept = np.flatnonzero((walked.offset >= first) & (walked.offset < last))
    number = len(kept)
    return pa.table(
        [
            pa.array([topic], pa.string()).take(pa.array(np.zeros(number, np.int8))),
            pa.array(np.full(number, partition, np.int32)),
            pa.array(walked.offset[kept]),
            pa.array(walked.time[kept]).cast(pa.timestamp("ms", "UTC")),
            binary(walked.payload, others.key_start[kept], others.key_end[kept]),
            binary(walked.payload, walked.start[kept], walked.end[kept]),
            _headers(walked.payload, others.headers_start[kept], others.headers[kept]),
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


def times_of(table: pa.Table) -> NDArray[np.int64]:
    """Record times, ms."""
    return np.asarray(table["timestamp"].cast(pa.int64()).to_numpy(), np.int64)


def records_of(table: pa.Table) -> Records:
    """A partition's values as the decoder takes them. Arrays may be written to where the walker's may, and nowhere
    else: for others its loops and the screening's would be compiled once more, which takes half a minute.
    """
    payload, start, end = spans(table["value"])
    payload.flags.writeable = False
    offsets = np.asarray(table["offset"].to_numpy(), np.int64)
    return Records(offsets.copy(), times_of(table).copy(), start, end, payload)


def _headers(payload: NDArray[np.uint8], start: NDArray[np.int64], counts: NDArray[np.int64]) -> pa.Array:
    kind = SCHEMA.field("headers").type
    if not counts.any():
        return pa.ListArray.from_arrays(pa.array(np.zeros(len(counts) + 1, np.int32)), pa.array([], kind.value_type))
    rows = zip(start.tolist(), counts.tolist(), strict=True)
    return pa.array([_header_list(payload, at, count) for at, count in rows], kind)


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
