"""What a role is to the transport, and the state between the two: who owns what now.

A role (gateway, crowd, release) reads the partitions of one topic in chunks. It says where each partition that it is
given begins (`positions`), takes chunks (`on_chunk`), and gives partitions up (`on_revoked`). Faust and Kafka's group
decide which partitions it has; `Tenure` makes sure that the role sees this in order:

    positions -> on_assigned -> on_chunk, on_chunk, ... -> on_revoked -> positions -> ...

never two of them at once, never a chunk of a tenure that is over, and the chunks of a partition without a gap from
the position that the role gave. Every rebalance takes everything and gives anew.

What can fail: any exception out of a role's callback, and a gap, end the process (`Tenure.fail`); nothing is retried
here, and nothing acknowledges what failed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar

from streams.agents.health import Readiness
from streams.core.events.records import Malformed, RecordBatch, Records, walk
from streams.errors import ThrongError

POLL_S = 0.02

T = TypeVar("T")


class LogRange(NamedTuple):
    """A partition's log as it is now: its first offset, and the one after its last (committed) record."""

    start: int
    end: int


class Chunk(NamedTuple):
    """Consecutive record batches of one partition, covering the offsets [first_offset, next_offset).

    The first batch may begin before `first_offset`: its rows below it are to be dropped. Offsets without a record
    (compacted, control, aborted) are covered too, so `batches` may be empty.
    """

    topic: str
    partition: int
    batches: tuple[RecordBatch, ...]
    first_offset: int
    next_offset: int
    generation: int

    def walked(self) -> Records:
        """Its records, of a topic of throng's own.

        Raises:
            ThrongError: `malformed` if a batch can't be read: nothing may be left out.
        """
        try:
            return walk(self.batches)
        except Malformed as error:
            raise ThrongError("malformed", f"{self.topic}, partition {self.partition}: {error}") from error


@dataclass(frozen=True)
class TransportSettings:
    """How a worker reads. Times in seconds.

    Attributes:
        session_s: silence after which the group gives this worker's partitions to others.
        poll_s: a worker that takes nothing from the fetcher for this long leaves the group.
        rebalance_s: how long the group waits for a member to give its partitions up.
        place_s: how long `Role.positions` may take.
        drain_s: how long the chunk in hand and `Role.on_revoked` may take together; below `rebalance_s`.
        metadata_s: how soon a partition that was added to the topic is noticed, and given to a worker.
        stall_s: lag without any progress after which the worker gives up.
        chunk_bytes: a chunk ends with the batch that brings it to this many bytes, decompressed.
        fetch_bytes: most bytes of one partition in an answer, as compressed (one batch at least).
        buffer_chunks: chunks that wait for the agent before partitions are no longer fetched from.
    """

    session_s: float = 10.0
    poll_s: float = 60.0
    rebalance_s: float = 30.0
    place_s: float = 60.0
    drain_s: float = 20.0
    metadata_s: float = 5.0
    stall_s: float = 120.0
    chunk_bytes: int = 8 << 20
    fetch_bytes: int = 2 << 20
    buffer_chunks: int = 4


class Turn(NamedTuple):
    """A worker's place in the group as its role asks of it, and tells it, amid a chunk that is much work.

    Attributes:
        going_on: are the partitions still this worker's? Once they aren't, the rest of the chunk is whoever's is next.
        went_on: is told of each part that is done.
    """

    going_on: Callable[[], bool]
    went_on: Callable[[], None]

    @classmethod
    def of(cls, tenure: Callable[[], "Tenure"]) -> "Turn":
        """The turn of a tenure, which is made after its role is."""
        return cls(lambda: tenure().generation is not None, lambda: tenure().step())


async def _nothing(_: frozenset[int]) -> None: ...


async def _refuse_loss(partition: int, position: int, log: LogRange) -> int:
    raise ThrongError(
        "log_lost",
        f"partition {partition}: offset {position} is wanted, but the log begins at {log.start}: "
        "retention took records before they were read",
    )


