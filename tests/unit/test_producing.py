"""A send waits for as long as Kafka is away; one that fails for good ends the producer; and what is overridden."""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import OutOfOrderSequenceNumber, ProducerClosed
from aiokafka.producer.message_accumulator import MessageAccumulator, MessageBatch
from aiokafka.producer.sender import SendProduceReqHandler
from aiokafka.protocol.produce import ProduceResponse_v8
from aiokafka.structs import TopicPartition
from prometheus_client import CollectorRegistry

from streams.agents.health import Readiness
from streams.agents.producing import Producer, _refusal
from streams.agents.reach import PATIENCE_S, Reach
from streams.errors import ThrongError
from streams.metrics import KafkaMetrics

TP = TopicPartition("t", 0)


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
