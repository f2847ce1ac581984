"""The topics on the cluster: made once, by command, and checked by every worker at its start.

`create` makes what is missing and writes into every `sightings` partition the control record that names the live
sources. If `attach` has fewer partitions than the settings say, the new ones are announced first and made then, so
that no watermark passes what comes in on them. It is safe to run twice and by several at once: Kafka decides who makes
a topic, its partitions never become fewer, and a control record's version is the number of raw partitions that it
names: one that names no more than a crowd knows of is ignored. It makes no log anew that a deployment at work has lost:
what was drawn would be drawn once more, and everybody would have a second pseudonym in the epoch that runs.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    InvalidPartitionsError,
    KafkaError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)
from aiokafka.structs import RecordMetadata

from schemas.sightings import REGISTRY_SOURCE, encode_control, encode_reset
from schemas.topics import ATTACH, EPOCHS, LEDGER, PANES, REGISTRY, REJECTS, SALTS, SIGHTINGS, TOPICS, Topic
from streams.errors import ThrongError
from streams.settings import Settings
from streams.stores.admin import Admin, open_admin
from streams.stores.connection import NO_RIGHT, client_options, hidden
from streams.stores.log import TailReader

SETTLE_S = 15.0
# Record times are the broker's. Of the raw log and the registry they decide what is counted; of the others how long
# records stay, which is no matter for the clock of whichever worker wrote them; nor is whether Kafka takes them at all:
# it refuses what is of an hour later than it has itself (`message.timestamp.after.max.ms`).
STAMPED = (ATTACH, REGISTRY, REJECTS, SIGHTINGS, PANES, EPOCHS, SALTS, LEDGER)
# The first record decides.
DECIDE_ONCE = (EPOCHS, SALTS, LEDGER)


def partitions_of(topic: Topic, settings: Settings) -> int:
    """How many partitions the deployment gives a topic when it creates it."""
    if topic.partitions == "raw":
        return settings.kafka.raw_partitions
    if topic.partitions == "sightings":
        return settings.kafka.partitions
    return int(topic.partitions)


async def cluster_id(settings: Settings) -> str:
    """What tells this Kafka from all others."""
    admin = await open_admin(settings)
    try:
        return str((await admin.describe_cluster()).get("cluster_id") or "")
    finally:
        await admin.close()


async def create(settings: Settings) -> list[str]:
    """Create the topics and raw partitions that are missing, and announce the sources.

    Returns the names of what was created.

    Raises:
        ThrongError: `topics` if Kafka refuses, or a log is gone that a deployment at work must not begin anew.
    """
    admin = await open_admin(settings)
    try:
        there = set(await admin.list_topics())
        missing = [topic for topic in TOPICS if settings.topic(topic.name) not in there]
        if settings.topic(PANES) in there:
            await _refuse_anew(settings, [topic.name for topic in missing if topic.name in DECIDE_ONCE])
        response = await admin.create_topics([_new(topic, settings) for topic in missing]) if missing else None
        for error in response.topic_errors if response else ():
            if error[1] not in (0, TopicAlreadyExistsError.errno):
                reason = error[2] or for_code(error[1]).description
                if for_code(error[1]) in NO_RIGHT:
                    reason = f"{reason} See 'throng topics acls'"
                raise ThrongError("topics", f"Kafka did not create the topic {error[0]}: {reason}")
        counts = await _settled(admin, settings, dict.fromkeys([topic.name for topic in TOPICS], 1))
        wanted = max(counts[ATTACH], settings.kafka.raw_partitions)
        added = [f"partition {number} of {ATTACH}" for number in range(counts[ATTACH], wanted)]
        if added:
            await _add_raw_partitions(admin, settings, wanted, validate_only=True)
        registry = await live_registry(admin, settings, counts[REGISTRY])
        await _announce(settings, [*range(wanted), *registry], counts[SIGHTINGS])
        if added:
            await _add_raw_partitions(admin, settings, wanted, validate_only=False)
            await _settled(admin, settings, {ATTACH: wanted})
    finally:
        await admin.close()
    return [topic.name for topic in missing] + added


async def _refuse_anew(settings: Settings, gone: Sequence[str]) -> None:
    """Refuse to make these logs where panes were counted by what was in them."""
    if not gone:
        return
    if await ever_written(settings, PANES):
        raise ThrongError(
            "topics",
            f"{settings.topic(gone[0])} is gone, and {settings.topic(PANES)} has counted by it: made anew, what was "
            "drawn would be drawn once more. Restore it, or begin a new namespace; see docs/how-to/outages.md#ledger",
        )


async def ever_written(settings: Settings, name: str) -> bool:
    """Whether anything was ever written to a topic, though it may be gone by now."""
    reader = TailReader(settings.kafka, settings.topic(name))
    await reader.start()
    try:
        return await reader.ever_written()
    finally:
        await reader.stop()


async def differing(settings: Settings) -> list[str]:
    """What the topics have other partitions of than the settings say, as lines for the user.

    Neither can be mended in place: Kafka never takes partitions away, and a subscriber's target follows from their
    number.
    """
    counts = await counts_of(settings, [topic.name for topic in TOPICS])
    return [
        f"{settings.topic(topic.name)} has {counts[topic.name]} partitions, the settings say "
        f"{partitions_of(topic, settings)}: it stays so; for another number begin a new namespace"
        for topic in TOPICS
        if counts[topic.name] != partitions_of(topic, settings)
    ]


async def _add_raw_partitions(admin: Admin, settings: Settings, wanted: int, *, validate_only: bool) -> None:
    topic = settings.topic(ATTACH)
    try:
        await admin.create_partitions({topic: NewPartitions(wanted)}, validate_only=validate_only)
    except InvalidPartitionsError as error:
        # Another, who ran at the same time, has made as many.
        if (await partition_counts(admin, settings, [ATTACH]))[ATTACH] < wanted:
            raise ThrongError("topics", f"Kafka did not add partitions to {topic}: {error}") from error
    except KafkaError as error:
        raise ThrongError("topics", f"Kafka did not add partitions to {topic}: {error}; run it again") from error


async def _settled(admin: Admin, settings: Settings, least: Mapping[str, int]) -> dict[str, int]:
    """Wait until the broker that is asked knows what the controller has just made: so many partitions at least."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        try:
            counts = await partition_counts(admin, settings, list(least))
            if all(counts[name] >= number for name, number in least.items()):
                return counts
            late = ThrongError("topics", f"the brokers do not know of all partitions after {SETTLE_S:g} s")
        except ThrongError as error:
            late = error
        if time.monotonic() >= deadline:
            raise late
        await asyncio.sleep(0.1)


