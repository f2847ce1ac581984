"""The transport on a real broker: what is delivered, from where, and what ends the process."""

import asyncio
import random
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from streams.agents.app import RoleApp, make_app, run
from streams.agents.kept_commits import KEPT_MS
from streams.agents.roles import Chunk, LogRange
from streams.agents.transport import Committed
from streams.local.stack import Stack
from tests.support.reading import (
    QUICK,
    Reader,
    delete_before,
    ends_with,
    make_topic,
    produce,
    produce_transaction,
)

pytestmark = pytest.mark.integration


async def test_every_offset_arrives_once_and_in_order_whatever_the_compression(stack: Stack, namespace: str) -> None:
    topic = await make_topic(stack.kafka, f"{namespace}.in", 2)
    for codec in (None, "gzip", "snappy", "lz4", "zstd"):
        values = [f"{codec}-{index}-".encode() * 20 for index in range(2_000)]
        await produce(stack.kafka, topic, values, 2, compression_type=codec)
    reader = Reader(topic, {0: None, 1: None}, {0: 5_000, 1: 5_000})
    await run(make_app(reader.role, stack.kafka, namespace, QUICK), stop=reader.stop)
    for partition in (0, 1):
        expected = [
            f"{codec}-{index}-".encode() * 20
            for codec in (None, "gzip", "snappy", "lz4", "zstd")
            for index in range(partition, 2_000, 2)
        ]
        assert reader.values(partition) == list(enumerate(expected))
        chunks = reader.of(partition)
        assert [chunk.first_offset for chunk in chunks] == [0, *(chunk.next_offset for chunk in chunks[:-1])]
        assert len(chunks) > 3, "chunks are bounded"
    assert reader.calls == ["positions", "assigned", "revoked"]


async def test_aborted_transactions_are_left_out_but_their_offsets_are_covered(stack: Stack, namespace: str) -> None:
    topic = await make_topic(stack.kafka, f"{namespace}.in", 1)
    await produce_transaction(stack.kafka, topic, [b"kept 1", b"kept 2"], commit=True)  # 0, 1 and a marker
    await produce_transaction(stack.kafka, topic, [b"aborted"], commit=False)  # 3 and a marker
    reader = Reader(topic, {0: 0}, {0: 5})
    await run(make_app(reader.role, stack.kafka, namespace, QUICK), stop=reader.stop)
    assert reader.values(0) == [(0, b"kept 1"), (1, b"kept 2")]
    assert reader.reached(0) == 5


async def test_an_open_transaction_ends_the_log_so_that_whoever_waits_for_it_does_not_lag(
    stack: Stack, namespace: str
) -> None:
    topic = await make_topic(stack.kafka, f"{namespace}.in", 1)
    await produce(stack.kafka, topic, [b"before"])
    async with AIOKafkaProducer(bootstrap_servers=stack.kafka, transactional_id=topic) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"open", partition=0)
        await produce(stack.kafka, topic, [b"behind it"])
        reader = Reader(topic, {0: 0}, {0: 1})
        await run(make_app(reader.role, stack.kafka, namespace, QUICK), stop=reader.stop)
        assert reader.values(0) == [(0, b"before")]
        assert [log.end for log in reader.logs.values()] == [1]
        await producer.commit_transaction()


async def test_a_position_in_the_middle_of_a_batch_gets_the_whole_batch(stack: Stack, namespace: str) -> None:
    topic = await make_topic(stack.kafka, f"{namespace}.in", 1)
    await produce(stack.kafka, topic, [b"%d" % index for index in range(100)])
    reader = Reader(topic, {0: 37}, {0: 100})
    await run(make_app(reader.role, stack.kafka, namespace, QUICK), stop=reader.stop)
    assert reader.chunks[0].first_offset == 37
    assert reader.chunks[0].batches[0].base_offset < 37
    assert [offset for offset, _ in reader.values(0)] == list(range(37, 100))


async def test_a_held_partition_waits_and_goes_on_without_a_hole(stack: Stack, namespace: str) -> None:
    topic = await make_topic(stack.kafka, f"{namespace}.in", 2)
    await produce(stack.kafka, topic, [b"x" * 500] * 4_000, 2)
    reader = Reader(topic, {0: 0, 1: 0}, {0: 2_000, 1: 2_000})
    app = make_app(reader.role, stack.kafka, namespace, replace(QUICK, poll_s=3))

    async def hold_for_a_while() -> None:
        while not reader.of(0):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        app.hold(frozenset({0}))
        await asyncio.sleep(1)
        before = reader.reached(0)
        await asyncio.sleep(4)  # longer than poll_s: held partitions don't cost the membership
        assert before == reader.reached(0) < 2_000
        app.hold(frozenset())
        await asyncio.Event().wait()

    await run(app, [hold_for_a_while], reader.stop)
    assert [offset for offset, _ in reader.values(0)] == list(range(2_000))
    assert reader.calls == ["positions", "assigned", "revoked"]


