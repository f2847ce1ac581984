"""Every setting, with its default, its bounds and what it means: the one place.

In come a TOML file, the environment and the command line, each over the one before; out goes one frozen value. The
name of a setting is its section and field, `gateway.flush_ms`; in the environment `THRONG_GATEWAY_FLUSH_MS`. The
reference page is generated from this file (`python -m streams.settings > docs/reference/settings.md`) and checked
against it. An unknown name or a value out of bounds is refused with one line that names the setting.
"""

import os
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from schemas.registry import PURPOSES
from streams.errors import ThrongError

# Never shown: a Redis URL may hold a password.
SECRET: Final = ("password", "url")


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A section that may hold secrets."""

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__ if name not in SECRET)
        return f"{type(self).__name__}({shown})"


class Kafka(Section, frozen=True, forbid_unknown_fields=True):
    """Where Kafka is and how the topics are made."""

    bootstrap: Annotated[str, Meta(description="Brokers, `host:port` with commas between. Empty: the local stack.")] = (
        ""
    )
    security: Annotated[
        Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"],
        Meta(
            description="How clients speak to the brokers: `plaintext`, `ssl` (encrypted), `sasl_plaintext` (as a "
            "user) or `sasl_ssl` (both)."
        ),
    ] = "plaintext"
    mechanism: Annotated[
        Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"],
        Meta(description="How the user proves to be who it says: `SCRAM-SHA-512`, `SCRAM-SHA-256` or `PLAIN`."),
    ] = "SCRAM-SHA-512"
    user: Annotated[
        str, Meta(description="Kafka user of this process; a role has one of its own (`throng topics acls`).")
    ] = ""
    password: Annotated[
        str, Meta(description="Its password. Better in the environment than in the file, and never printed.")
    ] = ""
    password_file: Annotated[
        str, Meta(description="File that holds the password, instead of `password`. Read for each connection.")
    ] = ""
    ca_file: Annotated[
        str,
        Meta(description="Certificates (PEM) of those who may vouch for the brokers. Empty: the system's."),
    ] = ""
    namespace: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9_-]{0,64}$",
            description="Put before the name of every topic, group and Redis key, so that deployments share a cluster.",
        ),
    ] = ""
    raw_partitions: Annotated[
        int,
        Meta(
            ge=1, le=4096, description="Partitions of `attach`; `throng topics create` adds what it lacks, never fewer."
        ),
    ] = 4
    partitions: Annotated[
        int,
        Meta(
            ge=1,
            le=1024,
            description="Partitions of `sightings`: fixed for the topic's life (64 for a network).",
        ),
    ] = 4
    replication: Annotated[int, Meta(ge=1, le=9, description="Replicas of each topic; 3 in production.")] = 1
    min_insync: Annotated[int, Meta(ge=1, le=9, description="Replicas that must have a record before it counts.")] = 1
    keep_forever: Annotated[
        bool,
        Meta(description="Create topics without time-based retention: for replays, whose records are old."),
    ] = False
    session_ms: Annotated[
        int,
        Meta(
            ge=1000,
            le=300_000,
            description="Silence after which the group gives a worker's partitions to others, ms.",
        ),
    ] = 10_000
    request_ms: Annotated[
        int,
        Meta(
            ge=500,
            le=300_000,
            description="A request that a broker has not answered by then is sent again over a new connection, ms.",
        ),
    ] = 20_000


class Redis(Section, frozen=True, forbid_unknown_fields=True):
    """Where Redis is."""

    url: Annotated[
        str,
        Meta(
            description="`redis://user:password@host:port/db`, or `rediss://` over TLS, with "
            "`?ssl_ca_certs=FILE` for certificates of one's own. Never printed. Empty: the local stack."
        ),
    ] = ""
    cluster: Annotated[bool, Meta(description="The server is a Redis Cluster.")] = False
    timeout_ms: Annotated[
        int,
        Meta(ge=100, le=300_000, description="A Redis that has not connected or answered by then is too slow, ms."),
    ] = 5000


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
            "source has not passed it; only where the broker stamps records. Longer than raw records are kept.",
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
    flush_rows: Annotated[int, Meta(ge=1, le=250_000, description="Sightings after which frames are sent at once.")] = (
        100_000
    )
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


class Worker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One process."""

    http_host: Annotated[str, Meta(description="Address of `/metrics`, `/healthz` and `/readyz`.")] = "127.0.0.1"
    http_port: Annotated[int, Meta(ge=0, le=65535, description="Port of the same; 0 takes a free one and logs it.")] = 0
    log_level: Annotated[
        str, Meta(pattern="^(debug|info|warning|error)$", description="debug, info, warning or error.")
    ] = "info"
    stall_s: Annotated[
        int,
        Meta(ge=10, le=3600, description="Lag without any progress after which a worker gives up and exits, s."),
    ] = 120


