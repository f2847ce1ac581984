"""How Kafka does, as one worker sees it: is it there, does it take what is sent, and since when not.

In: the worker's producer, and a question to every broker each second over connections of their own (a send that
waits for replicas holds up whatever comes behind it on its connection). Out: a reason in the readiness, two gauges,
and `away`, by which the transport tells waiting from being stuck.

    no broker answers for 5 s               -> 'Kafka does not answer for N s': waiting is right, however long
    others answer at the address given      -> they came back elsewhere: the process ends, and the next one finds them
    brokers answer, a send is 5 s old       -> 'the broker is slow', or what it refuses with: waiting is right
    it holds sends or reads up by a quota   -> 'Kafka throttles': waiting is right
    brokers answer others, never this send  -> stuck: the process ends
"""

import asyncio
import time
from typing import Final

from aiokafka.client import ConnectionGroup
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError
from aiokafka.protocol.metadata import MetadataRequest

from streams.agents.health import Readiness
from streams.agents.producing import Producer
from streams.agents.throttled import Throttled
from streams.errors import ThrongError
from streams.metrics import KafkaMetrics
from streams.stores.connection import elsewhere

ASK_S: Final = 1.0
PATIENCE_S: Final = 5.0


class Reach:
    """Asks, and tells readiness and metrics. `stall_s`: a send that nobody answers for this long, while brokers
    answer otherwise, ends the process.

    Attributes:
        reads: for how long brokers hold up what the worker reads, which its consumer tells.
    """

    def __init__(self, producer: Producer, readiness: Readiness, metrics: KafkaMetrics, stall_s: float) -> None:
        self._producer = producer
        self._readiness = readiness
        self._metrics = metrics
        self._stall_s = stall_s
        self.reads = Throttled()
        self._asking: dict[int, asyncio.Task[None]] = {}
        self._finding: asyncio.Task[bool] | None = None
        self._moved = (0.0, time.monotonic())  # the last answer to a send, and since when there was none though asked

    def away(self) -> bool:
        """Is it Kafka that work waits for?"""
        producer = self._producer
        if self._unanswered_s() >= PATIENCE_S or self._throttled():
            return True
        # A topic that was deleted will not come back by waiting.
        return producer.waiting_s() >= PATIENCE_S and producer.refusal != UnknownTopicOrPartitionError.__name__

    async def keep_asking(self) -> None:
        """Look once a second, for ever.

        Raises:
            ThrongError: `stalled` if a send gets no answer although brokers answer; `moved` if they have other
                addresses by now than the clients know.
        """
        self._producer.answered_at = looked = time.monotonic()
        try:
            while True:
                self._ask()
                self._tell()
                self._refuse_moved()
                await asyncio.sleep(ASK_S)
                # An answer could not be read while this process itself stood still: a stop, a long computation.
                before, looked = looked, time.monotonic()
                if looked - before > 2 * ASK_S:
                    self._producer.answered_at += looked - before - ASK_S
        finally:
            for task in (*self._asking.values(), self._finding):
                if task is not None:
                    task.cancel()

    def _ask(self) -> None:
        """A question to each broker that owes no answer. One that is silent is given up by the request's time-out."""
        for broker in self._producer.client.cluster.brokers():
            task = self._asking.get(broker.nodeId)
            if task is None or task.done():
                self._asking[broker.nodeId] = asyncio.ensure_future(self._question(broker.nodeId))

    async def _question(self, node_id: int) -> None:
        try:
            await self._producer.client.send(node_id, MetadataRequest([]), group=ConnectionGroup.COORDINATION)
        except (KafkaError, OSError):
            return

    def _refuse_moved(self) -> None:
        if self._finding is not None and self._finding.done():
            finding, self._finding = self._finding, None
            if finding.result() and self._unanswered_s() >= self._stall_s:
                raise elsewhere()
        if self._finding is None and self._unanswered_s() >= self._stall_s:
            self._finding = asyncio.ensure_future(self._producer.moved())

    def _throttled(self) -> str:
        """What is held up by a quota for long enough to be told; empty if nothing."""
        held = {"sends": self._producer.throttled.seconds, "reads": self.reads.seconds}
        return " and ".join(f"{what} for {s:.0f} s at a time" for what, s in held.items() if s >= PATIENCE_S)

    def _unanswered_s(self) -> float:
        return time.monotonic() - self._producer.answered_at

    def _tell(self) -> None:
        producer, silent_s, waiting_s = self._producer, self._unanswered_s(), self._producer.waiting_s()
        self._metrics.unanswered.set(silent_s if silent_s >= PATIENCE_S else 0)
        self._metrics.waiting.set(waiting_s)
        self._metrics.throttled.set(max(producer.throttled.seconds, self.reads.seconds))
        throttled = self._throttled()
        if silent_s >= PATIENCE_S or throttled or not waiting_s or producer.taken_at != self._moved[0]:
            self._moved = (producer.taken_at, time.monotonic())
        if silent_s >= PATIENCE_S:
            self._readiness.waiting("kafka", f"Kafka does not answer for {silent_s:.0f} s: sends and reads wait")
        elif throttled:
            self._readiness.waiting("kafka", f"Kafka throttles this user by a quota: it holds up {throttled}")
        elif waiting_s >= PATIENCE_S:
            self._refuse_stall()
            why = f"Kafka takes nothing ({producer.refusal})" if producer.refusal else "the broker is slow"
            self._readiness.waiting("kafka", f"{why}: the oldest unacknowledged send is {waiting_s:.0f} s old")
        else:
            self._readiness.over("kafka")

    def _refuse_stall(self) -> None:
        if time.monotonic() - self._moved[1] >= self._stall_s:
            raise ThrongError(
                "stalled", f"brokers answer, but a send has had no answer for {self._stall_s:g} s, with all its repeats"
            )
