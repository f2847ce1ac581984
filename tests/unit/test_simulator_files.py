"""What the simulator leaves in files: recordings, the truth, and the command's other outputs."""

import base64
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from schemas.plan import Plan
from streams.cli.main import run
from streams.cli.simulate import simulate
from streams.errors import ThrongError
from streams.recording.file import Reader, times_of
from streams.recording.made import write_recording
from streams.simulate import Rates, Slice, Town, generate, make_town, registry
from streams.simulate.files import Recorder
from streams.simulate.registry import counted
from streams.simulate.truth import PANE_MS, TruthFile, load_truth

START = 1_772_420_400_000  # Monday 2026-03-02 04:00 in the town
HOUR = 3_600_000


@pytest.fixture(scope="module")
def town() -> Town:
    return make_town(7, 500)


def made(town: Town) -> list[tuple[int, int, bytes | None]]:
    return [(p, at, value) for piece in pieces(town) for p in range(3) for at, value in piece.values(p)]


def pieces(town: Town) -> Iterator[Slice]:
    return generate(town, START + 3 * HOUR, START + 4 * HOUR, 3, 1, Rates(malformed=0.1))


def test_a_recording_gives_back_every_record_to_the_byte(town: Town, tmp_path: Path) -> None:
    write_recording(tmp_path / "a.parquet", 3, registry(town), pieces(town), False, lambda _: None)
    reader = Reader(tmp_path / "a.parquet")
    back: dict[int, list[tuple[int, bytes | None]]] = {p: [] for p in range(3)}
    for table in reader.topic("attach"):
        rows = zip(table["partition"].to_pylist(), times_of(table).tolist(), table["value"].to_pylist(), strict=True)
        for p, at, value in rows:
            back[p].append((at, value))
    assert back == {p: [(at, value) for q, at, value in made(town) if q == p] for p in range(3)}
    assert any(value is None for records in back.values() for _, value in records)
    people = [row for table in reader.topic("registry") for row in table.to_pylist()]
    assert [(row["key"], row["value"]) for row in people] == list(registry(town))
    assert reader.span({"registry"})[1] == reader.span({"attach"})[0] // 60_000 * 60_000 - HOUR


def test_a_text_recording_carries_bytes_that_are_no_text_in_base64(town: Town, tmp_path: Path) -> None:
    with Recorder(tmp_path / "a.ndjson") as recorder:
        for piece in pieces(town):
            recorder.write(piece)
    back = []
    for line in (tmp_path / "a.ndjson").read_bytes().splitlines():
        e = json.loads(line)
        value = base64.b64decode(e["base64"]) if "base64" in e else e["value"]
        back.append((e["partition"], e["time"], value.encode() if isinstance(value, str) else value))
    assert back == made(town)


def test_the_truth_follows_everyone_without_a_gap_and_counts_who_is_present(town: Town, tmp_path: Path) -> None:
    end = START + 5 * HOUR
    with TruthFile(tmp_path / "truth.npz", town, START, end) as file:
        for piece in generate(town, START, end, 1):
            file.write(piece)
    truth = load_truth(tmp_path / "truth.npz")
    for i in range(town.subscribers):
        own = truth.stretches[truth.stretches["who"] == i]
        assert own["begin"][0] == START
        assert own["end"][-1] == end
        assert np.array_equal(own["begin"][1:], own["end"][:-1])
    assert np.array_equal(truth.subscribers["counted"], counted(town))
    assert truth.present.shape == (60, 60)
    first = int(str(truth.about["first_pane_end_ms"]))
    for pane in range(60):
        last_instant = first + pane * PANE_MS - 1
        expected = np.zeros(60, int)
        for row in truth.stretches:
            if row["begin"] <= last_instant < row["end"] and row["mode"] and truth.subscribers["counted"][row["who"]]:
                expected[row["zone"]] += 1
        assert np.array_equal(truth.present[pane], expected)


