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
        segment_ms: Kafka deletes, and compacts, whole segments: how long one is written to, at most; 0: as the broker
            has it, which is by default a week, or until it is of 1 GB.
        compacted_ms: of a compacted topic, after how long at most what is no longer the last goes; 0: once it is the
            half of all.
    """

    name: str
    partitions: str | int
    retention_ms: int
    config: Mapping[str, str]
    segment_ms: int = 0
    compacted_ms: int = 0

    @property
    def goes(self) -> Mapping[str, str]:
        """Settings, by Kafka's names, without which what is to go stays for longer."""
        lengths = {"segment.ms": self.segment_ms, "max.compaction.lag.ms": self.compacted_ms}
        return {name: str(length) for name, length in lengths.items() if length}


# Raw records and rejects carry identifiers: minutes to hours, never longer than the salt lives (design, privacy).
# A sightings log of a whole day would be pseudonymous ways of a day: 4 hours are enough to replay from a snapshot.
TOPICS: Final[tuple[Topic, ...]] = (
    Topic(ATTACH, "raw", 2 * HOUR_MS, {}, 15 * MINUTE_MS),
    Topic(REJECTS, 1, 2 * HOUR_MS, {"max.message.bytes": str(4 << 20)}, 15 * MINUTE_MS),
    Topic(SIGHTINGS, "sightings", 4 * HOUR_MS, {"max.message.bytes": str(8 << 20)}, 30 * MINUTE_MS),
    Topic(PANES, 1, PANES_KEPT_MS, {"max.message.bytes": str(8 << 20)}, DAY_MS),
    # A pane of 20,000 zones by cohort takes 35 MB.
    Topic(LEDGER, 1, -1, {"max.message.bytes": str(64 << 20)}),
    Topic(FOOTFALL, 4, 7 * DAY_MS, {}),
    Topic(FLOWS, 4, 7 * DAY_MS, {}),
    Topic(DWELL, 4, 7 * DAY_MS, {}),
    Topic(VISITS, 4, 7 * DAY_MS, {}),
    Topic(AREAS, 4, 7 * DAY_MS, {}),
    Topic(OUTLOOK, 4, 7 * DAY_MS, {}),
    # An erased subscriber's old records must not lie there until half of a large registry has changed.
    Topic(REGISTRY, 4, -1, {"cleanup.policy": "compact"}, HOUR_MS, DAY_MS),
    Topic(EPOCHS, 1, -1, {}),
    Topic(SALTS, 1, -1, {}),
    # When a suspension takes effect counts by one clock, the broker's.
    Topic(AUDIT, 1, -1, {"message.timestamp.type": "LogAppendTime"}),
)
