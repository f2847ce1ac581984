"""Reading a small control topic from its start to the end that it has now, again and again.

Epochs, salts, the registry and the ledger are logs that a worker must have read to their end before it decides
anything. A `TailReader` assigns itself all partitions (no group), and `read_to_end` returns every record that was
committed before the call and not yet returned; while Kafka is away it waits. Only the start gives up, where a wrong
address is likelier than an outage. A topic that was made anew ends its reader, who would be deaf to all that is written
there until it is as long as the old one was. Between two readings nothing is fetched: a worker has up to five readers,
whose empty fetches would be most of what it does while it has nothing to do, and each of which a question for the end
waits behind.
"""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import accumulate

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaTimeoutError

from streams.errors import ThrongError
from streams.stores.bounded_reading import bound_batches
from streams.stores.connection import At, client_options, hidden, moved

# Longer than a silent broker is waited for (`silent`): where all attempts to ask for an end are given up at once, no
# single one has failed by which the connection were renewed, and the metadata.
REQUEST_MS = 30_000
# A new leader may say for a moment that its log ends before what it has told already.
SETTLED_S = 1.0
# Records that are made at once of what was fetched, where they have to wait for others: objects take over twenty times
# the bytes that they have packed, and up to 50 MB of these are fetched of each broker.
AT_ONCE = 10_000


async def disconnect(consumer: AIOKafkaConsumer) -> None:
    """Stop a consumer in order, also while Kafka is away.

    aiokafka waits for the requests that it has just cancelled, and lets the cancellation of one that waits for its next
    attempt out to its caller, who wasn't cancelled.
    """
    try:
        await consumer.stop()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        await consumer._client.close()


