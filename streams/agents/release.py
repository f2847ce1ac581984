"""RELEASE: exact panes in, noisy aggregates out. The only role whose output leaves.

In: chunks of the one partition of `panes`. A pane is summed once every partition has sent it; then for each measure
that it ends: noise (drawn ahead in a thread), the ledger, read back, and what the ledger says is published, by whoever
drew it.
Kept: nothing but what the ledger has. At the start two epochs of it are read, each measure's last pane is published
once more (the same bytes), and reading begins at the oldest pane that the ledger still needs.

What can fail: a ledger that ends before what was told (the process ends: what it lacks would be drawn again), a pane
that differs from its first record (the process ends, and goes on ending: releases halt), a send
(the process ends; the ledger decides what happened), Redis away (the topics go on; Redis is caught up later), panes
lost to retention before they were released (a void in the ledger closes them, and the next goes on), a partition that
lost its state (a void for what it can't count, which consumers are told). What the rules in force forbid to tell is
closed by a void as well, of which nothing is published; the audit log is read to its end before each pane.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol, TypeVar

import msgspec

from schemas.epochs import Epoch
from schemas.ledger import BROUGHT, LedgerRecord
from schemas.measures import Measure
from schemas.named import UNREADABLE, names
from schemas.panes import Pane
from streams.agents.following_up import FollowingUp
from streams.agents.health import Readiness
from streams.agents.life import cancelled
from streams.agents.redis_watch import RedisWatch
from streams.agents.roles import Chunk, LogRange, Turn
from streams.agents.showing import Showing
from streams.agents.yesterdays import Yesterdays
from streams.core.derived.following import Following
from streams.core.release.budget import keys_delta, rho_of
from streams.core.release.release import Draw, lost_record, next_record, shut_record, suppressed, withheld_record
from streams.core.release.render import Pages
from streams.core.release.sums import PaneDiffers, Sums, Whole, fits
from streams.core.rules.rules import Told
from streams.core.rules.soundness import sound
from streams.core.times import rfc3339
from streams.errors import ThrongError
from streams.metrics import ReleaseMetrics
from streams.stores.epochs import EpochReader
from streams.stores.ledger import Ledger
from streams.stores.noise import NoiseSource, draw_pane, expect_panes
from streams.stores.own import refused
from streams.stores.released import Publisher

log = logging.getLogger("throng.release")

# Of `panes`: the order of the panes is that of its one log.
PARTITION: Final = 0
# While noise or yesterday is awaited, it is looked so often whether the partition is still this worker's.
GLANCE_S: Final = 0.2
# A pane of 10,000 zones is in Redis within a second.
SHOWN_WITHIN_S: Final = 5.0

_FIELDS: Final = msgspec.msgpack.Decoder(dict[str, msgspec.Raw])

T = TypeVar("T")


class TakenBack(Exception):  # noqa: N818 - reads as what it is
    """The partition is no longer this worker's: whoever is next draws the pane."""


class Rules(Protocol):
    """The rules in force (`agents.rules.ReleaseRules`)."""

    async def read(self) -> None: ...
    def of(self, epoch: Epoch) -> Told: ...
    def now(self) -> str: ...


class Releaser:
    """The release role of one worker. `learn`: what is to be done, once, before anything that follows is worked out.
    `later_than`: where something was told of a later pane than one that ends then (`stores.published`).

    Many hours' panes may be in a chunk. Once the partition isn't this worker's any more, no further measure is begun:
    whoever is next begins where the ledger still needs them. One that waits for its noise or for yesterday is left to
    them too.

    Attributes:
        showing: what Redis shows.
        following_up: publishes what follows from what was published.
    """

    def __init__(
        self,
        pages: Pages,
        epochs: EpochReader,
        ledger: Ledger,
        publisher: Publisher,
        noise: NoiseSource,
        metrics: ReleaseMetrics,
        readiness: Readiness,
        rules: Rules,
        turn: Turn,
        following: Following | None = None,
        learn: Callable[[], Awaitable[None]] | None = None,
        later_than: Callable[[int], Awaitable[str | None]] | None = None,
    ) -> None:
        self._later_than = later_than
        self._pages = pages
        self._epochs = epochs
        self._ledger = ledger
        self._publisher = publisher
        self._noise = noise
        self._metrics = metrics
        self._readiness = readiness
        self._rules = rules
        self._turn = turn
        self._checked: dict[int, Epoch] = {}
        self._latest: Epoch | None = None
        self._expected = 0
        self._at_rest = asyncio.Event()
        self._at_rest.set()
        self._catching_up: asyncio.Task[None] | None = None
        self._yesterdays = Yesterdays(epochs, ledger, pages, rules.of)
        self._redis = RedisWatch(metrics.redis_errors, readiness)
        self.showing = Showing(publisher, pages, self._redis, self._withheld)
        self.following_up = FollowingUp(following, learn, publisher, metrics, self._withheld, self._at_rest)
        self._sums = Sums(ledger.account, epochs.records)
        self._writer = secrets.token_hex(8)

    async def positions(self, logs: Mapping[int, LogRange]) -> dict[int, int | None]:
        """Read the ledger, publish its last word once more, and begin where it still needs panes.

        What a replay has brought along nobody may have published here: all of it is, at each start.
        Crowds write to one partition. Whoever has others, which somebody has added, stands by.
        """
        if PARTITION not in logs:
            self._readiness.over("starting")
            return dict.fromkeys(logs)
        await self._epochs.refresh()
        await self._rules.read()
        await self._ledger.reread()
        await self._refuse_an_older_ledger()
        self._noise.forget()
        self._sums = Sums(self._ledger.account, self._epochs.records)
        self._metrics.ledger_read.set(self._ledger.bytes_read)
        for record in [*self._ledger.account.brought, *self._ledger.account.last.values()]:
            await self._publish(record)
        newest = self._newest()
        self._metrics.only([measure.name for epoch in newest for measure in epoch.measures])
        self.following_up.begin()
        for epoch in newest:
            # Of one that is over the plan may be gone.
            if not self._ledger.account.closed(epoch, epoch.last_pane):
                self._yesterdays.expect(epoch)
        self._readiness.over("starting")
        needed = self._ledger.account.needed_offset()
        return dict.fromkeys(logs) | {PARTITION: needed}

    async def _refuse_an_older_ledger(self) -> None:
        """Begin nothing where more was told than the ledger holds: it would be drawn once more.

        Raises:
            ThrongError: `ledger`, naming what was told.
        """
        account = self._ledger.account
        while self._later_than is not None:
            last_ms = max([0, *(record.end_ms for record in (*account.last.values(), *account.brought))])
            told = await self._later_than(last_ms)
            if told is None:
                return
            # Another may have drawn and told it meanwhile: then the ledger has it by now.
            if not await self._ledger.read():
                raise ThrongError(
                    "ledger",
                    f"{told}: that was told, and the ledger ends before it: it was put back to an earlier state, or "
                    "begun anew, and what it lacks would be drawn again; see docs/how-to/outages.md#ledger",
                )

    async def handle(self, chunk: Chunk) -> None:
        """Take one chunk of panes; draw and publish what has become whole, and show it where nothing waits for that."""
        if chunk.partition != PARTITION:
            return
        self._at_rest.clear()
        try:
            with self._noise.resting():
                await self._take_chunk(chunk)
        finally:
            self._at_rest.set()
        if self._turn.going_on() and not self._redis.trouble:
            await self._show()

    async def _show(self) -> None:
        """Show it, and wait for that, but not for long: a Redis may be slow without failing, key by key, and meanwhile
        the next pane and the group would wait."""
        if self._catching_up is None:
            self._catching_up = asyncio.create_task(self.showing.catch_up(self._latest))
        await asyncio.wait([self._catching_up], timeout=SHOWN_WITHIN_S)
        if self._catching_up.done():
            showing, self._catching_up = self._catching_up, None
            showing.result()

    async def _take_chunk(self, chunk: Chunk) -> None:
        records = chunk.walked()
        rows = zip(records.offset.tolist(), records.start.tolist(), records.end.tolist(), strict=True)
        for offset, start, end in rows:
            if offset < chunk.first_offset:
                continue
            place = f"{chunk.topic}, partition {chunk.partition}, offset {offset}"
            pane = self._decoded(records.payload[start : max(start, end)].tobytes(), place)
            if pane is None:
                continue
            self._metrics.panes.inc()
            epoch = await self._epoch(pane, place)
            if not fits(pane, epoch):
                raise refused("panes", place)
            try:
                new = self._sums.add(pane, offset, epoch)
            except PaneDiffers as error:
                raise ThrongError("pane_differs", f"{error}; releases halt until it is understood") from error
            if not new:
                self._metrics.repeats.inc()
        await self._close_lost()
        while self._turn.going_on() and (whole := self._sums.first_whole()) is not None:
            await self._rules.read()
            # What another has drawn, or a replay has brought along, is the release: nothing is drawn beside it.
            if others := await self._ledger.read():
                self._noise.forget()
                await self._take(others)
            try:
                for measure in whole.in_order():
                    await self._close(whole, measure)
                    self._turn.went_on()
            except TakenBack:
                return
            self._metrics.only([measure.name for measure in whole.epoch.measures])
            self._sums.drop(whole)
            self._latest = whole.epoch
            for epoch in self._epochs.records:
                if epoch.start_ms == whole.end_ms == whole.epoch.end_ms:
                    self._yesterdays.expect(epoch)

    def _decoded(self, value: bytes, place: str) -> Pane | None:
        """The pane; None of what no crowd wrote. Were it one of theirs, those after it would wait for it (`Sums`)."""
        try:
            return msgspec.msgpack.decode(value, type=Pane)
        except UNREADABLE:
            if names(value, _FIELDS):
                raise refused("panes", place) from None
            self._metrics.foreign.inc()
            log.error("%s: passed over, as no crowd wrote it", place)
            return None

    async def revoked(self, _: frozenset[int]) -> None:
        """How far releases are tells whoever has the panes now."""
        self._metrics.only(())
        if self._catching_up is not None:
            await cancelled([self._catching_up])
            self._catching_up = None

    async def keep_showing(self) -> None:
        """Catch Redis up with what it missed while it was away, for ever."""
        while True:
            await asyncio.sleep(1.0)
            self._tell_rules()
            if self._at_rest.is_set():
                await self.showing.catch_up(self._latest)

    async def lost(self, partition: int, position: int, log_range: LogRange) -> int:
        """Retention took panes that were not released: go on at the log's start, and close what can't be whole."""
        if partition != PARTITION:
            return log_range.start
        log.error("records of panes from offset %d to %d are gone before they were read", position, log_range.start)
        self._sums.begin_anywhere()
        return log_range.start

    async def _close_lost(self) -> None:
        """A void for every measure of the lost panes."""
        # They name the position before the loss: a restart amid them must find the loss again.
        account = self._ledger.account
        needed = account.needed_offset()
        voids = [
            lost_record(epoch, measure, number, needed, self._writer)
            for epoch, number in self._sums.lost()
            for measure in epoch.due(number)
            if number > account.closed_through(epoch.epoch, measure.name)
        ]
        if not voids:
            return
        first, last = rfc3339(voids[0].start_ms), rfc3339(voids[-1].end_ms)
        log.error("panes from %s to %s are lost: they are closed without a release", first, last)
        await self._append(*voids)

    async def _epoch(self, pane: Pane, place: str) -> Epoch:
        if pane.epoch not in self._checked:
            self._checked[pane.epoch] = await self._check(pane.epoch, place)
        return self._checked[pane.epoch]

    async def _check(self, number: int, place: str) -> Epoch:
        """The epoch, once it is found to be sound and its places to be known: before anything of it is released."""
        known = {epoch.epoch: epoch for epoch in self._epochs.records}
        if number not in known:
            known |= {epoch.epoch: epoch for epoch in await self._epochs.refresh()}
        if number not in known:
            raise ThrongError("epochs", f"{place}: its epoch {number} is not in the epochs topic: was it deleted?")
        epoch = sound(known[number])
        self._pages.check(epoch)
        if epoch.epoch > self._expected:
            self._expected = epoch.epoch
            self._expect_noise_of(epoch)
        return epoch

    def _expect_noise_of(self, epoch: Epoch) -> None:
        """Have noise of the epoch's first panes drawn before they end: that of an hour's takes seconds."""
        told = self._rules.of(epoch)
        if not told.withheld:
            expect_panes(self._noise, told.epoch)

    def _newest(self) -> list[Epoch]:
        """The newest epoch that the ledger has panes of, those apart that a replay brought; none at first."""
        drawn = {record.epoch for record in self._ledger.account.last.values() if record.panes_offset != BROUGHT}
        return [epoch for epoch in self._epochs.records if epoch.epoch == max(drawn, default=0)]

    async def _close(self, whole: Whole, measure: Measure) -> None:
        """Release the measure's pane, or say that it can't be, unless that is done.

        Raises:
            TakenBack: the partition is another's before anything of it was told.
        """
        if whole.number <= self._ledger.account.closed_through(whole.epoch.epoch, measure.name):
            return
        if not self._turn.going_on():
            raise TakenBack
        told = self._rules.of(whole.epoch)
        needed = self._sums.needed_offset
        now = next((each for each in told.epoch.measures if each.name == measure.name), None)
        # That state was lost is told, of all but a pane that ends while nothing is told.
        told_of_loss = measure.name in whole.shut and whole.end_ms > told.quiet_ms
        if now is None or told.withheld or (told.quiet(now, whole.end_ms) and not told_of_loss):
            await self._append(withheld_record(whole.epoch, measure, whole.number, needed, self._writer))
            return
        if measure.name not in whole.shut:
            await self._release(whole, told, now)
            return
        log.warning("%s of the pane to %s is shut: state was lost", measure.name, rfc3339(whole.end_ms))
        page, covered = self._pages.of(whole.epoch, told.excluded), whole.covered[measure.name]
        await self._append(shut_record(whole.epoch, measure, whole.number, page, needed, self._writer, covered))

    def _tell_rules(self) -> None:
        """Say in the readiness why nothing is told of the epoch that panes come of, or of the first to come."""
        epoch = self._latest or min(self._epochs.records, key=lambda each: each.start_ms, default=None)
        if epoch is not None and (why := self._rules.of(epoch).withheld):
            self._readiness.waiting("policy", f"{why}: nothing is released")
        else:
            self._readiness.over("policy")

    def _withheld(self, record: LedgerRecord) -> bool:
        """Do the rules forbid to publish what was drawn before they changed?"""
        epoch = next((each for each in self._epochs.records if each.epoch == record.epoch), None)
        if epoch is None:  # of another deployment, brought by a replay
            return bool(self._rules.now())
        told = self._rules.of(epoch)
        measure = next((each for each in told.epoch.measures if each.name == record.measure), None)
        if told.withheld or measure is None or record.end_ms <= told.quiet_ms:
            return True
        return record.kind == "release" and told.quiet(measure, record.end_ms)

    async def _append(self, *records: LedgerRecord) -> None:
        new = await self._ledger.append(*records)
        if len(new) > len(records):
            self._noise.forget()
        await self._take(new)

    async def _take(self, new: list[LedgerRecord]) -> None:
        for valid in new:
            if valid.kind == "void":
                self._metrics.voids.labels(valid.measure, valid.reason).inc()
            await self._publish(valid)

    async def _release(self, whole: Whole, told: Told, measure: Measure) -> None:
        """Draw by the epoch and the measure as the rules have them now; the account is the epoch's own."""
        epoch = told.epoch
        account = self._ledger.account
        began = time.perf_counter()
        account.check(whole.epoch, measure.name, rho_of(measure, epoch), keys_delta(measure, epoch))
        counted = whole.counts[measure.name]
        drawing = asyncio.create_task(asyncio.to_thread(draw_pane, self._noise, epoch, measure, counted))
        noisy, keys = await self._unless_taken_back(drawing)
        looking = self._yesterdays.of(told, measure)
        yesterday = await self._unless_taken_back(looking) if looking is not None else None
        record = next_record(
            Draw(epoch, measure, whole.number, whole.end_ms, noisy, keys, whole.covered.get(measure.name, 1.0)),
            account.last.get(measure.name),
            account.last.get("present"),
            self._pages.of(epoch, told.excluded),
            self._sums.needed_offset,
            self._writer,
            yesterday,
        )
        await self._append(record)
        self._metrics.draw.observe(time.perf_counter() - began)
        self._metrics.releases.labels(measure.name).inc()
        self._metrics.budget.set(whole.epoch.rho)
        self._metrics.spent.set(account.spent(epoch.epoch))

    async def _unless_taken_back(self, waited: asyncio.Task[T]) -> T:
        """Yesterday, or noise: at a start, or on a busy machine, it takes longer than a rebalance or a stop waits.

        Raises:
            TakenBack: the partition is another's before it is there. Nothing of the measure's pane was told.
        """
        while not waited.done():
            if not self._turn.going_on():
                raise TakenBack
            await asyncio.wait([waited], timeout=GLANCE_S)
        return waited.result()

    async def _publish(self, record: LedgerRecord) -> None:
        # Closed is closed: what the rules withhold, or what was lost, is not behind, and nobody is paged for that.
        self._metrics.closed(record.measure, record.end_ms)
        if self._withheld(record):
            return
        self._metrics.sent(await self._publisher.to_kafka(record))
        self.following_up.take(record)
        self.showing.pane(record)
        self._metrics.suppressed.labels(record.measure).set(suppressed(record))
