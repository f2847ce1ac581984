"""Every metric of every stage, by the design's words, with the unit in the name.

Labels are few and bounded: a partition, a reason, a measure, a stage. Never a zone, a cell, a subscriber. Series are
set from the batch code (once a chunk, not once an event), and Faust's own sensor is not used: it clears partition
series at each rebalance.
"""

from collections.abc import Callable, Collection, Mapping

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class GatewayMetrics:
    """What the gateway read, let through, refused and sent."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.records = Counter("throng_gateway_records", "Raw records read.", ["partition"], registry=registry)
        self.events = Counter(
            "throng_gateway_events",
            "Attach events decoded or rejected, beats left out.",
            ["partition"],
            registry=registry,
        )
        self.beats = Counter("throng_gateway_beats", "Beat records read.", ["partition"], registry=registry)
        self.rejects = Counter(
            "throng_gateway_rejects", "Events sent to the rejects topic.", ["reason"], registry=registry
        )
        self.drops = Counter(
            "throng_gateway_drops",
            "Events dropped by policy or consent, or as a machine's.",
            ["reason"],
            registry=registry,
        )
        self.sightings = Counter("throng_gateway_sightings", "Sightings acknowledged by Kafka.", registry=registry)
        self.frames = Counter("throng_gateway_frames", "Frames acknowledged by Kafka.", registry=registry)
        self.frame_bytes = Counter(
            "throng_gateway_frame_bytes", "Bytes of frames before compression.", registry=registry
        )
        self.watermark = Gauge(
            "throng_gateway_watermark_seconds",
            "Watermark of a source, event time since the Unix epoch.",
            ["partition"],
            registry=registry,
        )
        self.lost = Counter(
            "throng_gateway_lost_records",
            "Raw records gone by retention before they were read, of partitions that the group has committed.",
            ["partition"],
            registry=registry,
        )
        self.registry_entries = Gauge(
            "throng_gateway_registry_subscribers", "Subscribers in the registry.", registry=registry
        )
        self.registry_unreadable = Gauge(
            "throng_gateway_registry_unreadable",
            "Registry records that could not be read since the worker began: whom they name is not counted.",
            registry=registry,
        )
        self.registry_records = Counter(
            "throng_gateway_registry_records", "Registry records read for their rows, beats too.", registry=registry
        )
        self.registry_rows = Counter(
            "throng_gateway_consent_rows", "Opt-outs and opt-ins sent as rows of sightings.", registry=registry
        )
        self.chunk = Histogram(
            "throng_gateway_chunk_seconds",
            "Time to handle one fetched chunk.",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.flush = Histogram(
            "throng_gateway_flush_seconds",
            "Time until Kafka acknowledged a flush.",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.paused = Gauge(
            "throng_gateway_paused_sources",
            "Sources paused because they are ahead of the slowest.",
            registry=registry,
        )
        self.keys_destroyed = Counter(
            "throng_gateway_keys_destroyed",
            "Keys of past epochs' salts destroyed: passed by every source, or at the deadline.",
            ["why"],
            registry=registry,
        )
        self.epochs_kept = Gauge(
            "throng_gateway_epochs_with_salt",
            "Epochs whose salt was still needed when last looked.",
            registry=registry,
        )
        self.clock_apart = Gauge(
            "throng_gateway_clock_apart_seconds",
            "How far this machine's clock is ahead of Kafka's, by what brokers stamped; negative: behind.",
            registry=registry,
        )
        self.key_errors = Counter(
            "throng_gateway_key_errors",
            "Keys that could not be had, or not be destroyed, each tried again.",
            registry=registry,
        )


class PolicyMetrics:
    """The rules in force, as a gateway or a release has them."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.entries = Gauge("throng_policy_entries", "Entries of the audit log that were read.", registry=registry)
        self.age = Gauge(
            "throng_policy_age_seconds",
            "Time since the audit log was read to its end; over 4 s a gateway sends nothing.",
            registry=registry,
        )
        self.suspended = Gauge(
            "throng_policy_suspended",
            "1 for a country of which nothing may be counted for the deployment's purpose, else 0.",
            ["country"],
            registry=registry,
        )


