"""The budget of a subscriber-day under attack: second workers, restarts and replays can't have it drawn twice.

What counts is what consumers have seen: every different noisy vector of a pane that was ever published is a draw, and
costs. The sum over all of them, by the definition of the mechanism and not by the account's own books, must stay within
the epoch's rho.
"""

import asyncio
import itertools
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec
import numpy as np
import orjson
import pytest
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from schemas.epochs import Epoch
from schemas.ledger import LedgerRecord
from schemas.panes import Pane, from_dense, sealed
from schemas.topics import LEDGER, PANES, RELEASED
from streams.agents.health import Readiness
from streams.agents.release import Releaser
from streams.agents.transport import Chunk, LogRange
from streams.core.release.budget import sigma
from streams.core.release.ledger import Overspent
from streams.core.release.release import publications
from streams.core.release.render import Page, Pages
from streams.metrics import ReleaseMetrics
from streams.stores.ledger import Ledger
from streams.stores.noise import NoiseSource, OnTheSpot
from streams.stores.noise_ahead import Ahead
from streams.stores.released import Publisher
from tests.support.raw import batch_of
from tests.support.rules import SettledRules
from tests.support.turns import ALONE
from tests.support.world import PLAN, epochs_at
from tests.unit.test_release_role import Logs, Reader

EPOCH = msgspec.structs.replace(epochs_at(1_772_420_400_000)[0], partitions=2)
PAGE = Page(PLAN, 0.95)
PANES_IN_ALL = 12
POPULOUS = 100_000


class Busy(Logs):
    """Logs whose sends take a while, so that writers meet."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._rng = rng

    async def send(self, topic: str, value: bytes, **_: object) -> "asyncio.Future[object]":
        for _turn in range(self._rng.choice([0, 0, 1, 5])):
            await asyncio.sleep(0)
        return await super().send(topic, value)


class Credulous(Ledger):
    """The planted mistake: believes in its own draws, not in the log's first."""

    async def append(self, *records: LedgerRecord) -> list[LedgerRecord]:
        await super().append(*records)
        return list(records)


def noise(counts: NDArray[np.int64], sensitivity: float, scale: float, rho: float) -> NDArray[np.int64]:
    return counts + np.rint(np.random.default_rng().normal(0, scale, counts.shape)).astype(np.int64)


GAUSSIAN = OnTheSpot(noise)


class Epochs:
    def __init__(self, epoch: Epoch) -> None:
        self.records = [epoch]

    async def refresh(self) -> list[Epoch]:
        return []


def releaser(logs: Logs, kind: type[Ledger] = Ledger, epoch: Epoch = EPOCH, noise: NoiseSource = GAUSSIAN) -> Releaser:
    return Releaser(
        Pages(lambda _: PLAN, 0.95),
        Epochs(epoch),  # type: ignore[arg-type]
        kind(Reader(logs), logs, LEDGER),  # type: ignore[arg-type]
        Publisher(logs, logs, {name: name for name in RELEASED}, dict.fromkeys(RELEASED, 1), ""),  # type: ignore[arg-type]
        noise,
        ReleaseMetrics(CollectorRegistry()),
        Readiness(),
        SettledRules(),
        ALONE,
    )


def panes() -> list[Pane]:
    found = []
    for number in range(1, PANES_IN_ALL + 1):
        end = EPOCH.start_ms + number * EPOCH.pane_ms
        for partition in (0, 1):
            counts = {
                m.name: from_dense(np.full(m.keys(EPOCH.zones, EPOCH.parents), POPULOUS, np.int64))
                for m in EPOCH.due(number)
            }
            found.append(sealed(Pane(EPOCH.epoch, partition, 2, number, end - EPOCH.pane_ms, end, 2, counts, 0)))
    return found


LOG = panes()


async def work(logs: Logs, rng: random.Random, kind: type[Ledger]) -> None:
    """One worker after the other, each from where the ledger sends it, or from further back, until all is released."""
    while True:
        role = releaser(logs, kind)
        needed = (await role.positions({0: LogRange(0, len(LOG))}))[0] or 0
        at = rng.choice([needed, needed, 0, max(needed - 3, 0)])
        life = rng.choice([3, 7, len(LOG)])
        for _ in range(life):
            size = rng.randint(1, 5)
            part = LOG[at : at + size]
            if not part:
                return
            batch = batch_of([(0, None, msgspec.msgpack.encode(each), []) for each in part], at)
            await role.handle(Chunk(PANES, 0, (batch,), at, at + len(part), 1))
            at += len(part)


def shown(logs: Logs) -> dict[tuple[str, str], set[tuple[int, ...]]]:
    """By (measure, pane's end) the different noisy vectors that consumers have seen."""
    found: dict[tuple[str, str], list[dict[str, int]]] = defaultdict(list)
    for value in (value for name in RELEASED for value in logs.values[name]):
        said = orjson.loads(value)
        if (
            "noisy" not in said
            or said["measure"] in ("footfall", "departures")
            or (said["level"] == "parent" and "zone" in said)
        ):
            continue
        place = said.get("zone") or said["origin"] + said["destination"]
        part = said.get("bucket", said.get("visit"))
        if part is None and said["measure"] in ("dwell", "visits"):
            continue  # the sum of its parts
        place += f"{said.get('age_band')}{said.get('gender')}{part}"
        runs = found[said["measure"], said["end"]]
        for run in runs:
            if run.setdefault(place, said["noisy"]) == said["noisy"]:
                break
        else:
            runs.append({place: said["noisy"]})
    return {key: {tuple(sorted(run.items())) for run in runs} for key, runs in found.items()}


