"""What the records section of a batch unpacks to, in any of Kafka's codecs, and to no more than a bound.

In: a section as it came, and room, in which batch follows batch, so that nobody has to join them. Out: its bytes, in
the room where they fit there. A megabyte of zstd may stand for gigabytes: whoever may write to a topic could take all
of a worker's memory by it. What throng itself writes, and what clients write by default, is far below the bound.

What can fail: bytes that are no such section, or unpack to more (`Unpackable`).
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Final

import cramjam
from aiokafka.codec import _detect_xerial_stream, snappy_decode
from aiokafka.errors import UnsupportedCodecError

from streams.stores import lz4
from streams.stores.bounded import MOST_BYTES, Unpackable, whole

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
# Of zlib: with gzip's header.
GZIP_WINDOW: Final = 31
# Of snappy's frame by xerial, before its first block.
XERIAL_HEADER: Final = 16
# Events as JSON are packed 5 to 10 times. What may not fit into the room isn't tried there.
USUAL_TIMES: Final = 16


def unpacked(codec: int, section: memoryview, room: memoryview = lz4.NO_ROOM) -> bytes | memoryview:
    """What a section holds, at the beginning of `room` if that has place for it. `codec`: by Kafka's number.

    Raises:
        Unpackable: it is none, or of more than `MOST_BYTES`. UnsupportedCodecError: there is no such codec.
    """
    try:
        if codec == LZ4:
            return lz4.decoded(section, room)
        if codec == ZSTD:
            return _zstd(section, room)
        if codec == GZIP:
            return _gzip(section)
        if codec == SNAPPY:
            return _snappy(section)
    except (cramjam.DecompressionError, zlib.error, struct.error) as error:
        raise Unpackable from error
    raise UnsupportedCodecError(f"Unknown compression codec {codec}")


def _zstd(section: memoryview, room: memoryview) -> memoryview:
    if len(section) * USUAL_TIMES <= len(room):
        try:
            return room[: cramjam.zstd.decompress_into(section, room)]
        except cramjam.DecompressionError:
            pass  # there was no place for it, or it is none
    return whole(cramjam.zstd.decompress_into, section)


def _gzip(section: memoryview) -> bytes:
    found = b""
    rest: bytes | memoryview = section
    while rest:
        member = zlib.decompressobj(GZIP_WINDOW)
        found += member.decompress(rest, MOST_BYTES - len(found) + 1)
        if not member.eof or len(found) > MOST_BYTES:
            raise Unpackable
        rest = member.unused_data
    return found


def _snappy(section: memoryview) -> bytes:
    if sum(cramjam.snappy.decompress_raw_len(block) for block in _snappy_blocks(section)) > MOST_BYTES:
        raise Unpackable
    found: bytes = snappy_decode(section)
    return found


def _snappy_blocks(section: memoryview) -> Iterator[memoryview]:
    if not _detect_xerial_stream(section):
        yield section
        return
    at = XERIAL_HEADER
    while at < len(section):
        (size,) = struct.unpack_from("!i", section, at)
        if size <= 0:
            raise Unpackable
        at += 4
        yield section[at : at + size]
        at += size
