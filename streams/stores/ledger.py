"""The ledger topic: append a draw, read back, and take whichever record came first.

Kept: the account of what was read. A writer that was paused and comes back appends records that are void for
everybody, itself included, since it reads them back behind those of its successor.

Reading begins where the last record says (`schemas.ledger.Beginning`), so a start reads two epochs, however long the
ledger is. That place must hold the very record that is named; if not, it is read whole. If that can't be, since its
beginning is gone, nothing is begun: what was drawn there would be drawn again.

Who has waited for so long that the ledger was shortened beyond where they had read to (`ledger_trim`) may not read on
from where it begins now: what they missed closes panes of which a paused writer's records may still come. They end, or
begin anew where they may (`reread`).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
from aiokafka import AIOKafkaProducer
from msgspec.structs import replace

from schemas.ledger import NAMED, Beginning, LedgerRecord
from streams.core.release.ledger import Account
from streams.errors import ThrongError
from streams.stores.log import TailReader
from streams.stores.own import Own


class Ledger:
    """The ledger as one process reads and writes it.

    Args:
        follow: told each valid record once, in the order of the log. told: was anything ever published by it?

    Attributes:
        began_at: the offset from which on it was read. bytes_read: of records, since the start.
    """

    def __init__(
        self,
        reader: TailReader,
        producer: AIOKafkaProducer,
        topic: str,
        follow: Callable[[LedgerRecord], None] | None = None,
        told: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        self._reader = reader
        self._producer = producer
        self._topic = topic
        self._follow = follow
        self._told = told
        self._begun = False
        self._next = 0
        self.own = own_records()
        self.account = Account()
        self.began_at = 0
        self.bytes_read = 0

    async def read(self) -> list[LedgerRecord]:
        """Read to the topic's end; returns the valid records that are new.

        Raises:
            ThrongError: `ledger` if what is still needed of it is gone, or a record is another release's; `ledger_cut`
                if it was shortened beyond where this has read to.
        """
        if not self._begun:
            await self._begin()
        valid = []
        async for offset, entry in self._entries():
            if self.account.take(entry, offset):
                # Not by the caller: a read that is cancelled midway is not heard of again.
                if self._follow is not None:
                    self._follow(entry)
                valid.append(entry)
        return valid

    async def reread(self) -> list[LedgerRecord]:
        """As `read`, but begin anew if it was shortened beyond where this has read to, or nothing was there yet: the
        account is another then.

        Raises:
            ThrongError: `ledger` if what is still needed of it is gone.
        """
        if self._begun and (not self._next or (await self._reader.bounds())[0] > self._next):
            self._begun = False
        return await self.read()

    async def append(self, *records: LedgerRecord) -> list[LedgerRecord]:
        """Append, and read to beyond them; returns the valid records that are new, these or others' among them."""
        begins = self.account.begins()
        values = [msgspec.msgpack.encode(replace(each, begins=begins)) for each in records]
        acks = [await self._producer.send(self._topic, value, partition=0) for value in values]
        await asyncio.gather(*acks)
        return await self.read()

    async def _begin(self) -> None:
        told = self._told is not None and await self._told()  # before it is asked what stands for it
        start, end = await self._reader.bounds()
        if told and not end:
            raise ThrongError(
                "ledger",
                f"{self._topic} is empty, but was released by: made anew, what was drawn would be drawn again; see "
                "docs/how-to/outages.md#ledger",
            )
        begins = await beginning(self._reader, start, end)
        if begins is None and start > 0:
            raise ThrongError(
                "ledger",
                f"{self._topic} begins at offset {start}, and no record names a place from there on at which reading "
                "may begin: what was drawn before would be drawn again; see docs/how-to/outages.md#ledger",
            )
        self.began_at = start if begins is None else begins.offset
        self.account = Account(0 if begins is None else begins.over)
        self._reader.seek(self.began_at)
        self._next = self.began_at
        self._begun = True

    async def _entries(self) -> AsyncIterator[tuple[int, LedgerRecord]]:
        async for records in self._reader.read_to_end():
            for record in records:
                if record.offset > self._next and (start := (await self._reader.bounds())[0]) > self._next:
                    raise ThrongError(
                        "ledger_cut",
                        f"{self._topic} was shortened to offset {start} before offset {self._next} was read here: "
                        "a new start reads what is left",
                    )
                self._next = record.offset + 1
                if (entry := self.own.read(record)) is not None:
                    self.bytes_read += len(record.value)
                    yield record.offset, entry


def own_records() -> Own[LedgerRecord]:
    """What tells the ledger's records from others."""
    return Own("ledger", msgspec.msgpack.Decoder(LedgerRecord), msgspec.msgpack.Decoder(dict[str, msgspec.Raw]), NAMED)


async def beginning(reader: TailReader, start: int, end: int) -> Beginning | None:
    """Where reading may begin, in a ledger of the offsets [start, end); None if that is not known.

    Any record's word is right for good. The last one's is the newest but for a writer's that was paused, or of a
    version before there was such a word; then those before it are asked, further and further back.
    """
    own, back = own_records(), 1
    while back == 1 or end - back // 8 > start:
        first = max(start, end - back)
        reader.seek(first)
        named: list[Beginning] = []
        any_there = False
        async for records in reader.read_to_end(end):
            for record in records:
                entry = own.read(record, counted=False)
                any_there = any_there or entry is not None
                said = entry.begins if entry is not None else None
                if said is not None and start <= said.offset <= record.offset:
                    named.append(said)
        for said in sorted(named, key=lambda each: each.offset, reverse=True):
            if await _is_there(reader, said, own):
                return said
        if start == 0 and any_there:
            return None  # all of it is there to be read
        back *= 8
    return None


async def _is_there(reader: TailReader, said: Beginning, own: Own[LedgerRecord]) -> bool:
    reader.seek(said.offset)
    records = [record async for some in reader.read_to_end(said.offset + 1) for record in some[:1]]
    if not records or records[0].offset != said.offset:
        return False
    found = own.read(records[0], counted=False)
    named = (said.epoch, said.measure, said.number, said.writer)
    return found is not None and (found.epoch, found.measure, found.number, found.writer) == named
