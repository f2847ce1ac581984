"""A Redis client, of the settings' one server or cluster.

An address may stand for whichever server is the master: a service, a proxy. After a failover it leads to the new one,
but a connection from before still to the old one, which lives on as a replica. So one that takes no writes is closed.

Whoever is cancelled while a command is sent ends: redis-py sends by `asyncio.wait_for`, which before Python 3.12 may
swallow it (gh-86296), and what was to end would go on.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import AbstractConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ReadOnlyError

from streams.errors import ThrongError
from streams.settings import Settings
from streams.settings.servers import cluster_nodes
from streams.stores.connection import trusting


def redis_prefix(settings: Settings) -> str:
    """What stands before every Redis key of the deployment."""
    return f"{settings.kafka.namespace}:" if settings.kafka.namespace else ""


@asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[Redis | RedisCluster]:
    """A Redis client whose calls end in time. Trying again is the caller's: a client that does holds up its work.

    Raises:
        ThrongError: `config` if the client can't do what `redis.url` asks for; it may hold a password,
            so it isn't repeated.
    """
    try:
        client = _client(settings)
    except (TypeError, ValueError) as error:
        reason = str(error).removeprefix("AbstractConnection.__init__() ")
        raise ThrongError("config", f"setting redis.url: what stands behind its ? is not known: {reason}") from error
    try:
        yield client
    finally:
        await client.aclose()


def _client(settings: Settings) -> Redis | RedisCluster:
    url, timeout_s = settings.redis.url, settings.redis.timeout_ms / 1000
    if certificates := parse_url(url).get("ssl_ca_certs"):
        trusting(str(certificates), "redis.url: ssl_ca_certs")
    if settings.redis.cluster:
        cluster = RedisCluster.from_url(
            url,
            startup_nodes=[ClusterNode(host, port) for host, port in cluster_nodes(settings.redis)],
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
        )
        of_nodes = cluster.connection_kwargs
        heeding: type[Any] = _heeding(of_nodes["connection_class"])
        of_nodes["connection_class"] = heeding
        for node in cluster.nodes_manager.startup_nodes.values():
            node.connection_class = heeding
        return cluster
    once = Retry(NoBackoff(), 0)
    client = Redis.from_url(url, retry=once, socket_timeout=timeout_s, socket_connect_timeout=timeout_s)
    pool = client.connection_pool
    pool.connection_class = _to_the_master(_heeding(pool.connection_class))
    # Connects to nothing, but refuses what it does not know.
    pool.make_connection()  # type: ignore[no-untyped-call]
    return client


def _heeding(kind: type[AbstractConnection]) -> type[AbstractConnection]:
    """The kind of connection (TLS or not), whose `send_packed_command` lets no cancellation be lost."""

    class Heeding(kind):  # type: ignore[misc, valid-type]
        async def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
            task = asyncio.current_task()
            assert task is not None
            before = task.cancelling()
            await super().send_packed_command(*args, **kwargs)
            if task.cancelling() > before:
                await self.disconnect(nowait=True)  # nobody will read the answer
                raise asyncio.CancelledError

    return Heeding


def _to_the_master(kind: type[AbstractConnection]) -> type[AbstractConnection]:
    """The kind of connection (TLS or not), closed once its server says that it is none."""

    class Connected(kind):  # type: ignore[misc, valid-type]
        async def read_response(self, *args: Any, **kwargs: Any) -> Any:
            try:
                return await super().read_response(*args, **kwargs)
            except ReadOnlyError:
                await self.disconnect(nowait=True)
                raise

    return Connected
