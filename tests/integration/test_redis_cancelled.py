"""What is cancelled while Redis is asked ends, wherever in it that is, and nobody gets its answer."""

from pathlib import Path

import pytest

from streams.local.stack import Stack
from streams.settings import Settings, load_settings
from streams.stores.redis_client import connect
from tests.support.cancelling import cancelled_at_each_step
from tests.support.redis_cluster import PASSWORD, LocalCluster, Unbuildable

pytestmark = pytest.mark.integration


async def check(settings: Settings, key: str) -> None:
    """Of a connection that is made for it, and of one that was there."""
    async with connect(settings) as redis:
        await redis.set(f"{key}:other", "the other's")

        async def ask() -> None:
            assert await redis.set(f"{key}:own", "mine")
            assert await redis.get(f"{key}:own") == b"mine"

        async def ask_anew() -> None:
            async with connect(settings) as another:
                assert await another.get(f"{key}:other") == b"the other's"

        async def answers() -> None:
            assert await redis.get(f"{key}:other") == b"the other's"

        assert await cancelled_at_each_step(ask, answers) > 3
        assert await cancelled_at_each_step(ask_anew, answers) > 10


async def test_what_asks_a_redis_can_be_cancelled(stack: Stack, namespace: str) -> None:
    await check(load_settings(None, {"redis.url": stack.redis}, {}), namespace)


async def test_what_asks_a_cluster_can_be_cancelled(tmp_path: Path, namespace: str) -> None:
    try:
        with LocalCluster(tmp_path) as cluster:
            await check(load_settings(None, cluster.settings_of("default", PASSWORD), {}), namespace)
    except Unbuildable:
        pytest.skip("this Redis is built without TLS")
