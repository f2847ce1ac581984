"""The producer of a worker: what is sent waits for as long as Kafka is away, slow or refuses for now.

In: `send` and its future, as aiokafka's. Out: records in the order of their sending within a partition, each once.
Kept: what is not acknowledged, at most about two batches a partition; `send` itself waits when there is more, which
is the backpressure: a role that waits for its send takes no further chunk, and nothing is fetched.

What differs from aiokafka's own producer (0.14.0, `producer/message_accumulator.py`):
- A batch never expires. There, one whose partition has no leader is given up after a request's time-out, and later
  ones are accepted: a hole. A request still times out (`request_ms`), which renews its connection, and is repeated
  with the same sequence numbers, so that a broker that had taken it says so instead of taking it twice.
- `send` has no time-out while it waits for room, or for the topic's metadata.
- A send that failed for good ends this producer: all that waits fails with it, and nothing is sent after it. Failing
  for good are a record that is too large, a missing right, a fenced producer, and sequence numbers out of order (a
  broker that lost this producer's state; no later batch would ever be accepted). `watch` then ends the process, and
  the next one begins at the commit or the snapshot with a fresh producer.
- zstd works at level -5, and at -50 on frames of sightings. Of a sighting half is its pseudonym, which nothing makes
  smaller, so what higher levels search for isn't there: packing and unpacking take 44 ns at 1, 16 at -5, 9 at -50, for
  16.8, 19.5 and 20.0 bytes of 24 (frames of a million subscribers; lz4, at its fastest, 14 ns and 19.5).
- A record longer than a batch is a batch of its own without aiokafka's builder (`single`).
- `stop` is bounded: what could not be sent by then is sent again by the next worker, as after a crash.
"""

