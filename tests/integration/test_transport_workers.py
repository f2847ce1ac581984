"""Three workers join one by one, one is killed, one is frozen past its session and let go on: nothing is skipped.

This file is also the program of a worker: `python test_transport_workers.py KAFKA TOPIC FOLDER NAME`. It reads slowly,
keeps the next offset of each partition in FOLDER and writes what it was told and given to FOLDER/NAME.log.
"""

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.agents.app import make_app, run
from streams.agents.logs import configure_logging
from streams.agents.roles import Chunk, LogRange, Role, TransportSettings

pytestmark = pytest.mark.integration

PARTITIONS = 8
SETTINGS = TransportSettings(session_s=6, place_s=10, drain_s=10, chunk_bytes=4_000)  # 6 s is a broker's least
WITHIN_S = 120  # on a busy machine workers fall behind what is produced, and catch up in their time


async def work(kafka: str, topic: str, folder: Path, name: str) -> None:
    configure_logging("info")
    with (folder / f"{name}.log").open("a", buffering=1, encoding="utf-8") as log:

        def tell(*what: object) -> None:
            log.write(json.dumps(what) + "\n")

        async def positions(logs: Mapping[int, LogRange]) -> Mapping[int, int | None]:
            found = {p: int(at.read_text()) if (at := folder / str(p)).exists() else 0 for p in logs}
            tell("positions", found)
            return dict(found)

        async def on_chunk(chunk: Chunk) -> None:
            await asyncio.sleep(0.002)
            tell("chunk", chunk.partition, chunk.first_offset, chunk.next_offset, chunk.generation)
            new = folder / f"{chunk.partition}.{name}"
            new.write_text(str(chunk.next_offset))
            new.rename(folder / str(chunk.partition))

        async def on_revoked(partitions: frozenset[int]) -> None:
            tell("revoked", sorted(partitions))

        role = Role("worker", topic, on_chunk, positions, on_revoked=on_revoked)
        await run(make_app(role, kafka, topic, SETTINGS))


class Worker:
    def __init__(self, name: str, folder: Path, process: asyncio.subprocess.Process) -> None:
        self.name, self.folder, self.process = name, folder, process

    @classmethod
    async def start(cls, kafka: str, topic: str, folder: Path, name: str) -> "Worker":
        arguments = (__file__, kafka, topic, str(folder), name)
        with (folder / f"{name}.err").open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(sys.executable, "-X", "dev", *arguments, stderr=stderr)
        return cls(name, folder, process)

    def told(self) -> list[list[object]]:
        path = self.folder / f"{self.name}.log"
        # A killed worker's last line may be cut off.
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def chunks(self) -> list[tuple[int, int, int, int]]:
        return [tuple(row[1:]) for row in self.told() if row[0] == "chunk"]  # type: ignore[misc]

    def runs(self, partition: int) -> list[tuple[int, int]]:
        """What it read of a partition between being placed and being placed again: first and next offset."""
        runs: list[tuple[int, int]] = []
        placed = True
        for what, *row in self.told():
            if what in ("positions", "revoked"):
                placed = True
            elif row[0] == partition:
                _, first, after, _ = row
                if placed:
                    runs.append((first, after))
                    placed = False
                else:
                    runs[-1] = (runs[-1][0], after)
        return runs

    async def reads(self) -> None:
        seen = len(self.chunks())
        async with asyncio.timeout(WITHIN_S):
            while len(self.chunks()) <= seen + 20:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)


@asynccontextmanager
async def production(kafka: str, topic: str) -> AsyncIterator[list[int]]:
    """Keeps producing until the block ends; how many went to each partition."""
    sent = [0] * PARTITIONS

    async def produce() -> None:
        while True:
            for partition in range(PARTITIONS):
                for _ in range(20):
                    await producer.send(topic, b"x" * 200, partition=partition)
                sent[partition] += 20
            await asyncio.sleep(0.1)

    async with AIOKafkaProducer(bootstrap_servers=kafka, compression_type="lz4", linger_ms=20) as producer:
        producing = asyncio.create_task(produce())
        yield sent
        producing.cancel()
        await asyncio.gather(producing, return_exceptions=True)
        await producer.flush()


