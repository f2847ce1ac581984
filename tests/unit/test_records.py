"""The walker of Kafka's record format, against aiokafka's own writer and against its plain reference."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.events.records import APPEND_TIME, walk, walk_reference
from tests.support.raw import batch_of

RECORDS = st.lists(
    st.tuples(
        st.integers(0, 1 << 42),
        st.one_of(st.none(), st.binary(max_size=20)),
        st.one_of(st.none(), st.binary(max_size=300)),
        st.lists(st.tuples(st.text(max_size=5), st.one_of(st.none(), st.binary(max_size=9))), max_size=3),
    ),
    min_size=1,
    max_size=30,
)


@given(st.lists(RECORDS, min_size=1, max_size=3))
def test_it_finds_what_was_written(batches) -> None:
    written = [batch_of(records, 1000 * place) for place, records in enumerate(batches)]
    for walked in (walk(written), walk_reference(written)):
        flat = [
            (1000 * place + n, *record) for place, records in enumerate(batches) for n, record in enumerate(records)
        ]
        assert walked.offset.tolist() == [record[0] for record in flat]
        assert walked.time.tolist() == [record[1] for record in flat]
        values = [
            None if end < 0 else walked.payload[start:end].tobytes()
            for start, end in zip(walked.start.tolist(), walked.end.tolist(), strict=True)
        ]
        assert values == [record[3] for record in flat]


@given(st.lists(RECORDS, min_size=1, max_size=4), st.data())
def test_payloads_that_lie_one_behind_the_other_are_walked_where_they_lie(batches, data) -> None:
    written = [batch_of(records, 1000 * place) for place, records in enumerate(batches)]
    gaps = [data.draw(st.sampled_from([0, 0, 0, 3])) for _ in written]
    laid = (b"-" * gap + each.payload for gap, each in zip(gaps, written, strict=True))
    memory = np.frombuffer(bytearray(b"".join(laid)), np.uint8)
    ends = np.cumsum([gap + len(each.payload) for gap, each in zip(gaps, written, strict=True)]).tolist()
    views = [
        each._replace(payload=memory.data[end - len(each.payload) : end], begin=end - len(each.payload))
        for each, end in zip(written, ends, strict=True)
    ]
    walked = walk(views)
    for one, other in zip(walked, walk_reference(written), strict=True):
        np.testing.assert_array_equal(one, other)
    assert np.shares_memory(walked.payload, memory) == (not any(gaps[1:]))
    assert not walked.payload.flags.writeable
    other = memory.copy()  # at the same places, but not the same memory
    elsewhere = [
        views[0],
        *(each._replace(payload=other.data[each.begin :][: len(each.payload)]) for each in views[1:]),
    ]
    unsaid = [views[0], *(each._replace(begin=-1) for each in views[1:])]
    for some in (elsewhere, unsaid):
        np.testing.assert_array_equal(walk(some).payload, walked.payload)


def test_the_brokers_time_counts_where_the_broker_stamps() -> None:
    batch = batch_of([(5, None, b"a", []), (9, None, b"b", [])])._replace(timestamp_type=APPEND_TIME, max_timestamp=77)
    assert walk([batch]).time.tolist() == [77, 77] == walk_reference([batch]).time.tolist()


@given(RECORDS, st.data())
def test_damaged_lengths_are_refused_or_read_alike(records, data) -> None:
    batch = batch_of(records)
    damaged = bytearray(batch.payload)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    batch = batch._replace(payload=bytes(damaged))
    try:
        plain = walk_reference([batch])
    except ValueError:
        with pytest.raises(ValueError, match="record batch at 100"):
            walk([batch])
        return
    for one, other in zip(walk([batch]), plain, strict=True):
        np.testing.assert_array_equal(one, other)
