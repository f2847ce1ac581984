"""Servers of a stack taken away and given back one at a time, and what workers say of it meanwhile."""

import asyncio
import json
import signal
import subprocess
import urllib.error
import urllib.request

import psutil

from streams.local.answers import kafka_answers, redis_answers
from streams.local.redis_server import find_redis
from streams.local.stack import Stack
from streams.local.state import read_state
from tests.support.deployment import Workers


class Server:
    """One server's process. `restart` starts the same program on the same data again, Kafka also at another port."""

    def __init__(self, stack: Stack, name: str) -> None:
        state = read_state(stack.folder)
        assert state is not None
        server = getattr(state, name)
        assert server is not None
        process = psutil.Process(server.process.pid)
        # A redis-server shows its address in place of its arguments, and its file may have another program's name.
        self._command = [str(find_redis().path), "redis.conf"] if name == "redis" else process.cmdline()
        self._folder, self._environ = stack.folder, process.environ()  # Redis goes to its data's folder
        self._answers = {"kafka": kafka_answers, "redis": redis_answers}[name]
        self._port = server.port
        self._pid = process.pid
        self._own: subprocess.Popen[bytes] | None = None

    def signal(self, number: signal.Signals) -> None:
        psutil.Process(self._pid).send_signal(number)

    async def kill(self) -> None:
        process = psutil.Process(self._pid)
        process.kill()
        await asyncio.to_thread(psutil.wait_procs, [process], 10)

    async def restart(self, port: int | None = None) -> None:
        if port is not None:
            settings = self._folder / "kafka.properties"
            settings.write_text(settings.read_text().replace(f"127.0.0.1:{self._port}", f"127.0.0.1:{port}"))
            self._port = port
        self._own = await asyncio.to_thread(
            subprocess.Popen,
            self._command,
            cwd=self._folder,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._pid = self._own.pid
        async with asyncio.timeout(180):
            while not await asyncio.to_thread(self._answers, self._port):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.2)

    def end(self) -> None:
        """End what `restart` started: the stack knows nothing of it."""
        if self._own is not None and self._own.poll() is None:
            self._own.kill()
            self._own.wait()


def reasons(port: int) -> list[str]:
    """What a worker's readiness says."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
            return list(json.load(answer)["reasons"])
    except urllib.error.HTTPError as error:
        return list(json.load(error)["reasons"])


async def says(workers: Workers, role: str, words: str) -> str:
    """Wait until a worker of the role gives a reason with these words; returns it."""
    async with asyncio.timeout(180):
        while True:
            assert workers.all_up(), "a worker ended"
            for name, port in workers.ports.items():
                if name.startswith(role):
                    for reason in await asyncio.to_thread(reasons, port):
                        if words in reason:
                            return reason
            await asyncio.sleep(0.1)


async def all_ready(workers: Workers) -> None:
    """Wait until every worker is ready."""
    async with asyncio.timeout(180):
        while any([await asyncio.to_thread(reasons, port) for port in workers.ports.values()]):
            assert workers.all_up(), "a worker ended"
            await asyncio.sleep(0.2)