async def test_every_partition_is_read_without_a_gap_while_workers_come_and_go(
    stack: object, namespace: str, tmp_path: Path
) -> None:
    kafka, topic = stack.kafka, f"{namespace}.in"  # type: ignore[attr-defined]
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    await admin.close()
    workers: list[Worker] = []
    try:
        async with production(kafka, topic) as sent:
            for name in ("a", "b", "c"):
                workers.append(await Worker.start(kafka, topic, tmp_path, name))
                await workers[-1].reads()
            killed, frozen, last = workers
            killed.process.kill()
            takeover_s = await takes_over(killed, frozen, last)
            frozen.process.send_signal(signal.SIGSTOP)
            await takes_over(frozen, last)
            frozen.process.send_signal(signal.SIGCONT)
            await frozen.reads()
        async with asyncio.timeout(WITHIN_S):
            while any(int((tmp_path / str(p)).read_text()) < sent[p] for p in range(PARTITIONS)):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        for worker in (frozen, last):
            worker.process.send_signal(signal.SIGTERM)
        codes = [await asyncio.wait_for(worker.process.wait(), 20) for worker in (frozen, last)]
    finally:
        for worker in workers:
            if worker.process.returncode is None:
                worker.process.kill()
                await worker.process.wait()
    print(f"takeover {takeover_s:.1f} s; sent {sent}")

    assert codes == [0, 0]
    for worker in workers:
        follows_its_positions(worker)
    zombies = {killed.name, frozen.name}
    for partition in range(PARTITIONS):
        runs = sorted((run, worker.name) for worker in workers for run in worker.runs(partition))
        noted_by_zombies = {
            after for worker in (killed, frozen) for at, _, after, _ in worker.chunks() if at == partition
        }
        assert runs[0][0][0] == 0
        assert max(end for (_, end), _ in runs) >= sent[partition]
        covered, by = 0, killed.name
        for (start, end), who in runs:
            # What the killed one had in hand comes again, and what the frozen one did before it heard of its end. Its
            # late note of a position may be ahead of its successor's (then nothing is done twice), or behind: then
            # whoever is placed next begins there, the successor too, and reads on from there.
            assert start <= covered
            assert start == covered or zombies & {who, by} or start in noted_by_zombies, (partition, runs)
            if end > covered:
                covered, by = end, who
    for worker in (frozen, last):
        told = (tmp_path / f"{worker.name}.err").read_text()
        assert not [noise for noise in ("Traceback", "destroyed", "never awaited", "unclosed") if noise in told], told


async def takes_over(gone: Worker, *others: Worker) -> float:
    """Wait until others read what the one that is gone had; after how long."""
    began = time.monotonic()
    had = {partition for partition, *_ in gone.chunks()[-20:]}

    def read(partition: int) -> int:
        return sum(row[0] == partition for worker in others for row in worker.chunks())

    before = {partition: read(partition) for partition in had}
    async with asyncio.timeout(WITHIN_S):
        while any(read(partition) <= before[partition] for partition in had):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    return time.monotonic() - began


def follows_its_positions(worker: Worker) -> None:
    expected: dict[int, int] = {}
    generations = set()
    for what, *row in worker.told():
        if what == "positions":
            expected = {int(partition): offset for partition, offset in row[0].items()}  # type: ignore[attr-defined]
            generations = set()
        elif what == "revoked":
            expected = {}
        else:
            partition, first, after, generation = row
            assert expected[partition] == first  # type: ignore[index]
            expected[partition] = after  # type: ignore[index,assignment]
            generations.add(generation)
            assert len(generations) == 1


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4]))
