"""`throng machines`: from a recording to a list that only its owner reads."""

import stat
from pathlib import Path

import numpy as np
import orjson
import pytest

from streams.cli.main import run
from streams.importing.out import slices
from streams.importing.spool import Event
from streams.recording.made import write_recording
from streams.simulate import generate, make_town, plan
from streams.simulate.people import imsis, machines, of_its_own

START = 1_772_420_400_000
DAY = 86_400_000


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, object]:
    """A day of a small town, recorded, a fifth of which are machines."""
    folder = tmp_path_factory.mktemp("town")
    made = make_town(3, 150, 20, machines=0.2, homebound=0.2)
    pieces = generate(made, START, START + DAY, 2, batch=50, slice_ms=3_600_000)
    write_recording(folder / "day.parquet", 2, [], pieces, True, lambda _: None)
    (folder / "plan.json").write_bytes(orjson.dumps(plan(made)))
    return folder, made


def test_it_names_the_machines_and_no_people(town, monkeypatch, capsys) -> None:  # type: ignore[no-untyped-def]
    folder, made = town
    monkeypatch.setenv("THRONG_GATEWAY_PLAN", str(folder / "plan.json"))
    out = folder / "list.ndjson"
    out.touch()
    out.chmod(0o644)
    assert run(["machines", str(folder / "day.parquet"), "--out", str(out), "--days", "1"]) == 0
    told = orjson.loads(capsys.readouterr().out)
    lines = [orjson.loads(line) for line in out.read_bytes().splitlines()]
    named = {int(line["imsi"]) for line in lines}
    often = (of_its_own(made) >= 3) & (of_its_own(made) < 6)  # hourly at least
    assert named <= set(imsis(made)[machines(made)].tolist())
    assert len(named & set(imsis(made)[often].tolist())) >= 0.9 * often.sum() > 5
    assert (told["proposed"], told["clockwork"], told["busy"]) == (len(lines), len(lines), 0)
    assert 140 < told["subscribers"] <= 150 and told["events"] > 10_000
    assert all(line["repeats"] >= 0.8 and line["rules"] == ["clockwork"] for line in lines)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_a_recording_too_short_is_refused(town, monkeypatch, capsys) -> None:  # type: ignore[no-untyped-def]
    folder, _ = town
    monkeypatch.setenv("THRONG_GATEWAY_PLAN", str(folder / "plan.json"))
    assert run(["machines", str(folder / "day.parquet"), "--out", str(folder / "none"), "--days", "2"]) == 1
    assert "holds 1.00 days of events: 2 whole ones are needed" in capsys.readouterr().err
    assert not (folder / "none").exists()


def test_an_import_is_as_long_as_its_events_not_as_the_beats_that_end_it(tmp_path, monkeypatch, capsys) -> None:  # type: ignore[no-untyped-def]
    made = make_town(3, 150, 20)
    (tmp_path / "plan.json").write_bytes(orjson.dumps(plan(made)))
    monkeypatch.setenv("THRONG_GATEWAY_PLAN", str(tmp_path / "plan.json"))
    hour = DAY // 24
    times = [START + minute * 60_000 for minute in range(0, 23 * 60 + 1)]
    value = b'{"event_id":"%d","imsi":"001010000000001","ts":%d,"cell":"001-01-0000001"}'
    events = [Event(ts, order, 1, value % (ts, ts)) for order, ts in enumerate(times)]
    pieces = slices(iter(events), 2, beyond_ms=hour)
    write_recording(tmp_path / "imported.parquet", 2, [], pieces, True, lambda _: None)
    assert run(["machines", str(tmp_path / "imported.parquet"), "--out", str(tmp_path / "none"), "--days", "1"]) == 1
    assert "holds 0.96 days of events: 1 whole ones are needed" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_machines_have_the_types_of_device_that_people_have_and_are_no_people() -> None:
    from streams.simulate.people import tacs
    from streams.simulate.registry import counted

    made = make_town(2, 5000, machines=0.1, homebound=0.1)
    kinds = of_its_own(made)
    assert 0.08 < machines(made).mean() < 0.12 and 0.07 < np.isin(kinds, (1, 2)).mean() < 0.11
    telephones = set(tacs(make_town(2, 5000)).tolist())
    assert set(tacs(made)[machines(made)].tolist()) <= telephones
    assert not counted(made)[machines(made)].any() and counted(made)[~machines(made)].any()
