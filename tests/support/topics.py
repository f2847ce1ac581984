"""Topics in memory, for commands that read and write a control topic or two."""

from collections.abc import AsyncIterator
from typing import NamedTuple

NOON = 1_772_449_200_000


class Record(NamedTuple):
    value: bytes
    timestamp: int
    offset: int
    topic: str
    partition: int = 0
    timestamp_type: int = 1  # by the broker


class Kafka:
    """All topics, in place of a reader of one, and of a producer."""

    topics: dict[str, list[bytes]] = {}  # noqa: RUF012 - emptied for each test

    def __init__(self, _: str = "", topic: str = "", **__: object) -> None:
        self._topic = topic
        self._read = 0

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def read_to_end(self) -> AsyncIterator[list[Record]]:
        values = self.topics.get(self._topic, [])
        new = [Record(value, NOON, number, self._topic) for number, value in enumerate(values)][self._read :]
        self._read = len(values)
        yield new

    async def send_and_wait(self, topic: str, value: bytes, partition: int) -> Record:
        self.topics.setdefault(topic, []).append(value)
        return Record(value, NOON, len(self.topics[topic]) - 1, topic, partition)
