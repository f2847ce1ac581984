"""Batches of any codec unpack to what was packed, up to a bound: a few kilobytes may stand for gigabytes."""

import gzip
import struct
import subprocess
import sys
from collections.abc import Callable

import cramjam
import pytest
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.codec import gzip_encode, lz4_encode, snappy_encode, zstd_encode
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.errors import UnsupportedCodecError
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from crc32c import crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.rejects import Reason
from streams.agents.fetch import BatchRuns
from streams.core.events.decode import decode
from streams.core.events.records import walk
from streams.errors import ThrongError
from streams.stores.batches import CRC_FROM, HEADER, BatchViews
from streams.stores.bounded import MOST_BYTES, MOST_RECORDS, Unpackable
from streams.stores.bounded_reading import BoundedBatches, BoundedRecords
from streams.stores.unpacking import GZIP, LZ4, SNAPPY, ZSTD, unpacked

TOO_MUCH = MOST_BYTES + 1
TP = TopicPartition("registry", 3)
PACK: list[tuple[int, Callable[[bytes], bytes]]] = [
    (GZIP, lambda data: gzip_encode(data, 1)),
    (SNAPPY, snappy_encode),
    (SNAPPY, lambda data: snappy_encode(data, xerial_compatible=False)),
    (LZ4, lz4_encode),
    (LZ4, lambda data: bytes(cramjam.lz4.compress(data))),  # in a form that Kafka's clients don't write
    (ZSTD, zstd_encode),
]
NAMES = ["gzip", "xerial", "snappy", "lz4", "lz4 of another form", "zstd"]
TEXTS = st.builds(
    lambda text, times: text * times, st.binary(min_size=1, max_size=300), st.sampled_from([1, 250, 9000])
)


@pytest.mark.parametrize(("codec", "pack"), PACK, ids=NAMES)
@settings(max_examples=40, deadline=None)
@given(TEXTS, st.sampled_from([0, 100, 70_000, 1 << 20]))
def test_it_unpacks_to_what_was_packed_into_whatever_room(
    codec: int, pack: Callable[[bytes], bytes], data: bytes, room: int
) -> None:
    assert bytes(unpacked(codec, memoryview(pack(data)), memoryview(bytearray(room)))) == data


def test_what_unpacks_to_the_bound_is_taken() -> None:
    assert len(unpacked(ZSTD, memoryview(zstd_encode(bytes(MOST_BYTES))), memoryview(b""))) == MOST_BYTES


@pytest.mark.parametrize(("codec", "pack"), PACK, ids=NAMES)
def test_what_unpacks_to_more_is_refused(codec: int, pack: Callable[[bytes], bytes]) -> None:
    with pytest.raises(Unpackable):
        unpacked(codec, memoryview(pack(bytes(TOO_MUCH))), memoryview(bytearray(9 << 20)))


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])
def test_what_is_not_packed_is_refused(codec: int) -> None:
    for junk in (b"no frame at all, and long enough", b"\x82SNAPPY\x00" + struct.pack("!iii", 1, 1, -4) + b"x"):
        with pytest.raises(Unpackable):
            unpacked(codec, memoryview(junk), memoryview(bytearray(1 << 20)))


def test_an_unknown_codec_is_another_matter() -> None:
    with pytest.raises(UnsupportedCodecError):
        unpacked(5, memoryview(b"x"), memoryview(b""))


def test_two_members_of_gzip_are_read_as_one() -> None:
    both = gzip.compress(b"one") + gzip.compress(b"two")
    assert unpacked(GZIP, memoryview(both), memoryview(b"")) == b"onetwo"


def batch(section: bytes, codec: int, records: int, base_offset: int) -> bytes:
    """A batch with any section, as a broker would hand it out."""
    fields = [base_offset, HEADER.size - 12 + len(section), 0, 2, 0, codec, records - 1, 5, 9, -1, -1, -1, records]
    whole = bytearray(HEADER.pack(*fields) + section)
    fields[4] = crc32c(whole[CRC_FROM:])
    return HEADER.pack(*fields) + section


