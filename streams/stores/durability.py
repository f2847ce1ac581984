"""Whether the cluster keeps what the guarantees rest on (docs/reference/guarantees.md): asked at a worker's start.

In: the topics' replicas and settings as the broker says them. Out: nothing, or a refusal that names the topic and the
setting. Logs in which the first record counts must never be compacted, which keeps the last; those that nothing can
make anew must be kept for ever; what the deployment's own settings promise of replicas must be so.
"""

import logging
from collections.abc import Mapping

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from schemas.topics import ATTACH, AUDIT, EPOCHS, LEDGER, PANES, SALTS, SIGHTINGS
from streams.errors import ThrongError
from streams.settings import Settings

log = logging.getLogger("throng.topics")

LOGS = (ATTACH, SIGHTINGS, PANES, LEDGER, EPOCHS, SALTS, AUDIT)
FOR_EVER = (LEDGER, EPOCHS, SALTS, AUDIT)
REPLICAS = 3


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


async def check(admin: AIOKafkaAdminClient, settings: Settings) -> None:
    """Refuse a cluster that would lose what must be kept.

    Raises:
        ThrongError: `topics`, naming the first topic and setting that is wrong.
    """
    names = {settings.topic(name): name for name in LOGS}
    described = await admin.describe_topics(list(names))
    replicas = {entry["topic"]: min(len(p["replicas"]) for p in entry["partitions"]) for entry in described}
    resources = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in names]
    for response in await admin.describe_configs(resources):
        for _, _, _, topic, entries in response.resources:
            config = {entry[0]: entry[1] or "" for entry in entries}
            if wrong := troubles(names[topic], replicas[topic], config, settings):
                raise ThrongError("topics", f"the topic {topic} would not keep what throng needs: {wrong[0]}")
    if min(replicas.values()) < REPLICAS:
        log.warning(
            "topics have %d replicas: what is guaranteed holds only while no broker loses its disk; "
            "set kafka.replication to %d in production",
            *(min(replicas.values()), REPLICAS),
        )
