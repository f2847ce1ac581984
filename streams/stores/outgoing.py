"""Many records of one partition, and whoever sends them (`agents.producing.Producer`)."""

import asyncio
from collections.abc import Iterable
from typing import NamedTuple, Protocol


class Outgoing(NamedTuple):
    """A record to send. `timestamp_ms`: None: the time of sending."""

    key: bytes
    value: bytes | None
    headers: list[tuple[str, bytes]]
    timestamp_ms: int | None = None


class Sender(Protocol):
    """A producer. The futures are done when all is acknowledged."""

    async def send_many(
        self, topic: str, partition: int, records: Iterable[Outgoing]
    ) -> "list[asyncio.Future[object]]": ...