class KafkaMetrics:
    """How long a worker has been waiting for Kafka. Each worker has them."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.waiting = Gauge(
            "throng_kafka_waiting_seconds", "Age of the oldest send that is not acknowledged.", registry=registry
        )
        self.unanswered = Gauge(
            "throng_kafka_unanswered_seconds",
            "Time since any broker answered; 0 while they answer within 5 s.",
            registry=registry,
        )
        self.throttled = Gauge(
            "throng_kafka_throttled_seconds",
            "Time for which a broker holds up what this worker asks, by a quota, as it said last; 0 once that is over.",
            registry=registry,
        )


class ForeignMetrics:
    """What throng didn't write in the topics that a worker reads whole. Each worker and the API have them."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.passed_over = Gauge(
            "throng_foreign_records",
            "Records of epochs, salts or ledger that throng did not write, passed over since the worker began.",
            ["topic"],
            registry=registry,
        )

    def of(self, topic: str, passed_over: Callable[[], int]) -> None:
        """Tell of one topic's reader."""
        self.passed_over.labels(topic).set_function(passed_over)


class CrowdMetrics:
    """What the crowd counted and kept."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.frames = Counter("throng_crowd_frames", "Frames handled.", ["partition"], registry=registry)
        self.sightings = Counter("throng_crowd_sightings", "Sightings taken up.", ["partition"], registry=registry)
        self.barred = Counter(
            "throng_crowd_opted_out_sightings",
            "Sightings dropped because their subscriber had opted out.",
            ["partition"],
            registry=registry,
        )
        self.capped = Counter(
            "throng_crowd_capped",
            "Counts that were left out because their subscriber had used up the measure's cap.",
            ["partition", "measure"],
            registry=registry,
        )
        self.filtered = Counter(
            "throng_crowd_filtered",
            "What a rule has filtered: presences annulled as a ping-pong, or no stay since only a glimpse was seen; "
            "sightings further away than anybody travels in the time.",
            ["partition", "rule"],
            registry=registry,
        )
        self.foreign = Counter(
            "throng_crowd_foreign_records",
            "Records of sightings that no gateway wrote, passed over.",
            ["partition"],
            registry=registry,
        )
        self.lost = Counter(
            "throng_crowd_lost_records",
            "Raw records gone by retention that the partition has had nothing of; each partition counts all of them.",
            ["partition"],
            registry=registry,
        )
        self.panes = Counter("throng_crowd_panes", "Panes acknowledged by Kafka.", ["partition"], registry=registry)
        self.watermark = Gauge(
            "throng_crowd_watermark_seconds",
            "Watermark, event time since the Unix epoch.",
            ["partition"],
            registry=registry,
        )
        self.buffered = Gauge(
            "throng_crowd_buffered_sightings",
            "Sightings waiting for the watermark.",
            ["partition"],
            registry=registry,
        )
        self.subscribers = Gauge(
            "throng_crowd_subscribers", "Pseudonyms heard in this epoch.", ["partition"], registry=registry
        )
        self.gaps = Gauge(
            "throng_crowd_chain_gaps",
            "Sections ignored because they start beyond the chain.",
            ["partition"],
            registry=registry,
        )
        self.open_gaps = Gauge(
            "throng_crowd_open_gaps",
            "Sources of which rows have been missing for half a minute while later ones came.",
            ["partition"],
            registry=registry,
        )
        self.repeats = Gauge(
            "throng_crowd_chain_repeats",
            "Sections ignored because the chain is past them.",
            ["partition"],
            registry=registry,
        )
        self.chunk = Histogram(
            "throng_crowd_chunk_seconds",
            "Time to handle one fetched chunk.",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.taken_up = Counter(
            "throng_crowd_partitions_taken_up",
            "Partitions taken up at an assignment, by where their state was: memory, snapshot, log, or the rest of a "
            "log that no longer reaches back.",
            ["source"],
            registry=registry,
        )
        self.shut = Gauge(
            "throng_crowd_shut_measures",
            "Measures that are not counted for now because the partition's state was lost.",
            ["partition"],
            registry=registry,
        )
        self.snapshots = Counter("throng_crowd_snapshots", "Snapshots stored.", ["partition"], registry=registry)
        self.snapshot_bytes = Gauge(
            "throng_crowd_snapshot_bytes",
            "Size of the last snapshot, compressed.",
            ["partition"],
            registry=registry,
        )
        self.snapshot_time = Histogram(
            "throng_crowd_snapshot_seconds",
            "Time to store one snapshot.",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.redis_errors = Counter(
            "throng_redis_errors",
            "Failed calls to Redis by kind, each tried again, and what was lost there.",
            ["kind"],
            registry=registry,
        )


class ReleaseMetrics:
    """What was drawn and published, and what it cost."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.panes = Counter("throng_release_panes", "Pane records read.", registry=registry)
        self.repeats = Counter("throng_release_repeats", "Pane records seen before.", registry=registry)
        self.foreign = Counter(
            "throng_release_foreign_records", "Records of panes that no crowd wrote, passed over.", registry=registry
        )
        self.releases = Counter(
            "throng_release_releases",
            "Noisy panes drawn and kept in the ledger.",
            ["measure"],
            registry=registry,
        )
        self.voids = Counter(
            "throng_release_voids",
            "Panes closed in the ledger without a release.",
            ["measure", "reason"],
            registry=registry,
        )
        self.published = Counter("throng_release_published_records", "Records published.", ["topic"], registry=registry)
        self.suppressed = Gauge(
            "throng_release_suppressed_keys",
            "Keys withheld in a measure's last pane.",
            ["measure"],
            registry=registry,
        )
        self.spent = Gauge("throng_release_rho_spent", "zCDP budget spent in the current epoch.", registry=registry)
        self.budget = Gauge("throng_release_rho_budget", "zCDP budget of the current epoch.", registry=registry)
        self.redis_errors = Counter(
            "throng_redis_errors",
            "Failed calls to Redis by kind, each tried again, and what was lost there.",
            ["kind"],
            registry=registry,
        )
        self.pane_end = Gauge(
            "throng_release_pane_end_seconds",
            "End of the last pane that is closed, released or void, event time since the Unix epoch.",
            ["measure"],
            registry=registry,
        )
        self.outlook_behind = Gauge(
            "throng_release_outlook_behind_seconds",
            "Event time from the last pane whose outlooks were worked out to the last one that they follow from.",
            registry=registry,
        )
        self.outlook_error = Gauge(
            "throng_release_outlook_error",
            "Mean error of forecasts of all places, as a share of that of 'as many as now'; NaN before any is scored.",
            ["minutes"],
            registry=registry,
        )
        self.outlook_covered = Gauge(
            "throng_release_outlook_covered",
            "Share of forecasts whose 95 % interval held what came; NaN before any is scored.",
            ["minutes"],
            registry=registry,
        )
        self.ledger_read = Gauge(
            "throng_release_ledger_read_bytes",
            "Bytes of the ledger's records that this worker has read when it last began: two epochs of it.",
            registry=registry,
        )
        self.draw = Histogram(
            "throng_release_draw_seconds",
            "Time from sum to ledger.",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self._told: set[str] = set()

    def sent(self, records: Mapping[str, int]) -> None:
        """So many records were published, by topic."""
        for topic, number in records.items():
            self.published.labels(topic).inc(number)

    def closed(self, measure: str, end_ms: int) -> None:
        """A measure's pane is closed, through the time of its end."""
        self._told.add(measure)
        self.pane_end.labels(measure).set(end_ms / 1000)

    def only(self, measures: Collection[str]) -> None:
        """Tell how far these measures are and no others: those are withdrawn, or another worker's, and not behind."""
        for measure in self._told.difference(measures):
            for gauge in (self.pane_end, self.suppressed):
                gauge.remove(measure)
        self._told.intersection_update(measures)


class ApiMetrics:
    """Who asked the API, and what became of it."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.requests = Counter("throng_api_requests", "Requests answered.", ["route", "status"], registry=registry)
        self.seconds = Histogram(
            "throng_api_request_seconds",
            "Time to answer a request, feeds left out.",
            ["route"],
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.refused = Counter(
            "throng_api_refused",
            "Requests refused by their token: none, a wrong one, an expired one, one without the scope, or too many.",
            ["reason"],
            registry=registry,
        )
        self.records = Counter("throng_api_records", "Released records read.", ["topic"], registry=registry)
        self.foreign = Counter(
            "throng_api_foreign_records",
            "Records of released topics that no release of an epoch that is known can have written, passed over.",
            ["topic"],
            registry=registry,
        )
        self.feeds = Gauge("throng_api_open_feeds", "Live feeds that are open.", registry=registry)
        self.dropped = Counter("throng_api_dropped_feeds", "Feeds dropped as too slow.", registry=registry)
