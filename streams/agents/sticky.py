"""Who reads which partition: each stays with who has it, as far as that is even.

In: at every rebalance, the members of the group, each with what it claims: the partitions it had, and the generation it
had them in. Out: an assignment. Loads differ by one at most, no partition moves that need not, and of two who claim a
partition the later generation has it: a member that was thrown out and comes back claims what others have since.

The messages are those of Kafka's sticky assignor, by aiokafka. Its own `assign` moves partitions to and fro when claims
of different generations meet; and its class keeps one assignment for all consumers of a process and never learns the
generation. `tests/unit/test_transport_contract.py` holds what is relied on against aiokafka.
"""

from collections.abc import Callable, Mapping
from typing import Any

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

Claim = tuple[int, frozenset[int]]


def shared_out(partitions: set[int], claims: Mapping[str, Claim]) -> dict[str, list[int]]:
    """The partitions of one topic over its members, who claim (generation, partitions)."""
    holders: dict[int, tuple[int, str]] = {}
    for member, (generation, claimed) in claims.items():
        for partition in claimed & partitions:
            holders[partition] = max(holders.get(partition, (generation, member)), (generation, member))
    kept: dict[str, list[int]] = {member: [] for member in sorted(claims)}
    for partition, (_, member) in sorted(holders.items()):
        kept[member].append(partition)
    # The odd ones go to those who have the most already.
    least, odd = divmod(len(partitions), len(kept))
    quotas = {member: least + (place < odd) for place, member in enumerate(sorted(kept, key=lambda m: -len(kept[m])))}
    shares = {member: held[: quotas[member]] for member, held in kept.items()}
    free = sorted(partitions - {partition for share in shares.values() for partition in share})
    for member, share in shares.items():
        taken = quotas[member] - len(share)
        share += free[:taken]
        free = free[taken:]
    return shares


def sticky_assignor(generation: Callable[[], int]) -> type[StickyPartitionAssignor]:
    """An assignor for one consumer. `generation` tells which one the group is in when an assignment comes."""

    class Sticky(StickyPartitionAssignor):
        @classmethod
        def on_assignment(cls, assignment: ConsumerProtocolMemberAssignment) -> None:
            super().on_assignment(assignment)
            cls.on_generation_assignment(generation())

        @classmethod
        def assign(
            cls, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
        ) -> dict[str, ConsumerProtocolMemberAssignment]:
            said = {name: cls.parse_member_metadata(metadata) for name, metadata in members.items()}
            assigned: dict[str, list[tuple[str, list[int]]]] = {name: [] for name in members}
            for topic in sorted({topic for each in said.values() for topic in each.subscription}):
                claims = {
                    name: (each.generation, frozenset(tp.partition for tp in each.partitions if tp.topic == topic))
                    for name, each in said.items()
                    if topic in each.subscription
                }
                for name, share in shared_out(cluster.partitions_for_topic(topic) or set(), claims).items():
                    assigned[name].append((topic, sorted(share)))
            return {name: _encodable(cls.version, shares) for name, shares in assigned.items()}

    return Sticky


def _encodable(version: int, shares: list[tuple[str, list[int]]]) -> Any:
    return ConsumerProtocolMemberAssignment(version, [share for share in shares if share[1]], b"")
