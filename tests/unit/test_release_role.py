"""The release role on logs in memory: what it writes to the ledger and publishes, chunk by chunk."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import msgspec
import numpy as np
import orjson
import pytest
from prometheus_client import CollectorRegistry
from redis.exceptions import NoPermissionError

from schemas.epochs import Epoch
from schemas.ledger import BROUGHT, LedgerRecord
from schemas.panes import Counts, Pane, from_dense, sealed
from schemas.plan import Places, Plan
from schemas.released import Footfall
from schemas.topics import DWELL, FLOWS, FOOTFALL, LEDGER, PANES, RELEASED, VISITS
from streams.agents import release, showing
from streams.agents.health import Readiness
from streams.agents.release import Releaser, Rules
from streams.agents.roles import Chunk, LogRange, Turn
from streams.core.release.render import Pages
from streams.core.rules.rules import Told
from streams.core.times import rfc3339
from streams.errors import ThrongError
from streams.metrics import ReleaseMetrics
from streams.stores.ledger import Ledger
from streams.stores.noise import NoiseSource, OnTheSpot
from streams.stores.noise_ahead import Ahead
from streams.stores.outgoing import Outgoing
from streams.stores.released import PLACES_KEPT_S, Publisher
from tests.support.raw import batch_of
from tests.support.rules import SettledRules
from tests.support.turns import ALONE
from tests.support.world import PLAN, epochs_at
from tests.unit.test_weights import WEIGHTED

START = 1_772_420_400_000
EPOCH = msgspec.structs.replace(epochs_at(START)[0], partitions=2)


class Record(NamedTuple):
    value: bytes
    offset: int
    topic: str
    partition: int = 0


class Logs:
    """Topics in memory: in place of a producer, of a reader of the ledger, and of Redis."""

    def __init__(self) -> None:
        self.values: dict[str, list[bytes]] = {name: [] for name in (LEDGER, *RELEASED)}
        self.shown: list[tuple[str, bytes]] = []
        self.start = 0

    async def send(self, topic: str, value: bytes, **_: object) -> "asyncio.Future[object]":
        self.values[topic].append(value)
        done: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    async def send_many(self, topic: str, _: int, records: Iterable[Outgoing]) -> "list[asyncio.Future[object]]":
        return [await self.send(topic, each.value, key=each.key, timestamp_ms=each.timestamp_ms) for each in records]

    async def set(self, key: str, value: bytes, ex: int) -> None:
        assert ex == PLACES_KEPT_S
        self.shown.append((key, value))

    async def exists(self, key: str) -> int:
        return int(key in dict(self.shown))

    def pipeline(self, transaction: bool) -> "Logs":
        return self

    async def execute(self) -> None: ...

    async def reset(self) -> None: ...

    def register_script(self, _: str):
        async def run(**_: object) -> None: ...

        return run

    def ledger(self) -> list[LedgerRecord]:
        return [msgspec.msgpack.decode(value, type=LedgerRecord) for value in self.values[LEDGER]]


class Reader:
    def __init__(self, logs: Logs) -> None:
        self._logs = logs
        self._at = 0

    async def bounds(self) -> tuple[int, int]:
        return self._logs.start, len(self._logs.values[LEDGER])

    async def find(self, _: int) -> int | None:
        return None

    def seek(self, offset: int) -> None:
        assert offset >= self._logs.start
        self._at = offset

    async def read_to_end(self, until: int | None = None) -> AsyncIterator[list[Record]]:
        # As Kafka has it: who wants what is gone gets what is left.
        first, values = max(self._at, self._logs.start), self._logs.values[LEDGER][:until]
        self._at = max(first, len(values))
        if first < len(values):
            yield [Record(value, first + n, LEDGER) for n, value in enumerate(values[first:])]


class Epochs:
    def __init__(self, *records: Epoch) -> None:
        self.records = list(records) or [EPOCH]

    async def refresh(self) -> list:
        return []


NO_NOISE = OnTheSpot(lambda counts, *_: counts)


def releaser(
    logs: Logs,
    registry: CollectorRegistry | None = None,
    rules: Rules | None = None,
    plan: Plan = PLAN,
    epochs: tuple[Epoch, ...] = (EPOCH,),
    noise: NoiseSource = NO_NOISE,
    turn: Turn = ALONE,
    later_than: Callable[[int], Awaitable[str | None]] | None = None,
) -> Releaser:
    return Releaser(
        Pages(lambda _: plan, 0.95),
        Epochs(*epochs),  # type: ignore[arg-type]
        Ledger(Reader(logs), logs, LEDGER),  # type: ignore[arg-type]
        Publisher(logs, logs, {name: name for name in RELEASED}, dict.fromkeys(RELEASED, 1), ""),  # type: ignore[arg-type]
        noise,
        ReleaseMetrics(registry or CollectorRegistry()),
        Readiness(),
        rules or SettledRules(),
        turn,
        later_than=later_than,
    )


def pane(partition: int, number: int, epoch: Epoch = EPOCH) -> Pane:
    end = epoch.start_ms + number * epoch.pane_ms
    counts = {
        measure.name: from_dense(np.full(measure.keys(epoch.zones, epoch.parents), 1000, np.int64))
        for measure in epoch.due(number)
    }
    return sealed(Pane(epoch.epoch, partition, 2, number, end - epoch.pane_ms, end, 1, counts, 0))


def without(whole: Pane, shut: tuple[str, ...]) -> Pane:
    """The pane of a partition that lost its state, so that it can't count these measures."""
    counts = {name: counted for name, counted in whole.counts.items() if name not in shut}
    return sealed(msgspec.structs.replace(whole, counts=counts, shut=shut, resumed=True))


