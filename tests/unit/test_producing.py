"""A send waits for as long as Kafka is away; one that fails for good ends the producer; and what is overridden."""

import asyncio
import gc
import inspect
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace

import numpy as np
import orjson
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.client import AIOKafkaClient
from aiokafka.codec import zstd_encode
from aiokafka.errors import MessageSizeTooLargeError, OutOfOrderSequenceNumber, ProducerClosed
from aiokafka.producer.message_accumulator import BatchBuilder, MessageAccumulator, MessageBatch
from aiokafka.producer.sender import SendProduceReqHandler
from aiokafka.protocol.fetch import FetchResponse_v4
from aiokafka.protocol.produce import ProduceResponse_v8
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.structs import TopicPartition
from prometheus_client import CollectorRegistry

from streams.agents.health import Readiness
from streams.agents.producing import Producer, _refusal, _stamped_ms
from streams.agents.reach import PATIENCE_S, Reach
from streams.agents.single import FRAME_LEVEL, SingleRecord
from streams.errors import ThrongError
from streams.local.ports import free_ports
from streams.metrics import KafkaMetrics
from streams.stores.batches import HEADER
from streams.stores.connection import sentence_of
from tests.support.broker import Broker

TP = TopicPartition("t", 0)
ZSTD = 4  # in a batch's attributes


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (MessageAccumulator.__init__, "self cluster batch_size compression_type batch_ttl txn_manager loop linger_ms"),
        (MessageAccumulator.add_message, "self tp key value timeout timestamp_ms headers"),
        (MessageAccumulator._append_batch, "self builder tp"),
        (MessageAccumulator.fail_all, "self exception"),
        (MessageBatch.__init__, "self tp builder ttl linger_time"),
        (AIOKafkaProducer.send, "self topic value key partition timestamp_ms headers"),
        (AIOKafkaClient.send, "self node_id request group"),
        (AIOKafkaClient._wait_on_metadata, "self topic"),
    ],
)
def test_what_is_overridden_or_called_has_the_signature_it_had(
    function: Callable[..., object], parameters: str
) -> None:
    assert list(inspect.signature(function).parameters) == parameters.split()


def test_aiokafka_still_asks_where_we_answer() -> None:
    assert "batch_ttl" in inspect.getsource(MessageAccumulator._append_batch)
    assert "self._sender.client.send(" in inspect.getsource(SendProduceReqHandler.__mro__[1].do)
    assert "self._client.send(node_id, request)" in inspect.getsource(SendProduceReqHandler.do)
    # With idempotence a batch whose leader is known is repeated for as long as the error allows it.
    assert "_txn_manager is None and batch.expired()" in inspect.getsource(SendProduceReqHandler._can_retry)


def test_batches_are_compressed_by_zstd_at_a_fast_level() -> None:
    value = orjson.dumps([{"zone": n % 7, "count": n * n} for n in range(2_000)])

    def section(codec: int) -> bytes:
        builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 1 << 20)
        builder.append(0, 1, None, value, [])
        return bytes(builder.build())[HEADER.size :]

    plain = section(0)
    assert section(ZSTD) == zstd_encode(plain, level=-5) != zstd_encode(plain)


