"""The faults that chaos draws from. Each works on the running deployment, and returns when it is over.

`kill`: SIGKILL a worker and start it again. `stop`: SIGSTOP one, often for longer than its session, and let it go on:
a zombie. `leave`: end one in order, and start it again. `flush`: empty Redis. `older`: put an older copy of all of
Redis back. `pause`: Redis answers nobody for some seconds. `servers`: SIGKILL the broker and Redis together, and start
them again on the same ports, Redis empty.
"""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from redis.asyncio import Redis

from streams.local.stack import start
from streams.local.state import read_state
from tests.support.deployment import Workers

SESSION_S = 6.0


class Chaos:
    """What a run of faults works on, and what it did."""

    def __init__(self, workers: Workers, stack_folder: Path, rng: random.Random) -> None:
        self.workers = workers
        self.stack_folder = stack_folder
        self.rng = rng
        self.done: Counter[str] = Counter()
        self.ended_by_themselves: Counter[str] = Counter()
        self._copy: dict[bytes, bytes] = {}

    async def play(self, names: list[str], for_s: float) -> None:
        """Draw faults for so long."""
        loop = asyncio.get_running_loop()
        until = loop.time() + for_s
        while loop.time() < until:
            await asyncio.sleep(self.rng.uniform(1.0, 4.0))
            name = self.rng.choice(names)
            print(f"{until - loop.time():6.0f} s left  {name}", flush=True)
            await FAULTS[name](self)
            self.done[name] += 1

    async def keep_running(self) -> None:
        """Start again whatever ends, as a service manager would; for ever."""
        while True:
            for name, process in list(self.workers.running.items()):
                if process.returncode is not None and process.returncode != -signal.SIGKILL:
                    self.ended_by_themselves[name.split("-")[0]] += 1
                    await self.workers.start(name)
            await asyncio.sleep(0.2)

    def worker(self) -> str:
        """One of them."""
        return self.rng.choice(sorted(self.workers.running))

    async def kill(self) -> None:
        name = self.worker()
        await self.workers.kill(name)
        await asyncio.sleep(self.rng.choice([0.0, 0.0, SESSION_S + 2]))
        await self.workers.start(name)

    async def stop(self) -> None:
        process = self.workers.running[self.worker()]
        if process.returncode is not None:
            return
        os.kill(process.pid, signal.SIGSTOP)
        await asyncio.sleep(self.rng.choice([0.5, 3.0, SESSION_S + 3, SESSION_S + 6]))
        os.kill(process.pid, signal.SIGCONT)

    async def leave(self) -> None:
        name = self.worker()
        process = self.workers.running[name]
        if process.returncode is None:
            process.terminate()
        await process.wait()
        # The watcher starts it again.

    async def flush(self) -> None:
        async with self._redis() as redis:
            await redis.flushall()

    async def older(self) -> None:
        async with self._redis() as redis:
            copy = self._copy
            self._copy = {key: value async for key in redis.scan_iter() if (value := await redis.dump(key))}
            if copy:
                await redis.flushall()
                for key, value in copy.items():
                    await redis.restore(key, 0, value, replace=True)

    async def pause(self) -> None:
        seconds = self.rng.uniform(1.0, 9.0)
        async with self._redis() as redis:
            await redis.execute_command("CLIENT", "PAUSE", round(seconds * 1000), "ALL")
        await asyncio.sleep(seconds)

    async def servers(self) -> None:
        state = read_state(self.stack_folder)
        assert state is not None and state.kafka is not None and state.redis is not None
        for server in (state.kafka, state.redis):
            os.kill(server.process.pid, signal.SIGKILL)
        await asyncio.sleep(self.rng.uniform(0.0, 5.0))
        await asyncio.to_thread(start, self.stack_folder, kafka_port=state.kafka.port, redis_port=state.redis.port)

    def _redis(self) -> Redis:
        return Redis.from_url(self.workers.settings.redis.url, socket_timeout=30.0)


FAULTS: dict[str, Callable[[Chaos], Awaitable[None]]] = {
    "kill": Chaos.kill,
    "stop": Chaos.stop,
    "leave": Chaos.leave,
    "flush": Chaos.flush,
    "older": Chaos.older,
    "pause": Chaos.pause,
    "servers": Chaos.servers,
}
