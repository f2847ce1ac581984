"""The commits of a role's group: offsets with a short text beside each, of all members.

For a role that keeps its position in Kafka (the gateway). Faust's own commits are off. A commit by a worker that lost
its partitions is refused by Kafka, which is no error: the one who has them began before it.
"""

from collections.abc import Mapping
from typing import NamedTuple

from aiokafka.errors import CommitFailedError, IllegalStateError
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from streams.agents.consumer_thread import ConsumerThread
from streams.errors import ThrongError


class Committed(NamedTuple):
    """A group's commit for one partition: the next offset to read, and a text of the role's."""

    offset: int
    metadata: str

    def record_time_ms(self) -> int:
        """The running maximum of record times below the offset, which a gateway puts beside it.

        Raises:
            ThrongError: `foreign_commit` if there is none.
        """
        try:
            return int(self.metadata)
        except ValueError:
            raise ThrongError(
                "foreign_commit",
                f"the gateways' group has a commit at offset {self.offset} that no gateway made (it says no record "
                "time): stop all gateways and delete the group, see docs/how-to/outages.md#foreign-commits",
            ) from None


class GroupOffsets:
    """The commits of the app's group on the role's topic, and on `beside`: partitions of other topics, by the number
    that the role knows them by, of which the group keeps positions without having them assigned. For the event loop
    that the app runs in.
    """

    def __init__(self, thread: ConsumerThread, topic: str, beside: Mapping[int, tuple[str, int]]) -> None:
        self._thread = thread
        self._topic = topic
        self._beside = {number: TopicPartition(*there) for number, there in beside.items()}

    async def commit(self, marks: Mapping[int, Committed]) -> bool:
        """Commit for partitions that this worker owns.

        Returns False if it no longer owns them: whoever does begins at the commit before.

        Raises:
            KafkaError: Kafka refused, and trying again would not help.
        """
        return await self._thread.on_thread(self._commit(marks))

    async def read(self) -> dict[int, Committed]:
        """The commits of all members, by partition; those without one are left out."""
        return await self._thread.on_thread(self._read())

    def sources(self) -> set[int]:
        """The topic's partitions, as this worker knows them."""
        return set(self._thread._ensure_consumer()._client.cluster.partitions_for_topic(self._topic) or ())

    async def _commit(self, marks: Mapping[int, Committed]) -> bool:
        offsets = {self._there(number): OffsetAndMetadata(mark.offset, mark.metadata) for number, mark in marks.items()}
        consumer = self._thread._ensure_consumer()
        subscription = consumer._subscription.subscription
        assignment = subscription.assignment if subscription is not None else None
        # A zombie that has been thrown out has no generation, and a group without members would take its commit.
        if consumer._coordinator.generation < 0:
            return False
        if assignment is None or any(tp.topic == self._topic and tp not in assignment.tps for tp in offsets):
            return False
        try:
            # The consumer's own `commit` refuses partitions that aren't assigned; the group's generation fences all.
            await consumer._coordinator.commit_offsets(assignment, offsets)
        except (CommitFailedError, IllegalStateError):
            return False
        return True

    def _there(self, number: int) -> TopicPartition:
        return self._beside.get(number) or TopicPartition(self._topic, number)

    async def _read(self) -> dict[int, Committed]:
        consumer = self._thread._ensure_consumer()
        numbers = consumer._client.cluster.partitions_for_topic(self._topic) or ()
        # A partition that was just added may be assigned before this member's metadata shows it.
        tps = {TopicPartition(self._topic, number) for number in numbers} | consumer.assignment()
        names = {tp: tp.partition for tp in tps} | {tp: number for number, tp in self._beside.items()}
        found = await consumer._coordinator.fetch_committed_offsets(list(names))
        return {names[tp]: Committed(mark.offset, mark.metadata) for tp, mark in found.items()}
