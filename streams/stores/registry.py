"""The registry twice: the gateway's copy, read to its end before any raw event and then followed (`RegistryReader`);
and single partitions as a log from given positions, for the rows that go to `sightings` (`RegistryLog`).

Whoever writes it may do so in transactions: what was rolled back is nobody's consent, nor anybody's opt-out.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.core.gateway.consents import RegistryRecord
from streams.core.gateway.registry import RegistryTable
from streams.errors import ThrongError
from streams.stores.bounded_reading import bound_batches
from streams.stores.connection import At, client_options
from streams.stores.log import REQUEST_MS, TailReader, disconnect

log = logging.getLogger("throng.registry")

POLL_MS = 500
FRESH_S = 5.0
ISOLATION = "read_committed"
# Of somebody who was erased compaction leaves nothing, a day afterwards at the earliest: who has missed so much begins
# anew.
LONGEST_GAP_S = 43_200.0


class RegistryReader:
    """Keeps `table` as the `registry` topic says: of what is said of a subscriber the latest by the records' times
    counts, in whichever partition it stands."""

    def __init__(self, at: At, topic: str) -> None:
        self._topic = topic
        self._reader = TailReader(at, topic, ISOLATION, round(FRESH_S * 1000))
        self.table = RegistryTable()
        self._known_at = self._wanted_at = 0.0
        self._looked: _Looked | None = None
        self._wanted = asyncio.Event()

    async def start(self) -> None:
        """Read the whole topic."""
        await self._reader.start()
        await self._read()

    async def _read(self) -> None:
        now = _Looked(time.monotonic(), time.time())
        self._check(now)
        unreadable = self.table.unreadable
        async for records in self._reader.read_in_time():
            self.table.take((record.key, record.value) for record in records)
            await asyncio.sleep(0)
        if self.table.unreadable > unreadable:
            more = self.table.unreadable - unreadable
            log.error(
                "%d records of %s can't be read: whom they name by key or value is not counted", more, self._topic
            )
        self._known_at, self._looked = now.monotonic_s, now

    def _check(self, now: "_Looked") -> None:
        if self._reader.grown:
            raise ThrongError(
                "registry_grown",
                f"{self._topic} has got more partitions, in which there may be opt-outs: it is read anew",
            )
        gap_s = 0.0 if self._looked is None else self._looked.before_s(now)
        if gap_s > LONGEST_GAP_S:
            raise ThrongError(
                "registry_old",
                f"{self._topic} was not read for {gap_s / 3600:.0f} h, and of who was erased meanwhile nothing "
                "may be left in it: it is read anew",
            )

    async def stop(self) -> None:
        """Disconnect."""
        await self._reader.stop()

    def fresh(self) -> bool:
        """Whether all is known that was in the topic 5 seconds ago, and when `look_again` was called: a long reading
        knows nothing of its own time."""
        return self._known_at >= self._wanted_at and time.monotonic() - self._known_at < FRESH_S

    def look_again(self) -> None:
        """What is in the topic now must be known: nothing is fresh until it has been read once more."""
        self._wanted_at = time.monotonic()
        self._wanted.set()

    async def follow(self) -> None:
        """Take up changes as they come, for ever."""
        while True:
            self._wanted.clear()
            await self._read()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_MS / 1000):
                    await self._wanted.wait()


class _Looked(NamedTuple):
    """When the registry was read, by two clocks: a machine that was stopped doesn't know of it by both."""

    monotonic_s: float
    wall_s: float

    def before_s(self, now: "_Looked") -> float:
        """How long before."""
        return max(now.monotonic_s - self.monotonic_s, now.wall_s - self.wall_s)


class Stretch(NamedTuple):
    """Consecutive records of one partition; `next_offset` is behind them and behind offsets without any after them:
    what compaction took, the ends of transactions, and what was rolled back. There may be no record at all."""

    records: list[RegistryRecord]
    next_offset: int


class RegistryLog:
    """A groupless consumer of some partitions of the registry."""

    def __init__(self, at: At, topic: str) -> None:
        self._topic = topic
        self._consumer = AIOKafkaConsumer(
            **client_options(at),
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_wait_ms=100,
            request_timeout_ms=REQUEST_MS,
            isolation_level=ISOLATION,
        )
        self._next: dict[TopicPartition, int] = {}

    async def start(self) -> None:
        """Connect."""
        await self._consumer.start()
        bound_batches(self._consumer)
        await self._consumer._client.add_topic(self._topic)

    async def stop(self) -> None:
        """Disconnect."""
        await disconnect(self._consumer)

    async def place(self, begins: Mapping[int, int], since_ms: int) -> dict[int, tuple[int, int]]:
        """Read these partitions from now on, and no others, each from its offset; 0 stands for the first record that is
        not older than `since_ms`. Returns for each where it begins and where its log ends.

        Raises:
            ThrongError: `log_ahead` if the log ends before the offset. KafkaTimeoutError: Kafka does not answer now.
        """
        self._next = {}
        if not begins:
            self._consumer.unsubscribe()
            return {}
        tps = {number: TopicPartition(self._topic, number) for number in begins}
        self._consumer.assign(list(tps.values()))
        firsts = await self._consumer.beginning_offsets(list(tps.values()))
        ends = await self._consumer.end_offsets(list(tps.values()))
        since = await self._consumer.offsets_for_times(dict.fromkeys(tps.values(), since_ms))
        placed: dict[int, tuple[int, int]] = {}
        for number, tp in tps.items():
            new = begins[number] == 0
            wanted = (since[tp].offset if since.get(tp) is not None else ends[tp]) if new else begins[number]
            begin = max(wanted, firsts[tp])
            if begin > ends[tp]:
                raise ThrongError(
                    "log_ahead",
                    f"partition {number} of {self._topic} ends at {ends[tp]}, but its rows were sent up to {begin}: "
                    "the topic was cut or made anew, and its old state is still there",
                )
            self._consumer.seek(tp, begin)
            placed[number] = (begin, ends[tp])
        self._next = {tps[number]: begin for number, (begin, _) in placed.items()}
        return placed

    async def poll(self) -> dict[int, Stretch]:
        """What comes next within a tenth of a second, by partition."""
        if not self._next:
            await asyncio.sleep(POLL_MS / 1000)
            return {}
        fetched = await self._consumer.getmany(timeout_ms=100)
        found: dict[int, Stretch] = {}
        for tp, before in self._next.items():
            # Nothing is fetched of offsets without records, but they are passed.
            self._next[tp] = after = await self._consumer.position(tp)
            if after > before:
                records = [RegistryRecord(r.offset, r.timestamp, r.key, r.value) for r in fetched.get(tp, [])]
                found[tp.partition] = Stretch(records, after)
        return found