def chunk(panes: list[Pane], first: int) -> Chunk:
    batch = batch_of([(0, None, msgspec.msgpack.encode(each), []) for each in panes], first)
    return Chunk(PANES, 0, (batch,), first, first + len(panes), 1)


def both(*numbers: int, epoch: Epoch = EPOCH) -> list[Pane]:
    return [pane(partition, number, epoch) for number in numbers for partition in (0, 1)]


async def test_one_that_is_to_stop_begins_no_further_pane_and_the_next_loses_none() -> None:
    logs = Logs()
    role = releaser(logs, turn=Turn(lambda: not logs.ledger(), lambda: None))
    await role.positions({0: LogRange(0, 6)})
    await role.handle(chunk(both(1, 2, 3), 0))
    assert {record.number for record in logs.ledger()} == {1}
    role = releaser(logs)
    wanted = (await role.positions({0: LogRange(0, 6)}))[0]
    await role.handle(chunk(both(1, 2, 3)[wanted:], wanted or 0))
    numbers = [record.number for record in logs.ledger() if record.measure == "present"]
    assert numbers == [1, 2, 3]


async def test_partitions_that_somebody_adds_to_panes_end_no_release_and_whoever_has_them_alone_draws_nothing() -> None:
    logs = Logs()
    role, other = releaser(logs), releaser(logs)
    await role.positions({0: LogRange(0, 2)})
    await role.handle(chunk(both(1), 0))
    assert await role.positions({0: LogRange(0, 2), 1: LogRange(0, 0)}) == {0: 0, 1: None}
    length = len(logs.ledger())
    assert await other.positions({1: LogRange(0, 0)}) == {1: None}
    await other.handle(chunk(both(2), 2)._replace(partition=1))
    assert await other.lost(1, 0, LogRange(7, 9)) == 7
    assert len(logs.ledger()) == length
    await role.handle(chunk(both(1, 2), 0))
    assert len(logs.ledger()) > length


async def test_a_ledger_that_another_release_wrote_is_told_in_a_line_without_what_it_says() -> None:
    logs = Logs()
    role = releaser(logs)
    await role.positions({0: LogRange(0, 2)})
    await role.handle(chunk(both(1), 0))
    newer = msgspec.msgpack.decode(logs.values[LEDGER][-1]) | {"kind": "postponed"}
    logs.values[LEDGER].append(msgspec.msgpack.encode(newer))
    with pytest.raises(ThrongError) as raised:
        await releaser(logs).positions({0: LogRange(0, 2)})
    place = f"ledger, partition 0, offset {len(logs.values[LEDGER]) - 1}"
    assert raised.value.sentence.startswith(f"{place}: the record is not as this release has it: if a newer one wrote")
    assert raised.value.code == "ledger" and "postponed" not in raised.value.sentence


async def test_nothing_is_drawn_of_an_epoch_whose_noise_would_not_be_right() -> None:
    logs = Logs()
    arrivals = next(measure for measure in EPOCH.measures if measure.name == "arrivals")
    unsound = msgspec.structs.replace(EPOCH, measures=(msgspec.structs.replace(arrivals, cap=0),))
    role = releaser(logs, epochs=(unsound,))
    await role.positions({0: LogRange(0, 6)})
    with pytest.raises(ThrongError, match="epoch 20260302: measure arrivals: cap is 0.*nothing is counted or told"):
        await role.handle(chunk(both(1, 2, 3, epoch=unsound), 0))
    assert logs.ledger() == []


async def test_nothing_is_drawn_by_a_budget_that_is_more_than_epsilon_and_delta_pay_for() -> None:
    logs = Logs()
    rich = msgspec.structs.replace(EPOCH, rho=EPOCH.rho * 10)
    role = releaser(logs, epochs=(rich,))
    await role.positions({0: LogRange(0, 6)})
    with pytest.raises(ThrongError, match="epoch 20260302: it costs a delta of .*nothing is counted or told"):
        await role.handle(chunk(both(1, 2, 3, epoch=rich), 0))
    assert logs.ledger() == []


