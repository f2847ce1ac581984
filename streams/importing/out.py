"""Sorted events to where they go: slices as the simulation makes them, for Kafka and for reading; or a recording.

A subscriber's events always go to the same partition, at the record time of the event itself.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.importing.spool import Event
from streams.simulate import Slice

EVENTS_A_SLICE: Final = 20_000
_MIX: Final = 0x9E3779B97F4A7C15


def partition_of(who: int, partitions: int) -> int:
    """The partition of a subscriber."""
    return ((who * _MIX & 0xFFFFFFFFFFFFFFFF) >> 32) % partitions


def slices(events: Iterator[Event], partitions: int, slice_ms: int | None = None) -> Iterator[Slice]:
    """Slices of up to EVENTS_A_SLICE events, and of `slice_ms` of time at most if it is given."""
    waiting: list[Event] = []
    for event in events:
        full = len(waiting) == EVENTS_A_SLICE
        if waiting and (full or (slice_ms is not None and event.ts_ms >= waiting[0].ts_ms + slice_ms)):
            yield _slice(waiting, partitions)
            waiting = []
        waiting.append(event)
    if waiting:
        yield _slice(waiting, partitions)


def _slice(events: list[Event], partitions: int) -> Slice:
    target = np.array([partition_of(event.who, partitions) for event in events], np.int64)
    order = np.argsort(target, kind="stable")
    values = [events[n].value for n in order.tolist()]
    end = np.cumsum(np.array([len(value) for value in values], np.int64))
    begin: NDArray[np.int64] = np.concatenate([[0], end[:-1]]).astype(np.int64)
    time = np.array([event.ts_ms for event in events], np.int64)[order]
    return Slice(
        start_ms=events[0].ts_ms,
        end_ms=events[-1].ts_ms + 1,
        payload=np.frombuffer(b"".join(values), np.uint8),
        begin=begin,
        end=end,
        time=time,
        starts=np.searchsorted(target[order], np.arange(partitions + 1)).astype(np.int64),
        counts={"events": len(events)},
        truth=np.empty(0),
    )
