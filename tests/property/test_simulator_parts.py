"""The simulator's parts against plain ones."""

from datetime import UTC, datetime

import numpy as np
from aiokafka.partitioner import murmur2 as reference_murmur2
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.simulate.draws import bounded, cumulative, hashed, named, pick
from streams.simulate.people import permuted
from streams.simulate.publish import murmur2
from streams.simulate.writing import put_digits, put_hex, put_time


@given(st.integers(946_684_800_000, 4_102_444_799_999))
@settings(deadline=None)  # the first call compiles
def test_times_are_written_as_the_standard_library_does(ms: int) -> None:
    buf = np.zeros(32, np.uint8)
    end = put_time(buf, 0, ms)
    expected = datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{ms % 1000:03d}Z"
    assert bytes(buf[:end]) == b'"%s"' % expected.encode()


@given(st.integers(0, 2**64 - 1))
@settings(deadline=None)  # the first call compiles
def test_numbers_are_written_in_full(value: int) -> None:
    buf = np.zeros(40, np.uint8)
    assert bytes(buf[: put_digits(buf, 0, np.uint64(value), 20)]) == b"%020d" % value
    assert bytes(buf[: put_hex(buf, 0, np.uint64(value))]) == b"%016x" % value


@given(st.binary(max_size=40))
@settings(deadline=None)  # the first call compiles
def test_keys_go_where_other_kafka_clients_put_them(key: bytes) -> None:
    assert murmur2(np.frombuffer(key, np.uint8)) == reference_murmur2(key) & 0x7FFFFFFF


@given(st.integers(0, 2**63), st.integers(0, 10**6))
@settings(max_examples=50, deadline=None)
def test_a_permutation_gives_no_number_twice(seed: int, first: int) -> None:
    out = permuted(seed, np.arange(first, first + 2000, dtype=np.uint64))
    assert np.unique(out).size == 2000
    assert out.max() < 10**10


@given(st.integers(0, 2**63), st.integers(1, 90), st.integers(0, 2**40))
@settings(deadline=None)  # the first call compiles
def test_a_draw_is_the_same_alone_and_in_an_array(seed: int, purpose: int, number: int) -> None:
    many = hashed(seed, purpose, np.arange(number, number + 3, dtype=np.uint64))
    alone = named(np.uint64(seed), purpose, number)
    assert int(many[0]) == int(alone) % 2**64
    assert np.all(bounded(many, 7) < 7)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=30).filter(any), st.integers(0, 2**64 - 1))
@settings(deadline=None)  # the first call compiles
def test_nothing_without_weight_is_ever_picked(weights: list[int], draw: int) -> None:
    table = cumulative(np.array(weights, np.float64))
    assert weights[pick(np.uint64(draw), table)] > 0
