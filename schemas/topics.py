"""The topics, in the order of the data's way, and how each must be set up.

A deployment's namespace is put before each name (`north.attach`), so that several share one cluster. Internal topics
carry pseudonyms or exact counts and are for throng's own workers alone; only the `PUBLISHED` ones are for consumers.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

ATTACH: Final = "attach"
REJECTS: Final = "rejects"
SIGHTINGS: Final = "sightings"
PANES: Final = "panes"
LEDGER: Final = "ledger"
FOOTFALL: Final = "footfall"
FLOWS: Final = "flows"
DWELL: Final = "dwell"
VISITS: Final = "visits"
AREAS: Final = "areas"
REGISTRY: Final = "registry"
EPOCHS: Final = "epochs"
SALTS: Final = "salts"
AUDIT: Final = "audit"
OUTLOOK: Final = "outlook"
# What is drawn, and what follows from it.
RELEASED: Final = (FOOTFALL, FLOWS, DWELL, VISITS, AREAS)
PUBLISHED: Final = (*RELEASED, OUTLOOK)

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS
PANES_KEPT_MS: Final = 7 * DAY_MS


class Topic(NamedTuple):
    """One topic's shape.

    Attributes:
        partitions: "raw" or "sightings" for the deployment's own number, else the fixed one.
        retention_ms: how long records stay by default; -1 for ever.
        config: further settings of the topic, by Kafka's names.
    """

    name: str
    partitions: str | int
    retention_ms: int
    config: Mapping[str, str]


# Raw records and rejects carry identifiers: minutes to hours, never longer than the salt lives (design, privacy).
# A sightings log of a whole day would be pseudonymous ways of a day: 4 hours are enough to replay from a snapshot.
TOPICS: Final[tuple[Topic, ...]] = (
    Topic(ATTACH, "raw", 2 * HOUR_MS, {}),
    Topic(REJECTS, 1, 2 * HOUR_MS, {"max.message.bytes": str(4 << 20)}),
    Topic(SIGHTINGS, "sightings", 4 * HOUR_MS, {"max.message.bytes": str(8 << 20)}),
    Topic(PANES, 1, PANES_KEPT_MS, {"max.message.bytes": str(8 << 20)}),
    # A pane of 20,000 zones by cohort takes 35 MB.
    Topic(LEDGER, 1, -1, {"max.message.bytes": str(64 << 20)}),
    Topic(FOOTFALL, 4, 7 * DAY_MS, {}),
    Topic(FLOWS, 4, 7 * DAY_MS, {}),
    Topic(DWELL, 4, 7 * DAY_MS, {}),
    Topic(VISITS, 4, 7 * DAY_MS, {}),
    Topic(AREAS, 4, 7 * DAY_MS, {}),
    Topic(OUTLOOK, 4, 7 * DAY_MS, {}),
    # What isn't in a closed segment is not compacted: an erased subscriber's old records must not lie there for a week.
    Topic(REGISTRY, 4, -1, {"cleanup.policy": "compact", "segment.ms": str(HOUR_MS)}),
    Topic(EPOCHS, 1, -1, {}),
    Topic(SALTS, 1, -1, {}),
    # When a suspension takes effect counts by one clock, the broker's.
    Topic(AUDIT, 1, -1, {"message.timestamp.type": "LogAppendTime"}),
)


def qualified(namespace: str, name: str) -> str:
    """The topic's name on the cluster: `name`, or `namespace.name` where there is a namespace."""
    return f"{namespace}.{name}" if namespace else name
