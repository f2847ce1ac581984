"""The packed form of a tick's counts."""

import struct

import numpy as np
import pytest

from streams.stores.counts import HEADER, TickCounts, pack, unpack


@pytest.mark.parametrize(("largest", "width"), [(0, 1), (255, 1), (256, 2), (65_535, 2), (65_536, 4), (2**32 - 1, 4)])
def test_counts_come_back_from_as_few_bytes_as_the_largest_needs(largest: int, width: int) -> None:
    counts = np.arange(3 * 28, dtype=np.uint32).reshape(3, 28)
    counts = np.where(counts > largest, largest, counts).astype(np.uint32)
    counts[2, 5] = largest
    packed = pack(TickCounts(1_772_420_400_000, 20260302, counts))
    assert len(packed) == HEADER.size + width * counts.size
    tick_ms, epoch, found = unpack(packed)
    assert (tick_ms, epoch, found.dtype) == (1_772_420_400_000, 20260302, np.uint32)
    np.testing.assert_array_equal(found, counts)


def test_no_zones_are_no_counts() -> None:
    assert unpack(pack(TickCounts(1, 2, np.empty((0, 28), np.uint32)))).counts.shape == (0, 28)


def test_a_value_of_before_there_were_widths_is_read() -> None:
    counts = np.arange(2 * 28, dtype="<u4").reshape(2, 28)
    found = unpack(struct.pack("<qqII", 1, 2, 2, 28) + counts.tobytes())
    np.testing.assert_array_equal(found.counts, counts)


@pytest.mark.parametrize("change", [lambda value: value[:-1], lambda value: value + b"0", lambda value: value[:10]])
def test_a_value_of_another_length_is_refused(change) -> None:
    with pytest.raises(ValueError, match="counts: "):
        unpack(change(pack(TickCounts(1, 2, np.ones((2, 28), np.uint32)))))


def test_a_width_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="width 3"):
        unpack(HEADER.pack(1, 2, 1, 28, 3) + bytes(84))
