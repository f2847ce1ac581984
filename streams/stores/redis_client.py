"""A Redis client, of the settings' one server or cluster."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from streams.settings import Settings
from streams.settings.servers import cluster_nodes


def redis_prefix(settings: Settings) -> str:
    """What stands before every Redis key of the deployment."""
    return f"{settings.kafka.namespace}:" if settings.kafka.namespace else ""


@asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[Redis | RedisCluster]:
    """A Redis client whose calls end in time. Trying again is the caller's: a client that does holds up its work."""
    url, timeout_s = settings.redis.url, settings.redis.timeout_ms / 1000
    client: Redis | RedisCluster
    if settings.redis.cluster:
        client = RedisCluster.from_url(
            url,
            startup_nodes=[ClusterNode(host, port) for host, port in cluster_nodes(settings.redis)],
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
        )
    else:
        once = Retry(NoBackoff(), 0)
        client = Redis.from_url(url, retry=once, socket_timeout=timeout_s, socket_connect_timeout=timeout_s)
    try:
        yield client
    finally:
        await client.aclose()
