"""Waiting until everything that was sent has come through to consumers; a worker that stays idle is named."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import NamedTuple

import msgspec
import orjson

from schemas.epochs import Epoch
from schemas.ledger import LedgerRecord
from schemas.panes import Pane
from schemas.sightings import Control, Section, decode_frame
from schemas.topics import ATTACH, LEDGER, PANES, RELEASED, SIGHTINGS
from streams.core.release.release import publications
from tests.chaos.cluster import Tail
from tests.chaos.field import Field
from tests.chaos.judge import Lost, Published, lost_ranges, releases
from tests.support.deployment import fetch, opened

PATIENCE_S = 150.0
POLL_S = 1.0


class Complete(NamedTuple):
    """What there is when nothing is under way any more."""

    epochs: list[Epoch]
    panes: list[Pane]
    ledger: list[LedgerRecord]
    published: list[Published]
    lost: Lost
    until: int
    recovered_s: float


async def all_ready(field: Field) -> None:
    """Wait until every worker is ready, to stand by or to work.

    Raises:
        SystemExit: naming those that aren't after a while.
    """
    deadline = time.monotonic() + PATIENCE_S
    while idle := await unready(field):
        if time.monotonic() > deadline:
            raise SystemExit(f"chaos: not ready after {PATIENCE_S:g} s: {idle}")
        await asyncio.sleep(POLL_S)


async def complete(field: Field) -> Complete:
    """Everything, once it is there.

    Raises:
        SystemExit: for a time nothing at all moved; with what is missing and the workers that aren't ready.
    """
    began = time.monotonic()
    wait = _Wait(field)
    until = await _committed(field, wait)
    epochs = await opened(field.settings)
    panes = await _panes(field, wait, epochs, until)
    ledger, published = await _published(field, wait, panes)
    took = time.monotonic() - began
    await _idle(field)
    return Complete(epochs, panes, ledger, published, await _lost(field), until, took)


class _Wait:
    """Patience, as long as something moves."""

    def __init__(self, field: Field) -> None:
        self._field = field
        self._last: object = None
        self._since = time.monotonic()

    async def moved(self, where: object, missing: Callable[[], str]) -> None:
        now = time.monotonic()
        if where != self._last:
            self._last, self._since = where, now
        if now - self._since > PATIENCE_S:
            idle = await unready(self._field)
            raise SystemExit(f"chaos: nothing moved for {PATIENCE_S:g} s: {missing()}; not ready: {idle or 'nobody'}")
        await asyncio.sleep(POLL_S)


async def unready(field: Field) -> dict[str, object]:
    """The workers that aren't ready, and why."""
    found: dict[str, object] = {}
    for name in sorted(field.workers.running):
        try:
            said = orjson.loads(await asyncio.to_thread(fetch, field.workers.ports[name], "readyz"))
        except OSError as error:
            body = getattr(error, "read", lambda: b"")()
            said = orjson.loads(body) if body else {"ready": False, "reasons": [str(error)]}
        if not said["ready"]:
            found[name] = said["reasons"]
    return found


async def _committed(field: Field, wait: _Wait) -> int:
    """Wait until the gateways have committed the whole raw log; the watermark that it ends with."""
    ends = {source: end for source, (_, end) in (await field.cluster.ranges(ATTACH)).items()}
    while True:
        committed = await field.cluster.committed("gateway", ATTACH)
        if all(committed.get(source, (0, ""))[0] >= end for source, end in ends.items()):
            return min(int(said) for _, said in committed.values()) - 10_000
        behind = {s: end - committed.get(s, (0, ""))[0] for s, end in ends.items()}
        await wait.moved(committed, lambda: f"the gateways are behind by {behind} records")  # noqa: B023


async def _panes(field: Field, wait: _Wait, epochs: list[Epoch], until: int) -> list[Pane]:
    wanted = {
        (epoch.epoch, p, number)
        for epoch in epochs
        for p in range(field.settings.kafka.partitions)
        for number in range(1, (min(until, epoch.end_ms) - epoch.start_ms) // epoch.pane_ms + 1)
        if epoch.start_ms + number * epoch.pane_ms > epoch.opens_ms
    }
    panes: list[Pane] = []
    async with Tail(field.cluster, PANES) as tail:
        while True:
            panes += [msgspec.msgpack.decode(record.value, type=Pane) for record in await tail.poll()]
            missing = wanted - {(pane.epoch, pane.partition, pane.number) for pane in panes}
            if not missing:
                return panes
            await wait.moved(len(missing), lambda: f"{len(missing)} panes are missing: {sorted(missing)[:5]}")  # noqa: B023


async def _published(field: Field, wait: _Wait, panes: list[Pane]) -> tuple[list[LedgerRecord], list[Published]]:
    wanted = {(pane.epoch, measure, pane.number) for pane in panes for measure in pane.counts}
    ledger: list[LedgerRecord] = []
    published: list[Published] = []
    async with Tail(field.cluster, LEDGER) as drawn, AsyncExitStack() as open_tails:
        told = {name: await open_tails.enter_async_context(Tail(field.cluster, name)) for name in RELEASED}
        while True:
            for name, tail in told.items():
                published += [Published(name, record.key, record.value) for record in await tail.poll()]
            ledger += [msgspec.msgpack.decode(record.value, type=LedgerRecord) for record in await drawn.poll()]
            firsts = releases(ledger)
            missing = wanted - firsts.keys()
            if not missing:
                said = {Published(i.topic, i.key, i.value) for r in firsts.values() for i in publications(r)}
                if not (unsaid := len(said - set(published))):
                    return ledger, published
                await wait.moved(unsaid, lambda: f"{unsaid} records of the ledger are not published")
                continue
            await wait.moved(len(missing), lambda: f"{len(missing)} releases are missing: {sorted(missing)[:5]}")  # noqa: B023


async def _idle(field: Field) -> None:
    """Everybody must be ready in the end."""
    try:
        await all_ready(field)
    except SystemExit as error:
        field.wrong.append(str(error))


async def _lost(field: Field) -> Lost:
    sections: dict[int, list[Section]] = {p: [] for p in range(field.settings.kafka.partitions)}
    for record in await field.cluster.read(SIGHTINGS):
        frame = decode_frame(record.value)
        if not isinstance(frame, Control):
            sections[record.partition] += frame
    return lost_ranges(sections, field.deleted)