async def partition_counts(admin: Admin, settings: Settings, names: Sequence[str]) -> dict[str, int]:
    """How many partitions each topic has.

    Raises:
        ThrongError: `topics` if one doesn't exist.
    """
    described = await admin.describe_topics([settings.topic(name) for name in names])
    found = {entry["topic"]: len(entry["partitions"]) for entry in described if not entry["error_code"]}
    unseen = [entry["topic"] for entry in described if entry["error_code"] == TopicAuthorizationFailedError.errno]
    if unseen:
        raise hidden(unseen[0], settings.kafka)
    for name in names:
        if settings.topic(name) not in found:
            within = f" --namespace {settings.kafka.namespace}" if settings.kafka.namespace else ""
            made = (
                f"run 'throng topics create{within}'"
                if any(topic.name == name for topic in TOPICS)
                else "make it, with the partitions of the topic that goes into it and message.timestamp.type=CreateTime"
            )
            raise ThrongError("topics", f"the topic {settings.topic(name)} is missing: {made}")
    return {name: found[settings.topic(name)] for name in names}


async def stamped_by_broker(admin: Admin, settings: Settings, name: str) -> bool:
    """Whether the topic's record times are the broker's (LogAppendTime)."""
    resource = ConfigResource(ConfigResourceType.TOPIC, settings.topic(name))
    for response in await admin.describe_configs([resource]):
        for _, _, _, _, entries in response.resources:
            for entry in entries:
                if entry[0] == "message.timestamp.type":
                    return bool(entry[1] == "LogAppendTime")
    return False


