"""Sorted events to where they go: slices as the simulation makes them, for Kafka and for reading; or a recording.

A subscriber's events always go to the same partition, at the record time of the event itself. A partition that is
silent would hold the watermark of all: in each minute that has an event, a partition without one gets a beat, and at
the end each gets one. So what is counted doesn't depend on the partitions, nor on who falls into which.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.importing.spool import Event
from streams.simulate import Slice

EVENTS_A_SLICE: Final = 20_000
RECORDS_A_SLICE: Final = 200_000  # at most about so many, were each event alone in its minute
BEAT_EVERY_MS: Final = 60_000
_MIX: Final = 0x9E3779B97F4A7C15


def partition_of(who: int, partitions: int) -> int:
    """The partition of a subscriber."""
    return ((who * _MIX & 0xFFFFFFFFFFFFFFFF) >> 32) % partitions


def slices(events: Iterator[Event], partitions: int, beyond_ms: int, slice_ms: int | None = None) -> Iterator[Slice]:
    """Slices of up to EVENTS_A_SLICE events, and of `slice_ms` of time at most if it is given; last one of beats alone,
    `beyond_ms` after the last event."""
    most = min(EVENTS_A_SLICE, max(1, RECORDS_A_SLICE // partitions))
    waiting: list[Event] = []
    for event in events:
        full = len(waiting) == most
        if waiting and (full or (slice_ms is not None and event.ts_ms >= waiting[0].ts_ms + slice_ms)):
            yield _slice(waiting, partitions)
            waiting = []
        waiting.append(event)
    if waiting:
        yield _slice(waiting, partitions)
        yield _end(waiting[-1].ts_ms + beyond_ms, partitions)


def _slice(events: list[Event], partitions: int) -> Slice:
    target = np.array([partition_of(event.who, partitions) for event in events], np.int64)
    time = np.array([event.ts_ms for event in events], np.int64)
    silent, beats = _beats(time, target, partitions)
    values = [event.value for event in events] + [_beat(ts_ms) for ts_ms in beats.tolist()]
    return _sorted(values, np.append(time, beats), np.append(target, silent), partitions, len(events))


def _end(ts_ms: int, partitions: int) -> Slice:
    times = np.full(partitions, ts_ms, np.int64)
    return _sorted([_beat(ts_ms)] * partitions, times, np.arange(partitions), partitions, 0)


def _beats(
    time: NDArray[np.int64], target: NDArray[np.int64], partitions: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(partition, ms) of the beats among sorted events: at the last event of each minute that has any, where a
    partition has none in it."""
    minute = time // BEAT_EVERY_MS
    last = np.flatnonzero(np.diff(minute, append=-1))
    heard = np.zeros((last.size, partitions), bool)
    heard[np.searchsorted(minute[last], minute), target] = True
    which, silent = np.nonzero(~heard)
    return silent, time[last[which]]


def _beat(ts_ms: int) -> bytes:
    return b'{"kind":"beat","source":"import","ts":%d}' % ts_ms


def _sorted(
    values: list[bytes], time: NDArray[np.int64], target: NDArray[np.int64], partitions: int, events: int
) -> Slice:
    order = np.lexsort((time, target))  # stable: events of one time stay as they came
    values = [values[n] for n in order.tolist()]
    end = np.cumsum(np.array([len(value) for value in values], np.int64))
    begin: NDArray[np.int64] = np.concatenate([[0], end[:-1]]).astype(np.int64)
    return Slice(
        start_ms=int(time.min()),
        end_ms=int(time.max()) + 1,
        payload=np.frombuffer(b"".join(values), np.uint8),
        begin=begin,
        end=end,
        time=time[order],
        starts=np.searchsorted(target[order], np.arange(partitions + 1)).astype(np.int64),
        counts={"events": events},
        truth=np.empty(0),
    )
