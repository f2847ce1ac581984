"""The gateway's copy of the registry: read to its end before any raw event, then followed."""

import asyncio
import time

from streams.core.registry import RegistryTable
from streams.stores.log import TailReader

POLL_MS = 500
FRESH_S = 5.0


class RegistryReader:
    """Keeps `table` as the `registry` topic says."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._reader = TailReader(bootstrap, topic)
        self.table = RegistryTable()
        self._read_at = 0.0

    async def start(self) -> None:
        """Read the whole topic."""
        await self._reader.start()
        async for records in self._reader.read_to_end():
            self.table.take((record.key, record.value) for record in records)
            await asyncio.sleep(0)
        self._read_at = time.monotonic()

    async def stop(self) -> None:
        """Disconnect."""
        await self._reader.stop()

    def fresh(self) -> bool:
        """Whether the topic was read to its end within the last 5 seconds."""
        return time.monotonic() - self._read_at < FRESH_S

    async def follow(self) -> None:
        """Take up changes as they come, for ever."""
        while True:
            async for records in self._reader.read_to_end():
                self.table.take((record.key, record.value) for record in records)
            self._read_at = time.monotonic()
            await asyncio.sleep(POLL_MS / 1000)