import asyncio
import math
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.codec import zstd_encode
from aiokafka.errors import (
    MessageSizeTooLargeError,
    NoError,
    ProducerClosed,
    RecordListTooLargeError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.producer.message_accumulator import BatchBuilder, MessageAccumulator, MessageBatch
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record import default_records
from aiokafka.structs import TopicPartition

from streams.agents.single import ZSTD_LEVEL, SingleRecord
from streams.agents.throttled import Throttled
from streams.core.clocks import Stamp
from streams.stores.connection import At, client_options, moved
from streams.stores.outgoing import Outgoing

LONGEST_REQUEST: Final = 64 << 20
BATCH_BYTES: Final = 16 << 10
# Of many records that are sent at once, before compression: a batch costs the client as much as 200 records do.
MANY_BYTES: Final = 256 << 10
# Of a longer one aiokafka knows whether it is too long.
LONGEST_ALONE: Final = LONGEST_REQUEST // 2
LINGER_MS: Final = 5
STOP_S: Final = 5.0

# The function is a global of the module of whichever builder is in use, compiled or not; so this is for the process.
sys.modules[default_records.DefaultRecordBatchBuilder.__module__].zstd_encode = partial(zstd_encode, level=ZSTD_LEVEL)  # type: ignore[attr-defined]


class PatientBatches(MessageAccumulator):
    """aiokafka's queue of batches, without expiry; `on_failure` is told of the first batch that failed for good."""

    def __init__(self, stock: MessageAccumulator, on_failure: Callable[[BaseException], None]) -> None:
        super().__init__(
            stock._cluster,
            stock._batch_size,
            stock._compression_type,
            math.inf,
            txn_manager=stock._txn_manager,
            loop=stock._loop,
            linger_ms=LINGER_MS,
        )
        self._on_failure = on_failure

    async def add_message(  # aiokafka's signature
        self,
        tp: TopicPartition,
        key: bytes | None,
        value: bytes | None,
        timeout: float,  # noqa: ASYNC109
        timestamp_ms: int | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> Any:
        return told_elsewhere(await super().add_message(tp, key, value, math.inf, timestamp_ms, list(headers)))

    async def add_batch(self, builder: BatchBuilder, tp: TopicPartition, timeout: float) -> Any:  # noqa: ASYNC109
        return told_elsewhere(await super().add_batch(builder, tp, math.inf))

    def oldest(self) -> float | None:
        """When the oldest batch that is not acknowledged was begun, monotonic s; None if there is none."""
        waiting = [batch for batches in self._batches.values() for batch in batches]
        return min((batch._ctime for batch in (*waiting, *self._pending_batches)), default=None)

    def give_up(self, error: BaseException) -> None:
        """Fail all that waits, and whatever is sent from now on."""
        self.fail_all(error)
        self._batches.clear()

    def _append_batch(self, builder: object, tp: TopicPartition) -> MessageBatch:
        batch = super()._append_batch(builder, tp)
        fail = batch.failure

        def failure(exception: Exception) -> None:
            fail(_named(exception, tp.topic))
            told_elsewhere(batch._drain_waiter)  # each attempt has another

        batch.failure = failure
        batch.future.add_done_callback(self._over)
        return batch

    def _over(self, future: "asyncio.Future[object]") -> None:
        if future.cancelled() or (error := future.exception()) is None or self._exception is not None:
            return
        self.give_up(error)
        self._on_failure(error)


class Producer(AIOKafkaProducer):
    """An idempotent producer that waits. See the module.

    `level`: of zstd, for records longer than a batch.

    Attributes:
        answered_at: when a broker last answered any request of this producer's, monotonic s.
        taken_at: when a broker last answered a request to append, monotonic s.
        refusal: why it did not append then, as the name of Kafka's error, or None if it did.
        throttled: for how long brokers hold it up, by a quota.
        stamps: by broker what its clock said when it last appended to a topic that brokers stamp (LogAppendTime).
    """

    def __init__(self, at: At, request_ms: int, metadata_ms: int = 300_000, level: int = ZSTD_LEVEL) -> None:
        super().__init__(
            **client_options(at),
            enable_idempotence=True,
            acks="all",
            compression_type="zstd",
            max_request_size=LONGEST_REQUEST,
            max_batch_size=BATCH_BYTES,
            linger_ms=LINGER_MS,
            request_timeout_ms=request_ms,
            metadata_max_age_ms=metadata_ms,
        )
        self._at = at
        self._level = level
        self._failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._patient = PatientBatches(self._sender._message_accumulator, self._failed)
        self._message_accumulator: MessageAccumulator = self._patient
        self._sender._message_accumulator = self._patient
        self.throttled = Throttled()
        self.throttled.listen(self.client)
        self._ask = self.client.send
        self.client.send = self._asked
        self.answered_at = self.taken_at = time.monotonic()
        self.refusal: str | None = None
        self.stamps: dict[object, Stamp] = {}

    async def send(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        headers: Sequence[tuple[str, bytes]] | None = None,
    ) -> "asyncio.Future[object]":
        """As aiokafka's, but without a time-out of its own.

        Raises:
            KafkaError: this send, or one before it, cannot be done however long one waits.
        """
        await self._known(topic)
        acknowledged: asyncio.Future[object]
        plain = key is None and timestamp_ms is None and not headers
        if value is not None and partition is not None and plain and BATCH_BYTES < len(value) < LONGEST_ALONE:
            acknowledged = await self.send_batch(SingleRecord(value, self._level), topic, partition=partition)
        else:
            acknowledged = await super().send(topic, value, key, partition, timestamp_ms, headers)
        return acknowledged

    async def send_many(
        self, topic: str, partition: int, records: Iterable[Outgoing]
    ) -> "list[asyncio.Future[object]]":
        """Send records to a partition, in order, at a tenth of what `send` costs each. Returns a future a batch.

        Raises:
            KafkaError: as `send`.
        """
        await self._known(topic)
        acknowledged: list[asyncio.Future[object]] = []
        batch = self._batch_of_many()
        for key, value, headers, timestamp_ms in records:
            fields = {"key": key, "value": value, "headers": headers, "timestamp": timestamp_ms}
            if batch.append(**fields) is None:
                acknowledged.append(await self.send_batch(batch, topic, partition=partition))
                batch = self._batch_of_many()
                batch.append(**fields)  # the first is taken, whatever its size
        if batch.record_count():
            batch.close()
            acknowledged.append(await self.send_batch(batch, topic, partition=partition))
        return acknowledged

    def _batch_of_many(self) -> BatchBuilder:
        return BatchBuilder(MANY_BYTES, self._patient._compression_type)

    async def _known(self, topic: str) -> None:
        while self.client.cluster.partitions_for_topic(topic) is None:
            try:
                await self.client._wait_on_metadata(topic)
            except UnknownTopicOrPartitionError:
                continue  # all topics were there when the worker started

    def waiting_s(self) -> float:
        """Age of the oldest send that is not acknowledged, s; 0 if there is none."""
        oldest = self._patient.oldest()
        return 0.0 if oldest is None else time.monotonic() - oldest

    async def watch(self) -> None:
        """Return never; raise what a send failed with for good, as soon as it did."""
        raise await asyncio.shield(self._failure)

    async def moved(self) -> bool:
        """Have the brokers other addresses by now than this one knows?"""
        return await moved(self._at, self.client.cluster)

    async def stop(self) -> None:
        """Send what is pending and disconnect, within a time."""
        if self._closed:
            return
        stopping = asyncio.ensure_future(super().stop())
        done, _ = await asyncio.wait([stopping], timeout=STOP_S)
        if not done:
            self._patient.give_up(ProducerClosed())
            await self.client.close()
            await asyncio.wait([stopping], timeout=STOP_S)
            stopping.cancel()

    def _failed(self, error: BaseException) -> None:
        if not self._failure.done():
            self._failure.set_result(error)

    async def _asked(self, node_id: object, request: object, **more: Any) -> Any:
        response = await self._ask(node_id, request, **more)
        self.answered_at = time.monotonic()
        if isinstance(request, ProduceRequest):
            self.taken_at = self.answered_at
            self.refusal = _refusal(response)
            if (stamped_ms := _stamped_ms(response)) is not None:
                self.stamps[node_id] = Stamp(stamped_ms, round(self.answered_at * 1000))
        return response


def told_elsewhere(future: "asyncio.Future[Any]") -> "asyncio.Future[Any]":
    """Have asyncio say nothing of a failure for which nobody may wait by then: `watch` tells of the first send that
    failed, and so does each that follows."""
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    return future


def _named(error: Exception, topic: str) -> Exception:
    """With the topic's name, where it is the topic's settings that refuse: Kafka doesn't say which it was."""
    if not isinstance(error, (MessageSizeTooLargeError, RecordListTooLargeError)):
        return error
    said = f"{topic} takes no record as long as one to be sent: raise its max.message.bytes as starts say"
    named: Exception = type(error)(said)
    return named


def _refusal(response: Any) -> str | None:
    """The first error of a produce response: each partition's entry begins with its number and its error's code."""
    errors = [for_code(entry[1]) for _, partitions in response.topics for entry in partitions]
    return next((error.__name__ for error in errors if error is not NoError), None)


def _stamped_ms(response: Any) -> int | None:
    """The latest time that the broker put on what it appended, ms; None if the records kept their own.

    Each partition's entry: number, error, first offset, LogAppendTime or -1 (`ProduceResponse`, version 2 on).
    """
    stamps = [entry[3] for _, partitions in response.topics for entry in partitions if entry[1] == 0]
    return max((stamp for stamp in stamps if stamp >= 0), default=None)