async def test_what_no_crowd_wrote_is_passed_over_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    logs, registry = Logs(), CollectorRegistry()
    role = releaser(logs, registry)
    await role.positions({0: LogRange(0, 6)})
    first, *others = (msgspec.msgpack.encode(each) for each in both(1, 2))
    values = [first, b"a trial", None, b"\x91" * 100_000, b"\x81\xa1\xff\x01", *others]
    batch = batch_of([(0, None, value, []) for value in values], 0)
    await role.handle(Chunk(PANES, 0, (batch,), 0, len(values), 1))
    assert [record.number for record in logs.ledger()] == [1, 2]
    assert registry.get_sample_value("throng_release_foreign_records_total") == 4
    assert "panes, partition 0, offset 1: passed over, as no crowd wrote it" in caplog.messages


MISFITS: dict[str, dict[str, object]] = {
    "of a partition that there is not": {"partition": 2},
    "of a measure that there is not": {"counts": {"crowding": Counts(b"", b"")}},
    "of a key that there is not": {"counts": {"present": Counts(b"\xff\xff\0\0", b"\1\0\0\0")}},
    "with keys without values": {"counts": {"present": Counts(b"\0" * 8, b"\1\0\0\0")}},
    "with a part of a key": {"counts": {"present": Counts(b"\0" * 3, b"\1\0\0")}},
    "lacking more than there is": {"lacking": {"present": 3}, "sources": 2},
    "lacking of nothing": {"lacking": {"present": 1}},
}


@pytest.mark.parametrize("misfit", [{}, *MISFITS.values()], ids=["of a release to come", *MISFITS])
async def test_what_may_be_a_crowds_and_is_not_as_theirs_is_refused_by_its_place(misfit: dict[str, object]) -> None:
    logs = Logs()
    role = releaser(logs)
    await role.positions({0: LogRange(0, 6)})
    (pane, _) = both(1)
    value = {"format": "secret"} if not misfit else msgspec.structs.replace(pane, **misfit)
    batch = batch_of([(0, None, msgspec.msgpack.encode(value), [])], 8)
    with pytest.raises(ThrongError, match="panes, partition 0, offset 8: the record is not as this release") as raised:
        await role.handle(Chunk(PANES, 0, (batch,), 8, 9, 1))
    assert raised.value.code == "panes" and "secret" not in raised.value.sentence and logs.ledger() == []


async def test_an_epoch_is_checked_once_and_not_for_each_of_its_panes(monkeypatch: pytest.MonkeyPatch) -> None:
    logs, checked = Logs(), list[int]()
    monkeypatch.setattr(release, "sound", lambda epoch: checked.append(epoch.epoch) or epoch)
    role = releaser(logs)
    await role.positions({0: LogRange(0, 6)})
    await role.handle(chunk(both(1, 2), 0))
    await role.handle(chunk(both(3), 4))
    assert checked == [EPOCH.epoch]
    assert [record.number for record in logs.ledger() if record.measure == "present"] == [1, 2, 3]


async def test_one_that_is_to_stop_amid_an_hours_end_begins_no_further_measure_and_the_next_loses_none() -> None:
    logs, steps, last = Logs(), list[int](), 1_000
    role = releaser(logs, turn=Turn(lambda: len(logs.ledger()) < last, lambda: steps.append(len(logs.ledger()))))
    await role.positions({0: LogRange(0, 24)})
    await role.handle(chunk(both(*range(1, 12)), 0))
    told = len(logs.ledger())
    last = told + 2
    steps.clear()
    await role.handle(chunk(both(12), 22))
    assert steps == [told + 1, told + 2], "it says that it goes on with each measure"
    assert [record.measure for record in logs.ledger()[told:]] == ["present", "trips_parent"]
    role = releaser(logs)
    wanted = (await role.positions({0: LogRange(0, 24)}))[0] or 0
    await role.handle(chunk(both(*range(1, 13))[wanted:], wanted))
    ended = [record.measure for record in logs.ledger() if record.number == 12]
    assert sorted(ended) == sorted(measure.name for measure in EPOCH.measures)


async def test_a_pane_that_waits_for_its_noise_is_left_to_whoever_has_the_partition_next() -> None:
    logs, drawn, ours = Logs(), threading.Event(), True

    def slowly(counts: np.ndarray, *_: float) -> np.ndarray:
        assert drawn.wait(30)
        return counts

    role = releaser(logs, noise=OnTheSpot(slowly), turn=Turn(lambda: ours, lambda: None))
    await role.positions({0: LogRange(0, 2)})
    handling = asyncio.ensure_future(role.handle(chunk(both(1), 0)))
    await asyncio.wait([handling], timeout=0.3)
    assert not handling.done()
    ours = False
    await asyncio.wait([handling], timeout=5)
    drawn.set()
    await handling
    assert not logs.ledger()


