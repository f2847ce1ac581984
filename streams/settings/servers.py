"""The servers that a deployment uses: Kafka and Redis."""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

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
    ] = 10_000


class Redis(Section, frozen=True, forbid_unknown_fields=True):
    """Where Redis is."""

    url: Annotated[
        str,
        Meta(
            description="`redis://user:password@host:port/db`, or `rediss://` over TLS, with "
            "`?ssl_ca_certs=FILE` for certificates of one's own. Never printed. Empty: the local stack. "
            "A gateway uses none."
        ),
    ] = ""
    cluster: Annotated[bool, Meta(description="The server is a Redis Cluster.")] = False
    nodes: Annotated[
        str,
        Meta(
            description="More nodes of the cluster, `host:port,host:port`: a worker may start while the one of "
            "`redis.url` is away."
        ),
    ] = ""
    timeout_ms: Annotated[
        int,
        Meta(ge=100, le=300_000, description="A Redis that has not connected or answered by then is too slow, ms."),
    ] = 5000


def brokers(kafka: Kafka) -> list[str]:
    """Each broker of `kafka.bootstrap`; where one has no port, Kafka's usual one is meant.

    Raises:
        ValueError: one is no `host:port`.
    """
    named = [each.strip() for each in kafka.bootstrap.split(",")] if kafka.bootstrap else []
    for each in named:
        if not each or ":" in each:
            _node(each)
    return named


def cluster_nodes(redis: Redis) -> list[tuple[str, int]]:
    """Host and port of each node in `redis.nodes`; an IPv6 address stands in brackets, and is given without.

    Raises:
        ValueError: one is no `host:port`.
    """
    return [_node(each.strip()) for each in redis.nodes.split(",")] if redis.nodes else []


def _node(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    if not host or (":" in host and not bracketed) or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ValueError(f"{text!r} is no host:port")
    return host, int(port)
