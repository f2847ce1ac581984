"""What the transport overrides in Faust and aiokafka: versions, names, signatures, and the same records as stock."""

import inspect
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import NamedTuple

import numpy as np
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.consumer.group_coordinator import CoordinatorGroupRebalance, GroupCoordinator
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from faust.app.base import App
from faust.serializers.schemas import Schema
from faust.transport.consumer import Consumer
from faust.transport.drivers import aiokafka as driver
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.agents.app import missing_extensions
from streams.agents.fetch import BatchRuns, Fetched, Rooms
from streams.agents.sticky import sticky_assignor
from streams.core.events.records import walk
from streams.stores.batches import APPEND_TIME, CONTROL, HEADER, BatchViews

TP = TopicPartition("t", 0)


def test_the_pinned_versions_are_installed() -> None:
    assert (version("faust-streaming"), version("aiokafka")) == ("0.15.3", "0.14.0")


def test_the_compiled_parts_are_loaded() -> None:
    assert missing_extensions() == []


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (fetcher.PartitionRecords.__init__, "self tp records aborted_transactions fetch_offset key_deserializer "
         "value_deserializer check_crcs isolation_level"),
        (fetcher.Fetcher._proc_fetch_request, "self assignment node_id request"),
        (fetcher.Fetcher.fetched_records, "self partitions timeout max_records"),
        (GroupCoordinator.fetch_committed_offsets, "self partitions"),
        (GroupCoordinator._do_commit_offsets, "self assignment offsets"),
        (StickyPartitionAssignor.on_assignment, "assignment"),
        (StickyPartitionAssignor.on_generation_assignment, "generation"),
        (GroupCoordinator._on_join_complete, "self generation member_id protocol member_assignment_bytes"),
        (AIOKafkaConsumer.seek, "self partition offset"),
        (AIOKafkaConsumer.commit, "self offsets"),
        (driver.AIOKafkaConsumerThread._create_worker_consumer, "self transport"),
        (driver.AIOKafkaConsumerThread._fetch_records, "self consumer active_partitions timeout max_records"),
        (driver.AIOKafkaConsumerThread.on_start, "self"),
        (driver.AIOKafkaConsumerThread.getmany, "self active_partitions timeout"),
        (driver.ConsumerRebalanceListener.on_partitions_revoked, "self revoked"),
        (driver.ConsumerRebalanceListener.on_partitions_assigned, "self assigned"),
        (driver.Consumer._new_consumer_thread, "self"),
        (Consumer.getmany, "self timeout"),
        (Consumer._getmany, "self active_partitions timeout"),
        (Consumer._wait_next_records, "self timeout"),
        (Consumer.perform_seek, "self"),
        (Consumer.on_partitions_revoked, "self revoked"),
        (Consumer.on_partitions_assigned, "self assigned generation_id"),
        (Consumer.on_buffer_drop, "self tp"),
        (App._new_transport, "self"),
        (App._create_directories, "self"),
        (Schema.loads_key, "self app message loads serializer"),
        (Schema.loads_value, "self app message loads serializer"),
    ],
)  # fmt: skip
def test_what_is_overridden_or_called_has_the_signature_it_had(
    function: Callable[..., object], parameters: str
) -> None:
    assert list(inspect.signature(function).parameters) == parameters.split()


def test_aiokafkas_handler_still_names_the_classes_that_are_exchanged() -> None:
    assert {"MemoryRecords", "PartitionRecords"} <= set(fetcher.Fetcher._proc_fetch_request.__code__.co_names)
    assert fetcher.Fetcher._proc_fetch_request.__closure__ is None


def test_faust_still_asks_for_positions_and_reads_offsets_where_we_answer() -> None:
    recovery = inspect.getsource(__import__("faust.tables.recovery").tables.recovery.Recovery._resume_streams)
    assert "consumer.perform_seek()" in recovery
    assert "self._read_offset.__getitem__" in inspect.getsource(Consumer._drain_messages)
    assert "active_partitions = self._get_active_partitions()" in inspect.getsource(Consumer._wait_next_records)


def test_aiokafka_still_asks_the_first_assignor_only_and_tells_it_no_generation() -> None:
    source = inspect.getsource(CoordinatorGroupRebalance.perform_group_join)
    assert source.index("for assignor in self._assignors") < source.index("JoinGroupRequest(")
    assert "on_generation_assignment" not in inspect.getsource(sys.modules[GroupCoordinator.__module__])


class Member:
    """One member of a simulated group, with an assignor of its own."""

    def __init__(self) -> None:
        self.generation = 0
        self.assignor = sticky_assignor(lambda: self.generation)
        self.partitions: set[int] = set()

    def metadata(self) -> ConsumerProtocolMemberMetadata:
        encoded = self.assignor.metadata(["t"]).encode()
        return ConsumerProtocolMemberMetadata.decode(encoded)

    def take(self, assignment: ConsumerProtocolMemberAssignment, generation: int) -> None:
        self.generation = generation
        self.assignor.on_assignment(ConsumerProtocolMemberAssignment.decode(assignment.encode()))
        self.partitions = {number for _, numbers in assignment.assignment for number in numbers}