class TailReader:
    """A groupless consumer of all partitions of one topic, from the start.

    `isolation`: as Kafka's `isolation.level`. throng itself writes no transactions; others may. `metadata_ms`: how soon
    it is noticed that the topic has got more partitions.
    """

    def __init__(self, at: At, topic: str, isolation: str = "read_uncommitted", metadata_ms: int = 300_000) -> None:
        self._at = at
        self._topic = topic
        self._consumer = AIOKafkaConsumer(
            **client_options(at),
            metadata_max_age_ms=metadata_ms,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=16 << 20,
            fetch_max_wait_ms=100,
            request_timeout_ms=REQUEST_MS,
            isolation_level=isolation,
        )
        self._partitions: list[TopicPartition] = []
        # By `read_in_time`, of each partition: the first record's offset, and the latest of all records' times, ms.
        self._first: dict[TopicPartition, int] = {}
        self._latest: dict[TopicPartition, int] = {}

    async def start(self) -> None:
        """Connect and place the reader at the start.

        Raises:
            ThrongError: `topics` if the topic doesn't exist, or this user may not see it. What is read later raises
                `unpackable` if a batch takes too much memory.
        """
        try:
            await self._consumer.start()
            bound_batches(self._consumer)
            await self._place()
        except BaseException:
            await self.stop()
            raise

    async def _place(self) -> None:
        # No metadata of a topic is known before somebody asks for it.
        await self._consumer._client.add_topic(self._topic)
        numbers = self._consumer.partitions_for_topic(self._topic)
        if self._topic in self._consumer._client.cluster.unauthorized_topics:
            raise hidden(self._topic, self._at)
        if not numbers:
            raise ThrongError("topics", f"the topic {self._topic} is missing: run 'throng topics create'")
        self._partitions = [TopicPartition(self._topic, number) for number in sorted(numbers)]
        self._consumer.assign(self._partitions)
        await self._consumer.seek_to_beginning(*self._partitions)
        self._consumer.pause(*self._partitions)

    async def stop(self) -> None:
        """Disconnect."""
        await disconnect(self._consumer)

    async def bounds(self) -> tuple[int, int]:
        """The first offset of the first partition, and the one after its last record."""
        first = self._partitions[0]
        while True:
            try:
                starts: dict[TopicPartition, int] = await self._consumer.beginning_offsets([first])
            except KafkaTimeoutError:
                continue
            return starts[first], (await self._ends())[first]

    async def ever_written(self) -> bool:
        """Was anything ever written to any partition, though it may be gone by now?"""
        return any((await self._ends()).values())

    async def find(self, time_ms: int) -> int | None:
        """The first offset of the first partition whose record time is at least that; None if there is none."""
        first = self._partitions[0]
        while True:
            try:
                found = (await self._consumer.offsets_for_times({first: time_ms}))[first]
            except KafkaTimeoutError:
                continue
            return None if found is None else int(found.offset)

    def seek(self, offset: int) -> None:
        """Go on reading the first partition there."""
        self._consumer.seek(self._partitions[0], offset)

    async def read_to_end(self, until: int | None = None) -> AsyncIterator[list[ConsumerRecord]]:
        """The records between the last position and the end of each partition as of now, in chunks.

        Args:
            until: an offset at which to end instead; the last chunk may go beyond it.
        """
        ends = await self._ends()
        if until is not None:
            ends = {tp: min(end, until) for tp, end in ends.items()}
        while behind := [tp for tp in self._partitions if await self._consumer.position(tp) < ends[tp]]:
            self._consumer.resume(*behind)
            for records in (await self._consumer.getmany(*behind, timeout_ms=500)).values():
                if records:
                    yield list(records)
        self._consumer.pause(*self._partitions)

    async def read_in_time(self) -> AsyncIterator[list[ConsumerRecord]]:
        """As `read_to_end`, in the order of the records' times, those of one partition as they stand: what is said of
        a key may be in several, if writers share keys out differently or partitions were added.

        What was fetched of a partition waits for those that are further back: of each no more than `AT_ONCE` records.

        Raises:
            ThrongError: `made_anew` also where the new topic is as long as the old one was by now.
        """
        ends = await self._ends()
        await self._refuse_begun_again([tp for tp in self._partitions if await self._consumer.position(tp) < ends[tp]])
        waiting: dict[TopicPartition, list[ConsumerRecord]] = {tp: [] for tp in self._partitions}
        # Of each that waits the latest time so far: of one partition the log's order counts, whoever stamped it.
        times: dict[TopicPartition, list[int]] = {tp: [] for tp in self._partitions}
        latest = {tp: self._latest.get(tp, 0) for tp in self._partitions}
        while True:
            unread = [tp for tp in self._partitions if await self._consumer.position(tp) < ends[tp]]
            if lacking := [tp for tp in unread if not waiting[tp]]:
                self._consumer.resume(*lacking)
                fetched = await self._consumer.getmany(*lacking, timeout_ms=500, max_records=AT_ONCE)
                for tp, records in fetched.items():
                    waiting[tp] += records
                    times[tp] += accumulate((record.timestamp for record in records), max, initial=latest[tp])
                    del times[tp][0]  # that of before
                    latest[tp] = times[tp][-1] if records else latest[tp]
                    if records:
                        self._first.setdefault(tp, records[0].offset)
                        self._latest[tp] = latest[tp]
                continue
            until = min((times[tp][-1] for tp in unread), default=None)
            due: list[ConsumerRecord] = []
            due_times: list[int] = []
            for tp in self._partitions:
                number = len(times[tp]) if until is None else bisect_right(times[tp], until)
                due += waiting[tp][:number]
                due_times += times[tp][:number]
                del waiting[tp][:number], times[tp][:number]
            if due:
                yield [due[place] for place in sorted(range(len(due)), key=due_times.__getitem__)]
            if until is None:
                break
        self._consumer.pause(*self._partitions)

    async def _refuse_begun_again(self, tps: Sequence[TopicPartition]) -> None:
        """Of a topic that was made anew, and is longer by now than the old one was, no end tells. But it begins with a
        record that is later than all that was read, where one of these was."""
        asked = {tp: self._latest[tp] + 1 for tp in tps if tp in self._latest}
        if not asked:
            return
        while True:
            try:
                later = await self._consumer.offsets_for_times(asked)
                break
            except KafkaTimeoutError:
                continue
        for tp, found in later.items():
            if found is not None and found.offset <= self._first[tp]:
                raise ThrongError(
                    "made_anew",
                    f"{tp.topic}, partition {tp.partition}: it begins with a record that came after all that was read: "
                    "the topic was made anew; see docs/how-to/outages.md#made-anew",
                )

    async def moved(self) -> bool:
        """Have the brokers other addresses by now than this one knows?"""
        return await moved(self._at, self._consumer._client.cluster)

    @property
    def grown(self) -> bool:
        """Has the topic more partitions by now than are read?"""
        return len(self._consumer.partitions_for_topic(self._topic) or ()) > len(self._partitions)

    async def _ends(self) -> dict[TopicPartition, int]:
        """Where the partitions end now.

        Raises:
            ThrongError: `made_anew` if one ends before what was read of it.
        """
        read_to = {tp: await self._consumer.position(tp) for tp in self._partitions}
        ends = await self._asked_ends()
        if _cut(read_to, ends):
            await asyncio.sleep(SETTLED_S)
            ends = await self._asked_ends()
        for tp in _cut(read_to, ends):
            raise ThrongError(
                "made_anew",
                f"{tp.topic}, partition {tp.partition}: it ends at offset {ends[tp]}, and was read to offset "
                f"{read_to[tp]}: the topic was made anew, or has lost records; see docs/how-to/outages.md#made-anew",
            )
        return ends

    async def _asked_ends(self) -> dict[TopicPartition, int]:
        while True:
            try:
                ends: dict[TopicPartition, int] = await self._consumer.end_offsets(self._partitions)
            except KafkaTimeoutError:
                continue  # it has asked again and again for `REQUEST_MS`
            return ends


def _cut(read_to: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]) -> list[TopicPartition]:
    """The partitions that end before what was read of them."""
    return [tp for tp, offset in read_to.items() if ends[tp] < offset]