def plain(value: bytes, base_offset: int) -> bytes:
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 20)
    builder.append(0, 7, None, value, [])
    return batch(bytes(builder.build())[HEADER.size :], 0, 1, base_offset)


def test_one_record_longer_than_any_event_stands_for_a_batch_that_cannot_be_unpacked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bomb = zstd_encode(bytes(TOO_MUCH))
    data = plain(b"before", 10) + batch(bomb, ZSTD, 40, 11) + plain(b"after", 51)
    tp = TopicPartition("attach", 3)
    runs = list(BatchRuns(tp, BatchViews(data), None, 10, None, None, True, 1, run_bytes=8 << 20))  # type: ignore[arg-type]
    assert [(run.first_offset, run.next_offset) for run in runs] == [(10, 52)]
    records = walk(runs[0].batches)
    assert records.offset.tolist() == [10, 11, 51]
    assert records.payload[records.start[1] :][: len(bomb)].tobytes() == bomb
    events = decode(records, 1_000_000)
    assert [Reason(status) for status in events.status] == [Reason.not_json, Reason.oversized, Reason.not_json]
    (line,) = caplog.messages
    assert line.startswith("attach, partition 3, offset 11: a batch of 40 records") and "to over 128 MB" in line


def test_so_many_records_that_reading_them_would_take_gigabytes_are_refused_whole() -> None:
    bomb = zstd_encode(b"\x0c\x00\x00\x00\x01\x00\x00" * 10)  # what it says it has is looked at first
    data = batch(bomb, ZSTD, MOST_RECORDS + 1, 0) + batch(bomb, ZSTD, 10, MOST_RECORDS + 1)
    (run,) = BatchRuns(TopicPartition("attach", 0), BatchViews(data), None, 0, None, None, True, 1, run_bytes=8 << 20)  # type: ignore[arg-type]
    assert [(each.count, each.next_offset) for each in run.batches] == [
        (1, MOST_RECORDS + 1),
        (10, MOST_RECORDS + 11),
    ]
    assert len(walk(run.batches).offset) == 11


def read_singly(data: bytes, start: int = 0) -> list[ConsumerRecord]:
    """As a reader of a control topic has it."""
    return list(BoundedRecords(TP, BoundedBatches(data), None, start, None, None, True, 0))


@pytest.mark.parametrize(("codec", "pack"), PACK, ids=NAMES)
def test_who_may_pass_nothing_over_reads_what_aiokafka_reads(codec: int, pack: Callable[[bytes], bytes]) -> None:
    section = plain(b"within", 0)[HEADER.size :]
    data = plain(b"before", 10) + batch(pack(section), codec, 1, 11) + plain(b"after", 12)
    stock = list(PartitionRecords(TP, MemoryRecords(data), None, 11, None, None, True, 0))
    assert read_singly(data, 11) == stock and [each.value for each in stock] == [b"within", b"after"]


@pytest.mark.parametrize(("codec", "pack"), PACK, ids=NAMES)
def test_who_may_pass_nothing_over_ends_at_a_batch_that_cannot_be_unpacked(
    codec: int, pack: Callable[[bytes], bytes]
) -> None:
    for bomb in (batch(pack(bytes(TOO_MUCH)), codec, 1, 11), batch(pack(b"x"), codec, MOST_RECORDS + 1, 11)):
        with pytest.raises(ThrongError, match="registry, partition 3, offset 11: a batch of .* records") as raised:
            read_singly(plain(b"before", 10) + bomb)
        assert raised.value.code == "unpackable"


def test_gigabytes_in_a_batch_take_no_more_memory_than_the_bound() -> None:
    code = f"""
import resource
from aiokafka.codec import gzip_encode, zstd_encode
from streams.stores.bounded import Unpackable
from streams.stores.unpacking import GZIP, ZSTD, unpacked
part = bytes(64 << 20)
bombs = [(ZSTD, zstd_encode(part) * 64), (GZIP, gzip_encode(part, 1) * 64)]  # frames follow each other: 4 GB
room = memoryview(bytearray(9 << 20))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for codec, bomb in bombs:
    try:
        unpacked(codec, memoryview(bomb), room)
    except Unpackable:
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < {3 * MOST_BYTES >> 10})
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "True\nTrue\n"