class Cluster:
    def topics(self) -> set[str]:
        return {"t", "other"}

    def partitions_for_topic(self, _: str) -> set[int]:
        return set(range(8))


def rebalanced(members: dict[str, Member], generation: int) -> None:
    assigned = sticky_assignor(lambda: 0).assign(Cluster(), {name: each.metadata() for name, each in members.items()})
    for name, member in members.items():
        member.take(assigned[name], generation)


def test_partitions_stay_where_they_were_as_far_as_that_is_even() -> None:
    members = {name: Member() for name in "abc"}
    rebalanced(members, 1)
    before = {name: member.partitions for name, member in members.items()}
    members["d"] = Member()
    rebalanced(members, 2)
    assert sorted(len(member.partitions) for member in members.values()) == [2, 2, 2, 2]
    assert all(members[name].partitions <= before[name] for name in "abc")
    gone = members.pop("b")
    before = {name: member.partitions for name, member in members.items()}
    rebalanced(members, 3)
    assert all(before[name] <= member.partitions for name, member in members.items())
    # The one that was thrown out still claims what it had: whoever has had it since keeps it.
    before = {name: member.partitions for name, member in members.items()}
    members["b"] = gone
    rebalanced(members, 4)
    assert sorted(len(member.partitions) for member in members.values()) == [2, 2, 2, 2]
    assert all(member.partitions <= before[name] for name, member in members.items() if name != "b")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sets(st.sampled_from("abcdefghij"), min_size=1), min_size=1, max_size=8))