async def test_a_chunk_that_is_much_work_costs_no_membership_as_long_as_it_goes_on(
    stack: Stack, namespace: str
) -> None:
    topic = await make_topic(stack.kafka, f"{namespace}.in", 1)
    await produce(stack.kafka, topic, [b"x" * 500] * 4_000)
    reader = Reader(topic, {0: 0}, {0: 4_000})

    async def with_much_work(chunk: Chunk) -> None:
        if not reader.chunks:
            for _ in range(12):  # longer than poll_s: more chunks are there than may wait, so none is fetched
                await asyncio.sleep(0.5)
                app.tenure.step()
        await reader.on_chunk(chunk)

    role = replace(reader.role, on_chunk=with_much_work)
    app = make_app(role, stack.kafka, namespace, replace(QUICK, poll_s=3, stall_s=5))
    await run(app, stop=reader.stop)
    assert [offset for offset, _ in reader.values(0)] == list(range(4_000))
    assert reader.calls == ["positions", "assigned", "revoked"]


async def test_a_position_below_the_logs_start_is_reported_not_reset(stack: Stack, namespace: str) -> None:
    topic = await make_topic(stack.kafka, f"{namespace}.in", 1)
    await produce(stack.kafka, topic, [b"x"] * 100)
    await delete_before(stack.kafka, topic, 60)
    reader = Reader(topic, {0: 20}, {0: 100})
    assert (await ends_with(reader.role, stack.kafka, namespace)).code == "log_lost"

    lost = []

    async def on_lost(partition: int, position: int, log: LogRange) -> int:
        lost.append((partition, position, log))
        return log.start

    await run(make_app(replace(reader.role, on_lost=on_lost), stack.kafka, namespace, QUICK), stop=reader.stop)
    assert lost == [(0, 20, LogRange(60, 100))]
    assert [offset for offset, _ in reader.values(0)] == list(range(60, 100))


async def test_retention_that_overtakes_the_reader_is_reported_too(stack: Stack, namespace: str) -> None:
    topic = await make_topic(stack.kafka, f"{namespace}.in", 1)
    await produce(stack.kafka, topic, [b"x"] * 100)
    lost = []
    reader = Reader(topic, {0: 20}, {0: 100})

    async def positions(logs: Mapping[int, LogRange]) -> Mapping[int, int | None]:
        await delete_before(stack.kafka, topic, 60)
        return {0: 20}

    async def on_lost(partition: int, position: int, log: LogRange) -> int:
        lost.append((partition, position, log))
        return log.start

    role = replace(reader.role, positions=positions, on_lost=on_lost)
    await run(make_app(role, stack.kafka, namespace, QUICK), stop=reader.stop)
    assert lost == [(0, 20, LogRange(60, 100))]
    assert [offset for offset, _ in reader.values(0)] == list(range(60, 100))


async def test_a_position_beyond_the_log_ends_the_process(stack: Stack, namespace: str) -> None:
    topic = await make_topic(stack.kafka, f"{namespace}.in", 1)
    reader = Reader(topic, {0: 7}, {})
    assert (await ends_with(reader.role, stack.kafka, namespace)).code == "log_ahead"


async def test_positions_that_take_too_long_end_the_process(stack: Stack, namespace: str) -> None:
    topic = await make_topic(stack.kafka, f"{namespace}.in", 1)

    async def positions(_: Mapping[int, LogRange]) -> Mapping[int, int | None]:
        await asyncio.sleep(60)
        return {}

    role = replace(Reader(topic, {}, {}).role, positions=positions)
    assert (await ends_with(role, stack.kafka, namespace, replace(QUICK, place_s=1))).code == "positions_late"


async def test_a_crashed_role_ends_the_process_without_quoting_data(stack: Stack, namespace: str) -> None:
    topic = await make_topic(stack.kafka, f"{namespace}.in", 1)
    await produce(stack.kafka, topic, [b"x" * 500] * 500)
    reader = Reader(topic, {0: 0}, {})

    async def on_chunk(chunk: Chunk) -> None:
        await reader.on_chunk(chunk)
        raise ValueError("001010123456789")

    error = await ends_with(replace(reader.role, on_chunk=on_chunk), stack.kafka, namespace)
    assert error.code == "crashed"
    assert "ValueError" in error.sentence
    assert "001010" not in error.sentence
    assert len(reader.chunks) == 1, "nothing follows what failed"
    assert reader.calls == ["positions", "assigned"], "nothing is given up in order after a failure"


