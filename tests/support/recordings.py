"""A town's morning on a real Kafka, recorded."""

from pathlib import Path

import orjson
from aiokafka import AIOKafkaProducer

from schemas.topics import ATTACH, REGISTRY
from streams.local.ports import free_ports
from streams.recording.capture import Bounds, capture, topic_settings
from streams.recording.disguise import Disguise
from streams.recording.file import Writer
from streams.settings import Settings, load_settings
from streams.simulate import Rates, generate, make_town, plan, registry
from streams.simulate.publish import producer as simulator
from streams.simulate.publish import publish, publish_registry
from streams.stores.topics import create

START = 1_772_427_600_000 + 40 * 60_000
MINUTES = 75
RATES = Rates(duplicates=0.02, reorder=0.1, late=0.02, malformed=0.02)
TOWN = make_town(5, 2000, 30)


def settings_for(stack: object, namespace: str, folder: Path, **others: object) -> Settings:
    (folder / "plan.json").write_bytes(orjson.dumps(plan(TOWN)))
    return load_settings(
        None,
        {
            "kafka.bootstrap": stack.kafka,  # type: ignore[attr-defined]
            "redis.url": stack.redis,  # type: ignore[attr-defined]
            "kafka.namespace": namespace,
            "kafka.keep_forever": True,
            "kafka.raw_partitions": 3,
            "gateway.plan": str(folder / "plan.json"),
            "gateway.keys": str(folder / "keys"),
            "worker.http_port": free_ports(3)[0],
            **others,
        },
        {},
    )


async def fill(settings: Settings, events_a_record: int = 1) -> None:
    """Make the topics and play a town's morning into them."""
    await create(settings)
    sender = simulator(settings.kafka.bootstrap)
    await sender.start()
    await publish_registry(sender, settings.topic(REGISTRY), registry(TOWN))
    slices = generate(TOWN, START, START + MINUTES * 60_000, 3, events_a_record, RATES)
    await publish(sender, settings.topic(ATTACH), slices, None, lambda _: None)
    await sender.stop()


async def leave_for_a_while(settings: Settings) -> None:
    """Every third subscriber opts out after 20 minutes, and in again after 40."""
    people = [(key, value) for n, (key, value) in enumerate(registry(TOWN)) if n % 3 == 0]
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap) as producer:
        for minutes, changed in ((20, {"opted_out": True}), (40, {})):
            for key, value in people:
                await producer.send(
                    settings.topic(REGISTRY),
                    orjson.dumps(orjson.loads(value) | changed),
                    key=key,
                    timestamp_ms=START + minutes * 60_000,
                )


async def record(settings: Settings, path: Path, bounds: Bounds = Bounds(), disguise: Disguise | None = None) -> int:  # noqa: B008
    topics = await topic_settings(settings, [ATTACH, REGISTRY])
    with Writer(path, topics) as writer:
        return await capture(settings, topics, bounds, writer, disguise, lambda _: None)
