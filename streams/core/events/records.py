"""Kafka record batches, format v2, from bytes to columns: where each record's value lies.

In: batches as the transport hands them on, decompressed and checked (`RecordBatch`). Out: for each record its offset,
record time and value range in the joined payload. Keys and headers are passed over.
Format: https://kafka.apache.org/documentation/#record
What can fail: lengths that don't fit (`Malformed`): the batch's checksum was right, so it was written like that.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

APPEND_TIME = 1
# What the compiled loop gets of a batch; `begin` is in the payload, `fixed_time`: all records have the base time.
_SPAN = ("begin", "size", "base_offset", "base_time", "fixed_time", "count")


class RecordBatch(NamedTuple):
    """One v2 batch. `payload` is its uncompressed records section; times are ms since the Unix epoch.

    `next_offset` is the offset after the batch; `timestamp_type` 0: set by the producer, 1: by the broker. `begin`:
    where the payload begins in the memory that it is a view of, -1 if nobody has said.
    """

    base_offset: int
    next_offset: int
    timestamp_type: int
    first_timestamp: int
    max_timestamp: int
    count: int  # type: ignore[assignment]  # hides tuple.count: Kafka's word
    payload: bytes | memoryview
    begin: int = -1


class Records(NamedTuple):
    """Columns of n records: i64 each. A value is `payload[start:end]`; `end` is -1 where there is none (null)."""

    offset: NDArray[np.int64]
    time: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    payload: NDArray[np.uint8]


class Malformed(ValueError):  # noqa: N818 - reads as what it is
    """Lengths in a batch don't fit its bytes."""


def walk(batches: Sequence[RecordBatch]) -> Records:
    """All records of the batches, in order.

    Raises:
        Malformed: a batch is.
    """
    spans = np.array([_span(batch) for batch in batches], np.int64).reshape(-1, len(_SPAN))
    payload = _in_place(batches, spans)
    if payload is None:
        payload = np.frombuffer(b"".join(batch.payload for batch in batches), np.uint8)
        spans[:, 0] = np.cumsum(spans[:, 1]) - spans[:, 1]
    payload.flags.writeable = False  # as bytes are: the loops are compiled for that
    row = int(spans[:, 5].sum())
    offset, time, start, end = (np.empty(row, np.int64) for _ in range(4))
    whole = _walk(payload, spans, offset, time, start, end)
    if whole < len(batches):
        wrong = batches[whole]
        raise Malformed(f"record batch at {wrong.base_offset}: record lengths don't fit its {len(wrong.payload)} bytes")
    return Records(offset, time, start, end, payload)


def as_one(batch: RecordBatch) -> Records:
    """The batch's bytes as the value of one record at its first offset."""
    payload = np.frombuffer(batch.payload, np.uint8)
    payload.flags.writeable = False
    _, size, offset, time, _, _ = _span(batch)
    offsets, times, start, end = (np.array([each], np.int64) for each in (offset, time, 0, size))
    return Records(offsets, times, start, end, payload)


def _span(batch: RecordBatch) -> tuple[int, int, int, int, bool, int]:
    fixed_time = batch.timestamp_type == APPEND_TIME
    base_time = batch.max_timestamp if fixed_time else batch.first_timestamp
    return batch.begin, len(batch.payload), batch.base_offset, base_time, fixed_time, batch.count


def _in_place(batches: Sequence[RecordBatch], spans: NDArray[np.int64]) -> NDArray[np.uint8] | None:
    """The memory of payloads that lie one behind the other, from the first on, which `spans` count from then; None if
    they don't."""
    begins, ends = spans[:, 0], spans[:, 0] + spans[:, 1]
    if len(batches) == 0 or begins[0] < 0 or (begins[1:] != ends[:-1]).any():
        return None
    first, last = int(begins[0]), int(ends[-1])
    owners: list[Any] = [batch.payload.obj if isinstance(batch.payload, memoryview) else None for batch in batches]
    if owners[0] is None or any(owner is not owners[0] for owner in owners):
        return None
    begins -= first
    placed: NDArray[np.uint8] = np.frombuffer(owners[0], np.uint8)[first:last]
    return placed


@njit(cache=True, nogil=True, forceinline=True)
def varint(data, at, stop):  # type: ignore[no-untyped-def]
    """(value, next position) of a zigzag varint; the position is -1 if it is cut off or too long."""
    raw = np.uint64(0)
    shift = np.uint64(0)
    while at < stop and shift < 70:
        byte = np.uint64(data[at])
        at += 1
        raw |= (byte & np.uint64(0x7F)) << shift
        if byte < 128:
            return np.int64(raw >> np.uint64(1)) ^ -np.int64(raw & np.uint64(1)), at
        shift += np.uint64(7)
    return np.int64(0), -1