class Audit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The log of decisions, where they are made (`throng policy`, `throng salts rotate`)."""

    key: Annotated[
        str,
        Meta(
            description="File of the operator's Ed25519 private key (PEM) that decisions are signed by, for `throng "
            "audit verify --key`. Empty: they aren't. Workers need none."
        ),
    ] = ""


class Api(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is served to consumers over HTTP (`throng worker api`)."""

    host: Annotated[str, Meta(description="Address of the API. Beyond this machine only over TLS.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port of the API; 0 takes a free one and logs it.")] = 8400
    tokens: Annotated[
        str, Meta(description="File of the tokens' hashes (`throng api token`). Read again when it changes.")
    ] = ".throng/tokens"
    token_days: Annotated[
        int, Meta(ge=1, le=3650, description="Days after which a token ends, unless `throng api token --expires` says.")
    ] = 90
    tls_certificate: Annotated[
        str,
        Meta(
            description="File with the API's certificate and those of who vouches for it, PEM. Empty: plain HTTP. Read "
            "again when it changes."
        ),
    ] = ""
    tls_key: Annotated[str, Meta(description="File with the certificate's key, PEM, without a password.")] = ""
    requests_s: Annotated[
        float, Meta(ge=0.01, le=100_000, description="Requests a second that each token may make in the long run.")
    ] = 10.0
    burst: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Requests that each token may make at once, after a silence.")
    ] = 50
    history_hours: Annotated[
        int, Meta(ge=1, le=168, description="Hours of records at hand, in memory: about 1 KB a record.")
    ] = 24
    feeds: Annotated[int, Meta(ge=1, le=10_000, description="Most live feeds that may be open.")] = 100
    feed_records: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Records that may wait in a feed before it is dropped as too slow.")
    ] = 20_000


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of them."""

    kafka: Kafka = Kafka()
    redis: Redis = Redis()
    epoch: Epoch = Epoch()
    gateway: Gateway = Gateway()
    crowd: Crowd = Crowd()
    release: Release = Release()
    worker: Worker = Worker()
    audit: Audit = Audit()
    api: Api = Api()

    def topic(self, name: str) -> str:
        """The name of a topic of `schemas.topics` on this deployment's cluster."""
        return f"{self.kafka.namespace}.{name}" if self.kafka.namespace else name


SECTIONS: dict[str, type[msgspec.Struct]] = {
    name: kind for name, kind in get_type_hints(Settings).items() if isinstance(kind, type)
}
ENV_PREFIX = "THRONG_"


