"""What a type can't say of settings."""

from typing import Final
from urllib.parse import urlsplit

from schemas.registry import PURPOSES
from streams.core.times import is_timezone
from streams.errors import ThrongError
from streams.settings.counting import Epoch
from streams.settings.sections import Settings
from streams.settings.servers import Kafka, Redis, brokers, cluster_nodes

# The base pane of every epoch (`schemas.epochs.Epoch.pane_ms`).
PANE_MS: Final = 300_000


def check(settings: Settings) -> None:
    """Refuse what is allowed by itself, but not together. A URL is not repeated: it may hold a password.

    Raises:
        ThrongError: `config`, naming the setting.
    """
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
    if trouble := _redis_nodes_trouble(settings.redis):
        raise ThrongError("config", trouble)


def _epoch_trouble(epoch: Epoch) -> str | None:
    """A ping-pong as long as a stay would take back a stay that has been counted."""
    if epoch.ping_pong_ms >= epoch.stay_ms:
        return f"setting epoch.ping_pong_ms = {epoch.ping_pong_ms} must be less than epoch.stay_ms = {epoch.stay_ms}"
    if epoch.timezone and not is_timezone(epoch.timezone):
        return f"setting epoch.timezone = {epoch.timezone!r} is no IANA name such as Europe/Berlin"
    if epoch.seen_ms > epoch.stay_ms:
        return f"setting epoch.seen_ms = {epoch.seen_ms} must be at most epoch.stay_ms = {epoch.stay_ms}"
    if PANE_MS % epoch.tick_ms:
        return f"setting epoch.tick_ms = {epoch.tick_ms} must go into a pane of {PANE_MS} ms without a rest"
    return None


def _kafka_trouble(kafka: Kafka) -> str | None:
    """Settings that would not do what they seem to: a password that nobody is asked for protects nothing."""
    try:
        brokers(kafka)
    except ValueError as error:
        return f"setting kafka.bootstrap: {error}"
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


def _redis_nodes_trouble(redis: Redis) -> str | None:
    if redis.nodes and not (redis.cluster and redis.url):
        return "setting redis.nodes needs redis.cluster = true, and redis.url for the user and its password"
    try:
        cluster_nodes(redis)
    except ValueError as error:
        return f"setting redis.nodes: {error}"
    return None


def _is_redis(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is no number
    except ValueError:
        return False
    if not url.startswith(f"{parts.scheme}://"):
        return False
    # The client takes a database that is no number for the first one.
    number = parts.path.removeprefix("/")
    return parts.scheme == "unix" or (parts.scheme in ("redis", "rediss") and (not number or number.isdecimal()))
