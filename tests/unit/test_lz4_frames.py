"""Frames of lz4 block by block, held against aiokafka's codec."""

import cramjam
import pytest
from aiokafka.codec import lz4_encode
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.stores import lz4


def framed(data: bytes, level: int, linked: bool, content_checksum: bool) -> bytes:
    compressor = cramjam.lz4.Compressor(level=level, content_checksum=content_checksum, block_linked=linked)
    compressor.compress(data)
    return bytes(compressor.finish())


def written(blocks: list[bytes], length: int = 0x40, compressed: bool = True) -> bytes:
    """As Java's client writes a frame: no checksums of blocks, and whatever doesn't get smaller as it is."""
    frame = lz4.HEADER.pack(lz4.MAGIC, lz4.VERSION | lz4.INDEPENDENT, length)
    for block in blocks:
        stored = bytes(cramjam.lz4.compress_block(block, store_size=False)) if compressed else block
        frame += lz4.SIZE.pack(len(stored) | (0 if compressed else lz4.NOT_COMPRESSED)) + stored
    return frame + lz4.SIZE.pack(0)


TEXTS = st.builds(lambda text, times: text * times, st.binary(max_size=300), st.sampled_from([1, 3, 250, 1000]))


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.sampled_from([1, 9]), st.booleans(), st.booleans())
def test_any_frame_is_read(data: bytes, level: int, linked: bool, content_checksum: bool) -> None:
    assert bytes(lz4.decoded(memoryview(framed(data, level, linked, content_checksum)))) == data


def test_frames_of_clients_are_read_by_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(lz4, "whole")
    random = bytes(range(256)) * 2
    assert bytes(lz4.decoded(memoryview(lz4_encode(b"abc" * 50_000)))) == b"abc" * 50_000
    assert bytes(lz4.decoded(memoryview(written([b"a" * 65_536, b"b" * 5])))) == b"a" * 65_536 + b"b" * 5
    assert bytes(lz4.decoded(memoryview(written([b"a" * 4_000_000], 0x70)))) == b"a" * 4_000_000
    assert bytes(lz4.decoded(memoryview(written([random, random], compressed=False)))) == random * 2
    assert bytes(lz4.decoded(memoryview(written([])))) == b""


def test_two_frames_in_a_row_are_left_to_the_codec() -> None:
    both = written([b"a" * 1000]) + written([b"b"])
    assert lz4._blocks(memoryview(both)) is None


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 400), st.integers(1, 255))
def test_what_is_broken_is_refused_or_read_within_its_length(at: int, flip: int) -> None:
    frame = bytearray(written([bytes(range(200)) * 3, b"xyz" * 100]))
    frame[at % len(frame)] ^= flip
    try:
        read = lz4.decoded(memoryview(frame))
    except (cramjam.DecompressionError, ValueError):
        return
    assert len(read) <= len(frame) * lz4.MOST_TIMES
