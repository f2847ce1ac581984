"""The whole batches in a broker's answer to a fetch, each with its header (format v2), not unpacked.

In: the bytes of one partition; the last batch in them is often cut off. Out: a view of each whole one. Nothing
can fail.
"""

import struct
from typing import Final, NamedTuple

# https://kafka.apache.org/documentation/#recordbatch
HEADER: Final = struct.Struct(">qiibIhiqqqhii")
BEFORE_LENGTH: Final = 12  # base offset and length itself
CRC_FROM: Final = 21  # the checksum covers all from the attributes on
CODEC_MASK, APPEND_TIME, TRANSACTIONAL, CONTROL = 0x07, 0x08, 0x10, 0x20


class Header(NamedTuple):
    """The fields of a batch before its records, by Kafka's names."""

    base_offset: int
    length: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    first_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    records: int

    @property
    def next_offset(self) -> int:
        """The offset after the batch's last, also where compaction took the record there."""
        return self.base_offset + self.last_offset_delta + 1


class BatchViews:
    """Stands for aiokafka's `MemoryRecords`: the whole batches in one partition's bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self.at = 0
        self._end = self._found()

    def size_in_bytes(self) -> int:
        """All bytes, those of a batch that was cut off included."""
        return len(self._data)

    def has_next(self) -> bool:
        """Whether a whole batch is left; the last one of an answer is often cut off."""
        return self._end is not None

    def next_batch(self) -> memoryview:
        """The next whole batch."""
        if self._end is None:
            raise StopIteration
        view = self._data[self.at : self._end]
        self.at = self._end
        self._end = self._found()
        return view

    def _found(self) -> int | None:
        """Where the batch that begins here ends, if it is whole."""
        left = len(self._data) - self.at
        if left < BEFORE_LENGTH:
            return None
        length = int.from_bytes(self._data[self.at + 8 : self.at + BEFORE_LENGTH], "big", signed=True)
        whole = BEFORE_LENGTH + max(length, HEADER.size - BEFORE_LENGTH)
        return self.at + whole if whole <= left else None
