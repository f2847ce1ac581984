"""The thread that owns the aiokafka consumer, as Faust's driver has it, with batches, bounds and seeks of ours.

In: calls from the app's event loop, each run in the thread's own (`on_thread`). Out: runs of batches, each stamped,
in the same step that took it from the fetcher, with the generation whose seeks were done then. Kept: that
generation, `placed`, None from the moment aiokafka revokes until the new positions are sought.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, Final, NamedTuple, Protocol, TypeVar, cast

import aiokafka
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import ConsumerStoppedError, KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError
from aiokafka.structs import TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.agents.answers import read_in_place
from streams.agents.fetch import Fetched, hand_out_batches
from streams.agents.kept_commits import keep_commits
from streams.agents.roles import LogRange, Tenure, TransportSettings
from streams.agents.sticky import sticky_assignor
from streams.agents.throttled import Throttled

T = TypeVar("T")

CLOSE_S: Final = 5.0
HEARTBEAT_S: Final = 0.5


async def close(client: AIOKafkaClient) -> None:
    """Disconnect, whatever an earlier close that was cut short has left: the readers that it cancelled, for which
    aiokafka waits, would cancel whoever waits for it, and this thread would end without having said so."""
    await asyncio.gather(client.close(), return_exceptions=True)


class Stamped(NamedTuple):
    """A run and the generation it was taken in, None if before that generation's seeks."""

    fetched: Fetched
    generation: int | None


class BatchApp(Protocol):
    """What the transport needs of the app, beside Faust's own."""

    tenure: Tenure
    transport_settings: TransportSettings
    consumer_generation_id: int
    reads: Throttled


