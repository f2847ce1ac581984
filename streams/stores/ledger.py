"""The ledger topic: append a draw, read back, and take whichever record came first.

Kept: the account of all that was read. A writer that was paused and comes back appends records that are void for
everybody, itself included, since it reads them back behind those of its successor.
"""

import asyncio
from collections.abc import Callable

import msgspec
from aiokafka import AIOKafkaProducer

from schemas.ledger import LedgerRecord
from streams.core.ledger import Account
from streams.stores.log import TailReader


class Ledger:
    """The ledger as one process reads and writes it. `follow`: told each valid record once, in the order of the log."""

    def __init__(
        self,
        reader: TailReader,
        producer: AIOKafkaProducer,
        topic: str,
        follow: Callable[[LedgerRecord], None] | None = None,
    ) -> None:
        self._reader = reader
        self._producer = producer
        self._topic = topic
        self._follow = follow
        self.account = Account()

    async def read(self) -> list[LedgerRecord]:
        """Read to the topic's end; returns the valid records that are new."""
        valid = []
        async for records in self._reader.read_to_end():
            for record in records:
                entry = msgspec.msgpack.decode(record.value, type=LedgerRecord)
                if self.account.take(entry):
                    # Not by the caller: a read that is cancelled midway is not heard of again.
                    if self._follow is not None:
                        self._follow(entry)
                    valid.append(entry)
        return valid

    async def append(self, *records: LedgerRecord) -> list[LedgerRecord]:
        """Append, and read to beyond them; returns the valid records that are new, these or others' among them."""
        acks = [await self._producer.send(self._topic, msgspec.msgpack.encode(each), partition=0) for each in records]
        await asyncio.gather(*acks)
        return await self.read()
