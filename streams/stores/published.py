"""What the released topics hold: by it a release finds that its ledger is older than what was told.

A draw is in the ledger before it is told. So what was told of a later pane than the ledger's last shows that the ledger
was put back to an earlier state, or begun anew: all since then would be drawn once more.

In: the end of the ledger's last pane. Out: a released record of a later one, if there is any. Records are found by
their times, which a release stamps with their panes' ends (a broker that stamps them itself does so later, which costs
reading and no more), and are known by what they say: what no release wrote says nothing. What can fail: a topic that is
missing, a broker that is away (waited for), a user who may not read what was released, or a batch that unpacks to too
much (told, and taken for nothing).
"""

import logging
from collections.abc import AsyncIterator, Collection
from typing import Final, Protocol

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaTimeoutError, TopicAuthorizationFailedError

from schemas.named import UNREADABLE
from streams.core.times import instant, milliseconds
from streams.errors import ThrongError
from streams.stores.bounded_reading import bound_batches
from streams.stores.connection import At, client_options
from streams.stores.log import REQUEST_MS, disconnect

log = logging.getLogger("throng.release")


class Record(Protocol):
    """What is asked of a released record of Kafka's."""

    @property
    def value(self) -> bytes | None: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def timestamp_type(self) -> int: ...


class _Read(msgspec.Struct):
    """What every released record says of itself."""

    schema: str
    end: str
    plan: str
    policy: str


_decoder: Final = msgspec.json.Decoder(_Read)


class Published:
    """A reader of released topics, by their names on the cluster."""

    def __init__(self, at: At, topics: Collection[str]) -> None:
        self._topics = topics
        self._partitions: list[TopicPartition] = []
        self._consumer = AIOKafkaConsumer(
            **client_options(at),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=100,
            request_timeout_ms=REQUEST_MS,
        )

    async def start(self) -> None:
        """Connect, and find the topics' partitions.

        Raises:
            ThrongError: `topics` if one doesn't exist.
        """
        try:
            await self._consumer.start()
            bound_batches(self._consumer)
            for topic in self._topics:
                await self._consumer._client.add_topic(topic)
                numbers = self._consumer.partitions_for_topic(topic)
                if not numbers:
                    raise ThrongError("topics", f"the topic {topic} is missing: run 'throng topics create'")
                self._partitions += [TopicPartition(topic, number) for number in sorted(numbers)]
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Disconnect."""
        await disconnect(self._consumer)

    async def later_than(self, end_ms: int) -> str | None:
        """Where there is a record of a pane that ends after `end_ms`: topic, partition, offset and that end."""
        try:
            async for record in self._stamped_after(end_ms):
                ends = end_told(record)
                if ends is not None and milliseconds(ends) > end_ms:
                    return f"{record.topic}, partition {record.partition}, offset {record.offset}, to {ends}"
        except (TopicAuthorizationFailedError, ThrongError) as error:
            log.warning("that the ledger is as new as what was told can't be seen: %s", _why(error))
        finally:
            self._consumer.unsubscribe()
        return None

    async def _stamped_after(self, time_ms: int) -> AsyncIterator[ConsumerRecord]:
        """All records from the first of a later time on, of each partition."""
        while True:
            try:
                found = await self._consumer.offsets_for_times(dict.fromkeys(self._partitions, time_ms + 1))
                ends = await self._consumer.end_offsets(self._partitions)
            except KafkaTimeoutError:
                continue  # it has asked again and again for `REQUEST_MS`
            break
        firsts = {tp: first.offset for tp, first in found.items() if first is not None}
        if not firsts:
            return
        self._consumer.assign(list(firsts))
        for tp, first in firsts.items():
            self._consumer.seek(tp, first)
        while behind := [tp for tp in firsts if await self._consumer.position(tp) < ends[tp]]:
            for records in (await self._consumer.getmany(*behind, timeout_ms=500)).values():
                for record in records:
                    yield record


def end_told(record: Record) -> str | None:
    """The end of the pane that a released record is of; None of what is none.

    One that ends after its own time in Kafka, which releases set to that end, none of them wrote, whatever it says:
    somebody could keep all releases from beginning by it. Where brokers stamp the topic their clocks may be wrong.
    """
    try:
        ends = _decoder.decode(record.value or b"").end
        return ends if record.timestamp_type or instant(ends) <= record.timestamp else None
    except (*UNREADABLE, ValueError):
        return None


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, ThrongError) else "this user may not read that; see 'throng topics acls'"
