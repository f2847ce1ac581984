"""The golden recording: three hours of a village, with everything that can be wrong, counted as it always was.

Its digest may change only where the counting rules do (`schemas.epochs.LOGIC`), never by a rewrite of a fast path. The
oracle counts it too, so that the digest stands for the reference page and not for yesterday's program.
"""

from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest

from streams.recording.embedded import LAST_MS, replay_embedded
from streams.recording.file import Reader, times_of
from streams.recording.panes import PaneTable, differences
from streams.settings import Settings, load_settings
from streams.stores.plans import load_plan
from tests.oracle.counting import count
from tests.oracle.gate import Gate, screen
from tests.support.deployment import policy

GOLDEN = Path(__file__).parents[1] / "golden"
DIGEST = "4a4ff27081f35e25636e997a074c8109"
# By the rules as they were set when it was first counted.
AS_SET = {"gateway.plan": str(GOLDEN / "plan.json"), "epoch.seen_ms": 180_000}


def settings(measures: str = "") -> Settings:
    named = {"release.measures": measures} if measures else {}
    return load_settings(None, {**AS_SET, **named}, {})


def run(
    partitions: int = 1, from_ms: int = -LAST_MS, to_ms: int = LAST_MS, measures: str = ""
) -> tuple[PaneTable, object]:
    reader = Reader(GOLDEN / "morning.parquet")
    panes, inline, _ = replay_embedded(reader, settings(measures), from_ms, to_ms, lambda *_: None, partitions)
    return panes, inline


@pytest.fixture(scope="module")
def gate() -> Gate:
    panes, _ = run()
    log, people = [], {}
    for table in Reader(GOLDEN / "morning.parquet").topic("attach"):
        rows = zip(*(table[name].to_pylist() for name in ("partition", "offset", "value")), strict=True)
        log += [(*row[:2], at, row[2]) for row, at in zip(rows, times_of(table).tolist(), strict=True)]
    for table in Reader(GOLDEN / "morning.parquet").topic("registry"):
        for key, value in zip(table["key"].to_pylist(), table["value"].to_pylist(), strict=True):
            people[key.decode()] = orjson.loads(value)
    plan = orjson.loads((GOLDEN / "plan.json").read_bytes())
    return screen(log, people, policy(), plan, [msgspec.to_builtins(e) for e in panes.epochs.values()], 10_000)


def test_what_a_stay_is_stands_in_the_epoch_and_changes_what_is_counted() -> None:
    wanted = {"stay_ms": 180_000, "seen_ms": 60_000, "ping_pong_ms": 90_000, "jump_m_s": 60, "jump_m": 20_000}
    names = {"gateway.plan": str(GOLDEN / "plan.json")} | {f"epoch.{name}": value for name, value in wanted.items()}
    reader = Reader(GOLDEN / "morning.parquet")
    panes, _, _ = replay_embedded(reader, load_settings(None, names, {}), -LAST_MS, LAST_MS, lambda *_: None, 1)
    for epoch in panes.epochs.values():
        assert {name: getattr(epoch, name) for name in wanted} == wanted
    stays = {
        digest: sum(int(vector.sum()) for (_, _, measure), vector in table.counts.items() if measure == "visits")
        for digest, table in (("now", panes), ("before", run()[0]))
    }
    assert stays["now"] > stays["before"] > 0


@pytest.mark.parametrize("partitions", [1, 2, 7])
def test_it_counts_as_it_always_did(partitions: int) -> None:
    panes, _ = run(partitions)
    assert panes.digest() == DIGEST


def test_it_counts_as_the_oracle_does(gate: Gate) -> None:
    panes, inline = run()
    counts = compared(panes, gate)
    assert sum(sum(each.values()) for each in counts.values()) > 5_000
    assert (inline.events, +inline.rejects, +inline.drops) == (gate.events, Counter(gate.rejects.values()), gate.drops)
    assert len(inline.rejects) > 12


def test_so_it_does_with_other_measures_than_the_default_ones(gate: Gate, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "flows.md").read_text(encoding="utf-8")
    (tmp_path / "measures.toml").write_text(page.partition("```toml\n")[2].partition("```")[0])
    panes, _ = run(measures=str(tmp_path / "measures.toml"))
    counts = compared(panes, gate)
    told = Counter[str]()
    for (_, measure, _), each in counts.items():
        told[measure] += sum(each.values())
    assert told["travel_times"] > 100 and told["passes"] > 100 and not told["visits"]


def compared(panes: PaneTable, gate: Gate) -> dict[tuple[int, str, int], Counter[int]]:
    """The oracle's counts, which must be what was counted."""
    plan = orjson.loads((GOLDEN / "plan.json").read_bytes())
    parents = [[p["id"] for p in plan["parents"]].index(zone["parent"]) for zone in plan["zones"]]
    epochs = [msgspec.to_builtins(epoch) for epoch in panes.epochs.values()]
    wanted = {name: +counts for name, counts in count(gate.sightings, epochs, parents, gate.until).panes.items()}
    found = {}
    for (epoch, end_ms, measure), vector in panes.counts.items():
        number = (end_ms - panes.epochs[epoch].start_ms) // panes.epochs[epoch].pane_ms
        keys = np.flatnonzero(vector)
        found[epoch, measure, number] = Counter(dict(zip(keys.tolist(), vector[keys].tolist(), strict=True)))
    assert found == wanted
    return wanted


def test_a_part_of_it_counts_otherwise_and_the_difference_is_shown(tmp_path: Path) -> None:
    plan = load_plan(GOLDEN / "plan.json")
    whole, _ = run()
    middle = sorted(end for _, end, _ in whole.counts)[len(whole.counts) // 2]
    part, _ = run(to_ms=middle)
    assert 0 < part.panes < whole.panes and part.digest() != whole.digest()
    pq.write_table(whole.rows(plan), tmp_path / "whole.parquet")
    found = list(differences(pq.read_table(tmp_path / "whole.parquet"), part.rows(plan)))
    assert found and all(first != second for _, first, second in found)
    assert next(differences(whole.rows(plan), whole.rows(plan)), None) is None
    ends = [row["end"] for row, _, _ in found]
    assert ends == sorted(ends)
