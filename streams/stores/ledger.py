"""The ledger topic: append a draw, read back, and take whichever record came first.

Kept: the account of all that was read. A writer that was paused and comes back appends records that are void for
everybody, itself included, since it reads them back behind those of its successor.
"""

import msgspec
from aiokafka import AIOKafkaProducer

from schemas.ledger import LedgerRecord
from streams.core.ledger import Account
from streams.stores.log import TailReader


class Ledger:
    """The ledger as one process reads and writes it."""

    def __init__(self, reader: TailReader, producer: AIOKafkaProducer, topic: str) -> None:
        self._reader = reader
        self._producer = producer
        self._topic = topic
        self.account = Account()

    async def read(self) -> list[LedgerRecord]:
        """Read to the topic's end; returns the valid records that are new."""
        valid = []
        async for records in self._reader.read_to_end():
            for record in records:
                entry = msgspec.msgpack.decode(record.value, type=LedgerRecord)
                if self.account.take(entry):
                    valid.append(entry)
        return valid

    async def append(self, record: LedgerRecord) -> list[LedgerRecord]:
        """Append, and read to beyond it; returns the valid records that are new, this one or others' among them."""
        await self._producer.send_and_wait(self._topic, msgspec.msgpack.encode(record), partition=0)
        return await self.read()
