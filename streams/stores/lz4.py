"""What a batch's lz4 frame holds, block by block into one buffer.

In: a frame as Kafka's clients write it: blocks that don't refer to each other, and nothing else in it; and room, in
which frame follows frame, so that nobody has to join them. Out: its bytes. A frame in any other form goes through
liblz4's own reader of frames, which takes every block through a buffer of its own: a third more time. Checksums of
blocks are not looked at: that of the batch covers the same bytes.

Format: https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md
What can fail: bytes that are no frame, or hold too much (`cramjam.DecompressionError`).
"""

import struct
from typing import Final

import cramjam
import numpy as np

from streams.stores.bounded import MOST_BYTES, whole

MAGIC: Final = 0x184D2204
HEADER: Final = struct.Struct("<IBBx")  # the checksum of these is passed over
SIZE: Final = struct.Struct("<I")
VERSION, INDEPENDENT, BLOCK_CHECKSUM = 0x40, 0x20, 0x10
NOT_COMPRESSED: Final = 1 << 31
LONGEST_BLOCK: Final = {0x40: 1 << 16, 0x50: 1 << 18, 0x60: 1 << 20, 0x70: 1 << 22}
NO_ROOM: Final = memoryview(b"")
# A byte of a block stands for that many at most.
MOST_TIMES: Final = 255


def decoded(frame: memoryview, room: memoryview = NO_ROOM) -> memoryview:
    """The bytes that a frame holds: at the beginning of `room`, if they surely fit there.

    Raises:
        cramjam.DecompressionError: it is none, or holds more than `MOST_BYTES`.
    """
    blocks = _blocks(frame)
    if blocks is None:
        return whole(cramjam.lz4.decompress_into, frame)
    most = sum(longest for _, longest, _ in blocks)
    buffer = room if most <= len(room) else np.empty(min(most, MOST_BYTES), np.uint8).data
    at = 0
    for block, longest, compressed in blocks:
        place = buffer[at : at + longest]
        if compressed:
            at += cramjam.lz4.decompress_block_into(block, place, output_len=len(place))
        elif len(place) < longest:
            raise cramjam.DecompressionError("the frame holds too much")
        else:
            place[:] = block
            at += longest
    return buffer[:at]


def _blocks(frame: memoryview) -> list[tuple[memoryview, int, bool]] | None:
    """Each block, how long it can be when decompressed, and whether it has to be; None of a frame of another form."""
    if len(frame) < HEADER.size:
        return None
    magic, flags, length = HEADER.unpack_from(frame)
    if magic != MAGIC or flags & ~BLOCK_CHECKSUM != VERSION | INDEPENDENT or length not in LONGEST_BLOCK:
        return None
    after = SIZE.size if flags & BLOCK_CHECKSUM else 0
    blocks: list[tuple[memoryview, int, bool]] = []
    at = HEADER.size
    while at + SIZE.size <= len(frame):
        (size,) = SIZE.unpack_from(frame, at)
        at += SIZE.size
        if size == 0:
            return blocks if at == len(frame) else None
        compressed = size < NOT_COMPRESSED
        size %= NOT_COMPRESSED
        block = frame[at : at + size]
        at += size + after
        blocks.append((block, min(LONGEST_BLOCK[length], size * MOST_TIMES) if compressed else size, compressed))
    return None