async def test_noise_of_all_that_an_epoch_draws_is_expected_from_its_first_pane_on() -> None:
    logs = Logs()
    asked: list[tuple[int, float, float, float]] = []
    expected: list[tuple[int, float, float, float]] = []

    class Noted(OnTheSpot):
        def expect(self, *wanted: float) -> None:
            expected.append(wanted)

    def noise(counts: np.ndarray, *more: float) -> np.ndarray:
        asked.append((len(counts), *more))
        return counts

    role = releaser(logs, noise=Noted(noise))
    await role.positions({0: LogRange(0, 24)})
    await role.handle(chunk([pane(0, 1)], 0))
    assert not asked
    first = list(expected)
    await role.handle(chunk([pane(1, 1), *both(*range(2, 13))], 1))
    assert set(first) == set(asked) and len(first) == len(EPOCH.measures)
    assert expected == first, "once an epoch"


async def test_noise_is_not_drawn_ahead_while_a_pane_is_released_and_goes_on_before_redis_is_shown_it() -> None:
    logs, rests = Logs(), [False]
    at: list[tuple[str, bool]] = []

    class Noted(OnTheSpot):
        @contextmanager
        def resting(self) -> Iterator[None]:
            rests.append(True)
            try:
                yield
            finally:
                rests.append(False)

    def noise(counts: np.ndarray, *_: float) -> np.ndarray:
        at.append(("noise", rests[-1]))
        return counts

    async def to_redis(_: LedgerRecord) -> None:
        at.append(("redis", rests[-1]))

    role = releaser(logs, noise=Noted(noise))
    role.showing._publisher.to_redis = to_redis  # type: ignore[method-assign]
    await role.positions({0: LogRange(0, 4)})
    await role.handle(chunk(both(1), 0))
    assert at == [("noise", True), ("redis", False)]
    with pytest.raises(ThrongError, match="differs"):
        await role.handle(chunk([pane(0, 2), sealed(msgspec.structs.replace(pane(0, 2), counts={}))], 2))
    assert rests == [False, True, False, True, False]


async def test_noise_that_is_drawn_ahead_tells_what_noise_that_is_drawn_on_the_spot_does() -> None:
    def noise(counts: np.ndarray, sensitivity: float, scale: float, rho: float) -> np.ndarray:
        return counts + round(100 * sensitivity + 10 * scale + 1000 * rho)

    told = []
    for source in (OnTheSpot(noise), Ahead(noise)):
        logs = Logs()
        role = releaser(logs, noise=source)
        await role.positions({0: LogRange(0, 48)})
        await role.handle(chunk(both(*range(1, 25)), 0))
        told.append({topic: logs.values[topic] for topic in RELEASED})
    assert told[0] == told[1]
    assert told[0][FOOTFALL] and told[0][FLOWS]


async def test_what_follows_from_releases_waits_until_a_pane_is_released() -> None:
    logs, drawn, followed = Logs(), threading.Event(), list[int]()

    def slowly(counts: np.ndarray, *_: float) -> np.ndarray:
        assert drawn.wait(30)
        return counts

    async def follow(_: LedgerRecord | None) -> None:
        followed.append(len(logs.ledger()))

    role = releaser(logs, noise=OnTheSpot(slowly))
    role.following_up.follow = follow  # type: ignore[method-assign]
    await role.positions({0: LogRange(0, 2)})
    following = asyncio.ensure_future(role.following_up.keep_following())
    handling = asyncio.ensure_future(role.handle(chunk(both(1), 0)))
    await asyncio.sleep(0)
    role.following_up.waiting.put_nowait(None)
    await asyncio.wait([handling], timeout=0.3)
    assert not followed and not handling.done()
    drawn.set()
    await handling
    async with asyncio.timeout(30):
        while not followed:  # noqa: ASYNC110 - a service
            await asyncio.sleep(0)
    following.cancel()
    assert followed == [1], "once the pane's measure was in the ledger"


async def test_redis_shows_the_newest_panes_once_nothing_waits_to_be_released() -> None:
    logs, shown = Logs(), list[tuple[str, int, int]]()
    role = releaser(logs)

    async def to_redis(record: LedgerRecord) -> None:
        shown.append((record.measure, record.number, len(logs.ledger())))

    role.showing._publisher.to_redis = to_redis  # type: ignore[method-assign]
    await role.positions({0: LogRange(0, 26)})
    await role.handle(chunk(both(*range(1, 14)), 0))
    released = len(logs.ledger())
    newest = {measure.name: 12 for measure in EPOCH.measures} | {"present": 13}
    assert {name: number for name, number, _ in shown} == newest and len(shown) == len(newest)
    assert {records for _, _, records in shown} == {released}


async def test_what_redis_did_not_take_before_the_rules_forbade_it_is_waited_for_no_more() -> None:
    role = releaser(Logs())

    async def to_redis(_: LedgerRecord) -> None:
        raise ConnectionError

    role.showing._publisher.to_redis = to_redis  # type: ignore[method-assign]
    await role.positions({0: LogRange(0, 4)})
    await role.handle(chunk(both(1), 0))
    assert role._redis.trouble
    role.showing._withheld = lambda _: True  # type: ignore[method-assign]
    await role.showing.catch_up(EPOCH)
    assert not role._redis.trouble


async def test_releases_do_not_wait_for_a_redis_that_is_slow_without_failing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "SHOWN_WITHIN_S", 0.01)
    logs, shown, goes_on = Logs(), list[int](), asyncio.Event()
    role = releaser(logs)

    async def to_redis(record: LedgerRecord) -> None:
        shown.append(record.number)
        await goes_on.wait()

    role.showing._publisher.to_redis = to_redis  # type: ignore[method-assign]
    await role.positions({0: LogRange(0, 6)})
    async with asyncio.timeout(30):
        await role.handle(chunk(both(1), 0))
        await role.handle(chunk(both(2), 2))
        assert {record.number for record in logs.ledger()} == {1, 2} and shown == [1]
        goes_on.set()
        await role.handle(chunk(both(3), 4))
        while shown[-1] < 3:
            await role.showing.catch_up(EPOCH)
        goes_on.clear()
        await role.handle(chunk(both(4), 6))
        await role.revoked(frozenset({0}))
    assert all(task is asyncio.current_task() for task in asyncio.all_tasks()), "given up, nothing is left of it"


async def test_panes_gone_by_retention_are_void_and_the_next_are_released() -> None:
    logs, registry = Logs(), CollectorRegistry()
    role = releaser(logs)
    await role.positions({0: LogRange(0, 2)})
    await role.handle(chunk(both(1), 0))
    # Panes 2, 3 and partition 0's 4 are gone when the next worker begins.
    role = releaser(logs, registry)
    wanted = (await role.positions({0: LogRange(7, 11)}))[0]
    assert wanted is not None
    assert wanted < 7
    assert await role.lost(0, wanted, LogRange(7, 11)) == 7
    await role.handle(chunk([pane(1, 4), *both(5, 6)], 7))
    kinds = {(record.measure, record.number): (record.kind, record.reason) for record in logs.ledger()}
    void, release = ("void", "lost"), ("release", "")
    assert {n: kinds["present", n] for n in range(1, 7)} == {1: release, 2: void, 3: void, 4: void} | {
        5: release,
        6: release,
    }
    assert (kinds["arrivals", 3], kinds["arrivals", 6]) == (void, release)
    assert registry.get_sample_value("throng_release_voids_total", {"measure": "present", "reason": "lost"}) == 3


async def test_records_say_what_share_of_the_network_they_are_from() -> None:
    logs = Logs()
    role = releaser(logs)
    await role.positions({0: LogRange(0, 6)})
    panes = both(*range(1, 13))
    # Partition 1 has had nothing of some records of 1 source of 2, of the arrivals' time but of no pane's before.
    less = {measure.name: 1 for measure in EPOCH.due(12) if measure.statistic in ("arrivals", "dwell", "trips")}
    panes[-1] = sealed(msgspec.structs.replace(panes[-1], lacking=less, sources=2))
    await role.handle(chunk(panes, 0))
    said: dict[str, set[float]] = {}
    end = rfc3339(EPOCH.start_ms + 12 * EPOCH.pane_ms)
    for topic in (FOOTFALL, FLOWS, DWELL, VISITS):
        for value in map(orjson.loads, logs.values[topic]):
            if value["end"] == end:
                said.setdefault(value["measure"], set()).add(value["covered"])
            else:
                assert value["covered"] == 1.0
    lacking = {*less, "footfall", "departures"}
    assert said == {name: {0.75 if name in lacking else 1.0} for name in said} and said.keys() > lacking


async def test_what_a_partition_cannot_count_is_void_and_consumers_are_told() -> None:
    logs, registry = Logs(), CollectorRegistry()
    role = releaser(logs, registry)
    await role.positions({0: LogRange(0, 6)})
    panes = both(*range(1, 13))
    shut = {7: ("present",), 12: tuple(sorted(measure.name for measure in EPOCH.due(12)))}
    panes = [without(each, shut.get(each.number, ())) if each.partition == 1 else each for each in panes]
    await role.handle(chunk(panes, 0))
    ledger = {(record.measure, record.number): record for record in logs.ledger()}
    reasons = {key: record.reason for key, record in ledger.items() if record.kind == "void"}
    assert reasons == dict.fromkeys([("present", 7), *((measure.name, 12) for measure in EPOCH.measures)], "shut")
    footfall = [orjson.loads(value) for value in logs.values[FOOTFALL]]
    told = {(said["measure"], said["level"], said["zone"]): said for said in footfall if said.get("state_lost")}
    places = [("zone", f"z{number}") for number in range(6)]
    assert told.keys() == {
        *(("present", level, zone) for level, zone in [*places, ("parent", "north"), ("parent", "south")]),
        *(
            (measure, *place)
            for measure in ("arrivals", "footfall", "departures", "present_cohort")
            for place in places
        ),
    }
    assert all(said["suppressed"] and not said["complete"] and "noisy" not in said for said in told.values())
    assert {said["covered"] for said in told.values()} == {0.5}
    for topic in (DWELL, VISITS):
        parted = [said for value in logs.values[topic] if (said := orjson.loads(value)).get("state_lost")]
        assert [(said["level"], said["zone"]) for said in parted] == [*places, ("parent", "north"), ("parent", "south")]
    flows = [said for value in logs.values[FLOWS] if (said := orjson.loads(value)).get("state_lost")]
    assert [(said["measure"], said["published_pairs"], said["suppressed_pairs"]) for said in flows] == [
        ("trips_parent", 0, 4),
        ("trips_zone", 0, 36),
    ]
    assert registry.get_sample_value("throng_release_voids_total", {"measure": "present", "reason": "shut"}) == 2
    # No more is spent than without it, and the next pane is drawn as ever.
    await role.handle(chunk(both(13), 24))
    assert [record.kind for record in logs.ledger() if record.number == 13] == ["release"]


