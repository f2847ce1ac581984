"""Commits that stay for as long as nobody is there.

Kafka forgets the commits of a group `offsets.retention.minutes` after its last member has left, a week by default,
unless each says itself for how long it is to be kept. Gateways that begin after that would not know what had been read.
The request has had a field for it in versions 2 to 4 (https://kafka.apache.org/protocol#The_Messages_OffsetCommit);
aiokafka speaks none above 3, and leaves it empty.
"""

from typing import Final

from aiokafka import AIOKafkaConsumer
from aiokafka.protocol.commit import OffsetCommitRequest

from streams.stores.rebound import rebind

# Longer than anybody is away; Kafka adds it to its clock, in 64 bits.
KEPT_MS: Final = 100 * 365 * 86_400_000


class _KeptCommits(OffsetCommitRequest):
    DEFAULT_RETENTION_TIME = KEPT_MS


def keep_commits(consumer: AIOKafkaConsumer) -> None:
    """Make what a started consumer of a group commits stay."""
    rebind(consumer._coordinator, "_do_commit_offsets", OffsetCommitRequest=_KeptCommits)
