"""The `epochs` topic: immutable records, the first of an epoch wins.

`EpochReader` is all that crowd and release need: read to the end, look up. `EpochKeeper` is the gateway's: where an
event needs an epoch that isn't there, it makes the salt durable, proposes the epoch, reads back, and takes what came
first, its own or another gateway's.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec
from aiokafka import AIOKafkaProducer

from schemas.epochs import NAMED, Epoch
from streams.core.epochs import EpochTable
from streams.errors import ThrongError
from streams.stores.log import TailReader
from streams.stores.own import Own
from streams.stores.salts import SaltGone, Vault
from streams.stores.wiping import wipe

log = logging.getLogger("throng.epochs")


class EpochReader:
    """The epochs written so far. `reader`: of the topic, not started."""

    def __init__(self, reader: TailReader) -> None:
        self._reader = reader
        self.table = EpochTable()
        self.records: list[Epoch] = []
        self.own = Own("epochs", msgspec.json.Decoder(Epoch), msgspec.json.Decoder(dict[str, msgspec.Raw]), NAMED)
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        """Connect and read all that is there."""
        await self._reader.start()
        await self.refresh()

    async def stop(self) -> None:
        """Disconnect."""
        await self._reader.stop()

    async def refresh(self) -> list[Epoch]:
        """Read to the topic's end. Returns the epochs that are new.

        Raises:
            ThrongError: `epochs` if a record is another release's.
        """
        new: list[Epoch] = []
        async with self._turn:
            async for chunk in self._reader.read_to_end():
                for record in chunk:
                    epoch = self.own.read(record)
                    if epoch is not None and self.table.add(epoch):
                        self.records.append(epoch)
                        new.append(epoch)
        return new


class EpochKeeper:
    """Provides the epoch and the salt of any event time.

    Args:
        propose: makes the record of a time. begun: have gateways counted in this deployment?
    """

    def __init__(
        self,
        reader: EpochReader,
        vault: Vault,
        producer: AIOKafkaProducer,
        topic: str,
        propose: Callable[[int], Epoch],
        begun: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._reader = reader
        self._vault = vault
        self._producer = producer
        self._topic = topic
        self._propose = propose
        self._begun = begun

    async def provide(self, ts_ms: int) -> Epoch:
        """The epoch that `ts_ms` falls in, written now if nobody has.

        Raises:
            ThrongError: `epochs` if there is none at all any more of those by which was counted.
        """
        found = self._reader.table.find(ts_ms)
        if found is None:
            await self._reader.refresh()
            found = self._reader.table.find(ts_ms)
        if found is None:
            await self._refuse_anew()
            proposal = self._propose(ts_ms)
            with suppress(SaltGone):  # it was made, and is gone: the epoch is told, and its events are rejected
                wipe(await self._vault.ensure(proposal.epoch))
            await self._producer.send_and_wait(
                self._topic, msgspec.json.encode(proposal), key=str(proposal.epoch).encode(), partition=0
            )
            await self._reader.refresh()
            found = self._reader.table.find(ts_ms)
            log.info("epoch %d opened", proposal.epoch)
        if found is None:
            raise LookupError("the epoch that was written does not cover the event time it was written for")
        return found

    async def _refuse_anew(self) -> None:
        if self._reader.records or self._begun is None or not await self._begun():
            return
        await self._reader.refresh()  # another may have written the very first meanwhile, and counted
        if not self._reader.records:
            raise ThrongError(
                "epochs",
                f"{self._topic} is empty, but gateways have counted by it: the topic was made anew; see "
                "docs/how-to/outages.md#made-anew",
            )
