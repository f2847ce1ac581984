"""Mistakes that somebody might make, planted one at a time, to show that the schedules would see them.

A mutant changes the text of a function that is in use (`Change`), and is refused if the text isn't there any more, so
that none can turn into no mutant unnoticed. All who have imported the function get the changed one.
"""

import inspect
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.attach import DETACH
from schemas.sightings import OPT_OUT
from streams.agents import pacing
from streams.agents.crowd import CrowdAgent
from streams.agents.release import Releaser
from streams.agents.roles import Tenure
from streams.agents.shredder import Shredder
from streams.core.crowd import chain, snapshot
from streams.core.crowd.crowd import Crowd
from streams.core.crowd.population import Population
from streams.core.crowd.reorder import Reorder
from streams.core.events.decode import Events
from streams.core.events.records import Records
from streams.core.gateway import framing, gateway
from streams.core.release.ledger import Account
from streams.core.release.sums import Sums
from streams.stores import ledger_trim
from tests.simulation import redis, schedule


class Change(NamedTuple):
    """In `function`, `old` becomes `new`. `names`: what the new text needs beside the function's own globals."""

    function: Callable[..., Any]
    old: str
    new: str
    names: tuple[tuple[str, object], ...] = ()


# What a group would have committed to Kafka, had it committed what it handled.
_kafka: dict[tuple[str, int], int] = {}


def _event_times(records: Records, events: Events, running_max: int) -> NDArray[np.int64]:
    """For each record the latest time of its events, in place of its own."""
    newest = np.full(len(records.time), running_max)
    np.maximum.at(newest, events.record, events.ts)
    return newest


MUTANTS: dict[str, Sequence[Change]] = {
    "highest offset seen in place of the chain": [
        Change(chain.link, "if from_ > first", "if False"),
    ],
    "a gap section's watermark is taken": [
        Change(
            Crowd._link,
            "if what is Link.TAKEN:",
            "if what is Link.GAP:\n            taken.append((section, section.to))\n        if what is Link.TAKEN:",
        ),
    ],
    "<= in place of < at the watermark": [
        Change(Reorder.take_before, "self.size, time_ms, by_source", "self.size, time_ms + 1, by_source"),
        Change(Crowd._advance, "np.searchsorted(rows.ts, at)", 'np.searchsorted(rows.ts, at, "right")'),
        Change(Crowd._advance, "np.searchsorted(rows.ts, boundary)", 'np.searchsorted(rows.ts, boundary, "right")'),
    ],
    "the reorder buffer is left out of the snapshot": [
        Change(snapshot.to_columns, "waiting = crowd.reorder.by_source()", "waiting = {}"),
    ],
    "the snapshot's pointer moves backwards": [
        Change(redis.move_forward, 'if "offset" in old and int(old["offset"]) >= offset:', "if False:"),
    ],
    "the watermark is from event time": [
        Change(
            gateway.screen,
            "*(records.offset, records.time, events.record, events.index)",
            "*(records.offset, event_times(records, events, running_max), events.record, events.index)",
            (("event_times", _event_times),),
        ),
    ],
    "the watermark is advanced by the clock": [
        Change(
            framing._sections,
            "at_ms = until_ms if to == state.mark.next_offset else since_ms",
            "at_ms = max(until_ms, state.watermark(event_time_now()))",
            (("event_time_now", schedule.event_time_now),),
        ),
    ],
    "a worker begins at Kafka's offset": [
        Change(
            Tenure.handle,
            "self.handled[chunk.partition] = chunk.next_offset",
            "self.handled[chunk.partition] = kafka[self.role.name, chunk.partition] = chunk.next_offset",
            (("kafka", _kafka),),
        ),
        Change(
            CrowdAgent.positions,
            "begins[partition] = crowd.next_offset",
            'begins[partition] = kafka.get(("crowd", partition), crowd.next_offset)',
            (("kafka", _kafka),),
        ),
    ],
    "a snapshot is ahead of an unacknowledged pane": [
        Change(CrowdAgent.store, "await owned.acknowledged()", "pass"),
    ],
    "a pane is released before the one before it": [
        Change(Sums._take_held, "while held and self._may_count(held[0])", "while held"),
    ],
    "the ledger's last record counts": [
        Change(
            Account.take,
            "record.number <= self.closed_through(record.epoch, record.measure)",
            "False",
        ),
    ],
    "an epoch that is over is not refused": [
        Change(Account.closed_through, "ALL if epoch < self._over else", ""),
    ],
    "the ledger is cut wherever it is old": [
        Change(
            ledger_trim.cut_of,
            "needed if found is None else max(start, min(found, needed))",
            "end if found is None else found",
        ),
    ],
    "the ledger begins at its epoch's last record": [
        Change(Account.take, "self._first.setdefault(record.epoch, first)", "self._first[record.epoch] = first"),
    ],
    "noise is drawn before the ledger is read": [
        Change(Releaser.positions, "await self._ledger.reread()", "pass"),
        Change(Releaser._take_chunk, "others := await self._ledger.read()", "others := list[LedgerRecord]()"),
    ],
    "a salt is destroyed by an uncommitted watermark": [
        Change(
            Shredder.check,
            "committed = await self._committed()",
            "committed = {**await self._committed(), **read_ahead()}",
            (("read_ahead", schedule.read_ahead),),
        ),
    ],
    "an opt-out leaves no tombstone": [
        Change(
            Population.handle,
            "rows.cohort, rows.kind",
            "rows.cohort, np.where(rows.kind == OPT_OUT, DETACH, rows.kind).astype(np.uint8)",
            (("OPT_OUT", OPT_OUT), ("DETACH", DETACH)),
        ),
    ],
    "sources are not aligned": [
        Change(pacing.Alignment._compare, "self._hold(self._held)", "self._hold(())"),
    ],
}


@contextmanager
def planted(changes: Sequence[Change]) -> Iterator[None]:
    """Run with the changes made."""
    _kafka.clear()
    functions = {change.function for change in changes}
    before = {function: _code(function) for function in functions}
    try:
        for function in functions:
            _plant(function, [change for change in changes if change.function is function])
        yield
    finally:
        for function, code in before.items():
            function.__code__ = code  # type: ignore[attr-defined]


def _code(function: Callable[..., Any]) -> object:
    assert isinstance(function, FunctionType), function
    return function.__code__


def _plant(function: Callable[..., Any], changes: Sequence[Change]) -> None:
    text = textwrap.dedent(inspect.getsource(function))
    names: dict[str, object] = {}
    for change in changes:
        if change.old not in text:
            raise LookupError(f"{function.__qualname__} has no {change.old!r} any more: the mutant must follow it")
        text = text.replace(change.old, change.new)
        names |= dict(change.names)
    function.__globals__.update(names)  # type: ignore[attr-defined]
    made: dict[str, Any] = {}
    exec(compile(text, inspect.getfile(function), "exec"), function.__globals__, made)  # type: ignore[attr-defined]
    function.__code__ = made[function.__name__].__code__  # type: ignore[attr-defined]
