"""A Faust transport that hands an agent chunks of whole record batches, from positions that the role names.

A subclass of Faust's aiokafka driver. Faust keeps the group, the assignment, flow control and the agents; changed is
- what is fetched: aiokafka's fetcher gives runs of undecoded batches (`fetch`), and `getmany` one message for each,
  whose value is a `Chunk`. Topics are declared with `acks=False`: Faust tracks and commits nothing.
- where reading begins: Faust calls `perform_seek` after each rebalance; stock it seeks to the group's commits. Here
  the role is asked (`roles`), its answer is checked against the logs' ends, and there is no automatic reset.
- what counts as current: each run is stamped, in the consumer's thread and in the same step that took it from the
  fetcher, with the generation whose seeks were done then (None before they are). Runs of another generation are
  dropped, here and again before the role sees them. Stock filters by active partitions after the position has moved,
  which makes a hole if a partition was paused in between; here the filter is applied where runs are taken only.

The consumer lives in a thread with an event loop of its own. What touches it runs there (`on_thread`).

What can fail: whatever fails in here ends the process through `Tenure.fail`; a fetch that Kafka cannot answer for
now is repeated by aiokafka.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, cast

from aiokafka.errors import ConsumerStoppedError, KafkaError, KafkaTimeoutError, OffsetOutOfRangeError
from aiokafka.structs import TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode import Service

from streams.agents.commits import Committed, GroupOffsets
from streams.agents.consumer_thread import BatchApp, ConsumerThread, RebalanceListener, Stamped
from streams.agents.fetch import Fetched
from streams.agents.roles import Chunk, LogRange, Role, Tenure, TransportSettings

__all__ = ["Chunk", "Committed", "GroupOffsets", "LogRange", "Role", "Tenure", "Transport", "TransportSettings"]


class _Unread(dict[TP, int | None]):
    """Faust drops messages below the last offset that it read; the order of chunks is checked here already."""

    def __missing__(self, _: TP) -> None:
        return None

    def __setitem__(self, _: TP, __: int | None) -> None:
        return None


class Consumer(driver.Consumer):
    """Faust's consumer, with chunks for messages."""

    RebalanceListener = RebalanceListener
    _thread: ConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_offset = _Unread()
        self._next: dict[TP, int] = {}

    @property
    def tenure(self) -> Tenure:
        return cast(BatchApp, self.app).tenure

    @property
    def settings(self) -> TransportSettings:
        return cast(BatchApp, self.app).transport_settings

    @property
    def thread(self) -> ConsumerThread:
        """The thread that owns the aiokafka consumer."""
        return self._thread

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def getmany(  # Faust's signature
        self,
        timeout: float,  # noqa: ASYNC109
    ) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """One message for each run of batches, in the order of offsets within a partition."""
        try:
            runs, _ = await self._wait_next_records(timeout)
        except OffsetOutOfRangeError as error:
            await self._outrun(error.args[0])
            return
        except ConsumerStoppedError:
            raise  # Faust knows what to do
        except KafkaError as error:  # a broken batch, an authorization: aiokafka repeats what can be repeated
            self.tenure.fail(error)
            return
        for tp, stamped in self.scheduler.iterate(runs or {}):
            fetched, generation = stamped
            if self.should_stop or not self.flow_active or generation is None or generation != self.tenure.generation:
                return
            if fetched.first_offset != self._next[tp]:
                self.log.warning("%r: got %d, wants %d: seeks", tp, fetched.first_offset, self._next[tp])
                await self._thread.on_thread(self._thread.place(generation, {tp: self._next[tp]}))
                continue
            self._next[tp] = fetched.next_offset
            yield tp, self._message(tp, fetched, generation)

    async def _getmany(
        self,
        active_partitions: set[TP] | None,
        timeout: float,  # noqa: ASYNC109
    ) -> dict[TP, list[Stamped]]:
        held = self.tenure.held
        wanted = {tp for tp in active_partitions or () if tp.partition not in held}
        if not wanted:
            await self.sleep(0.1)
            return {}
        return cast(dict[TP, list[Stamped]], await self._thread.getmany(wanted, timeout))

    def _message(self, tp: TP, fetched: Fetched, generation: int) -> ConsumerMessage:
        chunk = Chunk(tp.topic, tp.partition, fetched.batches, fetched.first_offset, fetched.next_offset, generation)
        timestamp_s = fetched.batches[-1].max_timestamp / 1000 if fetched.batches else 0.0
        return ConsumerMessage(
            tp.topic, tp.partition, fetched.first_offset, timestamp_s, 0, [], None, chunk, None, tp=tp,
            generation_id=generation,
        )  # fmt: skip

    async def perform_seek(self) -> None:
        """Place all assigned partitions where the role says. Faust resumes the flow when this returns."""
        if not await self._place():
            # Nothing may flow: wait for the next rebalance, or the end, to cancel this.
            await asyncio.get_running_loop().create_future()

    async def _place(self) -> bool:
        try:
            generation, logs = await self._logs()
            by_number = {tp.partition: tp for tp in logs}
            term, positions = await self.tenure.place(
                {tp.partition: log for tp, log in logs.items()}, self.settings.place_s
            )
            self._next = {by_number[number]: offset for number, offset in positions.items()}
            if not await self._thread.on_thread(self._thread.place(generation, self._next)):
                return False
            return await self.tenure.begin(term, generation, positions)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return False  # the role's answer was no longer wanted: a rebalance began
        except Exception as error:  # noqa: BLE001 - the tenure tells it
            self.tenure.fail(error)
            return False

    async def _logs(self) -> tuple[int, dict[TP, LogRange]]:
        """The generation and its logs, as soon as Kafka tells them.

        Raises:
            KafkaError, TimeoutError: it doesn't, though it isn't away.
        """
        while True:
            try:
                async with asyncio.timeout(self.settings.place_s):
                    return await self._thread.on_thread(self._thread.logs())
            except (KafkaTimeoutError, TimeoutError):
                if "kafka" not in self.tenure.away():
                    raise

    async def _outrun(self, positions: Mapping[TopicPartition, int]) -> None:
        try:
            generation, logs = await self._logs()
            for aiokafka_tp, position in positions.items():
                tp = TP(*aiokafka_tp)
                if generation != self.tenure.generation or tp not in logs:
                    return
                going_on = await self.tenure.outrun(tp.partition, position, logs[tp])
                if going_on is not None:
                    self._next[tp] = going_on
                    await self._thread.on_thread(self._thread.place(generation, {tp: going_on}))
        except Exception as error:  # noqa: BLE001 - the tenure tells it
            self.tenure.fail(error)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        if self.app.should_stop or self.tenure.failure.done():
            return
        self.tenure.generation = None
        await super().on_partitions_revoked(revoked)
        try:
            await self.tenure.end(self.settings.drain_s)
        except Exception as error:  # noqa: BLE001 - the tenure tells it
            self.tenure.fail(error)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        if self.app.should_stop or self.tenure.failure.done():
            return
        self._buffered_partitions.clear()
        await super().on_partitions_assigned(assigned, generation_id)
        if not assigned:  # more workers than partitions: there is nothing to seek, so Faust won't ask
            self._next = {}
            try:
                await self.tenure.begin(self.tenure.term, generation_id, {})
            except Exception as error:  # noqa: BLE001 - the tenure tells it
                self.tenure.fail(error)

    def on_buffer_drop(self, tp: TP) -> None:
        """Stock takes up a partition again that was revoked while its buffer was full."""
        if tp in self._next:
            super().on_buffer_drop(tp)

    @Service.task
    async def _touch_while_idle(self) -> None:
        """Waiting for the group, for held partitions, or for Kafka, isn't being stuck, nor is a chunk that goes on."""
        steps = self.tenure.steps
        while not self.should_stop:
            await self.sleep(self.settings.poll_s / 10)
            goes_on, steps = self.tenure.steps != steps, self.tenure.steps
            active = {tp.partition for tp in self._get_active_partitions()}
            waits = not self.flow_active or "kafka" in self.tenure.away()
            if waits or goes_on or (active <= self.tenure.held and not self._buffered_partitions):
                try:
                    await self._thread.on_thread(self._thread.touch())
                except ConsumerStoppedError:
                    return  # an orderly end came first


class Transport(driver.Transport):
    """For `App._new_transport`."""

    Consumer = Consumer
