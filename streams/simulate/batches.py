"""Kafka record batches (format v2) written whole, by a compiled loop, for aiokafka's producer to send.

aiokafka's own builder takes records one by one (1.5 us each) and compresses lz4 at level 9 (50 MB/s); a demo's machine
has better things to do. `Batch` stands in for its `BatchBuilder`: the producer asks it for the bytes once it has
numbered the batch. These methods are aiokafka's inner interface; tests/integration/test_simulate_kafka.py guards it.
"""

import struct
from collections.abc import Iterator
from typing import Final

import cramjam
import numpy as np
from aiokafka.record.util import calc_crc32c
from numba import int64, njit
from numpy.typing import NDArray

from streams.simulate.files import Block

BATCH_BYTES: Final = 800_000  # of records, before compression
RECORD_BYTES: Final = 32  # what a record adds to its value at most
LZ4: Final = 3
LZ4_LEVEL: Final = 1

_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
_CHECKED_FROM: Final = 21  # the CRC covers what follows it
_LENGTH_FROM: Final = 12


class Batch:
    """Records of one partition, compressed, that wait for the producer's number."""

    def __init__(self, count: int, first_ms: int, max_ms: int, records: bytes) -> None:
        self._count, self._first_ms, self._max_ms = count, first_ms, max_ms
        self._records = records
        self._numbered = (-1, -1, 0)

    def record_count(self) -> int:
        """Records in the batch."""
        return self._count

    def size(self) -> int:
        """Bytes of the batch."""
        return _HEADER.size + len(self._records)

    def closed(self) -> bool:
        """Nothing can be added."""
        return True

    def close(self) -> None:
        """It is already."""

    def append(self, **_: object) -> None:
        """Refuse another record, as a full batch does."""

    def _set_producer_state(self, producer: int, epoch: int, sequence: int) -> None:
        self._numbered = (producer, epoch, sequence)

    def _build(self) -> bytearray:
        size = self.size()
        times = (self._first_ms, self._max_ms)
        head = (0, size - _LENGTH_FROM, -1, 2, 0, LZ4, self._count - 1, *times, *self._numbered, self._count)
        out = bytearray(_HEADER.pack(*head) + self._records)
        struct.pack_into(">I", out, _CHECKED_FROM - 4, calc_crc32c(out[_CHECKED_FROM:]))
        return out


def batches(block: Block) -> Iterator[Batch]:
    """A block's records as batches of up to BATCH_BYTES; a longer record gets a batch of its own."""
    payload = np.frombuffer(block.payload, np.uint8)
    sizes = np.maximum(block.length.astype(np.int64), 0)
    begin = np.cumsum(sizes) - sizes
    room = begin + RECORD_BYTES * np.arange(sizes.size)
    first = 0
    while first < sizes.size:
        after = int(np.searchsorted(room + sizes + RECORD_BYTES, room[first] + BATCH_BYTES, side="right"))
        rows = slice(first, max(after, first + 1))
        time, length = block.time[rows], block.length[rows]
        out = np.empty(int(sizes[rows].sum()) + RECORD_BYTES * time.size, np.uint8)
        end = write_records(out, time, length, payload[int(begin[first]) :])
        compressor = cramjam.lz4.Compressor(level=LZ4_LEVEL, content_checksum=False, block_linked=False)
        compressor.compress(out[:end].tobytes())
        yield Batch(time.size, int(time[0]), int(time.max()), bytes(compressor.finish()))
        first = rows.stop


@njit(cache=True, nogil=True)
def write_records(
    out: NDArray[np.uint8], time: NDArray[np.int64], length: NDArray[np.int32], payload: NDArray[np.uint8]
) -> int:
    """Records without key or headers, one after another as the format has them. Returns where they end."""
    at, value = 0, 0
    for k in range(time.size):
        delta: int = time[k] - time[0]
        size: int = max(int64(length[k]), 0)
        body = 1 + _width(delta) + _width(k) + 1 + _width(length[k]) + size + 1
        at = _varint(out, at, body)
        out[at] = 0  # attributes
        at = _varint(out, _varint(out, at + 1, delta), k)
        out[at] = 1  # no key: -1
        at = _varint(out, at + 1, int64(length[k]))
        for b in range(size):
            out[at + b] = payload[value + b]
        at, value = at + size, value + size
        out[at] = 0  # headers
        at += 1
    return at


@njit(cache=True, nogil=True)
def _varint(out: NDArray[np.uint8], at: int, number: int) -> int:
    rest = (number << 1) ^ (number >> 63)
    while rest >= 128:
        out[at] = (rest & 127) | 128
        rest >>= 7
        at += 1
    out[at] = rest
    return at + 1


@njit(cache=True, nogil=True)
def _width(number: int) -> int:
    rest, width = (int64(number) << 1) ^ (int64(number) >> 63), 1
    while rest >= 128:
        rest >>= 7
        width += 1
    return width