class RebalanceListener(driver.ConsumerRebalanceListener):
    """Ends the generation in the consumer's thread the moment aiokafka revokes."""

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> Any:
        self._thread.placed = None
        return super().on_partitions_revoked(revoked)


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread that owns the aiokafka consumer."""

    placed: int | None = None

    @property
    def batch_app(self) -> BatchApp:
        return cast(BatchApp, self.app)

    async def on_start(self) -> None:
        """Connect. Of what is raised in here mode prints a page: the tenure tells it, and this waits to be stopped."""
        try:
            await super().on_start()
        except KafkaError as error:
            self.parent_loop.call_soon_threadsafe(self.batch_app.tenure.fail, error)
            await self.wait_until_stopped()
            return
        consumer = self._ensure_consumer()
        hand_out_batches(consumer, self.batch_app.transport_settings.chunk_bytes)
        keep_commits(consumer)
        self.batch_app.reads.listen(consumer._client)

    async def on_thread_stop(self) -> None:
        """Stop the consumer, within a time.

        aiokafka's `stop` looks for ever for a group's coordinator that is away, and lets the cancellation of a
        fetch in hand out, which would end this thread before it has said so.
        """
        stopping = asyncio.ensure_future(super().on_thread_stop())
        await asyncio.wait([stopping], timeout=CLOSE_S)
        stopping.cancel()
        await asyncio.gather(stopping, return_exceptions=True)
        if self._consumer is not None:
            await close(self._consumer._client)
            coordinator = self._consumer._coordinator  # none where no broker answered at the start
            coordination = coordinator._coordination_task if coordinator is not None else None
            if coordination is not None and coordination.done() and not coordination.cancelled():
                coordination.exception()  # aiokafka has logged it; asyncio would again

    def on_crash(self, msg: str, *fmt: Any, **kwargs: Any) -> None:
        """Stock prints a traceback; the error is told by whoever ends the process."""

    async def on_thread(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the thread's loop and wait for it in the caller's."""
        if self.thread_loop.is_closed():
            work.close()
            raise ConsumerStoppedError
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.thread_loop))

    def _create_worker_consumer(self, transport: driver.Transport) -> aiokafka.AIOKafkaConsumer:
        conf, settings = self.app.conf, self.batch_app.transport_settings
        consumer = aiokafka.AIOKafkaConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            bootstrap_servers=driver.server_list(transport.url, transport.default_port),
            partition_assignment_strategy=[sticky_assignor(lambda: self._ensure_consumer()._coordinator.generation)],
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            session_timeout_ms=int(settings.session_s * 1000),
            # By its answer to a heartbeat a member hears of a rebalance, for which all others wait.
            heartbeat_interval_ms=int(min(settings.session_s / 5, HEARTBEAT_S) * 1000),
            max_poll_interval_ms=int(settings.poll_s * 1000),
            rebalance_timeout_ms=int(settings.rebalance_s * 1000),
            request_timeout_ms=int((settings.rebalance_s + settings.session_s) * 1000),
            metadata_max_age_ms=int(settings.metadata_s * 1000),
            max_poll_records=settings.buffer_chunks,
            max_partition_fetch_bytes=settings.fetch_bytes,
            # A fetch that waits for records blocks the next one, and so the first fetch after a seek.
            fetch_max_wait_ms=100,
            check_crcs=True,
            **driver.credentials_to_aiokafka_auth(conf.broker_credentials, conf.ssl_context),
        )
        read_in_place(consumer._client)
        return consumer

    async def _fetch_records(
        self,
        consumer: aiokafka.AIOKafkaConsumer,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109 - Faust's signature
        max_records: int | None = None,
    ) -> dict[TP, list[Stamped]]:
        if not self.consumer.flow_active:
            return {}
        fetcher = consumer._fetcher
        if consumer._closed or fetcher is None or fetcher._closed:
            raise ConsumerStoppedError
        failure: KafkaError | None = None
        runs: dict[TP, list[Fetched]] = {}
        # An exception must not leave the context: aiokafka would count a poll that never ends.
        with fetcher._subscriptions.fetch_context():
            try:
                runs = await fetcher.fetched_records(active_partitions, timeout=timeout, max_records=max_records)
            except (NoOffsetForPartitionError, OffsetOutOfRangeError) as error:
                # Before our seeks aiokafka begins at the group's commits, which are nobody's position here.
                failure = error if self.placed is not None else None
            except KafkaError as error:
                failure = error
        if failure is not None:
            raise failure
        return {tp: [Stamped(run, self.placed) for run in taken] for tp, taken in runs.items()}

    async def logs(self) -> tuple[int, dict[TP, LogRange]]:
        """The generation, and the logs of its partitions as they are now."""
        consumer = self._ensure_consumer()
        generation, assigned = self.batch_app.consumer_generation_id, list(consumer.assignment())
        starts = await consumer.beginning_offsets(assigned)
        ends = await consumer.end_offsets(assigned)
        return generation, {TP(*tp): LogRange(starts[tp], ends[tp]) for tp in assigned}

    async def place(self, generation: int, positions: Mapping[TP, int]) -> bool:
        """Seek, unless the generation is over."""
        if self.batch_app.consumer_generation_id != generation:
            return False
        consumer = self._ensure_consumer()
        for tp, offset in positions.items():
            consumer.seek(TopicPartition(*tp), offset)
        self.placed = generation
        return True

    async def check(self) -> None:
        """Hear what aiokafka has to tell of the group: until somebody does, its part in the group stands still.

        Raises:
            KafkaError: it takes no part any more, for good.
        """
        if self._consumer is None or self._consumer._closed:
            return
        coordinator = self._consumer._coordinator
        if coordinator._coordination_task.done():
            raise KafkaError("the client's part in the group ended by a defect; start the worker again")
        try:
            coordinator.check_errors()
        except KafkaError as error:
            if not error.retriable:
                raise

    async def is_there(self, topic: str) -> bool:
        """Whether the topic exists, asked now."""
        return topic in await self._ensure_consumer().topics()

    async def touch(self) -> None:
        """Tell aiokafka that not fetching is on purpose; else it doesn't rejoin after `poll_s` without a fetch."""
        fetcher = self._ensure_consumer()._fetcher
        if fetcher is None:  # it never started
            raise ConsumerStoppedError
        with fetcher._subscriptions.fetch_context():
            pass