@dataclass(frozen=True)
class Role:
    """One role's callbacks. All run in the main event loop; partitions are numbers of `topic`.

    Attributes:
        name: part of the group's and the agent's name.
        topic: the topic's full name on the cluster.
        on_chunk: takes one chunk. While it runs no other chunk, of whichever partition, is taken.
        positions: of all partitions just assigned, where to begin: an offset, or None for the log's start. Must
            answer within `TransportSettings.place_s` and may be cancelled, if a new rebalance comes first.
        on_assigned: reading from those positions begins.
        on_revoked: give up all that was assigned; the group waits for it. Called after the chunk in hand is done,
            and also when `positions` was cancelled midway.
        on_leaving: the same on an orderly stop, where nobody waits and nothing comes back; None: `on_revoked`.
        on_lost: the wanted offset is below the log's start. Returns the offset to go on from (`log.start`), or
            raises. Called after `positions`, or between chunks if retention overtakes the reader.
        beside: partitions of other topics whose positions the role keeps in its group too, by a number of its own.
    """

    name: str
    topic: str
    on_chunk: Callable[[Chunk], Awaitable[None]]
    positions: Callable[[Mapping[int, LogRange]], Awaitable[Mapping[int, int | None]]]
    on_assigned: Callable[[frozenset[int]], Awaitable[None]] = _nothing
    on_revoked: Callable[[frozenset[int]], Awaitable[None]] = _nothing
    on_leaving: Callable[[frozenset[int]], Awaitable[None]] | None = None
    on_lost: Callable[[int, int, LogRange], Awaitable[int]] = _refuse_loss
    beside: Mapping[int, tuple[str, int]] = field(default_factory=dict)


def standing_by(role: Role, readiness: Readiness) -> Role:
    """The role, ready also where it is given nothing: it stands by for when another ends, and nothing is wrong."""

    async def assigned(partitions: frozenset[int]) -> None:
        readiness.over("starting")
        await role.on_assigned(partitions)

    return replace(role, on_assigned=assigned)


async def _within(task: "asyncio.Task[T]", deadline_s: float, away: Callable[[], Collection[str]]) -> T:
    """The task's result within the time, which begins anew as often as it ends while something is away.

    Raises:
        TimeoutError: the time is over, and the task cancelled.
    """
    try:
        while not (await asyncio.wait([task], timeout=deadline_s))[0]:
            if not away():
                task.cancel()
                await asyncio.wait([task])
                raise TimeoutError
        return task.result()
    finally:
        if not task.done():
            task.cancel()


class Tenure:
    """What one worker owns now: the generation in force, and how far each partition has been handled.

    `generation` is None while a rebalance is under way. `handled[p]` is the offset after the last handled one. `term`
    counts how often everything was taken back; `steps` what was done of chunks that are much work, which so show that
    they go on.

    Args:
        away: what this worker waits for, of `kafka` and `redis`: time in which it does isn't counted against it.
    """

    def __init__(self, role: Role, away: Callable[[], Collection[str]] = tuple) -> None:
        self.role = role
        self.away = away
        self.generation: int | None = None
        self.handled: dict[int, int] = {}
        self.held: frozenset[int] = frozenset()
        self.failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self.term = 0
        self.steps = 0
        self._given: frozenset[int] = frozenset()
        self._turn = asyncio.Lock()
        self._placing: asyncio.Task[dict[int, int]] | None = None

    def fail(self, error: BaseException) -> None:
        """End the process because of `error`. The first one counts."""
        self.generation = None
        if not self.failure.done():
            self.failure.set_result(error)

    def hold(self, partitions: Collection[int]) -> None:
        """Fetch nothing from these partitions until the next call says otherwise; a rebalance forgets it."""
        self.held = frozenset(partitions)

    def step(self) -> None:
        """A part of the chunk in hand is done."""
        self.steps += 1

    async def place(self, logs: Mapping[int, LogRange], deadline_s: float) -> tuple[int, dict[int, int]]:
        """Ask the role where to begin, and check the answer against the logs. Returns the term, for `begin`, and it.

        Raises:
            ThrongError: `positions_late`, `positions_missing`, `log_lost` or `log_ahead`.
            asyncio.CancelledError: a new rebalance took the partitions back.
        """
        self._given = frozenset(logs)
        term = self.term
        self._placing = asyncio.ensure_future(self._positions(logs))
        try:
            return term, await _within(self._placing, deadline_s, self.away)
        except TimeoutError as error:
            raise ThrongError(
                "positions_late", f"the {self.role.name}'s state could not be loaded within {deadline_s:g} s"
            ) from error
        finally:
            self._placing = None

    async def _positions(self, logs: Mapping[int, LogRange]) -> dict[int, int]:
        async with self._turn:
            wanted = await self.role.positions(logs)
            if missing := sorted(logs.keys() - wanted.keys()):
                raise ThrongError("positions_missing", f"the {self.role.name} named no position for {missing}")
            return {number: await self._within(number, wanted[number], log) for number, log in logs.items()}

    async def _within(self, partition: int, wanted: int | None, log: LogRange) -> int:
        if wanted is None:
            return log.start
        if wanted < log.start:
            wanted = await self.role.on_lost(partition, wanted, log)
        if not log.start <= wanted <= log.end:
            raise ThrongError(
                "log_ahead",
                f"partition {partition} of {self.role.topic} has offsets {log.start} to {log.end}, but the "
                f"{self.role.name} is at {wanted}: the topic was cut or made anew, and its old state is still there",
            )
        return wanted

    async def begin(self, term: int, generation: int, positions: Mapping[int, int]) -> bool:
        """Reading starts at the positions, unless the term they were asked in is over."""
        if term != self.term:
            return False
        self.handled = dict(positions)
        self.generation = generation
        await self.role.on_assigned(self._given)
        return True

    async def outrun(self, partition: int, position: int, log: LogRange) -> int | None:
        """Retention overtook the reader at `position`. Returns where to go on, None if a rebalance came first."""
        # What was fetched before is still being handled; this is seldom enough to look now and then.
        while self.generation is not None and self.handled[partition] < position:  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)
        async with self._turn:
            if self.generation is None:
                return None
            going_on = await self._within(partition, position, log)
            self.handled[partition] = going_on
            return going_on

    async def handle(self, chunk: Chunk) -> None:
        """Give a chunk to the role, unless its tenure is over."""
        async with self._turn:
            if chunk.generation != self.generation:
                return
            expected = self.handled[chunk.partition]
            if chunk.first_offset != expected:
                self.fail(
                    ThrongError(
                        "gap",
                        f"partition {chunk.partition} of {chunk.topic} went on at {chunk.first_offset} "
                        f"instead of {expected}",
                    )
                )
                return
            try:
                await self.role.on_chunk(chunk)
            except Exception as error:  # noqa: BLE001 - whatever it is, nothing may follow it
                self.fail(error)
                return
            self.handled[chunk.partition] = chunk.next_offset

    async def end(self, deadline_s: float, *, leaving: bool = False) -> None:
        """Take everything back: no further chunk, finish the one in hand, let the role give up its partitions.

        Args:
            leaving: for good, on an orderly stop, which does not wait for what is away.

        Raises:
            ThrongError: `drain_late` if the role doesn't within the time.
        """
        self.term += 1
        self.generation = None
        self.held = frozenset()
        if self._placing is not None:
            self._placing.cancel()
            await asyncio.wait([self._placing])
        given, self._given = self._given, frozenset()
        if not given or self.failure.done():
            return
        give_up = self.role.on_leaving if leaving and self.role.on_leaving is not None else self.role.on_revoked
        try:
            giving = asyncio.ensure_future(self._given_up(give_up, given))
            await _within(giving, deadline_s, tuple if leaving else self.away)
        except TimeoutError as error:
            raise ThrongError(
                "drain_late", f"the {self.role.name} did not give up its partitions within {deadline_s:g} s"
            ) from error

    async def _given_up(self, give_up: Callable[[frozenset[int]], Awaitable[None]], partitions: frozenset[int]) -> None:
        async with self._turn:
            await give_up(partitions)
