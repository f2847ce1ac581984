"""The salt vault: a fresh salt for each epoch, durable before its first use, the same for all gateways.

`ensure(epoch)` reads the `salts` topic to its end. If the epoch's salt is there, the first one counts. If not, 32
bytes from the system's CSPRNG are sealed with AES-256-GCM under the epoch's own key by the key provider, appended
(acknowledged by all in-sync replicas), read back, and whatever came first is used, one's own or another gateway's.
There is no ratchet: no salt can be worked out from another.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable

import msgspec
from aiokafka import AIOKafkaProducer

from schemas.salts import NAMED, WrappedSalt
from streams.errors import ThrongError
from streams.stores.keys import KeyProvider, missing
from streams.stores.log import TailReader
from streams.stores.own import Own
from streams.stores.wiping import wipe

SALT_BYTES = 32


class SaltGone(LookupError):  # noqa: N818 - reads as what it is
    """The epoch's key has been destroyed: its salt can't be had any more, nor made anew."""


class SaltLog:
    """The topic as read so far. `reader`: of it, started. `first`: by epoch the record that counts."""

    def __init__(self, reader: TailReader) -> None:
        self._reader = reader
        self.first: dict[int, WrappedSalt] = {}
        self.own = Own(
            "salts", msgspec.msgpack.Decoder(WrappedSalt), msgspec.msgpack.Decoder(dict[str, msgspec.Raw]), NAMED
        )

    async def ever_written(self) -> bool:
        """Was there ever a record, though it may be gone by now?"""
        return await self._reader.ever_written()

    async def read(self) -> None:
        """Read to the topic's end.

        Raises:
            ThrongError: `salts` if a record is another release's.
        """
        async for records in self._reader.read_to_end():
            for record in records:
                if (wrapped := self.own.read(record)) is not None:
                    self.first.setdefault(wrapped.epoch, wrapped)


class Vault:
    """Salts by epoch. Never logs, prints or returns them but from `ensure`.

    Args:
        begun: have gateways counted in this deployment? A salt was there before they did.
    """

    def __init__(
        self,
        reader: TailReader,
        producer: AIOKafkaProducer,
        topic: str,
        keys: KeyProvider,
        begun: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._producer = producer
        self._topic = topic
        self._keys = keys
        self._begun = begun
        self.log = SaltLog(reader)
        self._turn = asyncio.Lock()

    async def ensure(self, epoch: int) -> bytes:
        """The epoch's salt, made now if nobody has. The caller wipes it after use.

        Raises:
            SaltGone: its key has been destroyed.
            ThrongError: `salts` if the record doesn't open under the epoch's key, one is another release's, or there
                are none at all any more of those by which was counted; `keys` if that was destroyed before there was a
                salt, or is not there though nobody destroyed it.
        """
        async with self._turn:
            await self.log.read()
            if epoch not in self.log.first:
                await self._refuse_anew()
                await self._append(epoch)
                await self.log.read()
            return await self._open(self.log.first[epoch])

    async def _refuse_anew(self) -> None:
        """A second salt of an epoch would give everybody a second pseudonym. That an epoch is written says nothing: a
        replay brings epochs along, and each deployment makes its own salts of them."""
        if self._begun is not None and await self._begun() and not await self.log.ever_written():
            raise ThrongError(
                "salts",
                f"{self._topic} is empty, but gateways have counted by it: the topic was made anew; see "
                "docs/how-to/outages.md#made-anew",
            )

    async def _append(self, epoch: int) -> None:
        salt = secrets.token_bytes(SALT_BYTES)
        try:
            wrapped = await asyncio.to_thread(self._keys.seal, epoch, salt)
        finally:
            wipe(salt)
        if wrapped is None:
            raise ThrongError(
                "keys",
                f"the key of epoch {epoch} is destroyed, but {self._topic} has no salt of it: the topics were made "
                "anew, or the keys are another deployment's; give this one keys of its own (gateway.keys)",
            )
        value = msgspec.msgpack.encode(wrapped)
        await self._producer.send_and_wait(self._topic, value, key=str(epoch).encode(), partition=0)

    async def _open(self, wrapped: WrappedSalt) -> bytes:
        salt = await asyncio.to_thread(self._keys.open, wrapped)
        if salt is None and not await asyncio.to_thread(self._keys.destroyed, wrapped.epoch):
            raise missing(wrapped.epoch)
        if salt is None:
            raise SaltGone(f"epoch {wrapped.epoch}")
        return salt
