"""What the demo counts of what arrives."""

from collections.abc import AsyncIterator
from types import SimpleNamespace

import numpy as np
import pytest

from schemas.sightings import REGISTRY_SOURCE, Section, encode_frame
from streams.demo.state import DemoState
from streams.demo.watch import Watcher
from streams.settings import Settings

MORNING_MS = 1_772_427_600_000
TODAY_MS = 1_796_000_000_000


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