async def test_footfall_is_not_told_where_present_at_its_start_was_shut() -> None:
    logs = Logs()
    role = releaser(logs)
    await role.positions({0: LogRange(0, 6)})
    panes = [without(each, ("present",)) if each.number == 3 else each for each in both(*range(1, 10))]
    await role.handle(chunk(panes, 0))
    said = [orjson.loads(value) for value in logs.values[FOOTFALL]]
    ends = [rfc3339(EPOCH.start_ms + number * EPOCH.pane_ms) for number in (6, 9)]
    for measure in ("footfall", "departures"):
        told = [(each["end"], each.get("state_lost", False)) for each in said if each["measure"] == measure]
        assert told == [(ends[0], True)] * 6 + [(ends[1], False)] * 6


class Quiet(SettledRules):
    """Rules that withhold the first panes."""

    def of(self, epoch: Epoch) -> Told:
        return super().of(epoch)._replace(quiet_ms=EPOCH.start_ms + 3 * EPOCH.pane_ms)


async def test_the_first_footfall_after_withheld_panes_is_not_told_and_nothing_was_lost() -> None:
    logs, registry = Logs(), CollectorRegistry()
    role = releaser(logs, registry, rules=Quiet())
    await role.positions({0: LogRange(0, 6)})
    await role.handle(chunk(both(*range(1, 4)), 0))
    closed = registry.get_sample_value("throng_release_pane_end_seconds", {"measure": "present"})
    assert closed == (EPOCH.start_ms + 3 * EPOCH.pane_ms) / 1000, "what is withheld is not behind"
    role = releaser(logs, rules=Quiet())  # what it knows it has from the ledger
    await role.positions({0: LogRange(0, 24)})
    await role.handle(chunk(both(*range(4, 13)), 6))
    reasons = {(record.measure, record.number): record.reason for record in logs.ledger()}
    assert [reasons["present", number] for number in (3, 4)] == ["policy", ""]
    assert [reasons["arrivals", number] for number in (3, 6)] == ["policy", ""]
    footfall = [orjson.loads(value) for value in logs.values[FOOTFALL]]
    assert not any("state_lost" in said for said in footfall)
    windows = {(said["end"], said["suppressed"], "noisy" in said) for said in footfall if said["measure"] == "footfall"}
    ends = [rfc3339(EPOCH.start_ms + number * EPOCH.pane_ms) for number in (6, 9, 12)]
    assert windows == {(ends[0], True, False), (ends[1], False, True), (ends[2], False, True)}


def told_of(registry: CollectorRegistry) -> dict[str, float]:
    """How far each measure is, by the metrics."""
    name = "throng_release_pane_end_seconds"
    samples = [each for metric in registry.collect() for each in metric.samples]
    return {each.labels["measure"]: each.value for each in samples if each.name == name}


async def test_a_withdrawn_measure_is_not_behind_from_the_epoch_without_it_on() -> None:
    half_an_hour = msgspec.structs.replace(EPOCH, end_ms=EPOCH.start_ms + 6 * EPOCH.pane_ms)
    kept = tuple(measure for measure in EPOCH.measures if measure.name != "arrivals")
    after = msgspec.structs.replace(
        EPOCH, epoch=EPOCH.epoch + 1, start_ms=half_an_hour.end_ms, opens_ms=half_an_hour.end_ms, measures=kept
    )
    epochs = (half_an_hour, after)
    logs, registry, waiting = Logs(), CollectorRegistry(), CollectorRegistry()
    role = releaser(logs, registry, epochs=epochs)
    await role.positions({0: LogRange(0, 0)})
    await role.handle(chunk(both(*range(1, 7), epoch=half_an_hour), 0))
    ended = half_an_hour.end_ms / 1000
    assert told_of(registry) == dict.fromkeys(("present", "arrivals", "trips_parent"), ended)
    # Another that had the panes for a while and gave them away tells nothing of them.
    other = releaser(logs, waiting, epochs=epochs)
    await other.positions({0: LogRange(0, 12)})
    assert told_of(waiting).keys() == told_of(registry).keys()
    await other.revoked(frozenset({0}))
    assert told_of(waiting) == {}
    await role.handle(chunk(both(1, epoch=after), 12))
    end = ended + EPOCH.pane_ms / 1000
    assert told_of(registry) == {"present": end, "trips_parent": ended}, "arrivals are withdrawn, not behind"
    # Nor is it after a restart in that epoch, though the ledger still holds its last pane.
    again = CollectorRegistry()
    await releaser(logs, again, epochs=epochs).positions({0: LogRange(0, 14)})
    assert told_of(again) == told_of(registry)