class Clock:
    """Seconds that pass when told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed = 0.0
        real = time.monotonic
        monkeypatch.setattr(time, "monotonic", lambda: real() + self.passed)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
async def producer() -> AsyncIterator[Producer]:
    """Not started: no broker is asked anything."""
    made = Producer("127.0.0.1:1", 1000)
    made._txn_manager.set_pid_and_epoch(7, 0)
    yield made
    made._closed = True


async def test_a_batch_without_a_leader_is_kept_however_long_it_takes(producer: Producer, clock: Clock) -> None:
    acknowledged = await producer._patient.add_message(TP, None, b"x", 0.001)
    clock.passed = 86_400.0
    batches, leaders_unknown = producer._patient.drain_by_nodes(ignore_nodes=())
    assert not batches and leaders_unknown and not acknowledged.done()
    assert producer.waiting_s() >= 86_400


async def test_stock_gives_it_up_and_takes_the_next(clock: Clock) -> None:
    """Why there is a producer of ours: if this fails, aiokafka has changed, and ours may be superfluous."""
    stock = AIOKafkaProducer(bootstrap_servers="127.0.0.1:1", enable_idempotence=True, request_timeout_ms=1000)
    stock._txn_manager.set_pid_and_epoch(7, 0)
    lost = await stock._message_accumulator.add_message(TP, None, b"x", 1)
    clock.passed = 2.0
    stock._message_accumulator.drain_by_nodes(ignore_nodes=())
    assert lost.exception() is not None
    assert not (await stock._message_accumulator.add_message(TP, None, b"y", 1)).done()
    stock._closed = True


async def test_a_send_waits_for_room_without_a_time_out(producer: Producer) -> None:
    await producer._patient.add_message(TP, None, b"x" * 16_000, 0.001)
    waiting = asyncio.ensure_future(producer._patient.add_message(TP, None, b"y" * 16_000, 0.001))
    await asyncio.wait([waiting], timeout=0.05)
    assert not waiting.done(), "what is not acknowledged stays within two batches a partition"
    waiting.cancel()


async def test_after_a_send_that_failed_for_good_nothing_is_sent(producer: Producer) -> None:
    failed = await producer._patient.add_message(TP, None, b"x", 1)
    behind = await producer._patient.add_message(TopicPartition("t", 1), None, b"y", 1)
    producer._patient._batches[TP][0].failure(OutOfOrderSequenceNumber())
    with pytest.raises(OutOfOrderSequenceNumber):
        await failed
    with pytest.raises(OutOfOrderSequenceNumber):
        await producer.watch()
    assert isinstance(behind.exception(), OutOfOrderSequenceNumber)
    with pytest.raises(OutOfOrderSequenceNumber):
        await producer._patient.add_message(TP, None, b"z", 1)
    assert producer.waiting_s() == 0


async def test_of_sends_that_nobody_waits_for_asyncio_says_nothing_behind_what_is_told(producer: Producer) -> None:
    said: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    await producer._patient.add_message(TP, None, b"x", 1)
    batch = BatchBuilder(100, 0)
    batch.append(timestamp=None, key=None, value=b"y")
    await producer._patient.add_batch(batch, TopicPartition("t", 1), 1)
    producer._patient._batches[TP][0].failure(OutOfOrderSequenceNumber())
    with pytest.raises(OutOfOrderSequenceNumber):
        await producer.watch()
    await asyncio.sleep(0)
    gc.collect()
    assert said == []


async def test_what_cannot_be_sent_while_stopping_is_given_up(
    producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.agents.producing.STOP_S", 0.05)
    acknowledged = await producer._patient.add_message(TP, None, b"x", 1)
    producer._sender._sender_task = asyncio.ensure_future(asyncio.sleep(3600))
    async with asyncio.timeout(10):
        await producer.stop()
    assert isinstance(acknowledged.exception(), ProducerClosed)
    producer._sender._sender_task.cancel()


def test_a_refusal_is_read_from_the_answer() -> None:
    def response(*codes: int) -> ProduceResponse_v8:
        partitions = [(number, code, 5, -1, 0, [], None) for number, code in enumerate(codes)]
        return ProduceResponse_v8(topics=[("t", partitions)], throttle_time_ms=0)

    assert _refusal(response(0, 0)) is None
    assert _refusal(response(0, 19)) == "NotEnoughReplicasError"


def test_the_brokers_clock_is_read_from_the_answer() -> None:
    """Of what it appended to a topic that it stamps; -1: the record kept its own time."""

    def response(*entries: tuple[int, int]) -> ProduceResponse_v8:
        partitions = [(number, code, 7, at, 0, [], None) for number, (code, at) in enumerate(entries)]
        return ProduceResponse_v8(topics=[("t", partitions)], throttle_time_ms=0)

    assert _stamped_ms(response((0, -1))) is None
    assert _stamped_ms(response((0, -1), (0, 5), (0, 9))) == 9
    assert _stamped_ms(response((19, 12), (0, 5))) == 5


async def test_readiness_and_metrics_tell_away_from_slow_from_refused(producer: Producer, clock: Clock) -> None:
    registry = CollectorRegistry()
    readiness = Readiness()
    readiness.over("starting")
    reach = Reach(producer, readiness, KafkaMetrics(registry), stall_s=60)
    reach._tell()
    assert (readiness.reasons, reach.away()) == ([], False)

    await producer._patient.add_message(TP, None, b"x", 1)
    clock.passed = 30.0
    reach._tell()
    assert readiness.reasons == ["Kafka does not answer for 30 s: sends and reads wait"] and reach.away()
    assert registry.get_sample_value("throng_kafka_unanswered_seconds") == pytest.approx(30, abs=1)

    producer.answered_at = time.monotonic()
    reach._tell()
    assert readiness.reasons == ["the broker is slow: the oldest unacknowledged send is 30 s old"] and reach.away()
    assert registry.get_sample_value("throng_kafka_waiting_seconds") == pytest.approx(30, abs=1)

    producer.refusal = "NotEnoughReplicasError"
    reach._tell()
    assert readiness.reasons[0].startswith("Kafka takes nothing (NotEnoughReplicasError)") and reach.away()
    producer.refusal = "UnknownTopicOrPartitionError"
    assert not reach.away(), "a topic that is gone does not come back by waiting: the watchdog's time runs"

    producer._patient._batches.clear()
    reach._tell()
    assert (readiness.reasons, reach.away()) == ([], False)


async def test_a_quota_is_told_as_what_it_is_for_as_long_as_it_holds_anything_up(
    producer: Producer, clock: Clock
) -> None:
    """Brokers say it in their answers, which aiokafka passes over: sends seemed slow, and nobody said that reads were
    held up."""
    registry, readiness = CollectorRegistry(), Readiness()
    readiness.over("starting")
    reach = Reach(producer, readiness, KafkaMetrics(registry), stall_s=60)

    async def answer(_: object, request: object) -> object:
        return FetchResponse_v4(request, []) if isinstance(request, int) else SimpleNamespace(throttle_time_ms=0)

    consumer = SimpleNamespace(send=answer)
    reach.reads.listen(consumer)
    held = ["Kafka throttles this user by a quota: it holds up reads for 40 s at a time"]
    # In place of a fetch the time that it is held up, in place of another request a word.
    for request, told in ((0, []), (900, []), (40_000, held), ("heartbeat", held), (0, []), (40_000, held)):
        await consumer.send(1, request)
        reach._tell()
        assert readiness.reasons == told and reach.away() == bool(told)
    assert registry.get_sample_value("throng_kafka_throttled_seconds") == 40
    await consumer.send(1, 0)

    producer.throttled.heard(1, "a send", ProduceResponse_v8(topics=[], throttle_time_ms=70_000))
    await producer._patient.add_message(TP, None, b"x", 1)
    clock.passed = 69.0
    producer.answered_at = time.monotonic()
    reach._tell()
    said = "Kafka throttles this user by a quota: it holds up sends for 70 s at a time"
    assert readiness.reasons == [said], "longer than a stall may last, and none"
    clock.passed = 71.0
    producer.answered_at = time.monotonic()
    reach._tell()
    assert readiness.reasons == ["the broker is slow: the oldest unacknowledged send is 71 s old"]
    producer._patient._batches.clear()
    reach._tell()
    assert not readiness.reasons and not reach.away()
    assert registry.get_sample_value("throng_kafka_throttled_seconds") == 0


async def test_a_send_that_nobody_answers_though_brokers_do_ends_the_process(producer: Producer, clock: Clock) -> None:
    reach = Reach(producer, Readiness(), KafkaMetrics(CollectorRegistry()), stall_s=60)
    await producer._patient.add_message(TP, None, b"x", 1)
    for clock.passed in (100.0, 200.0):  # away all the time
        reach._tell()
    for clock.passed in (200.0 + PATIENCE_S, 255.0):  # back: its time begins
        producer.answered_at = time.monotonic()
        reach._tell()
    clock.passed = 261.0
    producer.answered_at = time.monotonic()
    with pytest.raises(ThrongError, match="brokers answer, but a send has had no answer for 60 s") as caught:
        reach._tell()
    assert caught.value.code == "stalled"


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    made = Broker()
    await made.start()
    yield made
    await made.stop()


def _value(number: int) -> bytes:
    """Some are longer than a batch."""
    return b"%d" % number if number % 3 else b"%d" % number * 20_000


async def _sent(broker: Broker, numbers: range, started: Producer) -> "list[asyncio.Future[object]]":
    return [await started.send("t", _value(number), partition=0) for number in numbers]


@pytest.fixture
async def started(broker: Broker) -> AsyncIterator[Producer]:
    made = Producer(f"127.0.0.1:{broker.port}", request_ms=200)
    await made.start()
    await made.send_and_wait("t", b"0", partition=0)
    yield made
    made._patient.give_up(ProducerClosed())
    await made.stop()


async def silent(broker: Broker) -> None:
    broker.silent = True
    await asyncio.sleep(1.0)
    broker.silent = False


async def gone(broker: Broker) -> None:
    await broker.stop()
    await asyncio.sleep(1.0)
    await broker.start()


async def without_leader(broker: Broker) -> None:
    broker.leader, broker.refuse = -1, 6  # NOT_LEADER_OR_FOLLOWER
    await asyncio.sleep(1.0)
    broker.leader, broker.refuse = 0, 0


async def without_replicas(broker: Broker) -> None:
    broker.refuse = 19
    await asyncio.sleep(1.0)
    broker.refuse = 0


async def answers_lost(broker: Broker) -> None:
    broker.deaf = True
    await asyncio.sleep(1.0)
    broker.deaf = False


@pytest.mark.parametrize("outage", [silent, gone, without_leader, without_replicas, answers_lost])
async def test_what_is_sent_during_an_outage_arrives_once_and_in_order(
    broker: Broker, started: Producer, outage: Callable[[Broker], Awaitable[None]]
) -> None:
    """Each outage is five times as long as a request may take."""
    over = asyncio.ensure_future(outage(broker))
    await asyncio.sleep(0.05)
    acknowledged = await _sent(broker, range(1, 4), started)  # the third is a batch of its own, and the last with room
    going_on = asyncio.ensure_future(_sent(broker, range(4, 40), started))
    await asyncio.sleep(0.3)
    assert started.waiting_s() > 0.2 and not going_on.done()
    await over
    async with asyncio.timeout(20):
        await asyncio.gather(*acknowledged, *await going_on)
    assert broker.log == [b"0", *map(_value, range(1, 40))]
    assert started.waiting_s() == 0


async def test_a_broker_that_lost_its_producers_ends_the_process_at_once(broker: Broker, started: Producer) -> None:
    broker.lose_state()
    (acknowledged,) = await _sent(broker, range(1, 2), started)
    async with asyncio.timeout(20):
        with pytest.raises(OutOfOrderSequenceNumber):
            await started.watch()
    assert isinstance(acknowledged.exception(), OutOfOrderSequenceNumber)


async def test_a_record_that_the_topics_settings_refuse_ends_the_process_and_names_the_topic(
    broker: Broker, started: Producer
) -> None:
    """Kafka quotes its manual, and says of which of the topics that a worker writes it is nowhere."""
    broker.refuse = MessageSizeTooLargeError.errno
    (acknowledged,) = await _sent(broker, range(1, 2), started)
    async with asyncio.timeout(20):
        with pytest.raises(MessageSizeTooLargeError, match="t takes no record as long as one to be sent: raise its"):
            await started.watch()
    assert sentence_of(acknowledged.exception()).startswith("Kafka: [Error 10] MessageSizeTooLargeError: t takes no")


async def test_an_eye_on_a_real_connection_tells_an_outage_and_its_end(
    broker: Broker, started: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.agents.reach.PATIENCE_S", 0.5)
    monkeypatch.setattr("streams.agents.reach.ASK_S", 0.1)
    readiness = Readiness()
    readiness.over("starting")
    reach = Reach(started, readiness, KafkaMetrics(CollectorRegistry()), stall_s=60)
    asking = asyncio.ensure_future(reach.keep_asking())
    async with asyncio.timeout(20):
        for take, give in ((broker.stop, broker.start), (_hush(broker, True), _hush(broker, False))):
            await asyncio.sleep(0.3)
            assert readiness.reasons == []
            await take()
            while not any("Kafka does not answer" in reason for reason in readiness.reasons):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            assert reach.away()
            await give()
            while readiness.reasons:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            assert not reach.away()
    asking.cancel()


async def test_brokers_that_come_back_at_another_address_are_found_by_the_next_start(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.agents.reach.ASK_S", 0.1)
    (elsewhere,) = free_ports(1)
    producer = Producer(f"127.0.0.1:{broker.port},127.0.0.1:{elsewhere}", request_ms=200)
    await producer.start()
    reach = Reach(producer, Readiness(), KafkaMetrics(CollectorRegistry()), stall_s=0.5)
    await broker.stop()
    assert not await producer.moved()
    before, broker.port = broker.port, elsewhere
    await broker.start()
    assert before != broker.port and await producer.moved()
    async with asyncio.timeout(20):
        with pytest.raises(ThrongError, match="at other addresses than before"):
            await reach.keep_asking()
    await producer.stop()


def _hush(broker: Broker, silent: bool) -> Callable[[], Awaitable[None]]:
    async def set_it() -> None:
        broker.silent = silent

    return set_it


@pytest.mark.parametrize("value", [b"x" * 17_000, os.urandom(70_000), b"zone" * 700_000], ids=["17 kB", "odd", "3 MB"])
def test_a_single_record_is_the_batch_that_aiokafka_makes(value: bytes) -> None:
    ours = SingleRecord(value)
    stock = BatchBuilder(16_384, ZSTD)
    stock.append(timestamp=ours._time_ms, key=None, value=value, headers=[])
    assert abs(time.time() * 1000 - ours._time_ms) < 60_000
    for builder in (stock, ours):
        builder._set_producer_state(7, 3, 12)
    assert ours.record_count() == stock.record_count()
    assert ours._build() == stock._build()
    assert ours._build() is ours._build()
    assert ours.closed() and ours.append(timestamp=None, key=None, value=b"x", headers=[]) is None


def test_a_level_of_its_own_changes_nothing_but_the_size() -> None:
    value = np.random.default_rng(1).choice([b"north", b"south", b"market"], 9_000).tobytes()
    usual, faster = SingleRecord(value)._build(), SingleRecord(value, FRAME_LEVEL)._build()
    assert usual != faster
    for batch in (usual, faster):
        stock = DefaultRecordBatch(batch)
        assert stock.validate_crc()
        assert [bytes(record.value) for record in stock] == [value]
