"""A commit says that all before it is in Kafka: what a flush may run into while a chunk is being handled.

The producer here is a fake because the real one can't be held between two sends.
"""

import asyncio
import itertools
import time
from collections.abc import Iterable, Mapping

import msgspec
import orjson
import pytest
from prometheus_client import CollectorRegistry

from schemas.epochs import Epoch
from schemas.sightings import LOST, decode_frame
from schemas.topics import HOUR_MS, REJECTS, TOPICS
from streams.agents.gateway import Commits, Gateway, Limits, Topics
from streams.agents.health import Readiness
from streams.agents.roles import Turn
from streams.agents.transport import Chunk, Committed, LogRange
from streams.core.events import decode as decoding
from streams.core.gateway.framing import Framer
from streams.core.gateway.gateway import NEVER_MS
from streams.errors import ThrongError
from streams.metrics import GatewayMetrics
from streams.stores.outgoing import Outgoing
from tests.support.raw import batch_of
from tests.support.rules import SettledRules
from tests.support.turns import ALONE
from tests.support.world import context_of, epochs_at

NOON = 1_772_449_200_000
DAY_MS = 24 * HOUR_MS
GOOD = orjson.dumps({"event_id": "e", "imsi": "001010000000001", "ts": NOON, "cell": "001-01-0000001"})


class Held:
    """Acknowledges at once, but the reject number `holds` waits before it is sent."""

    def __init__(self, holds: int) -> None:
        self.sent: list[str] = []
        self.frames: list[bytes] = []
        self.rejects: list[Outgoing] = []
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
        sending = list(records)
        self.rejects += sending
        return [await self.send(topic, record.value) for record in sending]


def chunk_of(values: list[bytes]) -> Chunk:
    batch = batch_of([(NOON, None, value, []) for value in values], 0)
    return Chunk(topic="attach", partition=0, batches=(batch,), first_offset=0, next_offset=len(values), generation=1)


def heard_at(source: int, offset: int, time_ms: int) -> Chunk:
    """One good event, whose record is of then."""
    batch = batch_of([(time_ms, None, GOOD, [])], offset)
    return Chunk("attach", source, (batch,), first_offset=offset, next_offset=offset + 1, generation=1)