async def refuse_stamped(admin: Admin, settings: Settings, name: str) -> None:
    """Refuse to send records of another time to a topic that would say that they are of now.

    Raises:
        ThrongError: `topics` if the topic's record times are the broker's.
    """
    if await stamped_by_broker(admin, settings, name):
        # Topics that are there stay as they were made, whatever the settings say by now.
        remedy = (
            "begin a namespace that keeps them: THRONG_KAFKA_KEEP_FOREVER=true throng topics create --namespace NEW"
            if name == ATTACH
            else "set its message.timestamp.type to CreateTime"
        )
        topic = settings.topic(name)
        raise ThrongError(
            "topics", f"the topic {topic} is stamped by the broker, so record times would be lost: {remedy}"
        )


async def attach_for(settings: Settings, *, of_now: bool) -> int:
    """How many partitions `attach` has, for records of now or of another time.

    Raises:
        ThrongError: `topics` if it, or `registry`, doesn't exist, or can't take them; `kafka` if no broker answers.
    """
    admin = await open_admin(settings)
    try:
        counts = await partition_counts(admin, settings, [ATTACH, REGISTRY])
        if not of_now:
            await refuse_stamped(admin, settings, ATTACH)
    finally:
        await admin.close()
    return counts[ATTACH]


async def live_registry(admin: Admin, settings: Settings, partitions: int) -> list[int]:
    """The registry's sources that hold the watermark: all where the broker stamps them and gateways beat, else none.

    Elsewhere their record times need not be those of the raw log, so they say nothing of how far that is.
    """
    if not settings.gateway.beat_ms or not await stamped_by_broker(admin, settings, REGISTRY):
        return []
    return [REGISTRY_SOURCE + number for number in range(partitions)]


async def counts_of(settings: Settings, names: Sequence[str]) -> dict[str, int]:
    """`partition_counts`, asked over a connection of its own."""
    admin = await open_admin(settings)
    try:
        return await partition_counts(admin, settings, names)
    finally:
        await admin.close()


def _new(topic: Topic, settings: Settings) -> NewTopic:
    # A replay's records are of another time: Kafka would cut segments, and compact, by that.
    config = {**topic.config, **({} if settings.kafka.keep_forever else topic.goes)}
    if "cleanup.policy" not in config:
        retention_ms = -1 if settings.kafka.keep_forever else topic.retention_ms
        config["retention.ms"] = str(retention_ms)
        if retention_ms < 0:
            config["retention.bytes"] = "-1"  # a broker's default may be some bytes
    config["min.insync.replicas"] = str(settings.kafka.min_insync)
    if topic.name in STAMPED and not settings.kafka.keep_forever:
        config["message.timestamp.type"] = "LogAppendTime"
    return NewTopic(
        settings.topic(topic.name),
        partitions_of(topic, settings),
        settings.kafka.replication,
        topic_configs=config,
    )


async def announce_reset(settings: Settings, at_ms: int, targets: int) -> None:
    """Tell every crowd that pseudonyms change at a time within the epoch."""
    await _tell_crowds(settings, encode_reset(at_ms), targets)


async def brokers_ms(settings: Settings) -> int | None:
    """What a broker's clock says, by its stamp on a control record that changes nothing; None: it stamps none.

    Raises:
        KafkaError, OSError: the record could not be written.
    """
    (stamp,) = await _tell_crowds(settings, encode_control(0, ()), 1)
    return stamp.timestamp if stamp.timestamp_type == 1 else None


async def _announce(settings: Settings, sources: Sequence[int], targets: int) -> None:
    await _tell_crowds(settings, encode_control(len(sources), sources), targets)


async def _tell_crowds(settings: Settings, control: bytes, targets: int) -> list[RecordMetadata]:
    producer = AIOKafkaProducer(**client_options(settings.kafka), enable_idempotence=True, acks="all")
    await producer.start()
    try:
        topic = settings.topic(SIGHTINGS)
        return [await producer.send_and_wait(topic, control, partition=target) for target in range(targets)]
    finally:
        await producer.stop()
