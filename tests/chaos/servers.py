"""The broker and Redis of a chaos run, each killed, started and replaced on its own, on the same ports.

The stack's own `start` makes them; from then on they are handled here, and the stack's state file is kept up to date,
so that the stack ends whatever runs, however the harness ends.
"""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from redis.asyncio import Redis

from streams.local import kafka_server
from streams.local.answers import kafka_answers, redis_answers
from streams.local.folders import quiet
from streams.local.jars import ensure_jars
from streams.local.java import find_java
from streams.local.ports import free_ports
from streams.local.processes import end, identify, wait_for_port
from streams.local.redis_server import find_redis
from streams.local.stack import HEAP_MB
from streams.local.state import Server, log_of, read_state, write_state

READY_S = 120.0


class Servers:
    """The two servers in a stack's folder.

    Attributes:
        redis_folder: where the Redis that is in place keeps its data.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        state = read_state(folder)
        assert state is not None and state.kafka is not None and state.redis is not None
        self.kafka: Server = state.kafka
        self.redis: Server = state.redis
        self.redis_folder = folder / "data" / "redis"
        self._java, self._jars, self._redis = find_java(), ensure_jars(quiet), find_redis()
        self._others: list[subprocess.Popen[bytes]] = []

    @property
    def redis_version(self) -> tuple[int, ...]:
        return tuple(int(part) for part in self._redis.version.split("."))

    def client(self) -> Redis:
        """A client of the Redis that is in place."""
        return Redis.from_url(f"redis://127.0.0.1:{self.redis.port}/0", socket_timeout=60.0)

    async def kill_broker(self) -> None:
        await asyncio.to_thread(end, [self.kafka.process], 0)

    async def start_broker(self) -> None:
        """Start it on the port it had; return when it answers."""
        command = kafka_server.command(self._java, self._jars, "kafka.Kafka", "kafka.properties", heap_mb=HEAP_MB)
        process = self._spawn(command, "kafka", kafka_server.environ())
        self.kafka = msgspec.structs.replace(self.kafka, process=identify(process.pid))
        self._keep()
        await asyncio.to_thread(self._wait, process, self.kafka.port, kafka_answers)

    async def kill_redis(self) -> None:
        await asyncio.to_thread(end, [self.redis.process], 0)

    async def start_redis(self, *options: str) -> None:
        """Start it in the folder and on the port it had; return when it has read its data."""
        process = self._spawn_redis(self.redis_folder, self.redis.port, *options)
        self.put_in_place(process, self.redis_folder)
        await asyncio.to_thread(self._wait, process, self.redis.port, redis_answers)

    async def restart_redis(self) -> None:
        """Such that a full disk is an error of a write, not the end of the process."""
        await self.kill_redis()
        await self.start_redis()

    async def start_replica(self) -> tuple[subprocess.Popen[bytes], Path, int]:
        """A replica of the Redis in place, in step with it: its process, its folder, its port."""
        port = free_ports(1)[0]
        folder = self.redis_folder.with_name(f"redis-{port}")
        folder.mkdir()
        process = self._spawn_redis(folder, port, "--replicaof", f"127.0.0.1 {self.redis.port}")
        self._others.append(process)
        await asyncio.to_thread(self._wait, process, port, redis_answers)
        async with Redis.from_url(f"redis://127.0.0.1:{port}/0", socket_timeout=60.0) as replica, asyncio.timeout(180):
            while (await replica.info("replication"))["master_link_status"] != "up":  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)
        return process, folder, port

    def put_in_place(self, process: "subprocess.Popen[bytes]", folder: Path) -> None:
        """This process is the Redis now."""
        self.redis = msgspec.structs.replace(self.redis, process=identify(process.pid))
        self.redis_folder = folder
        self._keep()

    def stop(self) -> None:
        """End what the stack doesn't know of."""
        for process in self._others:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.wait()

    def _spawn_redis(self, folder: Path, port: int, *options: str) -> "subprocess.Popen[bytes]":
        command = [str(self._redis.path), "redis.conf", "--dir", str(folder), "--port", str(port), *options]
        # SIGXFSZ stays ignored, as Python has it: what a limit of the file size then makes is an error of a write.
        return self._spawn(command, "redis", dict(os.environ), restore_signals=False)

    def _spawn(
        self, command: list[str], name: str, environ: dict[str, str], restore_signals: bool = True
    ) -> "subprocess.Popen[bytes]":
        with log_of(self.folder, name).open("ab") as output:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                restore_signals=restore_signals,
            )

    def _wait(self, process: "subprocess.Popen[bytes]", port: int, answers: Callable[[int], bool]) -> None:
        deadline = time.monotonic() + READY_S
        if not wait_for_port(process, port, deadline):
            raise SystemExit(f"chaos: a server on port {port} did not come back")
        while not answers(port):
            if time.monotonic() > deadline:
                raise SystemExit(f"chaos: the server on port {port} does not answer")
            time.sleep(0.05)

    def _keep(self) -> None:
        state = read_state(self.folder)
        assert state is not None
        write_state(self.folder, msgspec.structs.replace(state, kafka=self.kafka, redis=self.redis))
