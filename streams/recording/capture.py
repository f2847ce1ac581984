"""From Kafka to a recording: all partitions of the topics, whole record batches at a time.

In: topics that exist. Out: their records from the start (or a given offset) up to what was there at the beginning,
or until a time or count is reached. Nothing is committed and no group is joined. What can fail: a topic that is
missing, a broker that is away (aiokafka waits for it).
"""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import pyarrow as pa
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from schemas.topics import ATTACH, REGISTRY
from streams.agents.fetch import Fetched, hand_out_batches
from streams.errors import ThrongError
from streams.recording.columns import to_table
from streams.recording.disguise import Disguise
from streams.recording.file import Settings as TopicSettings
from streams.settings import Settings
from streams.stores.admin import Admin, open_admin
from streams.stores.connection import client_options
from streams.stores.topics import partition_counts

RUN_BYTES = 8 << 20
POLL_MS = 500


class Sink(Protocol):
    """What takes the records: a recording (`file.Writer`), or what keeps less of them (`recording.machines`)."""

    def write(self, topic: str, partition: int, table: pa.Table) -> None:
        """Take the next records of a partition."""


class Bounds(NamedTuple):
    """Where a recording begins and ends. None: the log's start; what is there at the beginning; no limit."""

    from_offset: int | None = None
    to_offset: int | None = None
    most: int | None = None
    for_s: float | None = None


async def topic_settings(settings: Settings, topics: list[str]) -> dict[str, TopicSettings]:
    """How the topics are set up.

    Raises:
        ThrongError: `kafka` if no broker answers, `topics` if one doesn't exist.
    """
    admin = await open_admin(settings)
    try:
        counts = await partition_counts(admin, settings, topics)
        return {name: TopicSettings(counts[name], await _config(admin, settings.topic(name))) for name in topics}
    finally:
        await admin.close()


async def _config(admin: Admin, topic: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for response in await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)]):
        for _, _, _, _, entries in response.resources:
            found |= {entry[0]: entry[1] or "" for entry in entries}
    return found


async def capture(
    settings: Settings,
    topics: Mapping[str, TopicSettings],
    bounds: Bounds,
    writer: Sink,
    disguise: Disguise | None,
    told: Callable[[int], None],
) -> int:
    """Record; `told` is called with the number of records so far. Returns it."""
    consumer = AIOKafkaConsumer(
        **client_options(settings.kafka),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=RUN_BYTES,
        fetch_max_bytes=4 * RUN_BYTES,
        isolation_level="read_committed",  # as it is counted
    )
    await consumer.start()
    try:
        hand_out_batches(consumer, RUN_BYTES)
        names = {settings.topic(name): name for name in topics}
        partitions = [TopicPartition(full, p) for full, name in names.items() for p in range(topics[name].partitions)]
        consumer.assign(partitions)
        starts, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        if bounds.from_offset is not None:
            starts = {tp: max(start, bounds.from_offset) for tp, start in starts.items()}
        for tp in partitions:
            consumer.seek(tp, starts[tp])
        forever = bounds.for_s is not None or bounds.most is not None
        last = {tp: _last(ends[tp], bounds, forever) for tp in partitions}
        deadline = time.monotonic() + bounds.for_s if bounds.for_s is not None else None
        at, written = dict(starts), 0
        while behind := [tp for tp in partitions if at[tp] < last[tp]]:
            if deadline is not None and time.monotonic() >= deadline:
                break
            for tp, runs in (await consumer.getmany(*behind, timeout_ms=POLL_MS)).items():
                for run in runs:
                    left = None if bounds.most is None else bounds.most - written
                    written += _write(writer, disguise, names[tp.topic], tp, run, at[tp], last[tp], left)
                    at[tp] = run.next_offset
            told(written)
            if bounds.most is not None and written >= bounds.most:
                break
        return written
    finally:
        await consumer.stop()


def _last(end: int, bounds: Bounds, forever: bool) -> int:
    if bounds.to_offset is not None:
        return bounds.to_offset if forever else min(end, bounds.to_offset)
    return 1 << 62 if forever else end


def _write(
    writer: Sink,
    disguise: Disguise | None,
    name: str,
    tp: TopicPartition,
    run: Fetched,
    first: int,
    last: int,
    left: int | None,
) -> int:
    try:
        table = to_table(name, tp.partition, run.batches, max(first, run.first_offset), last)
    except ValueError as error:
        raise ThrongError("recording", f"{name}, partition {tp.partition}: {error}") from error
    if left is not None:
        table = table.slice(0, left)
    if disguise is not None and name == ATTACH:
        table = disguise.attach(table)
    elif disguise is not None and name == REGISTRY:
        table = disguise.registry(table)
    writer.write(name, tp.partition, table)
    return int(table.num_rows)