def test_the_command_writes_plan_registry_truth_and_recording(tmp_path: Path) -> None:
    out = {name: tmp_path / name for name in ("plan.json", "registry.ndjson", "truth.npz", "run.parquet")}
    arguments = ["--subscribers", "300", "--hours", "0.5", "--seed", "3", "--partitions", "2", "--batch", "10"]
    arguments += [
        "--to-file",
        str(out["run.parquet"]),
        "--plan-out",
        str(out["plan.json"]),
        "--rates",
        "malformed=0.05",
    ]
    arguments += ["--registry-out", str(out["registry.ndjson"]), "--truth", str(out["truth.npz"])]
    result = CliRunner().invoke(simulate, arguments, catch_exceptions=False)
    totals = json.loads(result.stdout.splitlines()[-1])
    tables = list(Reader(out["run.parquet"]).topic("attach"))
    assert totals["records"] == sum(table.num_rows for table in tables)
    assert {p for table in tables for p in table["partition"].to_pylist()} == {0, 1}
    assert len(msgspec.json.decode(out["plan.json"].read_bytes(), type=Plan).zones) == 60
    assert 280 < len(out["registry.ndjson"].read_bytes().splitlines()) <= 300
    assert load_truth(out["truth.npz"]).about["seed"] == 3


def test_a_recording_of_the_command_is_replayed_with_its_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    day, town_plan, panes = (tmp_path / name for name in ("day.parquet", "plan.json", "panes.parquet"))
    monkeypatch.setenv("THRONG_GATEWAY_PLAN", str(town_plan))
    arguments = ["--subscribers", "300", "--hours", "2", "--to-file", str(day), "--plan-out", str(town_plan)]
    assert run(["simulate", *arguments]) == 0
    events = json.loads(capsys.readouterr().out.splitlines()[-1])["events"]
    assert run(["replay", str(day), "--embedded", "--out", str(panes)]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["events"] == events
    present = [row["count"] for row in pq.read_table(panes).to_pylist() if row["measure"] == "present"]
    assert sum(present) > 1000, "they consent"


@pytest.mark.parametrize("ending", ["ndjson", "parquet"])
def test_a_simulation_that_is_stopped_leaves_no_file_that_reads_as_a_whole_one(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = tmp_path / f"day.{ending}"
    there: list[list[str]] = []

    def stop(_: object, __: object) -> None:
        there.append([path.name for path in tmp_path.iterdir()])
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("streams.cli.simulate._Progress.write", stop)
    assert run(["simulate", "--subscribers", "300", "--hours", "1", "--to-file", str(day)]) == 130
    assert there == [[f"{day.name}.part"]] and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--rates", "nonsense=1"],
        ["--start", "2026-03-02T04:00"],
        ["--speed", "0"],
        ["--zones", "3"],
        ["--cells", "10"],
        ["--subscribers", "0"],
        ["--hours", "0"],
        ["--batch", "0"],
        ["--partitions", "5000"],
        ["--to-file", "nowhere/x.parquet"],
        ["--to-file", "x.csv"],
        ["--to-file", "x"],
        ["--plan-out", "nowhere/x"],
        ["--registry-out", "nowhere/x"],
        ["--truth", "nowhere/x"],
    ],
)
def test_the_command_refuses_in_one_line_what_can_not_be(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["simulate", "--to-file", str(tmp_path / "x.parquet"), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("throng: ")
    assert not list(tmp_path.iterdir())


def test_a_simulation_that_the_topics_refuse_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def refused(*_: object, **__: object) -> int:
        raise ThrongError("topics", "the topic attach is stamped by the broker")

    monkeypatch.setattr("streams.cli.simulate.attach_for", refused)
    beside = [f"--{name}={tmp_path / name}" for name in ("plan-out", "registry-out", "truth")]
    assert run(["simulate", "--kafka", "127.0.0.1:1", "--subscribers", "50", *beside]) == 1
    assert capsys.readouterr().err == "throng: the topic attach is stamped by the broker\n"
    assert not list(tmp_path.iterdir())
