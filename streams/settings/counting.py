"""Who is counted, and how: the rules of time, the gateway, the crowd and the release."""

from typing import Annotated

import msgspec
from msgspec import Meta


class Epoch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The life of one salt, and the rules of time within it. Taken up by the next epoch that is written."""

    timezone: Annotated[str, Meta(description="IANA name. Empty: the zone plan's.")] = ""
    change_hour: Annotated[int, Meta(ge=0, le=23, description="Local hour at which pseudonyms change.")] = 4
    lateness_ms: Annotated[
        int, Meta(ge=0, le=3_600_000, description="How long after its event time a record may arrive, ms.")
    ] = 10_000
    tick_ms: Annotated[int, Meta(ge=1000, le=300_000, description="Step of the live internal counts, ms.")] = 10_000
    stay_ms: Annotated[
        int,
        Meta(ge=60_000, le=3_600_000, description="How long a presence lasts to be a stay, ms; shorter ones pass by."),
    ] = 600_000
    seen_ms: Annotated[
        int,
        Meta(
            ge=0,
            le=3_600_000,
            description="How long after its start a presence must have been seen to be a stay, ms. At most stay_ms.",
        ),
    ] = 60_000
    ping_pong_ms: Annotated[
        int,
        Meta(
            ge=0,
            le=3_599_999,
            description="Whoever is back in the zone before within this time was never away, ms. Less than stay_ms.",
        ),
    ] = 300_000
    jump_m_s: Annotated[
        int,
        Meta(
            ge=0,
            le=1000,
            description="Speed above which a change of zone is not believed, m/s, 100 say; 0: any is. Needs positions "
            "in plans. After lost state nothing is whole then before the next epoch.",
        ),
    ] = 0
    jump_m: Annotated[
        int, Meta(ge=0, le=1_000_000, description="Changes of zone over a shorter distance are always believed, m.")
    ] = 10_000


class Gateway(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The only role that sees identifiers."""

    plan: Annotated[
        str,
        Meta(description="Path of the zone plan (JSON). Every role needs it. A new one counts from the next epoch on."),
    ] = "plan.json"
    earlier_plans: Annotated[
        str,
        Meta(description="Paths of plans, with commas between, by which epochs that are not over yet were opened."),
    ] = ""
    policies: Annotated[
        str,
        Meta(
            description="Folder of policies, one TOML file a country. Empty: those shipped. After a deployment's first "
            "start `throng policy apply` puts changes in force."
        ),
    ] = ""
    keys: Annotated[
        str,
        Meta(
            description="Key provider, one key an epoch: a folder of files, or the address of the transit engine of a "
            "HashiCorp Vault or an OpenBao, `https://host:8200/v1/transit`."
        ),
    ] = ".throng/keys"
    keys_token: Annotated[
        str, Meta(description="File that holds the token for the transit engine. Read at the start.")
    ] = ""
    salt_hours: Annotated[
        int,
        Meta(
            ge=1,
            le=168,
            description="Hours after an epoch's end at which its salt's key is destroyed at the latest, though a "
            "source has not passed it, by this machine's clock and by Kafka's; only where the broker stamps records. "
            "Longer than raw records are kept.",
        ),
    ] = 3
    machines: Annotated[
        str,
        Meta(
            description="List of types of device that no person carries: a file with a TAC a line. Their events are "
            "dropped. Empty: none. Read at the start."
        ),
    ] = ""
    purpose: Annotated[
        str, Meta(description="Purpose that the deployment runs for, as policies and consent name it.")
    ] = "marketing"
    flush_ms: Annotated[
        int, Meta(ge=1, le=10_000, description="Longest time that sightings wait for their frame, ms.")
    ] = 250
    flush_rows: Annotated[
        int,
        Meta(
            ge=1,
            le=500_000,
            description="Sightings after which frames are sent at once; 250000 at most where `sightings` has fewer "
            "than four partitions.",
        ),
    ] = 400_000
    max_record_bytes: Annotated[
        int, Meta(ge=256, le=1_000_000, description="A longer raw record is rejected, bytes.")
    ] = 262_144
    beat_ms: Annotated[
        int,
        Meta(
            ge=0,
            le=60_000,
            description="Silence of a partition of `attach` or `registry` after which the gateway appends a beat, ms; "
            "0: never. Only where the broker stamps records (LogAppendTime).",
        ),
    ] = 1000
    align_ms: Annotated[
        int,
        Meta(
            ge=1000,
            le=3_600_000,
            description="A source this far (record time) ahead of the slowest one is paused, ms.",
        ),
    ] = 60_000


class Crowd(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Counting."""

    snapshot_ms: Annotated[
        int, Meta(ge=100, le=3_600_000, description="Time between snapshots of a partition, ms.")
    ] = 60_000


class Release(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What leaves, and what it costs. Budget and k come from the policy; these tune how much is shown."""

    confidence: Annotated[
        float,
        Meta(
            ge=0.95,
            lt=1.0,
            description="One-sided confidence with which a published count is at least k. It can only be made stricter "
            "than the default, so it needs no decision in the audit log.",
        ),
    ] = 0.95
    outlook: Annotated[
        bool,
        Meta(description="Publish what `throng outlook` says, live. At a start four to eight weeks are gone through."),
    ] = True
    measures: Annotated[
        str,
        Meta(
            description="File of measures (TOML). Empty: those shipped. As policies, changed by `throng policy apply`."
        ),
    ] = ""
    view: Annotated[
        str,
        Meta(
            description="File (TOML) that says, by measure, how far those counted are from those there (`view_se`). "
            "Empty: what was measured in simulated towns. An empty file: nothing is said."
        ),
    ] = ""
