"""What the demo counts of what arrives."""

from collections.abc import AsyncIterator
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from schemas.sightings import REGISTRY_SOURCE, Section, encode_frame
from schemas.topics import FLOWS, FOOTFALL
from streams.demo.state import DemoState
from streams.demo.watch import Watcher
from streams.settings import Settings
from tests.support.topics import Record
from tests.unit.test_derived import flow, told

MORNING_MS = 1_772_427_600_000
TODAY_MS = 1_796_000_000_000
FORGED = (b"", None, b"a trial", b"{}", b'["footfall"]', b'{"suppressed":false,"measure":"present","level":"zone"}')


def section(source: int, watermark_ms: int, rows: int) -> Section:
    kinds = (np.uint64, np.int64, np.int64, np.uint32, np.uint16, np.uint8, np.uint8)
    _, _, *rest = columns = [np.zeros(rows, kind) for kind in kinds]
    return Section(source, 0, 0, rows, watermark_ms, columns[0], np.full(rows, watermark_ms), *rest)  # type: ignore[arg-type]


async def test_opt_outs_are_no_sightings_and_their_time_is_not_the_towns(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [[section(REGISTRY_SOURCE, TODAY_MS, 2)], [section(0, MORNING_MS, 3), section(1, MORNING_MS + 1, 4)]]
    seen = []

    async def records(_: Watcher, name: str) -> AsyncIterator[SimpleNamespace]:
        assert name == "sightings"
        for frame in frames:
            yield SimpleNamespace(value=encode_frame(frame))
            seen.append((state.sightings, state.watermark_ms))

    monkeypatch.setattr(Watcher, "_records", records)
    state = DemoState()
    await Watcher(Settings(), state, {}).sightings()
    assert seen == [(0, None), (7, MORNING_MS)]


async def test_what_no_release_wrote_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    trips = msgspec.structs.replace(flow("a", "b", 300.0, 20.0), measure="trips_parent")
    soon = msgspec.json.encode(told("present", 1, 9.0, 1.0)).replace(b'"end":"1970', b'"end":"soon')
    values = {
        FOOTFALL: [*FORGED, soon, msgspec.json.encode(told("present", 1, 500.0, 40.0))],
        FLOWS: [*FORGED, b'{"suppressed_pairs":"many"}', msgspec.json.encode(trips)],
    }

    async def records(_: Watcher, name: str) -> AsyncIterator[Record]:
        for offset, value in enumerate(values[name]):
            yield Record(value, 0, offset, name)  # type: ignore[arg-type]

    monkeypatch.setattr(Watcher, "_records", records)
    watcher = Watcher(Settings(), DemoState(), {"a": "A"})
    await watcher.footfall()
    await watcher.flows()
    state = watcher.state
    assert (state.footfall_released, state.footfall_withheld, state.flows_released) == (1, 0, 1)
    assert [(place.name, place.estimate) for place in state.places.values()] == [("A", 500.0)]
    assert [(each.origin, each.destination) for each in state.flows] == [("A", "b")]