@njit(cache=True, nogil=True)
def _walk(data, spans, offset, time, start, end):  # type: ignore[no-untyped-def]
    """Walk batches, each as `_SPAN` has it. Returns how many fit, up to the first that doesn't."""
    row = 0
    for number in range(len(spans)):
        begin, size, base_offset, base_time, fixed_time, count = spans[number]
        if not _walk_one(data, begin, begin + size, base_offset, base_time, fixed_time, row, row + count,
                         offset, time, start, end):  # fmt: skip
            return number
        row += count
    return len(spans)


@njit(cache=True, nogil=True, forceinline=True)
def _walk_one(data, begin, stop, base_offset, base_time, fixed_time, row, last, offset, time, start, end):  # type: ignore[no-untyped-def]
    at = begin
    while row < last:
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
        key, at = varint(data, at, after)
        if at < 0 or key < -1 or key > after - at:
            return False
        at += max(key, 0)
        value, at = varint(data, at, after)
        if at < 0 or value < -1 or value > after - at:
            return False
        offset[row] = base_offset + offset_delta
        time[row] = base_time if fixed_time else base_time + time_delta
        start[row] = at
        end[row] = at + value if value >= 0 else -1
        at = after
        row += 1
    return at == stop


class KeysAndHeaders(NamedTuple):
    """What `walk` passes over, i64[n] each. `key_end` is -1 where there is no key; `headers`: how many there are."""

    key_start: NDArray[np.int64]
    key_end: NDArray[np.int64]
    headers_start: NDArray[np.int64]
    headers: NDArray[np.int64]


def keys_and_headers(records: Records) -> KeysAndHeaders:
    """Where the keys and headers of records that `walk` gave lie in their payload.

    Raises:
        Malformed: the headers of a record don't fit it.
    """
    found = KeysAndHeaders(*(np.empty(len(records.offset), np.int64) for _ in KeysAndHeaders._fields))
    if not _keys_and_headers(records.payload, records.start, records.end, *found):
        raise Malformed("record: its headers don't fit")
    return found


@njit(cache=True, nogil=True)
def _keys_and_headers(data, start, end, key_start, key_end, headers_start, headers):  # type: ignore[no-untyped-def]
    at = 0
    for row in range(len(start)):
        length, at = varint(data, at, len(data))
        after = at + length
        at += 1  # attributes
        _, at = varint(data, at, after)
        _, at = varint(data, at, after)
        key, at = varint(data, at, after)
        key_start[row] = at
        key_end[row] = at + key if key >= 0 else -1
        headers[row], headers_start[row] = varint(data, max(start[row], end[row]), after)
        if headers_start[row] < 0 or headers[row] < 0:
            return False
        at = after
    return True


def walk_reference(batches: Sequence[RecordBatch]) -> Records:
    """The same, plainly: what `walk` is tested against."""
    rows: list[tuple[int, int, int, int]] = []
    begin = 0
    for batch in batches:
        reader = _Reader(batch.payload)
        for _ in range(batch.count):
            after = reader.varint() + reader.at
            reader.at += 1
            time = batch.first_timestamp + reader.varint()
            offset = batch.base_offset + reader.varint()
            reader.skip(reader.varint(), after)
            length = reader.varint()
            start = reader.at
            reader.skip(length, after)
            if not start <= after <= len(batch.payload):
                raise ValueError("record: its length doesn't fit")
            if batch.timestamp_type == APPEND_TIME:
                time = batch.max_timestamp
            rows.append((offset, time, begin + start, -1 if length < 0 else begin + start + length))
            reader.at = after
        if reader.at != len(batch.payload):
            raise ValueError("record batch: bytes behind the last record")
        begin += len(batch.payload)
    columns = np.array(rows, np.int64).reshape(-1, 4).T
    payload = np.frombuffer(b"".join(batch.payload for batch in batches), np.uint8)
    return Records(columns[0], columns[1], columns[2], columns[3], payload)


class _Reader:
    def __init__(self, data: bytes | memoryview) -> None:
        self._data = data
        self.at = 0

    def varint(self) -> int:
        raw = 0
        for place in range(10):
            if self.at >= len(self._data):
                raise ValueError("varint: cut off")
            byte = self._data[self.at]
            self.at += 1
            raw |= (byte & 0x7F) << (7 * place)
            if byte < 128:
                raw &= (1 << 64) - 1
                return (raw >> 1) ^ -(raw & 1)
        raise ValueError("varint: longer than 10 bytes")

    def skip(self, length: int, after: int) -> None:
        if length < -1 or length > after - self.at:
            raise ValueError("record: a length doesn't fit")
        self.at += max(length, 0)