async def test_a_service_that_ends_ends_the_process(stack: Stack, namespace: str) -> None:
    topic = await make_topic(stack.kafka, f"{namespace}.in", 1)
    reader = Reader(topic, {0: 0}, {})

    async def flushing() -> None:
        await asyncio.sleep(0.1)

    error = await ends_with(reader.role, stack.kafka, namespace, services=[flushing])
    assert "flushing" in error.sentence


async def test_lag_without_progress_ends_the_process(stack: Stack, namespace: str) -> None:
    topic = await make_topic(stack.kafka, f"{namespace}.in", 1)
    await produce(stack.kafka, topic, [b"x"] * 10)

    async def on_chunk(_: Chunk) -> None:
        await asyncio.Event().wait()

    role = replace(Reader(topic, {0: 0}, {}).role, on_chunk=on_chunk)
    error = await ends_with(role, stack.kafka, namespace, replace(QUICK, stall_s=2))
    assert error.code == "stalled"
    assert "stays at 0, the log ends at 10" in error.sentence


async def test_no_broker_is_said_in_one_line(namespace: str) -> None:
    error = await ends_with(Reader("none", {}, {}).role, "127.0.0.1:9", namespace)
    assert error.code == "kafka"


async def test_commits_carry_a_text_and_are_read_for_the_whole_group(stack: Stack, namespace: str) -> None:
    topic = await make_topic(stack.kafka, f"{namespace}.in", 3)
    await produce(stack.kafka, topic, [b"x"] * 30, 3)
    marks = {0: Committed(4, "1793500000000"), 2: Committed(9, "")}
    results: list[object] = []

    def committing(app: RoleApp, reader: Reader) -> Callable[[], Awaitable[None]]:
        async def commit() -> None:
            while len(reader.chunks) < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            results.append(await app.group_offsets.read())
            results.append(await app.group_offsets.commit(marks))
            results.append(await app.group_offsets.commit({5: Committed(1, "")}))
            results.append(await app.group_offsets.read())
            reader.stop.set()
            await asyncio.Event().wait()

        return commit

    reader = Reader(topic, {0: 0, 1: 0, 2: 0}, {0: 1_000})
    app = make_app(reader.role, stack.kafka, namespace, QUICK)
    await run(app, [committing(app, reader)], reader.stop)
    assert results == [{}, True, False, marks]
    kept = [until_ms - committed_ms async for committed_ms, until_ms in commits_of(stack.kafka, topic)]
    assert kept == [KEPT_MS] * 2, "a commit outlives the group, whatever the brokers' offsets.retention.minutes"


async def commits_of(kafka: str, topic: str) -> AsyncIterator[tuple[int, int]]:
    """When the brokers took each commit of a topic's partitions, and until when they keep it, ms."""
    async with AIOKafkaConsumer(
        "__consumer_offsets", bootstrap_servers=kafka, auto_offset_reset="earliest", exclude_internal_topics=False
    ) as consumer:
        ends = await consumer.end_offsets(consumer.assignment())
        while any([await consumer.position(tp) < end for tp, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    if record.key[:2] in (b"\0\0", b"\0\1") and topic.encode() in record.key and record.value:
                        # OffsetCommitValue, version 1: ..., commitTimestamp, expireTimestamp
                        assert record.value[:2] == b"\0\1"
                        yield struct.unpack(">qq", record.value[-16:])


async def test_batches_cost_a_fraction_of_records(stack: Stack, namespace: str) -> None:
    count = 200_000
    topic = await make_topic(stack.kafka, f"{namespace}.in", 2)
    draws = random.Random(7)
    values = [b"%0120d" % draws.getrandbits(200) for _ in range(count)]
    await produce(stack.kafka, topic, values, 2, compression_type="lz4", max_batch_size=256 * 1024)

    async with AIOKafkaConsumer(topic, bootstrap_servers=stack.kafka, auto_offset_reset="earliest") as consumer:
        began, records = time.process_time(), 0
        while records < count:
            records += sum(map(len, (await consumer.getmany(timeout_ms=500)).values()))
        stock_s = time.process_time() - began

    reader = Reader(topic, {0: 0, 1: 0}, {0: count // 2, 1: count // 2})
    times: list[float] = []

    async def on_assigned(_: frozenset[int]) -> None:
        times.append(time.process_time())

    async def on_revoked(_: frozenset[int]) -> None:
        times.append(time.process_time())

    role = replace(reader.role, on_assigned=on_assigned, on_revoked=on_revoked)
    await run(make_app(role, stack.kafka, namespace), stop=reader.stop)
    ours_s = times[1] - times[0]
    print(f"records per CPU-second: {count / ours_s:,.0f} in batches, {count / stock_s:,.0f} by stock getmany")
    assert ours_s < stock_s / 2