def gateway_of(
    producer: Held,
    committed: dict[int, Committed],
    metrics: GatewayMetrics,
    epochs: list[Epoch] | None = None,
    flush_ms: int = 250,
    found: Mapping[int, Committed] | None = None,
    turn: Turn = ALONE,
    ahead_ms: int | None = None,
) -> Gateway:
    """A gateway that finds these commits, and whose own go to `committed`."""

    async def read() -> Mapping[int, Committed]:
        return found or {}

    async def write(marks: Mapping[int, Committed]) -> bool:
        committed.update(marks)
        return True

    async def provide(_: int) -> None: ...

    context = context_of(epochs or epochs_at(NOON), {})
    return Gateway(
        Topics("attach", "sightings", "rejects"),
        Limits(flush_ms, 1000, 1 << 20, ahead_ms),
        Framer(context.partitions, context.watermark_ms),
        context,
        provide,
        producer,  # type: ignore[arg-type]
        Commits(read, write, frozenset),
        lambda: True,
        metrics,
        Readiness(),
        SettledRules(context),
        turn,
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


async def test_without_a_commit_nothing_is_told_as_lost_but_the_crowds_are_told_what_is_gone() -> None:
    producer, metrics = Held(holds=-1), GatewayMetrics(CollectorRegistry())
    gateway = gateway_of(producer, {}, metrics)
    assert await gateway.positions({0: LogRange(10, 20)}) == {0: 10}
    await gateway.flush()
    sections = [section for frame in producer.frames for section in decode_frame(frame)]  # type: ignore[union-attr]
    assert {(s.from_, s.to, s.flags) for s in sections} == {(0, 10, LOST)}
    assert metrics.lost.labels(0)._value.get() == 0


async def test_from_a_commit_on_all_that_is_gone_is_told_as_lost() -> None:
    metrics = GatewayMetrics(CollectorRegistry())
    gateway = gateway_of(Held(holds=-1), {}, metrics, found={0: Committed(4, "7")})
    assert await gateway.positions({0: LogRange(10, 20)}) == {0: 10}
    assert metrics.lost.labels(0)._value.get() == 6


async def test_nothing_is_screened_under_a_new_epoch_by_a_registry_from_before_it(metrics: GatewayMetrics) -> None:
    gateway = gateway_of(Held(holds=-1), {}, metrics)
    salts: dict[int, object] = gateway._context.salts  # type: ignore[assignment]
    later, order = dict(salts), list[str]()
    salts.clear()

    async def provide(_: int) -> None:
        salts.update(later)
        order.append("provided")

    def fresh() -> bool:
        order.append("asked")
        return True

    gateway._provide_epoch, gateway._registry_fresh = provide, fresh
    await gateway.positions({0: LogRange(0, 0)})
    await gateway.handle(chunk_of([GOOD]))
    assert order[:3] == ["asked", "provided", "asked"]


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


async def test_a_flush_that_is_cancelled_halfway_is_done_nevertheless(metrics: GatewayMetrics) -> None:
    producer, committed = Held(holds=1), {}
    gateway = gateway_of(producer, committed, metrics)
    await gateway.positions({0: LogRange(0, 0)})
    await gateway.handle(chunk_of([b"{", GOOD, b"["]))
    flushing = asyncio.create_task(gateway.flush())
    await producer.reached.wait()
    flushing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await flushing
    giving_up = asyncio.create_task(gateway.revoked(frozenset({0})))
    producer.let_go.set()
    await giving_up
    assert committed[0].offset == 3
    assert producer.sent[-1] == "sightings"


async def test_a_panes_last_rows_are_sent_at_once_when_all_sources_have_passed_its_end(metrics: GatewayMetrics) -> None:
    producer, committed = Held(holds=-1), {}
    epochs = epochs_at(NOON)
    end = NOON + epochs[0].pane_ms + epochs[0].lateness_ms
    gateway = gateway_of(producer, committed, metrics, epochs, flush_ms=3_600_000)
    await gateway.positions({0: LogRange(0, 0), 1: LogRange(0, 0)})
    flushing = asyncio.create_task(gateway.keep_flushing())
    for offset, time_ms in enumerate((NOON + epochs[0].lateness_ms, end - 1)):
        for source in (0, 1):
            await gateway.handle(heard_at(source, offset, time_ms))
    await gateway.handle(heard_at(0, 2, end))
    await asyncio.sleep(0.05)
    assert committed == {}
    await gateway.handle(heard_at(1, 2, end))
    async with asyncio.timeout(10):
        while not committed:  # noqa: ASYNC110 - short
            await asyncio.sleep(0.01)
    flushing.cancel()
    assert {source: mark.offset for source, mark in committed.items()} == {0: 3, 1: 3}


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


async def test_what_is_no_event_at_all_is_taken_in_parts_each_of_which_can_be_committed(
    metrics: GatewayMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a whole it would take longer than the group waits, whoever is next would begin it anew, and so on for ever."""
    monkeypatch.setattr(decoding, "MOST_BYTES_LEFT", 20_000)
    numbers = b"[" + b",".join([b"1"] * 3000) + b"]"
    values = [GOOD, numbers, GOOD, *[numbers] * 10]
    committed: dict[int, Committed] = {}
    producer, steps = Held(holds=-1), list[int]()
    turn = Turn(lambda: len(steps) < 3, lambda: steps.append(producer.sent.count("rejects")))
    gateway = gateway_of(producer, committed, metrics, turn=turn)
    await gateway.positions({0: LogRange(0, 0)})
    await gateway.handle(chunk_of(values))
    assert steps == sorted(steps) and 0 < steps[0] < steps[-1] < 33_000, "nothing more once it is another's"
    await gateway.flush()
    assert 3 < committed[0].offset < len(values) and producer.sent.count("rejects") % 3000 == 0

    steps.clear()
    gateway = gateway_of(whole := Held(holds=-1), committed, metrics, found=dict(committed))
    await gateway.positions({0: LogRange(0, 0)})
    await gateway.handle(chunk_of(values))
    await gateway.flush()
    assert committed[0].offset == len(values)
    assert producer.sent.count("rejects") + whole.sent.count("rejects") == 33_000
    of_a_target = [frame for sent in (producer, whole) for frame in sent.frames][:: gateway._context.partitions]
    covered = [(section.from_, section.to) for frame in of_a_target for section in decode_frame(frame)]  # type: ignore[union-attr]
    assert covered[0][0] == 0 and covered[-1][1] == len(values)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(covered))


async def test_a_batch_that_cannot_be_walked_is_rejected_whole_and_what_follows_goes_on(
    metrics: GatewayMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    committed: dict[int, Committed] = {}
    producer = Held(holds=-1)
    gateway = gateway_of(producer, committed, metrics)
    await gateway.positions({0: LogRange(0, 0)})
    written = [batch_of([(NOON, None, b"{", [])] * 2, first) for first in (0, 2, 4, 6)]
    wrong = [each._replace(payload=b"\x02" + each.payload[1:]) for each in written[1::2]]
    chunk = Chunk("attach", 0, (written[0], wrong[0], written[2], wrong[1]), 0, 9, 1)
    await gateway.handle(chunk)
    await gateway.flush()
    assert committed == {0: Committed(9, str(NOON))}
    assert [(each.key, each.value, dict(each.headers)["reason"]) for each in producer.rejects] == [
        (b"0-0-0", b"{", b"not_json"),
        (b"0-1-0", b"{", b"not_json"),
        (b"0-2-0", wrong[0].payload, b"malformed"),
        (b"0-4-0", b"{", b"not_json"),
        (b"0-5-0", b"{", b"not_json"),
        (b"0-6-0", wrong[1].payload, b"malformed"),
    ]
    assert [line.split(":")[:2] for line in caplog.messages] == [
        ["attach, partition 0", f" record batch at {first}"] for first in (2, 6)
    ]
    for one in wrong:
        with pytest.raises(ThrongError, match=f"panes, partition 0: record batch at {one.base_offset}: record lengths"):
            Chunk("panes", 0, (one,), 0, 2, 1).walked()


async def test_of_a_record_that_rejects_could_not_take_the_beginning_is_copied(metrics: GatewayMetrics) -> None:
    gateway = gateway_of(producer := Held(holds=-1), {}, metrics)
    await gateway.positions({0: LogRange(0, 0)})
    batch = batch_of([(NOON, None, value, []) for value in (b"x" * (3 << 20), b"y" * (1 << 20))], 0, most=8 << 20)
    await gateway.handle(Chunk("attach", 0, (batch,), first_offset=0, next_offset=2, generation=1))
    await gateway.flush()
    long, short = producer.rejects
    assert (long.value, short.value) == (b"x" * (1 << 20), b"y" * (1 << 20))
    assert dict(long.headers)["bytes"] == b"%d" % (3 << 20) and "bytes" not in dict(short.headers)
    assert dict(long.headers)["reason"] == b"oversized"
    rejects = next(topic for topic in TOPICS if topic.name == REJECTS)
    assert 2 * len(long.value or b"") < int(rejects.config["max.message.bytes"])


@pytest.mark.parametrize(
    ("ahead_ms", "others_ms", "refused"),
    [
        (DAY_MS, [0], True),
        (DAY_MS, [0, NEVER_MS], True),
        (DAY_MS, [DAY_MS + HOUR_MS], False),  # the brokers agree: it may be this machine's clock
        (DAY_MS, [NEVER_MS], False),  # no clock alone
        (3 * DAY_MS, [0], False),
        (None, [0], False),  # a replay
    ],
)
async def test_a_record_of_days_ahead_of_all_clocks_but_one_is_not_taken(
    ahead_ms: int | None, others_ms: list[int], refused: bool
) -> None:
    now = time.time_ns() // 1_000_000
    found = {n: Committed(9, str(ms if ms == NEVER_MS else now + ms)) for n, ms in enumerate(others_ms, 1)}
    metrics = GatewayMetrics(CollectorRegistry())
    # The last one, so that none must be provided whatever hour it is.
    epochs = epochs_at(now, now + 2 * DAY_MS, now + 3 * DAY_MS)
    gateway = gateway_of(Held(holds=-1), {}, metrics, epochs, found=found, ahead_ms=ahead_ms)
    await gateway.positions({0: LogRange(0, 0)})
    await gateway.handle(heard_at(0, 0, now + HOUR_MS))
    if refused:
        with pytest.raises(ThrongError, match="partition 0 of attach, offset 1: the record is of 20"):
            await gateway.handle(heard_at(0, 1, now + 2 * DAY_MS))
    else:
        await gateway.handle(heard_at(0, 1, now + 2 * DAY_MS))
    assert gateway.reached() == {0: now + (HOUR_MS if refused else 2 * DAY_MS)}
