"""A Redis that becomes a replica while workers are connected to it, and an address that leads to the new master."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams.local.ports import free_ports
from streams.local.redis_server import find_redis
from streams.settings import load_settings
from streams.stores.counts import CountStore, TickCounts
from streams.stores.redis_client import connect
from streams.stores.trouble import kind_of

pytestmark = pytest.mark.integration


class Address:
    """Leads each new connection to `master`, and those that there are to where they were led."""

    def __init__(self, master: int) -> None:
        self.master = master
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.master)
        for each in (self._copy(reader, back), self._copy(there, writer)):
            self._tasks.add(asyncio.create_task(each))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
        writer.close()


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[int]]:
    """Two, by their ports."""
    ports, running = free_ports(2), []
    for port in ports:
        arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
        running.append(subprocess.Popen([find_redis().path, *arguments], stdout=subprocess.DEVNULL))
    yield ports
    for server in running:
        server.kill()
        server.wait()


@pytest.fixture
async def address(servers: list[int]) -> AsyncIterator[tuple[Address, int]]:
    """It, and its port."""
    address, (port,) = Address(servers[0]), free_ports(1)
    async with await asyncio.start_server(address.serve, "127.0.0.1", port):
        yield address, port


async def follow(port: int, *master: str) -> None:
    async with asyncio.timeout(20), Redis(port=port) as redis:
        while True:
            try:
                await redis.execute_command("REPLICAOF", *master)
            except RedisError:
                await asyncio.sleep(0.05)  # it is being started
            else:
                return


async def test_after_a_failover_a_worker_finds_the_new_master(servers: list[int], address: tuple[Address, int]) -> None:
    leads, port = address
    settings = load_settings(None, {"redis.url": f"redis://127.0.0.1:{port}/0", "kafka.bootstrap": "none:1"}, {})
    for server in servers:
        await follow(server, "NO", "ONE")
    async with connect(settings) as redis:
        store = CountStore(redis, "")

        async def write(tick_ms: int) -> int:
            return await store.write(0, {60_000: TickCounts(tick_ms, 1, np.zeros((2, 2), np.uint32))})

        assert await write(1) == 1
        await follow(servers[0], "127.0.0.1", str(servers[1]))
        leads.master = servers[1]
        with pytest.raises(RedisError) as caught:
            await write(2)
        assert kind_of(caught.value) == "read-only"
        assert await write(3) == 1
    async with Redis(port=servers[1]) as master:
        assert await master.exists("{p0}:counts:60") == 1
