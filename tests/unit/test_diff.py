"""`throng diff`: two runs of the golden recording, one of them with something planted, explained down to the cause."""

import os
import stat
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from schemas.measures import Measure
from schemas.sightings import Section
from schemas.topics import ATTACH
from streams.cli.main import run
from streams.core.epochs import make_epoch
from streams.errors import ThrongError
from streams.recording import embedded
from streams.recording.explain import Run, Sighting, aligned, causes, changes, read_run
from streams.recording.file import Reader, Writer
from streams.recording.panes import KEYS, differences, places_of, save
from streams.recording.sightings import Seen, sightings_table
from tests.support.world import PLAN

GOLDEN = Path(__file__).parents[1] / "golden"
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def replayed(recording: Path, out: Path, *more: str) -> Run:
    os.environ["THRONG_GATEWAY_PLAN"] = str(GOLDEN / "plan.json")
    try:
        arguments = ["--embedded", "--json", "--sightings", "--contains-personal-data", *more]
        assert run(["replay", str(recording), "--out", str(out), *arguments]) == 0
    finally:
        del os.environ["THRONG_GATEWAY_PLAN"]
    return read_run(out)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole.parquet"
    replayed(GOLDEN / "morning.parquet", out)
    return out


def without(partition: int, offset: int, path: Path) -> Path:
    """The golden recording but for one raw record."""
    reader = Reader(GOLDEN / "morning.parquet")
    with Writer(path, reader.about.topics, reader.about.re_pseudonymised) as writer:
        for topic in reader.about.topics:
            for table in reader.topic(topic):
                rows = zip(table["partition"].to_pylist(), table["offset"].to_pylist(), strict=True)
                kept = [topic != ATTACH or row != (partition, offset) for row in rows]
                writer.write(topic, table["partition"][0].as_py(), table.filter(pa.array(kept)))
    return path


def lonely(found: Run) -> dict:
    """Somebody's first sighting, the only one for ten minutes, alone in its record: it alone makes them present."""
    rows = found.sightings.to_pylist()
    records = Counter((row["partition"], row["offset"]) for row in rows)
    before = [{"subscriber": ""}, *rows]
    return next(
        row
        for last, row, after in zip(before, rows, rows[1:], strict=False)
        if last["subscriber"] != row["subscriber"] == after["subscriber"]
        and after["ts"] - row["ts"] > timedelta(minutes=10)
        and records[row["partition"], row["offset"]] == 1
        and row["kind"] != "detach"
    )


@pytest.fixture(scope="module")
def less(whole: Path) -> Path:
    """Another run, without the record of `lonely`."""
    left_out = lonely(read_run(whole))
    recording = without(left_out["partition"], left_out["offset"], whole.with_name("recording.parquet"))
    replayed(recording, whole.with_name("less.parquet"))
    return whole.with_name("less.parquet")


