"""A worker that can't go on exits non-zero with one line that says why; it never stays up idle.

Each test starts a real `throng worker crowd` process on a real broker, whose role is one that gets into the trouble.
This file is also the program: `python test_worker_exits.py TROUBLE TOPIC`, with the settings in the environment.
"""

import asyncio
import os
import sys
from collections.abc import Mapping

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from streams.agents import workers
from streams.agents.app import make_app, run
from streams.agents.roles import Chunk, LogRange, Role, TransportSettings
from streams.cli.main import main
from streams.local.stack import Stack
from streams.settings import Settings
from tests.support.reading import delete_before, make_topic

pytestmark = pytest.mark.integration

QUICK = TransportSettings(session_s=6, place_s=4, drain_s=4, stall_s=5)
SECRET = "001010123456789"


def program(trouble: str, topic: str) -> None:
    """Run `throng worker crowd` with a role in trouble."""

    async def positions(logs: Mapping[int, LogRange]) -> Mapping[int, int | None]:
        if trouble == "positions that never come":
            await asyncio.Event().wait()
        return dict.fromkeys(logs, {"a log that was cut": 0, "a log made anew": 99}.get(trouble))

    async def on_chunk(_: Chunk) -> None:
        sys.stderr.write("reads\n")
        if trouble == "an exception":
            raise ValueError(SECRET)
        if trouble == "a role that hangs":
            await asyncio.Event().wait()

    async def role_in_trouble(settings: Settings, stop: asyncio.Event) -> None:
        role = Role("crowd", topic, on_chunk, positions)
        app = make_app(role, settings.kafka.bootstrap, settings.kafka.namespace, QUICK)

        async def service() -> None:
            while app.tenure.generation is None:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            if trouble == "a lost coordinator":

                async def broken(*_: object) -> None:
                    raise RuntimeError("lost")

                async def lose() -> None:
                    coordinator = app.consumer.thread._ensure_consumer()._coordinator
                    coordinator.ensure_active_group = broken
                    coordinator.request_rejoin()

                await app.consumer.thread.on_thread(lose())
            if trouble == "a service that ends":
                return
            await asyncio.Event().wait()

        await run(app, [service], stop)

    workers.run_crowd = role_in_trouble
    main(["worker", "crowd"])


async def started(stack: Stack, namespace: str, trouble: str, topic: str) -> asyncio.subprocess.Process:
    environ = {
        "THRONG_KAFKA_BOOTSTRAP": stack.kafka,
        "THRONG_REDIS_URL": stack.redis,
        "THRONG_KAFKA_NAMESPACE": namespace,
    }
    return await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, trouble, topic),
        env=os.environ | environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=asyncio.subprocess.PIPE,
    )


async def ends_telling(process: asyncio.subprocess.Process, *words: str) -> None:
    try:
        async with asyncio.timeout(50):
            _, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    lines = err.decode().splitlines()
    assert process.returncode == 1, lines
    assert lines[-1].startswith("throng: "), lines
    assert all(word in lines[-1] for word in words), lines
    assert sum(line.startswith("throng: ") for line in lines) == 1
    assert SECRET not in err.decode()


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ("an exception", ("crashed with ValueError", "the log says where")),
        ("a role that hangs", ("no progress for 5 s", "partition 0", "stays at", "the log ends at 30")),
        ("positions that never come", ("state could not be loaded within 4 s",)),
        ("a log that was cut", ("offset 0 is wanted", "the log begins at 10", "retention")),
        ("a log made anew", ("offsets 10 to 30", "is at 99", "made anew")),
        ("a lost coordinator", ("Kafka: ",)),
        ("a service that ends", ("the service service ended by itself",)),
    ],
)
async def test_a_worker_that_cannot_go_on_ends(
    stack: Stack, namespace: str, trouble: str, words: tuple[str, ...]
) -> None:
    topic = await make_topic(stack.kafka, f"{namespace}.in", 1)
    async with AIOKafkaProducer(bootstrap_servers=stack.kafka) as producer:
        for _ in range(30):
            await producer.send_and_wait(topic, b"x", partition=0)
    await delete_before(stack.kafka, topic, 10)
    await ends_telling(await started(stack, namespace, trouble, topic), *words)


async def test_a_worker_whose_topic_is_deleted_ends(stack: Stack, namespace: str) -> None:
    topic = await make_topic(stack.kafka, f"{namespace}.in", 1)
    async with AIOKafkaProducer(bootstrap_servers=stack.kafka) as producer:
        await producer.send_and_wait(topic, b"x", partition=0)
    process = await started(stack, namespace, "none", topic)
    assert process.stderr is not None
    async with asyncio.timeout(40):
        await process.stderr.readuntil(b"reads\n")
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka)
    await admin.start()
    await admin.delete_topics([topic])
    await admin.close()
    await ends_telling(process, topic, "is gone", "throng topics create")


if __name__ == "__main__":
    program(*sys.argv[1:])