def cost(logs: Logs) -> float:
    """rho of all that was seen: a subscriber is in at most `cap` panes of a measure, and in each once a draw."""
    total = 0.0
    drawn = shown(logs)
    for measure in EPOCH.measures:
        scale = next(record.sigma for record in logs.ledger() if record.measure == measure.name)
        draws = sorted((len(runs) for (name, _), runs in drawn.items() if name == measure.name), reverse=True)
        total += sum(draws[: EPOCH.cap(measure)]) / (2 * scale**2)
    return total


@pytest.mark.parametrize("seed", range(6))
async def test_no_second_worker_restart_or_replay_has_a_pane_drawn_twice(seed: int) -> None:
    rng = random.Random(seed)
    logs = Busy(rng)
    await asyncio.gather(*(work(logs, rng, Ledger) for _ in range(rng.choice([2, 3]))))
    drawn = shown(logs)
    assert {len(runs) for runs in drawn.values()} == {1}
    assert len([key for key in drawn if key[0] == "present"]) == PANES_IN_ALL
    assert len(logs.ledger()) > len(drawn)  # they did meet: some draws are void
    once = sum(len([key for key in drawn if key[0] == m.name]) / (2 * sigma(m, EPOCH) ** 2) for m in EPOCH.measures)
    assert cost(logs) == pytest.approx(once)
    # A day of panes that are each drawn once costs what the measures' shares add up to.
    assert sum(EPOCH.cap(m) / (2 * sigma(m, EPOCH) ** 2) for m in EPOCH.measures) <= EPOCH.rho * (1 + 1e-12)
    told = {item.value for record in first_of(logs) for item in publications(record)}
    assert {value for name in RELEASED for value in logs.values[name]} == told


def first_of(logs: Logs) -> list[LedgerRecord]:
    first: dict[tuple[str, int], LedgerRecord] = {}
    for record in logs.ledger():
        first.setdefault((record.measure, record.number), record)
    return list(first.values())


class Overtaken(Logs):
    """Logs in which somebody else is sooner, once, just before the ledger has a record."""

    def __init__(self) -> None:
        super().__init__()
        self.sooner: Callable[[], Awaitable[None]] | None = None

    async def send(self, topic: str, value: bytes, **_: object) -> "asyncio.Future[object]":
        if topic == LEDGER and self.sooner is not None:
            sooner, self.sooner = self.sooner, None
            await sooner()
        return await super().send(topic, value)


@pytest.mark.parametrize("when", ["before a pane", "before a rebalance", "amid a pane"])
@pytest.mark.parametrize("chunk", [1, 2, 4, len(LOG)])
async def test_noise_in_a_memory_that_was_copied_hides_no_two_panes(chunk: int, when: str) -> None:
    """A machine that is put back to an earlier state has what was drawn ahead once more. On two panes it would hide
    nothing: the difference of what was told would be that of the exact counts. `when`: the other one goes on."""
    logs, drawn = Overtaken(), itertools.count(1)

    def each_its_own(counts: NDArray[np.int64], *_: float) -> NDArray[np.int64]:
        return counts + next(drawn)

    async def begun(noise: Ahead) -> Releaser:
        role = releaser(logs, noise=noise)
        await role.positions({0: LogRange(0, len(LOG))})
        return role

    async def go_on(role: Releaser, first: int, end: int) -> None:
        for at in range(first, end, chunk):
            part = LOG[at : min(at + chunk, end)]
            batch = batch_of([(0, None, msgspec.msgpack.encode(one), []) for one in part], at)
            await role.handle(Chunk(PANES, 0, (batch,), at, at + len(part), 1))

    first = Ahead(each_its_own)
    role = await begun(first)
    await go_on(role, 0, 4)
    copied = Ahead(each_its_own)
    role_copied = await begun(copied)
    copied._drawn = dict(first._drawn)
    if when == "amid a pane":
        logs.sooner = partial(go_on, role, 4, 12)
    else:
        await go_on(role, 4, 12)
    if when == "before a rebalance":
        await role_copied.positions({0: LogRange(0, len(LOG))})
    await go_on(role_copied, 4, len(LOG))
    noises = [int(np.frombuffer(record.noisy, "<i8")[0]) for record in first_of(logs)]
    assert len(noises) > 2 * PANES_IN_ALL - 12
    assert len(set(noises)) == len(noises)


async def test_who_believes_in_their_own_draws_would_be_seen() -> None:
    rng = random.Random(1)
    logs = Busy(rng)
    await asyncio.gather(work(logs, rng, Credulous), work(logs, rng, Credulous))
    assert max(len(runs) for runs in shown(logs).values()) > 1


async def test_a_worker_with_a_greedier_epoch_is_refused() -> None:
    """The same epoch with another split of the budget: what was paid stays paid, and no more is."""
    logs = Logs()
    await work(logs, random.Random(0), Ledger)
    shares = {"present": 0.1, "arrivals": 0.6}
    greedy = tuple(msgspec.structs.replace(m, share=shares.get(m.name, 0.05)) for m in EPOCH.measures)
    role = releaser(logs, epoch=msgspec.structs.replace(EPOCH, measures=greedy))
    await role.positions({0: LogRange(0, len(LOG))})
    later = [
        sealed(
            msgspec.structs.replace(
                pane, number=pane.number + 12, start_ms=pane.start_ms + 3_600_000, end_ms=pane.end_ms + 3_600_000
            )
        )
        for pane in LOG
    ]
    batch = batch_of([(0, None, msgspec.msgpack.encode(each), []) for each in later], len(LOG))
    with pytest.raises(Overspent, match="arrivals"):
        await role.handle(Chunk(PANES, 0, (batch,), len(LOG), 2 * len(LOG), 1))
