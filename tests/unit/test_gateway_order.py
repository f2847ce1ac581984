"""A commit says that all before it is in Kafka: what a flush may run into while a chunk is being handled.

The producer here is a fake because the real one can't be held between two sends.
"""

import asyncio
from collections.abc import Iterable, Mapping

import msgspec
import orjson
import pytest
from prometheus_client import CollectorRegistry

from schemas.epochs import Epoch
from schemas.sightings import LOST, decode_frame
from streams.agents.gateway import Commits, Gateway, Limits, Topics
from streams.agents.health import Readiness
from streams.agents.producing import Outgoing
from streams.agents.transport import Chunk, Committed, LogRange
from streams.core.framing import Framer
from streams.errors import ThrongError
from streams.metrics import GatewayMetrics
from tests.support.raw import batch_of
from tests.support.rules import SettledRules
from tests.support.world import context_of, epochs_at

NOON = 1_772_449_200_000
GOOD = orjson.dumps({"event_id": "e", "imsi": "001010000000001", "ts": NOON, "cell": "001-01-0000001"})


class Held:
    """Acknowledges at once, but the reject number `holds` waits before it is sent."""

    def __init__(self, holds: int) -> None:
        self.sent: list[str] = []
        self.frames: list[bytes] = []
        self.let_go = asyncio.Event()
        self.reached = asyncio.Event()
        self._holds = holds

    async def send(self, topic: str, value: bytes | None, **_: object) -> "asyncio.Future[object]":
        if topic == "rejects" and self.sent.count("rejects") == self._holds:
            self.reached.set()
            await self.let_go.wait()
        self.sent.append(topic)
        if topic == "sightings" and value is not None:
            self.frames.append(value)
        ack: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        ack.set_result(None)
        return ack

    async def send_many(self, topic: str, _: int, records: Iterable[Outgoing]) -> "list[asyncio.Future[object]]":
        return [await self.send(topic, record.value) for record in records]


def chunk_of(values: list[bytes]) -> Chunk:
    batch = batch_of([(NOON, None, value, []) for value in values], 0)
    return Chunk(topic="attach", partition=0, batches=(batch,), first_offset=0, next_offset=len(values), generation=1)


def gateway_of(
    producer: Held, committed: dict[int, Committed], metrics: GatewayMetrics, epochs: list[Epoch] | None = None
) -> Gateway:
    """A gateway whose commits go to `committed`."""

    async def read() -> Mapping[int, Committed]:
        return {}

    async def write(marks: Mapping[int, Committed]) -> bool:
        committed.update(marks)
        return True

    async def provide(_: int) -> None: ...

    context = context_of(epochs or epochs_at(NOON), {})
    return Gateway(
        Topics("attach", "sightings", "rejects"),
        Limits(250, 1000, 1 << 20),
        Framer(context.partitions, context.lateness_ms),
        context,
        provide,
        producer,  # type: ignore[arg-type]
        Commits(read, write),
        lambda: True,
        metrics,
        Readiness(),
        SettledRules(context),
    )


@pytest.fixture(scope="module")
def metrics() -> GatewayMetrics:
    return GatewayMetrics(CollectorRegistry())


async def test_what_was_read_before_a_loss_is_not_told_as_lost(metrics: GatewayMetrics) -> None:
    producer = Held(holds=-1)

    gateway = gateway_of(producer, {}, metrics)
    await gateway.positions({0: LogRange(0, 0)})
    await gateway.handle(chunk_of([GOOD] * 3))
    await gateway.lost(0, 3, LogRange(10, 20))
    await gateway.flush()
    sections = [section for frame in producer.frames for section in decode_frame(frame)]  # type: ignore[union-attr]
    assert {(s.from_, s.to, s.flags) for s in sections} == {(0, 3, 0), (3, 10, LOST)}


async def test_no_commit_passes_an_event_whose_reject_is_not_sent(metrics: GatewayMetrics) -> None:
    producer = Held(holds=1)
    committed: dict[int, Committed] = {}
    gateway = gateway_of(producer, committed, metrics)
    await gateway.positions({0: LogRange(0, 0)})
    await gateway.handle(chunk_of([b"{", GOOD, b"["]))
    flushing = asyncio.create_task(gateway.flush())
    await producer.reached.wait()
    assert committed == {}
    producer.let_go.set()
    await flushing
    assert committed[0].offset == 3
    assert producer.sent.count("rejects") == 2
    assert producer.sent[-1] == "sightings"


async def test_rejects_alone_do_not_wait_for_a_flush_beyond_its_size(metrics: GatewayMetrics) -> None:
    producer = Held(holds=-1)
    committed: dict[int, Committed] = {}
    gateway = gateway_of(producer, committed, metrics)
    await gateway.positions({0: LogRange(0, 0)})
    await gateway.handle(chunk_of([b"{"] * 999))
    assert producer.sent == []
    await gateway.handle(chunk_of([b"{"] * 1000))
    assert producer.sent.count("rejects") == 1000
    assert committed[0].offset == 1000


async def test_an_event_of_an_epoch_whose_plan_is_not_at_hand_ends_the_gateway_with_the_setting_to_change(
    metrics: GatewayMetrics,
) -> None:
    epochs = [msgspec.structs.replace(epoch, plan="another") for epoch in epochs_at(NOON)]
    producer = Held(holds=-1)
    gateway = gateway_of(producer, {}, metrics, epochs)
    await gateway.positions({0: LogRange(0, 0)})
    with pytest.raises(ThrongError, match=r"another zone plan.*gateway\.earlier_plans"):
        await gateway.handle(chunk_of([GOOD]))
    assert producer.frames == []
