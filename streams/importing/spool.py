"""Events into the order of time, in bounded memory: runs sorted in memory, kept in a folder, and merged.

In: events in any order. Out: the same ones by time, those of the same time in the order in which they came. At most RUN
events are in memory, and at most RUNS files open. They have no names: events may hold identifiers, and however the
process ends, none of them stays behind.
"""

import heapq
import struct
from collections.abc import Iterable, Iterator
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Final, NamedTuple, Self

RUN: Final = 200_000
RUNS: Final = 64
_HEAD: Final = struct.Struct("<qQQI")


class Event(NamedTuple):
    """`ts_ms`, the order of coming, the subscriber's number (`disguise`), and the record's value."""

    ts_ms: int
    order: int
    who: int
    value: bytes


class Spool:
    """Takes events, then gives them back sorted; a context manager, whose files go with it."""

    def __init__(self, run: int = RUN, runs: int = RUNS) -> None:
        self._run, self._most = run, runs
        self._waiting: list[Event] = []
        self._files: list[IO[bytes]] = []
        self.events = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files:
            file.close()

    def add(self, ts_ms: int, who: int, value: bytes) -> None:
        """Take an event."""
        self._waiting.append(Event(ts_ms, self.events, who, value))
        self.events += 1
        if len(self._waiting) == self._run:
            self._files.append(_write(sorted(self._waiting)))
            self._waiting = []
            if len(self._files) == self._most:
                self._files = [_write(heapq.merge(*map(_read, self._files)))]

    def by_time(self) -> Iterator[Event]:
        """All events, sorted."""
        return heapq.merge(*map(_read, self._files), sorted(self._waiting))


def _write(events: Iterable[Event]) -> IO[bytes]:
    file = TemporaryFile(prefix="throng-import-")  # noqa: SIM115 - `_read` closes it, or the spool
    for ts_ms, order, who, value in events:
        file.write(_HEAD.pack(ts_ms, order, who, len(value)) + value)
    file.seek(0)
    return file


def _read(file: IO[bytes]) -> Iterator[Event]:
    while head := file.read(_HEAD.size):
        ts_ms, order, who, size = _HEAD.unpack(head)
        yield Event(ts_ms, order, who, file.read(size))
    file.close()  # whoever merges has all of it by now