def test_every_partition_has_one_owner_loads_are_even_and_nothing_moves_that_need_not(rounds: list[set[str]]) -> None:
    everyone: dict[str, Member] = {}
    last: set[str] = set()
    for generation, names in enumerate(rounds, 1):
        members = {name: everyone.setdefault(name, Member()) for name in sorted(names)}
        before = {name: members[name].partitions for name in names & last}
        rebalanced(members, generation)
        owned = [number for member in members.values() for number in member.partitions]
        assert sorted(owned) == list(range(8))
        sizes = [len(member.partitions) for member in members.values()]
        assert max(sizes) - min(sizes) <= 1
        for name, had in before.items():
            assert len(had & members[name].partitions) >= min(len(had), 8 // len(members))
        last = names


class Batch(NamedTuple):
    """One batch to write: how many records, with which offsets left out, and its kind."""

    kept: list[bool]
    codec: int
    producer: int
    kind: str  # "plain", "transactional", "abort", "commit"
    append_time: bool


BATCHES = st.lists(
    st.builds(
        Batch,
        st.lists(st.booleans(), min_size=1, max_size=8),
        st.integers(0, 4),
        st.integers(1, 3),
        st.sampled_from(["plain", "plain", "transactional", "abort", "commit"]),
        st.booleans(),
    ),
    max_size=10,
)


def written(batches: list[Batch]) -> tuple[bytes, list[int]]:
    """The log's bytes and the base offset of each batch. Control batches have one record, as brokers write them."""
    data, bases, base = bytearray(), [], 0
    for batch in batches:
        control = batch.kind in ("abort", "commit")
        kept = [True] if control else batch.kept
        codec = 0 if control or not any(kept) else batch.codec  # brokers compress neither markers nor nothing
        builder = DefaultRecordBatchBuilder(2, codec, batch.kind != "plain", batch.producer, 0, 0, 1 << 20)
        key = b"\x00\x00\x00" + (b"\x00" if batch.kind == "abort" else b"\x01")
        for delta, is_kept in enumerate(kept):
            if is_kept:
                headers = [("h", b"v"), ("n", None)] if delta % 3 == 0 else []
                value = None if delta % 5 == 4 else f"{base}+{delta}".encode() * 9
                builder.append(delta, 1_000 + base + delta, key if control else None, value, headers)
        data += stamped(builder.build(), base, len(kept), control, batch.append_time)
        bases.append(base)
        base += len(kept)
    return bytes(data), bases


def stamped(raw: bytearray, base: int, length: int, control: bool, append_time: bool) -> bytes:
    """As a broker would finish a batch: base offset, last offset (whatever compaction left), kind, checksum."""
    fields = list(HEADER.unpack_from(raw))
    fields[0], fields[6] = base, length - 1
    fields[5] |= (CONTROL if control else 0) | (APPEND_TIME if append_time else 0)
    HEADER.pack_into(raw, 0, *fields)
    fields[4] = calc_crc32c(bytes(raw[21:]))
    HEADER.pack_into(raw, 0, *fields)
    return bytes(raw)


def aborted(batches: list[Batch], bases: list[int]) -> list[tuple[int, int]]:
    """The list a broker sends along: (producer, first offset) of each transaction that ends in an abort."""
    found, open_since = [], dict[int, int]()
    for batch, base in zip(batches, bases, strict=True):
        if batch.kind == "transactional":
            open_since.setdefault(batch.producer, base)
        elif batch.kind in ("abort", "commit"):
            first = open_since.pop(batch.producer, None)
            if batch.kind == "abort" and first is not None:
                found.append((batch.producer, first))
    return found


def rows(fetched: list[Fetched]) -> list[tuple[int, int, bytes | None]]:
    """Offsets, times and values by aiokafka's own reading of each batch's section, put behind a fresh header."""
    found = []
    for run in fetched:
        for batch in run.batches:
            attributes = APPEND_TIME if batch.timestamp_type else 0
            delta = batch.next_offset - batch.base_offset - 1
            header = HEADER.pack(batch.base_offset, 0, 0, 2, 0, attributes, delta, batch.first_timestamp,
                                 batch.max_timestamp, -1, -1, -1, batch.count)  # fmt: skip
            found += [
                (record.offset, record.timestamp, record.value)
                for record in DefaultRecordBatch(header + bytes(batch.payload))
                if record.offset >= run.first_offset
            ]
    return found


@settings(max_examples=300, deadline=None)
@given(BATCHES, st.integers(0, 1), st.integers(0, 70), st.integers(1, 400), st.sampled_from([0, 0, 0, 1, 50]))
def test_batches_hold_the_records_that_stock_aiokafka_gives(
    batches: list[Batch], isolation: int, position: int, run_bytes: int, cut: int
) -> None:
    data, bases = written(batches)
    position %= bases[-1] + 1 if bases else 1
    # As a broker answers: from the batch that holds the position on, the last batch perhaps cut off.
    before = sum(base <= position for base in bases) - 1
    views = BatchViews(data)
    start = sum(len(views.next_batch()) for _ in range(before))
    data = data[start : max(start, len(data) - cut)]
    arguments = (aborted(batches, bases), position, None, None, True, isolation)

    stock = fetcher.PartitionRecords(TP, MemoryRecords(data), *arguments)
    expected = [(record.offset, record.timestamp, record.value) for record in stock]
    ours = BatchRuns(TP, BatchViews(data), *arguments, run_bytes=run_bytes)
    runs = list(ours)

    assert rows(runs) == expected
    assert ours.next_fetch_offset == stock.next_fetch_offset
    ends = {base: base + len([True] if batch.kind in ("abort", "commit") else batch.kept)
            for base, batch in zip(bases, batches, strict=True)}  # fmt: skip
    given = [batch for run in runs for batch in run.batches]
    assert all(batch.next_offset == ends[batch.base_offset] for batch in given)
    assert len({batch.base_offset for batch in given}) == len(given), "each batch once"
    assert [run.first_offset for run in runs[1:]] == [run.next_offset for run in runs[:-1]]
    if runs:
        assert (runs[0].first_offset, runs[-1].next_offset) == (position, ours.next_fetch_offset)


def test_runs_lie_in_one_piece_and_their_memory_is_used_again_once_nobody_looks_at_it() -> None:
    data, _ = written([Batch([True] * 3, 3, 1, "plain", False)] * 4)
    rooms = Rooms(150)

    def runs() -> list[Fetched]:
        return list(BatchRuns(TP, BatchViews(data), None, 0, None, None, True, 0, run_bytes=150, rooms=rooms))

    def owners(found: list[Fetched]) -> list[int]:
        return [
            id(batch.payload.obj) for run in found for batch in run.batches if isinstance(batch.payload, memoryview)
        ]

    held = runs()
    first, again = owners(held), owners(runs())
    assert len(held) == 2 and first[0] == first[1] != first[2] == first[3]
    assert not {*first} & {*again}
    assert np.shares_memory(walk(held[0].batches).payload, np.frombuffer(held[0].batches[0].payload, np.uint8))
    assert rows(held) == rows(runs())
    columns = walk(held[0].batches).payload
    del held
    assert {*owners(runs())} == {first[2], again[0]}, "what the first run's columns are of is looked at still"
    del columns
    assert first[0] in owners(runs())


def test_a_wrong_checksum_is_refused_and_the_position_stays() -> None:
    data, _ = written([Batch([True] * 3, 0, 1, "plain", False)])
    broken = data[:-1] + bytes([data[-1] ^ 1])
    runs = BatchRuns(TP, BatchViews(broken), None, 0, None, None, True, 0, run_bytes=100)
    with pytest.raises(CorruptRecordException, match="checksum"):
        next(runs)
    assert runs.next_fetch_offset == 0


def test_a_batch_that_ends_before_the_position_is_passed_over() -> None:
    data, _ = written([Batch([True] * 3, 0, 1, "plain", False)] * 2)
    (run,) = BatchRuns(TP, BatchViews(data), None, 4, None, None, True, 0, run_bytes=10_000)
    assert ([batch.base_offset for batch in run.batches], run.first_offset, run.next_offset) == ([3], 4, 6)


def test_an_old_record_format_is_refused() -> None:
    data = bytearray(written([Batch([True], 0, 1, "plain", False)])[0])
    data[16] = 1
    with pytest.raises(CorruptRecordException, match="only v2"):
        next(BatchRuns(TP, BatchViews(bytes(data)), None, 0, None, None, True, 0, run_bytes=100))
