"""Faults of the only broker, of Redis, and of what lies between them and the workers."""

import asyncio
import os
import random
import resource
import shutil
import signal
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

from tests.chaos.field import Field

BALLAST = 48 << 20
COPY_EVERY_S = 8.0


async def broker(field: Field, rng: random.Random) -> None:
    """SIGKILL the broker, and start it again on the same port."""
    await field.servers.kill_broker()
    await asyncio.sleep(rng.choice([0.0, 1.0, 5.0]))
    await field.servers.start_broker()


async def redis(field: Field, rng: random.Random) -> None:
    """SIGKILL Redis, and start it again with its data."""
    await field.servers.kill_redis()
    await asyncio.sleep(rng.choice([0.0, 1.0, 6.0]))
    await field.servers.start_redis()


async def servers(field: Field, rng: random.Random) -> None:
    """Both at once; Redis comes back empty."""
    await asyncio.gather(field.servers.kill_broker(), field.servers.kill_redis())
    await asyncio.sleep(rng.uniform(0.0, 4.0))
    await asyncio.to_thread(shutil.rmtree, field.servers.redis_folder / "appendonlydir")
    await field.servers.start_redis()
    await field.servers.start_broker()


async def flush(field: Field, rng: random.Random) -> None:
    """Empty Redis."""
    async with field.servers.client() as client:
        await client.flushall()


async def pause(field: Field, rng: random.Random) -> None:
    """Redis answers nobody for a while."""
    seconds = rng.uniform(1.0, 9.0)
    async with field.servers.client() as client:
        await client.execute_command("CLIENT", "PAUSE", round(seconds * 1000), "ALL")
    await asyncio.sleep(seconds)


class Copies:
    """Copies of Redis's files, taken now and then, for `restore`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self.taken: list[tuple[str, Path]] = []

    async def keep_taking(self, field: Field) -> None:
        """For ever; in the way of no fault."""
        while True:
            await asyncio.sleep(COPY_EVERY_S)
            if len(self.taken) > 6:
                continue
            try:
                async with field.turns.together():
                    await self.take(field)
            except (RedisError, OSError, shutil.Error):
                continue  # Redis is away, or rewrote its files just now

    async def take(self, field: Field) -> None:
        """One of each kind: the append-only file as it is, and a dump."""
        self._count += 1
        files = self._folder / f"aof-{self._count}"
        await asyncio.to_thread(shutil.copytree, field.servers.redis_folder / "appendonlydir", files)
        self.taken.append(("aof", files))
        async with field.servers.client() as client:
            await client.save()
        dump = self._folder / f"rdb-{self._count}"
        await asyncio.to_thread(shutil.copyfile, field.servers.redis_folder / "dump.rdb", dump)
        self.taken.append(("rdb", dump))


async def restore(field: Field, rng: random.Random, copies: Copies) -> None:
    """Stop Redis, put an older copy of its files in place, start it."""
    if not copies.taken:
        await copies.take(field)
    kind, copy = copies.taken.pop(rng.randrange(len(copies.taken)) if rng.random() < 0.5 else 0)
    server, files = field.servers, field.servers.redis_folder / "appendonlydir"
    await server.kill_redis()
    await asyncio.to_thread(shutil.rmtree, files)
    if kind == "aof":
        await asyncio.to_thread(shutil.copytree, copy, files)
        await server.start_redis()
        return
    await asyncio.to_thread(shutil.copyfile, copy, server.redis_folder / "dump.rdb")
    await server.start_redis("--appendonly", "no")
    async with server.client() as client:
        await client.config_set("appendonly", "yes")
        async with asyncio.timeout(180):
            while (await client.info("persistence"))["aof_rewrite_in_progress"]:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)


async def promote(field: Field, rng: random.Random) -> None:
    """A replica is stopped, so that it lags; then Redis dies, and the replica takes its place and port."""
    servers = field.servers
    process, folder, port = await servers.start_replica()
    await asyncio.sleep(rng.uniform(0.0, 3.0))
    os.kill(process.pid, signal.SIGSTOP)
    try:
        async with servers.client() as client:
            # More than the buffers between the two hold: what follows never gets to the replica.
            await client.set("chaos:ballast", os.urandom(BALLAST))
            await asyncio.sleep(rng.uniform(3.0, 8.0))
            reached = (await client.info("replication"))["master_repl_offset"]
        await servers.kill_redis()
    finally:
        os.kill(process.pid, signal.SIGCONT)
    async with Redis.from_url(f"redis://127.0.0.1:{port}/0", socket_timeout=60.0) as client:
        await client.execute_command("REPLICAOF", "NO", "ONE")
        lags = reached - (await client.info("replication"))["master_repl_offset"]
        await client.config_set("port", str(servers.redis.port))
    servers.put_in_place(process, folder)
    field.say(f"the promoted replica lags by {(lags - BALLAST) / 1e6:.1f} MB and the ballast")


async def full(field: Field, rng: random.Random) -> None:
    """Redis's memory or disk is full for a while."""
    seconds = rng.uniform(2.0, 8.0)
    async with field.servers.client() as client:
        if rng.random() < 0.5:
            field.say("full: memory")
            used = (await client.info("memory"))["used_memory"]
            await client.config_set("maxmemory", str(max(1, used - 1_000_000)))
            await asyncio.sleep(seconds)
            await client.config_set("maxmemory", "0")
            return
        field.say("full: disk")
        pid = field.servers.redis.process.pid
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        await asyncio.sleep(seconds)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


async def tcp(field: Field, rng: random.Random) -> None:
    """What lies between the workers and Kafka or Redis is slow, narrow, cut, or swallows what is sent."""
    assert field.proxy is not None
    route = rng.choice(sorted(field.proxy.routes))
    stream = rng.choice(["upstream", "downstream"])
    part = rng.choice([0.5, 1.0])
    kind, attributes = rng.choice(
        [
            ("latency", {"latency": rng.randrange(50, 1_500), "jitter": rng.randrange(0, 200)}),
            ("reset_peer", {"timeout": rng.randrange(0, 500)}),
            ("timeout", {"timeout": 0}),
            ("bandwidth", {"rate": rng.randrange(20, 400)}),
        ]
    )
    field.say(f"tcp: {kind} {attributes} on {part:.0%} of {route}'s connections, {stream}")
    toxic = {"type": kind, "stream": stream, "toxicity": part, "attributes": attributes}
    await field.proxy.poison(route, [toxic])
    await asyncio.sleep(rng.uniform(2.0, 10.0))
    await field.proxy.heal()