def load_settings(
    config: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Settings from the file, the environment and `overrides` ({"kafka.bootstrap": ...}), each over the one before.

    Raises:
        ThrongError: `config` if the file can't be read, a name is unknown or a value is not allowed.
    """
    tree: dict[str, dict[str, object]] = {section: {} for section in SECTIONS}
    if config is not None:
        _merge_file(tree, config)
    for name, value in (os.environ if environ is None else environ).items():
        if name.startswith(ENV_PREFIX) and (found := _env_target(name)):
            tree[found[0]][found[1]] = value
    for dotted, override in (overrides or {}).items():
        section, _, field = dotted.partition(".")
        tree[section][field] = override
    sections: dict[str, Any] = {name: _section(name, kind, tree[name]) for name, kind in SECTIONS.items()}
    settings = Settings(**sections)
    _check_words(settings)
    return settings


def to_environ(settings: Settings) -> dict[str, str]:
    """The environment that makes `load_settings` give the same settings in a child process."""
    return {
        f"{ENV_PREFIX}{section}_{field}".upper(): str(getattr(getattr(settings, section), field))
        for section, kind in SECTIONS.items()
        for field in kind.__struct_fields__
    }


def _check_words(settings: Settings) -> None:
    """What a type can't say. A URL is not repeated: it may hold a password."""
    if settings.gateway.purpose not in PURPOSES:
        known = ", ".join(PURPOSES)
        raise ThrongError("config", f"setting gateway.purpose = {settings.gateway.purpose!r} is none of {known}")
    if trouble := _kafka_trouble(settings.kafka):
        raise ThrongError("config", trouble)
    if trouble := _epoch_trouble(settings.epoch):
        raise ThrongError("config", trouble)
    if bool(settings.api.tls_certificate) != bool(settings.api.tls_key):
        raise ThrongError("config", "settings api.tls_certificate and api.tls_key: give both, or neither")
    if settings.redis.url and not _is_redis(settings.redis.url):
        raise ThrongError("config", "setting redis.url is no URL such as redis://host:6379/0")


def _epoch_trouble(epoch: Epoch) -> str | None:
    """A ping-pong as long as a stay would take back a stay that has been counted."""
    if epoch.ping_pong_ms >= epoch.stay_ms:
        return f"setting epoch.ping_pong_ms = {epoch.ping_pong_ms} must be less than epoch.stay_ms = {epoch.stay_ms}"
    if epoch.seen_ms > epoch.stay_ms:
        return f"setting epoch.seen_ms = {epoch.seen_ms} must be at most epoch.stay_ms = {epoch.stay_ms}"
    return None


def _kafka_trouble(kafka: Kafka) -> str | None:
    """Settings that would not do what they seem to: a password that nobody is asked for protects nothing."""
    sasl, tls = kafka.security.startswith("sasl"), kafka.security.endswith("ssl")
    named = bool(kafka.user or kafka.password or kafka.password_file)
    for wrong, why in (
        (named and not sasl, f"kafka.user and its password need kafka.security = sasl_ssl, not {kafka.security}"),
        (sasl and not kafka.user, f"kafka.security = {kafka.security} needs kafka.user"),
        (sasl and not (kafka.password or kafka.password_file), "kafka.user needs kafka.password_file"),
        (bool(kafka.password and kafka.password_file), "kafka.password and kafka.password_file: give one of them"),
        (
            bool(kafka.ca_file) and not tls,
            f"kafka.ca_file needs kafka.security = sasl_ssl or ssl, not {kafka.security}",
        ),
    ):
        if wrong:
            return f"setting {why}"
    return None


def _is_redis(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is no number
    except ValueError:
        return False
    return parts.scheme in ("redis", "rediss", "unix") and url.startswith(f"{parts.scheme}://")


def _merge_file(tree: dict[str, dict[str, object]], config: Path) -> None:
    try:
        read = tomllib.loads(config.read_text(encoding="utf-8"))
    except OSError as error:
        raise ThrongError("config", f"cannot read the settings file {config}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ThrongError("config", f"the settings file {config} is not TOML: {error}") from error
    for section, values in read.items():
        if section not in SECTIONS:
            raise ThrongError("config", f"unknown section [{section}] in {config}; known: {', '.join(SECTIONS)}")
        if not isinstance(values, dict):
            raise ThrongError("config", f"{section} in {config} must be a section: [{section}]")
        tree[section].update(values)


def _env_target(name: str) -> tuple[str, str] | None:
    rest = name.removeprefix(ENV_PREFIX).lower()
    for section, kind in SECTIONS.items():
        field = rest.removeprefix(section + "_")
        if field != rest and field not in kind.__struct_fields__:
            known = ", ".join(kind.__struct_fields__)
            raise ThrongError("config", f"unknown setting {name} in the environment; [{section}] has: {known}")
        if field != rest:
            return section, field
    return None


def _section(name: str, kind: type[msgspec.Struct], values: dict[str, object]) -> msgspec.Struct:
    for field, value in values.items():
        if field not in kind.__struct_fields__:
            known = ", ".join(kind.__struct_fields__)
            raise ThrongError("config", f"unknown setting {name}.{field}; [{name}] has: {known}")
        try:
            # Text from the environment may stand for a number or a truth value; a file's types are kept.
            msgspec.convert({field: value}, kind, strict=not isinstance(value, str))
        except msgspec.ValidationError as error:
            reason = str(error).split(" - at ")[0]
            shown = "..." if field in SECRET else repr(value)
            raise ThrongError("config", f"setting {name}.{field} = {shown} is not allowed: {reason}") from error
    return msgspec.convert(values, kind, strict=False)


def reference() -> str:
    """The settings reference page, in Markdown."""
    lines = [
        "# Settings",
        "",
        "Generated from `streams/settings.py` by `python -m streams.settings`; do not edit.",
        "",
        "A setting comes from the command line, else the environment, else the file given with `--config` (TOML), else",
        "its default. `gateway.flush_ms` stands as `flush_ms` under `[gateway]` in the file, and as",
        "`THRONG_GATEWAY_FLUSH_MS` in the environment.",
    ]
    for section, kind in SECTIONS.items():
        lines += [
            "",
            f"## {section}",
            "",
            (kind.__doc__ or "").strip(),
            "",
            "| setting | default | meaning |",
            "|---|---|---|",
        ]
        defaults = kind()
        for field, hint in get_type_hints(kind, include_extras=True).items():
            meta = get_args(hint)[1] if get_origin(hint) is Annotated else Meta()
            default = getattr(defaults, field)
            shown = f"`{str(default).lower() if isinstance(default, bool) else default}`" if default != "" else "empty"
            lines.append(f"| `{section}.{field}` | {shown} | {meta.description}{_bounds(meta)} |")
    return "\n".join(lines) + "\n"


def _bounds(meta: Meta) -> str:
    low = meta.ge if meta.ge is not None else meta.gt
    high = meta.le if meta.le is not None else meta.lt
    return f" ({low} to {high})" if low is not None else ""


if __name__ == "__main__":
    sys.stdout.write(reference())
