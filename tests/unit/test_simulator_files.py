"""What the simulator leaves in files: recordings, the truth, and the command's other outputs."""

import base64
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from schemas.plan import Plan
from streams.cli.main import run
from streams.cli.simulate import simulate
from streams.simulate import Rates, Town, generate, make_town
from streams.simulate.files import Recorder, read_recording
from streams.simulate.registry import counted
from streams.simulate.truth import PANE_MS, TruthFile, load_truth

START = 1_772_420_400_000  # Monday 2026-03-02 04:00 in the town
HOUR = 3_600_000


@pytest.fixture(scope="module")
def town() -> Town:
    return make_town(7, 500)


def made(town: Town) -> list[tuple[int, int, bytes | None]]:
    rates = Rates(malformed=0.1)
    slices = generate(town, START + 3 * HOUR, START + 4 * HOUR, 3, 1, rates)
    return [(p, at, value) for piece in slices for p in range(3) for at, value in piece.values(p)]


def record(town: Town, path: Path) -> None:
    with Recorder(path, {"seed": 7}) as recorder:
        for piece in generate(town, START + 3 * HOUR, START + 4 * HOUR, 3, 1, Rates(malformed=0.1)):
            recorder.write(piece)


def test_a_recording_gives_back_every_record_to_the_byte(town: Town, tmp_path: Path) -> None:
    record(town, tmp_path / "a.rec")
    back = [(b.partition, at, value) for b in read_recording(tmp_path / "a.rec") for at, value in b.values()]
    assert back == made(town)
    assert any(value is None for _, _, value in back)


def test_a_recording_that_was_cut_off_says_so(town: Town, tmp_path: Path) -> None:
    record(town, tmp_path / "a.rec")
    (tmp_path / "b.rec").write_bytes((tmp_path / "a.rec").read_bytes()[:-10])
    with pytest.raises(ValueError, match="cut off"):
        list(read_recording(tmp_path / "b.rec"))


@pytest.mark.parametrize(
    "content", [b"", b"GIF89a\n", b'{"format":"other"}\n', b'{"format":"throng.recording","version":9}\n']
)
def test_what_is_no_recording_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ValueError, match="recording"):
        list(read_recording(tmp_path / "x"))


def test_a_text_recording_carries_bytes_that_are_no_text_in_base64(town: Town, tmp_path: Path) -> None:
    record(town, tmp_path / "a.ndjson")
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
    out = {name: tmp_path / name for name in ("plan.json", "registry.ndjson", "truth.npz", "run.rec")}
    arguments = ["--subscribers", "300", "--hours", "0.5", "--seed", "3", "--partitions", "2", "--batch", "10"]
    arguments += ["--to-file", str(out["run.rec"]), "--plan-out", str(out["plan.json"]), "--rates", "malformed=0.05"]
    arguments += ["--registry-out", str(out["registry.ndjson"]), "--truth", str(out["truth.npz"])]
    result = CliRunner().invoke(simulate, arguments, catch_exceptions=False)
    totals = json.loads(result.stdout.splitlines()[-1])
    blocks = list(read_recording(out["run.rec"]))
    assert totals["records"] == sum(block.time.size for block in blocks)
    assert {block.partition for block in blocks} == {0, 1}
    assert len(msgspec.json.decode(out["plan.json"].read_bytes(), type=Plan).zones) == 60
    assert 280 < len(out["registry.ndjson"].read_bytes().splitlines()) <= 300
    assert load_truth(out["truth.npz"]).about["seed"] == 3


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
        ["--to-file", "nowhere/x"],
        ["--plan-out", "nowhere/x"],
        ["--registry-out", "nowhere/x"],
        ["--truth", "nowhere/x"],
    ],
)
def test_the_command_refuses_in_one_line_what_can_not_be(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["simulate", "--to-file", str(tmp_path / "x"), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("throng: ")
    assert not (tmp_path / "x").exists()
