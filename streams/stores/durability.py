"""Whether the cluster keeps what the guarantees rest on (docs/reference/guarantees.md): asked at a worker's start.

In: the topics' replicas and settings as the broker says them. Out: nothing, or a refusal that names the topic and the
setting. Logs in which the first record counts must never be compacted, which keeps the last; those that nothing can
make anew must be kept for ever; what the deployment's own settings promise of replicas must be so. What keeps records
of persons for longer than is said (docs/explanation/privacy.md), goes by the clocks of who writes, or takes no long
records, is told, and not refused: topics from before have it.
"""

import logging
from collections.abc import Mapping

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from schemas.topics import ATTACH, AUDIT, EPOCHS, LEDGER, PANES, REGISTRY, REJECTS, SALTS, SIGHTINGS, TOPICS, Topic
from streams.errors import ThrongError
from streams.settings import Settings
from streams.stores.admin import Admin
from streams.stores.topics import STAMPED

log = logging.getLogger("throng.topics")

LOGS = (ATTACH, SIGHTINGS, PANES, LEDGER, EPOCHS, SALTS, AUDIT)
FOR_EVER = (LEDGER, EPOCHS, SALTS, AUDIT)
REPLICAS = 3
BY_NAME = {topic.name: topic for topic in TOPICS}
OF_PERSONS = {name: BY_NAME[name] for name in (ATTACH, REJECTS, SIGHTINGS, REGISTRY)}
# Those that workers write. Whoever sends the other two may have reasons to stamp them.
OWN = tuple(name for name in STAMPED if name not in (ATTACH, REGISTRY))
# Of a log that is deleted by time, how many of its segments at least make up the time that records are kept.
SEGMENTS = 4


def troubles(name: str, replicas: int, config: Mapping[str, str], settings: Settings) -> list[str]:
    """What is wrong with one topic, each with what it must be. `config`: by Kafka's names."""
    kafka = settings.kafka
    found = {
        f"its cleanup.policy is {config.get('cleanup.policy')}: set delete": config.get("cleanup.policy") != "delete",
        f"its retention.ms is {config.get('retention.ms')}: set -1": (
            name in FOR_EVER and config.get("retention.ms") != "-1"
        ),
        f"its retention.bytes is {config.get('retention.bytes')}: set -1": (
            name in FOR_EVER and config.get("retention.bytes", "-1") != "-1"
        ),
        "its unclean.leader.election.enable is true: set false": (
            config.get("unclean.leader.election.enable") == "true"
        ),
        f"it has {replicas} replicas, kafka.replication says {kafka.replication}: add them": (
            replicas < kafka.replication
        ),
        f"its min.insync.replicas is {config.get('min.insync.replicas')}, kafka.min_insync says {kafka.min_insync}": (
            int(config.get("min.insync.replicas", "1")) < kafka.min_insync
        ),
    }
    return [what for what, is_wrong in found.items() if is_wrong]


def lingering(topic: Topic, config: Mapping[str, str]) -> str:
    """What is to be set, as `NAME=VALUE,...`, lest records stay for longer than they are said to; empty if nothing.

    What is kept on purpose for longer may have longer segments. `config`: by Kafka's names.
    """
    if topic.compacted_ms:
        stays = any(int(config.get(name, "0")) > int(most) for name, most in topic.goes.items())
    else:
        stays = 0 <= int(config.get("retention.ms", "-1")) < SEGMENTS * int(config.get("segment.ms", "0"))
    return ",".join(f"{name}={most}" for name, most in topic.goes.items()) if stays else ""


def too_short(topic: Topic, config: Mapping[str, str]) -> bool:
    """Would a topic refuse the longest records that throng writes there? `config`: by Kafka's names."""
    longest = topic.config.get("max.message.bytes")
    return longest is not None and int(config.get("max.message.bytes") or longest) < int(longest)


def by_writers(name: str, config: Mapping[str, str]) -> bool:
    """Do a topic's times come from the clocks of the workers who write it? `config`: by Kafka's names."""
    return name in OWN and config.get("message.timestamp.type") == "CreateTime"


async def check(admin: Admin, settings: Settings) -> None:
    """Refuse a cluster that would lose what must be kept.

    Raises:
        ThrongError: `topics`, naming the first topic and setting that is wrong.
    """
    names = {settings.topic(name): name for name in (*LOGS, *OF_PERSONS)}
    described = await admin.describe_topics([settings.topic(name) for name in LOGS])
    replicas = {entry["topic"]: min(len(p["replicas"]) for p in entry["partitions"]) for entry in described}
    resources = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in names]
    unstamped: list[str] = []
    for response in await admin.describe_configs(resources):
        for _, _, _, topic, entries in response.resources:
            config = {entry[0]: entry[1] or "" for entry in entries}
            name = names[topic]
            if not settings.kafka.keep_forever and by_writers(name, config):
                unstamped.append(topic)
            if (
                name in OF_PERSONS
                and not settings.kafka.keep_forever
                and (lacks := lingering(OF_PERSONS[name], config))
            ):
                log.warning("the topic %s keeps what is of persons longer than is said: set its %s", topic, lacks)
            if too_short(BY_NAME[name], config):
                log.warning(
                    "the topic %s takes no record over %s bytes, and a worker that has a longer one ends: set its "
                    "max.message.bytes=%s",
                    *(topic, config["max.message.bytes"], BY_NAME[name].config["max.message.bytes"]),
                )
            if name in LOGS and (wrong := troubles(name, replicas[topic], config, settings)):
                raise ThrongError("topics", f"the topic {topic} would not keep what throng needs: {wrong[0]}")
    if unstamped:
        log.warning(
            "%s: times there are those of the workers' clocks, and one that is an hour ahead can't write; set "
            "message.timestamp.type=LogAppendTime (kafka-configs.sh --alter)",
            ", ".join(unstamped),
        )
    if min(replicas.values()) < REPLICAS:
        log.warning(
            "topics have %d replicas: what is guaranteed holds only while no broker loses its disk; "
            "set kafka.replication to %d in production",
            *(min(replicas.values()), REPLICAS),
        )
