"""Shortening the ledger: by command, and never by more than no release needs.

In: how long records are kept. Out: those at the ledger's beginning deleted that are older *and* lie before the place
at which reading begins (`schemas.ledger.Beginning`). So a wrong clock or too small a number costs what is usual in
outlooks, and nothing else: what isn't over stays, and what is over is never drawn again. Retention by Kafka itself
knows nothing of that, so the topic is kept for ever by it.

What can fail: Kafka refuses (the right `Delete` on the topic, which no worker has: `schemas.access`).
"""

from typing import NamedTuple

from aiokafka.admin import RecordsToDelete
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from schemas.topics import LEDGER
from streams.errors import ThrongError
from streams.settings import Settings
from streams.stores.admin import open_admin
from streams.stores.ledger import beginning
from streams.stores.log import TailReader


class Cut(NamedTuple):
    """The ledger is [start, end), of which a release reads from `needed` on; [start, to) may go."""

    start: int
    to: int
    needed: int
    end: int


async def find_cut(settings: Settings, before_ms: int) -> Cut:
    """What may go of records that were written before a time."""
    reader = TailReader(settings.kafka, settings.topic(LEDGER))
    await reader.start()
    try:
        return await cut_of(reader, before_ms)
    finally:
        await reader.stop()


async def cut_of(reader: TailReader, before_ms: int) -> Cut:
    """What may go of the ledger that the reader reads, of records that were written before a time."""
    start, end = await reader.bounds()
    begins = await beginning(reader, start, end)
    needed = start if begins is None else begins.offset
    found = await reader.find(before_ms)
    return Cut(start, needed if found is None else max(start, min(found, needed)), needed, end)


async def trim(settings: Settings, cut: Cut) -> None:
    """Delete what may go.

    Raises:
        ThrongError: `topics` if Kafka refuses.
    """
    topic = settings.topic(LEDGER)
    admin = await open_admin(settings)
    try:
        await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(cut.to)})
    except KafkaError as error:
        raise ThrongError(
            "topics",
            f"Kafka did not shorten {topic}: {error}; it takes its right Delete, as throng-trimmer has",
        ) from error
    finally:
        await admin.close()