async def test_a_restart_amid_the_voids_finds_the_loss_again() -> None:
    logs = Logs()
    role = releaser(logs)
    await role.positions({0: LogRange(0, 2)})
    await role.handle(chunk(both(1), 0))
    role = releaser(logs)
    await role.positions({0: LogRange(5, 9)})
    await role.lost(0, 0, LogRange(5, 9))
    await role.handle(chunk(both(4, 5), 5))
    whole = [(record.measure, record.number, record.kind) for record in logs.ledger()]
    voids = [number for number, (_, _, kind) in enumerate(whole) if kind == "void"]
    for kept in range(voids[0], voids[-1] + 2):
        again = Logs()
        again.values[LEDGER] = logs.values[LEDGER][:kept]
        role = releaser(again)
        wanted = (await role.positions({0: LogRange(5, 9)}))[0]
        assert wanted is not None
        assert wanted < 5
        await role.lost(0, wanted, LogRange(5, 9))
        await role.handle(chunk(both(4, 5), 5))
        assert [(record.measure, record.number, record.kind) for record in again.ledger()] == whole


async def drawn_elsewhere() -> Logs:
    """Three panes, released by another deployment."""
    other = Logs()
    role = releaser(other)
    await role.positions({0: LogRange(0, 6)})
    await role.handle(chunk(both(1, 2, 3), 0))
    return other


def brought(other: Logs) -> list[bytes]:
    return [msgspec.msgpack.encode(msgspec.structs.replace(record, panes_offset=BROUGHT)) for record in other.ledger()]


async def test_what_a_replay_brings_into_the_ledger_meanwhile_is_the_release() -> None:
    other, logs = await drawn_elsewhere(), Logs()
    role = releaser(logs)
    await role.positions({0: LogRange(0, 0)})
    logs.values[LEDGER] += brought(other)
    await role.handle(chunk(both(1, 2, 3, 4), 0))
    assert logs.values[LEDGER][: len(other.ledger())] == brought(other)
    assert {record.number for record in logs.ledger()[len(other.ledger()) :]} == {4}
    for topic in RELEASED:
        assert logs.values[topic][: len(other.values[topic])] == other.values[topic]
    assert other.values[FOOTFALL] and other.values[FLOWS]


async def test_what_a_replay_has_brought_before_the_release_begins_is_published_whole_and_asks_for_all_panes() -> None:
    other, logs = await drawn_elsewhere(), Logs()
    logs.values[LEDGER] += brought(other)
    role = releaser(logs)
    assert await role.positions({0: LogRange(0, 0)}) == {0: 0}
    await role.handle(chunk(both(1, 2, 3), 0))
    assert logs.values[LEDGER] == brought(other)
    for topic in RELEASED:
        assert set(logs.values[topic]) == set(other.values[topic])
        assert logs.values[topic][: len(other.values[topic])] == other.values[topic]
    assert other.values[FOOTFALL] and other.values[FLOWS]


