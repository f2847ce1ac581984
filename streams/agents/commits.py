"""The commits of a role's group: offsets with a short text beside each, of all members.

For a role that keeps its position in Kafka (the gateway). Faust's own commits are off. A commit by a worker that lost
its partitions is refused by Kafka, which is no error: the one who has them began before it.
"""

from collections.abc import Mapping
from typing import NamedTuple

from aiokafka.errors import CommitFailedError, IllegalStateError
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from streams.agents.consumer_thread import ConsumerThread


class Committed(NamedTuple):
    """A group's commit for one partition: the next offset to read, and a text of the role's."""

    offset: int
    metadata: str


class GroupOffsets:
    """The commits of the app's group on the role's topic. For the event loop that the app runs in."""

    def __init__(self, thread: ConsumerThread, topic: str) -> None:
        self._thread = thread
        self._topic = topic

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

    async def _commit(self, marks: Mapping[int, Committed]) -> bool:
        offsets = {
            TopicPartition(self._topic, number): OffsetAndMetadata(mark.offset, mark.metadata)
            for number, mark in marks.items()
        }
        try:
            await self._thread._ensure_consumer().commit(offsets)
        except (CommitFailedError, IllegalStateError):
            return False
        return True

    async def _read(self) -> dict[int, Committed]:
        consumer = self._thread._ensure_consumer()
        numbers = consumer._client.cluster.partitions_for_topic(self._topic) or ()
        tps = {TopicPartition(self._topic, number) for number in numbers}
        # A partition that was just added may be assigned before this member's metadata shows it.
        found = await consumer._coordinator.fetch_committed_offsets(list(tps | consumer.assignment()))
        return {tp.partition: Committed(mark.offset, mark.metadata) for tp, mark in found.items()}
