"""What is rehearsed before a worker joins its group is what runs after."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray

from schemas.epochs import Epoch
from schemas.measures import DEFAULT_MEASURES
from schemas.sightings import Control, Section, decode_frame
from streams.agents import workers
from streams.agents.workers import forms
from streams.core.crowd import rehearsal
from streams.settings import Settings
from tests.support.world import PLAN, epochs_at

PROGRAM = """
import numpy as np
from numba.core.dispatcher import Dispatcher
from schemas.sightings import encode_control
from streams.core.crowd import departures, listed, packing, planes, presence, reorder, slots, windows
from streams.core.events import records
from streams.core.crowd.crowd import Crowd
from streams.core.crowd.rehearsal import rehearse
from streams.core.crowd.snapshot import restore, to_columns
from tests.support.raw import batch_of
from tests.unit.test_kept_state import EPOCHS, LOG, PARENTS

rehearse(EPOCHS[0].measures)
modules = (departures, listed, packing, planes, presence, records, reorder, slots, windows)
loops = [loop for module in modules for loop in vars(module).values()
         if isinstance(loop, Dispatcher)]
rehearsed = {loop.py_func.__name__: list(loop.signatures) for loop in loops}
crowd = Crowd(0, PARENTS)
crowd.add_epoch(EPOCHS[0])
found = records.walk([batch_of([(0, None, value, []) for value in LOG], 0)])
for offset, (start, end) in enumerate(zip(found.start.tolist(), found.end.tolist())):
    if offset == 30:
        again = Crowd(0, PARENTS)
        again.add_epoch(EPOCHS[0])
        restore(again, to_columns(crowd))
        crowd = again
    crowd.feed(found.payload[start:end].tobytes(), offset)
assert {loop.py_func.__name__: list(loop.signatures) for loop in loops} == rehearsed
print(*(name for name, signatures in rehearsed.items() if signatures))
"""
WARMED = """
import gc
from numba.core.dispatcher import Dispatcher
from schemas.access import STATISTICS, measures_for
from schemas.measures import DEFAULT_MEASURES
from streams import warm
from streams.core.crowd.rehearsal import rehearse

def compiled():
    return {(loop.py_func.__qualname__, str(signature))
            for loop in gc.get_objects() if isinstance(loop, Dispatcher) for signature in loop.signatures}

warm.main()
warmed = compiled()
for purpose in STATISTICS:
    rehearse(measures_for(purpose, DEFAULT_MEASURES))
print(*sorted({name for name, _ in compiled() - warmed}))
"""
GATEWAY = """
import gc
from numba.core.dispatcher import Dispatcher
from streams.core.gateway.rehearsal import rehearse
from streams.warm import steps

# Not of a gateway: what recordings and `throng machines` ask, and what asks for many at once.
OTHERS = {"_keys_and_headers", "varint", "_get", "_move", "_take"}
PARTS = "gateway", "events", "compiled"

def compiled():
    return {(loop.py_func.__qualname__, str(signature))
            for loop in gc.get_objects() if isinstance(loop, Dispatcher)
            and loop.py_func.__module__.startswith(tuple(f"streams.core.{part}." for part in PARTS))
            and loop.py_func.__name__ not in OTHERS
            for signature in loop.signatures}

rehearse()
rehearsed = compiled()
for part in steps([]):
    if part == "crowd":  # what comes before is a gateway's way with a town's events
        break
assert compiled() == rehearsed, compiled() - rehearsed
print(*(name for name, _ in rehearsed))
"""
OTHER_FORMS = """
from schemas.measures import DEFAULT_MEASURES
from streams.core.crowd import population, rehearsal

# Without the loops: what the table is made of is all that is asked.
class Made(Exception): ...

def made(epoch, *others):
    raise Made(population.Population(epoch, *others).slots.known.itemsize)

rehearsal.Crowd.add_epoch = lambda crowd, epoch: made(epoch, crowd.parents(epoch), epoch.parents, None)
for measures, zones in ((DEFAULT_MEASURES, 2), (DEFAULT_MEASURES, 20_000), (DEFAULT_MEASURES[:1], 20_000)):
    try:
        rehearsal.rehearse(measures, zones)
    except Made as size:
        print(size)