def test_an_event_that_is_left_out_is_named_and_nothing_else(
    whole: Path, less: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = read_run(whole), read_run(less)
    left_out = lonely(before)
    place = left_out["partition"], left_out["offset"]
    row, one, other = next(differences(before.panes, after.panes))
    assert one == other + 1
    assert row["place"] == left_out["zone"]
    (cause,) = causes(before, after, row)
    assert (cause.subscriber, cause.one, cause.other) == (left_out["subscriber"], 1, 0)
    ((what, sighting),) = cause.changes
    assert (what, sighting.where) == ("only in {0}", (*place, left_out["index"]))
    capsys.readouterr()
    assert run(["diff", str(whole), str(less)]) == 1
    said = capsys.readouterr().out
    assert "1 subscriber counted differently there" in said
    assert said.count("only in whole: ") == 1
    assert f"partition {place[0]}, offset {place[1]}, index" in said


def test_a_changed_rule_shows_who_is_counted_otherwise_by_the_same_sightings(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without_ping_pong(*arguments: object) -> object:
        return msgspec.structs.replace(make_epoch(*arguments), ping_pong_ms=0)  # type: ignore[arg-type]

    monkeypatch.setattr(embedded, "make_epoch", without_ping_pong)
    changed = tmp_path / "changed.duckdb"
    after = replayed(GOLDEN / "morning.parquet", changed)
    row, one, other = next(differences(read_run(whole).panes, after.panes))
    found = list(causes(read_run(whole), after, row))
    assert sum(cause.other - cause.one for cause in found) == other - one != 0
    assert all(cause.changes == [] and len(cause.same) >= 3 for cause in found)
    capsys.readouterr()
    assert run(["diff", str(whole), str(changed)]) == 1
    assert "sightings in both, so the rules differ" in capsys.readouterr().out


def test_the_counts_of_single_subscribers_add_up_to_the_panes(whole: Path) -> None:
    found = read_run(whole)
    added = found.counted.group_by(list(KEYS)).aggregate([("count", "sum")]).rename_columns([*KEYS, "count"])
    assert next(differences(found.panes, added), None) is None
    assert found.counted.num_rows > 1_000


def test_a_count_is_named_by_its_places_and_its_part() -> None:
    passes = Measure("passes", "passes", "zone", 3_600_000, 48, 0.1)
    times = Measure("travel_times", "travel_times", "parent", 3_600_000, 32, 0.1)
    pairs = msgspec.structs.replace(times, statistic="travel_times_by_pair")
    assert places_of(pairs, (1 * 2 + 0) * 6 + 5, PLAN) == ("south", "north", None, None, "unknown")
    assert places_of(passes, 1 * 6 + 4, PLAN) == ("z1", "z4", None, None, None)
    assert places_of(times, 1 * 6 + 2, PLAN) == ("south", None, None, None, "20_40")


def test_parquet_and_duckdb_hold_the_same(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(read_run(whole).panes, tmp_path / "panes.duckdb")
    capsys.readouterr()
    assert run(["diff", str(whole), str(tmp_path / "panes.duckdb")]) == 0
    assert {stat.S_IMODE(path.stat().st_mode) for path in (whole, tmp_path / "panes.duckdb")} == {0o600}
    assert capsys.readouterr().out == "the runs counted the same\n"


def test_a_file_that_is_no_duckdb_is_told_in_a_line(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "panes.duckdb").write_text("something else")
    with pytest.raises(ThrongError, match=r"cannot write .*panes\.duckdb"):
        save(read_run(whole).panes, tmp_path / "panes.duckdb")


def test_names_of_another_salt_are_matched_by_what_was_seen(whole: Path, less: Path) -> None:
    before, after = read_run(whole), read_run(less)

    def strange(table: pa.Table) -> pa.Table:
        names = pa.array([f"x{name[::-1]}" for name in table["subscriber"].to_pylist()])
        return table.set_column(table.schema.get_field_index("subscriber"), "subscriber", names)

    there = Run(after.panes, strange(after.sightings), strange(after.counted))
    assert aligned(before, there) == after


def test_sightings_in_another_order_are_told_from_missing_ones() -> None:
    first, second, third = (
        Sighting(NOON + timedelta(seconds=n > 1), ("update", f"z{n}", "18-24", "female"), (0, n, 0)) for n in range(3)
    )
    assert changes([first, second, third], [second, first, third]) == [("in another order in {1}", first)] or changes(
        [first, second, third], [second, first, third]
    ) == [("in another order in {1}", second)]
    assert changes([first, third], [first, second]) == [("only in {1}", second), ("only in {0}", third)]
    assert changes([first], [first._replace(where=(1, 7, 2))]) == []


def test_a_deployments_section_is_taken_from_where_the_chain_stands_whatever_its_rows_are() -> None:
    columns = [np.array(rows, kind) for rows, kind in ([[7, 8, 9], "u8"], [[50, 51, 52], "i8"], [[4, 5, 6], "i8"])]
    columns += [np.zeros(3, "u4"), np.array([1, 1, 0], "u2"), np.zeros(3, "u1"), np.array([0, 1, 5], "u1")]
    seen = Seen()
    seen.add_section(Section(2, 0, 4, 7, 60, *columns), 5)
    rows = sightings_table(seen.columns(), PLAN).to_pylist()
    assert [(row["partition"], row["offset"], row["kind"], row["zone"]) for row in rows] == [
        (2, 5, "attach", "z1"),
        (2, 6, "kind 5", "z0"),
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--out", "panes.parquet"], "say --contains-personal-data"),
        (["--contains-personal-data"], "--sightings goes with --out"),
    ],
)
def test_sightings_are_refused(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["replay", str(GOLDEN / "morning.parquet"), "--embedded", "--sightings", *arguments]) == 2
    assert says in capsys.readouterr().err


def cut(path: Path, to: Path, first: int, last: int) -> tuple[Path, datetime, datetime]:
    """A run without its panes before the `first` end and after the `last` one."""
    panes = read_run(path).panes
    ends = sorted(set(panes["end"].to_pylist()))
    kept = [ends[first] <= end <= ends[last] for end in panes["end"].to_pylist()]
    save(panes.filter(pa.array(kept)), to)
    for what in ("sightings", "counted"):
        to.with_suffix(f".{what}.parquet").write_bytes(path.with_suffix(f".{what}.parquet").read_bytes())
    return to, ends[first], ends[last]


def test_panes_that_one_run_does_not_reach_are_told_and_not_explained(
    whole: Path, less: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short, first, last = cut(whole, tmp_path / "short.parquet", 2, -3)
    said = {
        f"short has no pane before {first:%Y-%m-%dT%H:%M:%SZ}: its run begins there",
        f"short has no pane after {last:%Y-%m-%dT%H:%M:%SZ}: its run ends there",
    }
    same = "the runs counted the same in the panes that both have"
    for pair in ((whole, short), (short, whole)):
        capsys.readouterr()
        assert run(["diff", *map(str, pair)]) == 1
        assert set(capsys.readouterr().out.splitlines()) == said | {same}
    none, _, _ = cut(whole, tmp_path / "none.parquet", 1, 0)
    capsys.readouterr()
    assert run(["diff", str(whole), str(none)]) == 1
    assert capsys.readouterr().out == "none has no pane at all\n"
    assert run(["diff", str(none), str(none)]) == 0
    capsys.readouterr()
    short, _, _ = cut(less, tmp_path / "short.parquet", 0, -3)
    assert run(["diff", str(whole), str(short)]) == 1
    assert "1 subscriber counted differently there" in capsys.readouterr().out


def test_what_holds_no_panes_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["diff", str(GOLDEN / "morning.parquet"), str(GOLDEN / "morning.parquet")]) == 2
    assert "holds no panes" in capsys.readouterr().err


def test_a_broken_file_is_told_and_no_difference(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "odd.duckdb").write_bytes(b"no database, as long as one needs to be" * 500)
    save(read_run(whole).panes, tmp_path / "run.parquet")
    (tmp_path / "run.counted.parquet").write_bytes(b"odd")
    for name, says in (
        ("odd.duckdb", "odd.duckdb holds no panes"),
        ("run.parquet", "run.counted.parquet can't be read"),
    ):
        assert run(["diff", str(whole), str(tmp_path / name)]) == 2
        said = capsys.readouterr().err
        assert says in said and said.count("\n") == 1
