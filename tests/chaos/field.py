"""What faults work on: the workers, the servers, the load; and the watchman who starts again what ends."""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from streams.settings import Settings
from tests.chaos.cluster import Cluster
from tests.chaos.load import Load
from tests.chaos.proxy import Proxy
from tests.chaos.servers import Servers
from tests.support.deployment import Workers
from tests.support.kafka_cluster import KafkaCluster
from tests.support.processes import Process

SESSION_S = 6.0
RESTART_S = 1.0


class Turns:
    """Many at a time, or one alone."""

    def __init__(self) -> None:
        self._changed = asyncio.Condition()
        self._inside = 0
        self._alone = False

    @asynccontextmanager
    async def together(self) -> AsyncIterator[None]:
        async with self._changed:
            await self._changed.wait_for(lambda: not self._alone)
            self._inside += 1
        try:
            yield
        finally:
            async with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        async with self._changed:
            await self._changed.wait_for(lambda: not self._alone)
            self._alone = True
            await self._changed.wait_for(lambda: not self._inside)
        try:
            yield
        finally:
            async with self._changed:
                self._alone = False
                self._changed.notify_all()


@dataclass
class Field:
    """A running deployment.

    Attributes:
        settings: with the servers' own addresses.
        brokers: the three of a run on a cluster; None where `servers` has the only one.
        done: how often each fault was done. wrong: what faults themselves found to be wrong.
        deleted: by source, the offsets that its raw log was made to begin at.
        held: workers that a fault has in hand, so that nobody else starts them.
    """

    settings: Settings
    folder: Path
    workers: Workers
    servers: Servers
    load: Load
    proxy: Proxy | None
    faketime: Path | None
    brokers: KafkaCluster | None = None
    turns: Turns = field(default_factory=Turns)
    done: Counter[str] = field(default_factory=Counter)
    ended_by_themselves: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    lost: int = 0
    deleted: dict[int, list[int]] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)

    @property
    def cluster(self) -> Cluster:
        return Cluster(self.settings)

    def say(self, line: str) -> None:
        """A line of progress."""
        seconds = asyncio.get_running_loop().time() - self.load.began_s
        print(f"{seconds:6.1f} s  {self.load.sent:>10,} events  {line}", flush=True)

    def one(self, rng: random.Random, *roles: str) -> str:
        """A worker, of these roles if any are named."""
        names = sorted(self.workers.running)
        return rng.choice([name for name in names if not roles or name.split("-")[0] in roles])

    def send(self, name: str, number: signal.Signals) -> None:
        """A signal to a worker, if it still runs."""
        _signal(self.workers.running[name], number)

    async def freeze(self, names: list[str], seconds: float) -> None:
        """Stop workers for so long, and let them go on."""
        processes = [self.workers.running[name] for name in names]
        for name in names:
            self.send(name, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        for process in processes:
            _signal(process, signal.SIGCONT)

    async def end(self, name: str, number: signal.Signals = signal.SIGTERM) -> int:
        """End a worker and wait for it; its exit code."""
        self.send(name, number)
        process = self.workers.running[name]
        try:
            return await asyncio.wait_for(process.wait(), 180)
        except TimeoutError:
            self.wrong.append(f"{name} did not end within 180 s of signal {number.name}")
            process.kill()
            return await process.wait()

    async def keep_running(self) -> None:
        """Start again whatever ends, as a service manager would; for ever."""
        while True:
            for name, process in list(self.workers.running.items()):
                if process.returncode is not None and name not in self.held:
                    self.ended_by_themselves[name.split("-")[0]] += 1
                    self.say(f"{name} ended with {process.returncode}: {self.last_words(name)}")
                    await asyncio.sleep(RESTART_S)
                    if self.workers.running.get(name) is process and name not in self.held:
                        await self.workers.start(name)
            await asyncio.sleep(0.2)

    def last_words(self, name: str) -> str:
        lines = (self.folder / f"{name}.log").read_text(errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else "it said nothing"


def _signal(process: Process, number: signal.Signals) -> None:
    # One that has just ended may not be known to have.
    with suppress(ProcessLookupError):
        if process.returncode is None:
            process.send_signal(number)