async def test_consumers_find_the_places_under_the_hash_that_records_name_written_once_a_day(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logs, now_s = Logs(), 1000.0
    monkeypatch.setattr(showing.time, "monotonic", lambda: now_s)
    role = releaser(logs)
    await role.positions({0: LogRange(0, 4)})
    await role.handle(chunk(both(1), 0))
    await role.handle(chunk(both(2), 2))
    named = {msgspec.json.decode(value)["plan"] for value in logs.values[FOOTFALL]}
    assert [key for key, _ in logs.shown] == [f"released:places:{plan}" for plan in named]
    assert msgspec.json.decode(logs.shown[0][1], type=Places) == PLAN.places()
    now_s += PLACES_KEPT_S / 4  # also where no pane comes any more
    await role.showing.catch_up(EPOCH)
    assert len(logs.shown) == 2 and logs.shown[0] == logs.shown[1]


async def test_what_redis_has_lost_is_shown_again_with_the_next_pane() -> None:
    logs = Logs()
    role = releaser(logs)
    panes: list[tuple[str, int]] = []

    async def to_redis(record: LedgerRecord) -> None:
        panes.append((record.measure, record.number))

    role.showing._publisher.to_redis = to_redis  # type: ignore[method-assign]
    await role.positions({0: LogRange(0, 0)})
    await role.handle(chunk(both(*range(1, 13)), 0))
    await role.handle(chunk(both(13), 24))
    of_an_hour = {name for name, number in panes if number == 12} - {"present"}
    logs.shown.clear()
    panes.clear()
    await role.handle(chunk(both(14), 26))
    assert [key for key, _ in logs.shown] == [f"released:places:{PLAN.hash()}"]
    assert dict(panes) == {"present": 14, **dict.fromkeys(of_an_hour, 12)}
    panes.clear()
    await role.handle(chunk(both(15), 28))
    assert panes[0] == ("present", 15) and len(logs.shown) == 1, "once"


async def test_keys_without_an_end_are_looked_for_daily_whatever_redis_says(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Exception | None] = [ConnectionError(), NoPermissionError(), None, None]
    paused: list[float] = []

    async def give_ends() -> int:
        if error := answers.pop(0):
            raise error
        return 0

    async def sleep(pause_s: float) -> None:
        paused.append(pause_s)
        if not answers:
            raise asyncio.CancelledError

    role = releaser(Logs())
    monkeypatch.setattr(role.showing._publisher, "give_ends", give_ends)
    monkeypatch.setattr(showing.asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await role.showing.keep_giving_ends()
    assert paused == [showing.RETRY_S, *[showing.AGAIN_S] * 3]


class Excluding(SettledRules):
    """Rules that leave out kinds of zones from a moment on."""

    def __init__(self) -> None:
        super().__init__()
        self.excluded = frozenset[str]()

    def of(self, epoch: Epoch) -> Told:
        return Told(epoch, "", 0, self.excluded)


async def test_a_kind_of_zones_that_the_rules_leave_out_gives_and_gets_no_weight_from_the_next_pane_on() -> None:
    zones = list(WEIGHTED.zones)
    zones[1] = msgspec.structs.replace(zones[1], kind="market")
    rules, logs = Excluding(), Logs()
    role = releaser(logs, rules=rules, plan=msgspec.structs.replace(WEIGHTED, zones=tuple(zones)))

    async def estimates(number: int, begun: int) -> dict[str, float | None]:
        await role.handle(chunk(both(number), begun))
        told = [msgspec.json.decode(value, type=Footfall) for value in logs.values[FOOTFALL]]
        end = rfc3339(EPOCH.start_ms + number * EPOCH.pane_ms)
        present = [each for each in told if each.measure == "present" and each.level == "zone" and each.end == end]
        return {each.zone: each.estimate for each in present}

    # Each zone counts a fifth of the people of the one before, and has a fifth of its own counted by the next.
    assert await estimates(1, 0) == pytest.approx({zone.id: 2000 for zone in zones}, rel=0.01)
    rules.excluded = frozenset({"market"})
    after = await estimates(2, 2)
    # The third gives nothing of what it counts to the second any more, where nobody is counted.
    assert (after.pop(zones[2].id) or 0) > 2050
    # And of the second nothing is told.
    assert after == pytest.approx({zone.id: 2000 for zone in zones if zone not in zones[1:3]}, rel=0.01)


async def test_a_suspension_that_comes_while_a_pane_is_awaited_holds_for_it() -> None:
    class Suspended(SettledRules):
        why = after_reading = ""

        async def read(self) -> None:
            self.why = self.after_reading

        def of(self, epoch: Epoch) -> Told:
            return super().of(epoch)._replace(withheld=self.why)

    logs, rules = Logs(), Suspended()
    role = releaser(logs, rules=rules)
    await role.positions({0: LogRange(0, 2)})
    rules.after_reading = "suspended"
    await role.handle(chunk(both(1), 0))
    assert [(record.kind, record.reason) for record in logs.ledger()] == [("void", "policy")]


async def test_what_was_drawn_of_a_time_that_has_become_quiet_since_is_not_published_again() -> None:
    class QuietAmid(SettledRules):
        def of(self, epoch: Epoch) -> Told:
            return super().of(epoch)._replace(quiet_ms=EPOCH.start_ms + 2 * EPOCH.pane_ms)

    logs = Logs()
    role = releaser(logs)
    await role.positions({0: LogRange(0, 6)})
    await role.handle(chunk(both(1, 2, 3), 0))
    measures = []
    for rules in (SettledRules(), QuietAmid()):
        logs.values[FOOTFALL].clear()
        await releaser(logs, rules=rules).positions({0: LogRange(0, 6)})
        measures.append({orjson.loads(value)["measure"] for value in logs.values[FOOTFALL]})
    assert measures == [{"present", "arrivals"}, {"present"}]


async def test_that_state_was_lost_is_not_told_of_a_pane_of_which_nothing_may_be() -> None:
    logs = Logs()
    role = releaser(logs, rules=Quiet())
    await role.positions({0: LogRange(0, 8)})
    panes = [each for number in (1, 2, 3, 4) for each in (without(pane(0, number), ("present",)), pane(1, number))]
    await role.handle(chunk(panes, 0))
    said = [(record.number, record.reason) for record in logs.ledger() if record.measure == "present"]
    assert said == [(1, "policy"), (2, "policy"), (3, "policy"), (4, "shut")]