"""
# What Python calls; the others are parts of these.
CALLED = {
    *("_walk", "_unpack", "_taken", "_expire", "handle", "_advance", "settle", "_move"),
    *(
        "_find_first",
        "fill",
        "_pack_chains",
        "_unpack_chains",
        "_link_chains",
        "_turn",
        "_by_owner",
        "_count_rows",
        "_count_departures",
    ),
}


def test_a_crowd_compiles_and_loads_nothing_that_was_not_rehearsed() -> None:
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert set(ran.stdout.split()) >= CALLED


def test_a_crowd_rehearses_what_its_epochs_count_and_what_a_new_deployment_will() -> None:
    """What is compiled only once the group waits for it, waits for a minute in a plan of 20,000 zones."""
    assert forms([], 20_000) == [(DEFAULT_MEASURES, 20_000)]
    epochs = epochs_at(*(1_772_420_400_000 + day * 86_400_000 for day in range(3)))
    changed = [replace(epoch, measures=epoch.measures[: n + 1], zones=n) for n, epoch in enumerate(epochs)]
    assert forms(changed, 7)[1:] == [(epoch.measures, epoch.zones) for epoch in changed[1:]]


async def test_a_crowd_rehearses_before_it_asks_for_its_group(monkeypatch: pytest.MonkeyPatch) -> None:
    epochs = epochs_at(1_772_420_400_000)
    rehearsed: list[object] = []

    class Asked(Exception): ...  # noqa: N818

    @asynccontextmanager
    async def there(*_: object) -> AsyncIterator[SimpleNamespace]:
        yield SimpleNamespace(records=epochs)

    async def counts(_: object) -> None: ...

    def asked(*_: object) -> None:
        raise Asked

    for name in ("_served", "_producer", "started", "connect"):
        monkeypatch.setattr(workers, name, there)
    monkeypatch.setattr(workers, "TailReader", lambda *_: None)
    for name in ("_partitions", "cluster_id"):
        monkeypatch.setattr(workers, name, counts)
    monkeypatch.setattr(
        workers, "configured_plans", lambda _: SimpleNamespace(current=PLAN, refuse_unknown=lambda *_: None)
    )
    monkeypatch.setattr(workers, "rehearse", lambda *form: rehearsed.append(form))
    monkeypatch.setattr(workers, "redis_prefix", asked)
    with pytest.raises(Asked):
        await workers.run_crowd(Settings(), asyncio.Event())
    assert rehearsed == forms(epochs, len(PLAN.zones))


def test_a_gateway_compiles_and_loads_nothing_that_was_not_rehearsed() -> None:
    ran = subprocess.run([sys.executable, "-c", GATEWAY], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert set(ran.stdout.split()) >= {"_walk", "scan", "screen_rows", "_put_rows", "_put", "hash_text"}


async def test_a_gateway_rehearses_before_it_asks_for_its_group(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    class Asked(Exception): ...  # noqa: N818

    @asynccontextmanager
    async def there(*_: object) -> AsyncIterator[SimpleNamespace]:
        yield SimpleNamespace(records=[])

    async def counts(_: object) -> dict[str, int]:
        return {}

    async def adopted(*_: object) -> None:
        raise Asked

    for name in ("_served", "_producer", "started"):
        monkeypatch.setattr(workers, name, there)
    for name in ("TailReader", "RegistryReader", "RegistryLog", "key_provider", "load_machines"):
        monkeypatch.setattr(workers, name, lambda *_: None)
    monkeypatch.setattr(workers, "configured_rules", lambda _: SimpleNamespace(policies=(), purpose="marketing"))
    monkeypatch.setattr(workers, "configured_plans", lambda _: SimpleNamespace(refuse_unknown=lambda *_: None))
    monkeypatch.setattr(workers, "_partitions", counts)
    monkeypatch.setattr(workers, "rehearse_gateway", lambda: done.append("rehearsed"))
    monkeypatch.setattr(workers, "adopt", adopted)
    with pytest.raises(Asked):
        await workers.run_gateway(Settings(), asyncio.Event())
    assert done == ["rehearsed"]


@pytest.mark.parametrize("zones", [1, 2, 7])
def test_nobody_is_where_there_is_no_zone(monkeypatch: pytest.MonkeyPatch, zones: int) -> None:
    """Compiled loops look for no bounds."""
    epochs, frames = list[Epoch](), list[list[Section]]()

    class Seen:
        def __init__(self, _: int, parents: NDArray[np.uint16]) -> None:
            self.parents = parents

        def add_epoch(self, epoch: Epoch) -> None:
            assert len(self.parents) == epoch.zones
            epochs.append(epoch)

        def feed(self, value: bytes, _: int) -> None:
            frame = decode_frame(value)
            frames.extend([] if isinstance(frame, Control) else [frame])

    monkeypatch.setattr(rehearsal, "Crowd", Seen)
    monkeypatch.setattr(rehearsal, "to_columns", lambda _: {})
    monkeypatch.setattr(rehearsal, "restore", lambda *_: None)
    rehearsal.rehearse(zones=zones)
    assert {int(zone) for frame in frames for section in frame for zone in section.zone} == {0, 1}
    assert min(epoch.zones for epoch in epochs) == max(zones, 2)


def test_the_forms_of_the_table_that_a_rehearsal_takes_are_those_of_what_is_counted() -> None:
    ran = subprocess.run([sys.executable, "-c", OTHER_FORMS], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["2", "4", "2"]


def test_what_a_crowd_rehearses_was_compiled_by_make_setup() -> None:
    ran = subprocess.run([sys.executable, "-c", WARMED], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == []
