"""The registry's partitions in a gateway: whose they are, where they begin, and what waits for them."""

import asyncio
import time
from collections.abc import Iterable, Mapping

import msgspec
import orjson
import pytest
from prometheus_client import CollectorRegistry

from schemas.sightings import OPT_IN, OPT_OUT, REGISTRY_SOURCE, Section, decode_frame
from streams.agents.gateway import Commits, Gateway, Limits, Topics
from streams.agents.health import Readiness
from streams.agents.registrar import Registrar
from streams.agents.transport import Chunk, Committed, LogRange
from streams.core.epochs import EpochTable
from streams.core.gateway.consents import RegistryRecord
from streams.core.gateway.framing import Framer, Mark
from streams.errors import ThrongError
from streams.metrics import GatewayMetrics
from streams.stores.outgoing import Outgoing
from streams.stores.registry import Stretch
from tests.support.raw import batch_of
from tests.support.rules import SettledRules
from tests.support.turns import ALONE
from tests.support.world import context_of, epochs_at

NOON = 1_772_449_200_000
DAY_MS = 86_400_000
IMSI = "001010000000001"
GOOD = msgspec.json.encode({"imsi": IMSI, "birth_year": 1980, "consent": {"marketing": "granted"}})
OUT = RegistryRecord(4, NOON, IMSI.encode(), msgspec.json.encode({"imsi": IMSI, "opted_out": True}))


class Log:
    """A registry in memory; partitions begin at 2 and end at 5, and `ready` holds what is read next."""

    def __init__(self) -> None:
        self.begins: dict[int, int] = {}
        self.ready: dict[int, Stretch] = {}

    async def place(self, begins: Mapping[int, int], since_ms: int) -> dict[int, tuple[int, int]]:
        self.begins = dict(begins)
        return {number: (max(begin, 2), 5) for number, begin in begins.items()}

    async def poll(self) -> dict[int, Stretch]:
        await asyncio.sleep(0)
        found, self.ready = self.ready, {}
        return {number: stretch for number, stretch in found.items() if number in self.begins}


class Kept:
    """Acknowledges and keeps what is sent."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []

    async def send(self, _: str, value: bytes, **__: object) -> "asyncio.Future[object]":
        self.frames.append(value)
        ack: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        ack.set_result(None)
        return ack

    async def send_many(self, topic: str, _: int, records: Iterable[Outgoing]) -> "list[asyncio.Future[object]]":
        return [await self.send(topic, record.value or b"") for record in records]


class World:
    """A gateway, with a registry of two partitions."""

    def __init__(self, committed: dict[int, Committed], epochs: bool = True, live: bool = False) -> None:
        self.log, self.kept, self.committed = Log(), Kept(), committed
        self.context = context_of(epochs_at(NOON), {})
        self.known = self.context.epochs.epochs
        if not epochs:
            object.__setattr__(self.context, "epochs", EpochTable())
        metrics = GatewayMetrics(CollectorRegistry())
        self.framer = Framer(self.context.partitions, self.context.watermark_ms)
        self.registrar = Registrar(
            *(self.log, self.framer, self.context, 2, self.provide, self.know, metrics), live=live
        )
        self.gateway = Gateway(
            Topics("attach", "sightings", "rejects"),
            Limits(250, 1000, 1 << 20),
            self.framer,
            self.context,
            self.provide,
            self.kept,  # type: ignore[arg-type]
            Commits(self.read, self.write, frozenset),
            lambda: True,
            metrics,
            Readiness(),
            SettledRules(self.context),
            ALONE,
            self.registrar,
        )

    async def read(self) -> Mapping[int, Committed]:
        return self.committed

    async def write(self, marks: Mapping[int, Committed]) -> bool:
        self.committed |= marks
        return True

    async def provide(self, _: int) -> None:
        for epoch in self.known:
            self.context.epochs.add(epoch)

    async def know(self) -> None: ...

    def sections(self, source: int) -> list[Section]:
        return [s for frame in self.kept.frames for s in decode_frame(frame) if s.source == source]  # type: ignore[union-attr]


async def settled() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.fixture
async def reading():
    tasks = []

    def begin(world: World) -> None:
        tasks.append(asyncio.create_task(world.registrar.keep_reading()))

    yield begin
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def chunk() -> Chunk:
    event = {"event_id": "e", "imsi": IMSI, "ts": NOON, "cell": "001-01-0000001"}
    batch = batch_of([(NOON, None, orjson.dumps(event), [])], 0)
    return Chunk(topic="attach", partition=0, batches=(batch,), first_offset=0, next_offset=1, generation=1)


async def test_who_has_raw_partition_0_reads_the_registry_from_its_commits(reading) -> None:
    world = World({REGISTRY_SOURCE + 1: Committed(4, str(NOON))})
    await world.gateway.positions({0: LogRange(0, 0)})
    reading(world)
    await settled()
    assert world.log.begins == {0: 0, 1: 4}
    world.log.ready = {1: Stretch([OUT._replace(offset=3), OUT], 5)}
    await settled()
    await world.gateway.flush()
    sections = world.sections(REGISTRY_SOURCE + 1)
    assert {(s.from_, s.to, s.watermark_ms) for s in sections} == {(4, 5, NOON)}
    assert [(s.offset.tolist(), s.kind.tolist()) for s in sections if len(s.ts)] == [([4], [OPT_OUT])]
    assert world.committed[REGISTRY_SOURCE + 1] == Committed(5, str(NOON))
    # Records of before the first epoch were not read; their offsets are covered.
    assert {(s.from_, s.to, len(s.ts)) for s in world.sections(REGISTRY_SOURCE)} == {(0, 2, 0)}


@pytest.mark.parametrize("began", [True, False])
async def test_an_opt_in_of_somebody_who_was_not_out_has_a_row_where_others_sent_some_of_the_epoch(
    reading, began: bool
) -> None:
    """They may have taken that person out, which a reader that begins amid the epoch can't know."""
    world = World({REGISTRY_SOURCE: Committed(4, str(NOON))} if began else {}, live=True)
    await world.gateway.positions({0: LogRange(0, 0)})
    reading(world)
    await settled()
    kinds = []
    for offset, value in enumerate([GOOD, OUT.value, GOOD], 4):
        world.log.ready = {0: Stretch([OUT._replace(offset=offset, value=value)], offset + 1)}
        await settled()
        await world.gateway.flush()
    for section in world.sections(REGISTRY_SOURCE):
        kinds += section.kind.tolist()
    assert kinds == [OPT_IN] * began + [OPT_OUT, OPT_IN]


@pytest.mark.parametrize("read_on", [True, False])
@pytest.mark.parametrize("elsewhere", [True, False])
async def test_a_rebalance_in_which_nobody_read_on_forgets_nobody(reading, read_on: bool, elsewhere: bool) -> None:
    world = World({}, live=True)
    await world.gateway.positions({0: LogRange(0, 0)})
    reading(world)
    await settled()
    world.log.ready = {0: Stretch([OUT], 5)}
    await settled()
    await world.gateway.revoked(frozenset({0}))
    if elsewhere:  # another has the registry for a while
        await world.gateway.positions({1: LogRange(0, 0)})
        await world.gateway.revoked(frozenset({1}))
    if read_on:
        world.committed[REGISTRY_SOURCE] = Committed(6, str(NOON))
    await world.gateway.positions({0: LogRange(0, 0)})
    await settled()
    other = IMSI[:-1] + "2"
    said = [OUT._replace(offset=6, value=GOOD)]
    said.append(RegistryRecord(7, NOON, other.encode(), GOOD.replace(IMSI.encode(), other.encode())))
    world.log.ready = {0: Stretch(said, 8)}
    await settled()
    await world.gateway.flush()
    rows = [row for section in world.sections(REGISTRY_SOURCE) for row in section.offset.tolist()]
    assert rows == ([4, 6, 7] if read_on or elsewhere else [4, 6])


async def test_no_raw_event_is_framed_before_the_opt_outs_that_were_there(reading) -> None:
    world = World({}, epochs=False)
    await world.gateway.positions({0: LogRange(0, 1)})
    reading(world)
    handling = asyncio.create_task(world.gateway.handle(chunk()))
    async with asyncio.timeout(30):
        while world.log.begins.keys() != {0, 1}:  # noqa: ASYNC110 - a service
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)
    assert not handling.done()
    mark = world.framer.mark(0)
    assert mark is not None and mark.next_offset == 0
    world.log.ready = {0: Stretch([OUT], 5), 1: Stretch([], 5)}
    await asyncio.wait_for(handling, 30)
    await world.gateway.flush()
    assert [s.to for s in world.sections(REGISTRY_SOURCE)][:1] == [5]


async def test_partitions_that_are_given_up_are_forgotten(reading) -> None:
    world = World({})
    await world.gateway.positions({0: LogRange(0, 0), 2: LogRange(0, 0)})
    reading(world)
    await settled()
    assert world.log.begins.keys() == {0, 1}
    await world.gateway.revoked(frozenset({0, 2}))
    assert world.log.begins == {} and world.framer.mark(REGISTRY_SOURCE) is None
    assert not world.registrar.behind and not world.registrar.silent_since
    await world.gateway.positions({2: LogRange(0, 0)})
    await settled()
    assert world.log.begins == {} and not world.registrar.behind


@pytest.mark.parametrize(("live", "raw_ms", "refused"), [(True, 0, True), (True, 2 * DAY_MS, False), (False, 0, False)])
async def test_an_opt_out_of_days_ahead_of_all_clocks_but_its_brokers_is_not_taken(
    live: bool, raw_ms: int, refused: bool
) -> None:
    now = time.time_ns() // 1_000_000
    world = World({}, live=live)
    await world.gateway.positions({0: LogRange(0, 0)})
    world.framer.open(0, Mark(0, now + raw_ms))
    await world.registrar._place()
    ahead = [RegistryRecord(3, now + 2 * DAY_MS, IMSI.encode(), None)]
    if not refused:
        world.registrar._refuse_future(1, ahead)
        return
    with pytest.raises(ThrongError, match="partition 1 of the registry, offset 3: the record is of 20"):
        await world.registrar._take(1, Stretch(ahead, 4))
    mark = world.framer.mark(REGISTRY_SOURCE + 1)
    assert mark is not None and mark.next_offset == 2
