"""The `audit` topic as workers and commands have it: read to its end, followed, and appended to.

`AuditReader` keeps the chain of what was read, and knows how old that knowledge is. `adopt` writes a new deployment's
first entry from its files; of several who do so at once the first wins. `decide` appends a decision that was worked out
from the rules of now: if another came first, it is worked out anew from theirs.
"""

import asyncio
import getpass
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.errors import KafkaConnectionError, KafkaError
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import UNSET, UnsetType

from schemas.audit import Action, Entry
from schemas.policy import Rulebook
from schemas.topics import AUDIT
from streams.core.rules.audit import Broken, Chain, Foreign, canonical, sealed
from streams.errors import ThrongError
from streams.settings import Settings
from streams.stores.connection import client_options, no_broker, sentence_of
from streams.stores.log import TailReader
from streams.stores.signing import private_key, signed

log = logging.getLogger("throng.audit")

POLL_S: Final = 0.25
# What is judged by rules of this age is on its way within a second: together the five that are promised.
FRESH_S: Final = 4.0
ATTEMPTS: Final = 20
NO_ENTRY: Final = "the record is no entry, and none follows it: see docs/how-to/outages.md#foreign-records"
# The decision that is to be appended: action, country, reason and the rules after it; None: nothing is to be decided.
Decision = tuple[Action, str, str, Rulebook]


class AuditReader:
    """Keeps `chain` as the topic says.

    Args:
        reader: of the topic, not started.
        whole: what is no entry must have an entry behind it. Without one it may be what is left of the last decision.
    """

    def __init__(self, reader: TailReader, *, whole: bool = True) -> None:
        self._reader = reader
        self._turn = asyncio.Lock()
        self._whole = whole
        self._known_at = 0.0
        self.chain = Chain()
        self.foreign = ""  # where the first is of what is no entry, behind the last one that counts

    async def start(self) -> None:
        """Connect and read all that is there."""
        await self._reader.start()
        await self.read()

    async def stop(self) -> None:
        """Disconnect."""
        await self._reader.stop()

    async def read(self) -> None:
        """Read to the topic's end.

        Raises:
            ThrongError: `audit` if the log is not what was written: nothing may be done by it any more.
        """
        async with self._turn:
            asked_at = time.monotonic()
            async for records in self._reader.read_to_end():
                for record in records:
                    self._take(record)
            if self.foreign and self._whole:
                raise ThrongError("audit", f"{self.foreign}: {NO_ENTRY}; nothing is done by it")
            self._known_at = asked_at

    def _take(self, record: ConsumerRecord) -> None:
        place = f"{record.topic}, partition {record.partition}, offset {record.offset}"
        try:
            counts = self.chain.take(record.value, record.timestamp, record.offset)
        except Foreign:
            self.chain.pass_over()
            self.foreign = self.foreign or place
            return
        except Broken as error:
            raise ThrongError("audit", f"{place}: {error}: see 'throng audit verify'; nothing is done by it") from error
        if counts:
            if self.foreign:
                log.error("%s: passed over up to the next entry, as no release of throng wrote it", self.foreign)
                self.foreign = ""
            entry = self.chain.taken[-1].entry
            whom = f" {entry.country}" if entry.country else ""
            log.info("audit entry %d: %s%s, hash %s", len(self.chain.taken), entry.action, whom, entry.hash)

    def age_s(self) -> float:
        """How old what is known is: the time since the topic's end was asked for the last time, and read to."""
        return time.monotonic() - self._known_at

    def fresh(self) -> bool:
        """Is it young enough to count by it?"""
        return self.age_s() < FRESH_S

    async def moved(self) -> bool:
        """Have the brokers other addresses by now than the reader knows?"""
        return await self._reader.moved()

    async def follow(self) -> None:
        """Take up entries as they come, for ever."""
        while True:
            await self.read()
            await asyncio.sleep(POLL_S)


def system_user() -> str:
    """Who runs this process, as the system says."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return "unknown"


async def adopt(
    reader: AuditReader,
    producer: AIOKafkaProducer,
    topic: str,
    rules: Rulebook,
    by: str,
    key: Ed25519PrivateKey | None = None,
) -> None:
    """Make these the rules of a deployment that has none yet."""
    if reader.chain.taken:
        return
    await append(reader, producer, topic, ("adopt", "", "the deployment's first rules", rules), by, key=key)
    if not reader.chain.taken:
        raise LookupError("the audit log is empty after an entry was appended")


async def append(
    reader: AuditReader,
    producer: AIOKafkaProducer,
    topic: str,
    decision: Decision,
    by: str,
    from_ms: int | UnsetType = UNSET,
    key: Ed25519PrivateKey | None = None,
) -> Entry | None:
    """Append one entry behind what was read, signed if there is a key, and read it back; None if another came first."""
    action, country, reason, rules = decision
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    entry = Entry(at, by, action, country, reason, rules, reader.chain.head, from_ms=from_ms)
    entry = sealed(signed(entry, key) if key is not None else entry)
    await producer.send_and_wait(topic, canonical(entry), partition=0)
    await reader.read()
    return entry if any(taken.entry == entry for taken in reader.chain.taken) else None


async def decide(
    settings: Settings,
    work_out: Callable[[Rulebook], Decision | None],
    by: str,
    first: Callable[[], Rulebook],
    from_ms: int | UnsetType = UNSET,
    head: str = "",
) -> tuple[Entry | None, AuditReader]:
    """Append what `work_out` makes of the rules of now. Returns the entry (None: nothing to decide) and the log.

    Args:
        first: the rules of a deployment whose log is still empty. from_ms: of a rotation, see `schemas.audit.Entry`.
        head: the log's hash, as it is known from elsewhere: the entry may follow on what is no entry.

    Raises:
        ThrongError: `kafka` if the entry can't be written, `audit` if the log is broken, `config` if the key to sign by
            can't be used.
    """
    key = private_key(Path(settings.audit.key)) if settings.audit.key else None
    topic = settings.topic(AUDIT)
    reader = AuditReader(TailReader(settings.kafka, topic), whole=not head)
    producer = AIOKafkaProducer(**client_options(settings.kafka), enable_idempotence=True, acks="all")
    try:
        await reader.start()
        await producer.start()
        if head and head.lower() != reader.chain.head:
            raise ThrongError("audit", "the last entry of the audit log has another hash than that of --head")
        if head and not reader.foreign:
            return None, reader
        if not reader.chain.taken:
            await adopt(reader, producer, topic, first(), by, key)
        for _ in range(ATTEMPTS):
            rules = reader.chain.rules
            assert rules is not None
            decision = work_out(rules)
            if decision is None:
                return None, reader
            entry = await append(reader, producer, topic, decision, by, from_ms, key)
            if entry is not None:
                return entry, reader
    except (KafkaConnectionError, OSError) as error:
        raise no_broker(settings.kafka) from error
    except KafkaError as error:
        raise ThrongError("kafka", f"the audit log can't be written. {sentence_of(error)}") from error
    finally:
        await producer.stop()
        await reader.stop()
    raise ThrongError("audit", f"others wrote to the audit log {ATTEMPTS} times in between: run it again")


async def read_audit(settings: Settings) -> AuditReader:
    """The log as it is now.

    Raises:
        ThrongError: `kafka` if no broker answers, `topics` if there is no such topic, `audit` if it is broken.
    """
    reader = AuditReader(TailReader(settings.kafka, settings.topic(AUDIT)))
    try:
        await reader.start()
    except (KafkaError, OSError) as error:
        raise no_broker(settings.kafka) from error
    finally:
        await reader.stop()
    return reader
