"""A long record as a batch of its own: what aiokafka's builder makes of it, in half the time.

In: a record's value, longer than a batch. Out: the batch's bytes (format v2). That builder copies the record four
times on its way, and works out the checksum by tables; here it is copied once, into what is compressed, and the
checksum is by the CPU's own instruction. The accumulator and the sender take it for a `BatchBuilder` to which nothing
can be added.
Format: https://kafka.apache.org/documentation/#recordbatch
"""

import time
from typing import Final

from aiokafka.codec import zstd_encode
from crc32c import crc32c

from streams.stores.batches import BEFORE_LENGTH, CRC_FROM, HEADER

ZSTD_LEVEL: Final = -5
FRAME_LEVEL: Final = -50
ZSTD: Final = 4
MAGIC: Final = 2
CRC_AT: Final = CRC_FROM - 4
NO_LEADER_EPOCH: Final = -1
# Attributes, time and offset against the batch's, all 0; and no key (-1, as a zigzag varint).
BEFORE_VALUE: Final = b"\0\0\0\1"
NO_HEADERS: Final = b"\0"


class SingleRecord:
    """A batch of one record without key and headers, compressed by zstd."""

    def __init__(self, value: bytes, level: int = ZSTD_LEVEL) -> None:
        self._value = value
        self._level = level
        self._time_ms = int(time.time() * 1000)
        self._producer = (-1, -1, 0)
        self._buffer: bytearray | None = None

    def record_count(self) -> int:
        """One."""
        return 1

    def closed(self) -> bool:
        """Nothing can be added."""
        return True

    def append(self, **_: object) -> None:
        """It isn't."""

    def close(self) -> None:
        """It is."""

    def _set_producer_state(self, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
        self._producer = (producer_id, producer_epoch, base_sequence)

    def _build(self) -> bytearray:
        if self._buffer is None:
            self._buffer = self._built()
        return self._buffer

    def _built(self) -> bytearray:
        before = BEFORE_VALUE + varint(len(self._value))
        length = varint(len(before) + len(self._value) + len(NO_HEADERS))
        section = b"".join((length, before, self._value, NO_HEADERS))
        batch = bytearray(HEADER.size)
        batch += zstd_encode(section, level=self._level)
        times = (self._time_ms, self._time_ms)
        fields = (0, len(batch) - BEFORE_LENGTH, NO_LEADER_EPOCH, MAGIC, 0, ZSTD, 0, *times, *self._producer, 1)
        HEADER.pack_into(batch, 0, *fields)
        batch[CRC_AT:CRC_FROM] = crc32c(memoryview(batch)[CRC_FROM:]).to_bytes(4, "big")
        return batch


def varint(number: int) -> bytes:
    """A length as a zigzag varint."""
    left, found = number << 1, bytearray()
    while left > 0x7F:
        found.append(left & 0x7F | 0x80)
        left >>= 7
    found.append(left)
    return bytes(found)
