"""`make bench`: the shape of its last line, and that it tells null where nothing was run."""

import json
from pathlib import Path

import pytest

from benchmarks import bench, bench_latency
from benchmarks.peers import run
from benchmarks.peers.drive import Run
from benchmarks.peers.outputs import Sums

PEERS = ["stock_faust", "quix", "bytewax", "kafka_streams", "flink"]
LATENCY = {
    "1000_zones": {
        "counter": {"p50": 10, "p99": 20, "samples": 3},
        "release": {"p50": 30, "p99": 40, "samples": 9, "panes": 2, "due": 2},
        "release of dwell": {"samples": 0, "panes": 0, "due": 1},
    }
}


def told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, *words: str) -> tuple[int, dict]:
    rounds = {("throng", "default", "single"): [{"rate": 900.0}], ("flink", "g1", "single"): [{"rate": 600.0}]}

    async def measured(chosen: object) -> dict:
        return LATENCY

    monkeypatch.setattr(run, "compare", lambda chosen: run.summarise(rounds))
    monkeypatch.setattr(bench_latency, "measured", measured)
    code = bench.main([*words])
    return code, json.loads(capsys.readouterr().out.splitlines()[-1])


def test_the_last_line_has_each_peer_and_null_where_there_is_no_figure(monkeypatch, capsys):
    code, line = told(monkeypatch, capsys)
    assert code == 0
    assert list(line) == ["single", "batched", "ratios", "latency_ms"]
    assert list(line["single"]) == list(line["batched"]) == ["throng", *PEERS]
    assert list(line["ratios"]) == PEERS
    assert (line["ratios"]["flink"], line["ratios"]["quix"], line["batched"]["flink"]) == (1.5, None, None)
    assert line["latency_ms"] == LATENCY


def test_latency_that_was_not_run_is_null_even_if_an_older_run_kept_some(monkeypatch, capsys):
    assert told(monkeypatch, capsys, "--no-latency")[1]["latency_ms"] is None


def test_no_figure_of_throng_is_a_failure(monkeypatch):
    monkeypatch.setattr(run, "compare", lambda chosen: run.summarise({}))
    assert bench.main(["--no-latency"]) == 1


def test_the_latency_table_tells_what_has_no_samples():
    rows = bench_latency.table(LATENCY).splitlines()
    assert rows[-3].split() == ["counter,", "1000", "zones", "10", "20", "3"]
    assert rows[-2].split() == ["release,", "1000", "zones", "30", "40", "9", "2"]
    assert rows[-1].split() == ["release", "of", "dwell,", "1000", "zones", "-", "-", "0", "0", "of", "1"]


def test_a_run_over_an_hour_is_kept_beside_the_others(tmp_path: Path):
    def kept(*words: str) -> dict:
        chosen = bench_latency.options().parse_args([*words, "--results", str(tmp_path / "latency.json")])
        chosen.seconds = bench_latency.seconds(chosen)
        bench_latency.keep(chosen, {words[1]: {}})
        return json.loads((tmp_path / "latency.json").read_text())

    found = kept("--minutes", "65", "--speed", "20", "--rate", "20000")
    assert found["latency_ms"] == {}
    hour = found["hour"]
    assert hour["latency_ms"] == {"65": {}}
    assert [hour[name] for name in ("minutes", "seconds", "speed", "rate")] == [65, 195.0, 20.0, 20_000]
    found = kept("--seconds", "60")
    assert found["latency_ms"] == {"60": {}} and found["minutes"] == 20 and found["hour"] == hour
    assert kept("--seconds", "75")["hour"] == hour
    found = kept("--minutes", "90")
    assert found["latency_ms"] == {"75": {}} and found["hour"]["latency_ms"] == {"90": {}}


def test_an_unknown_peer_is_named(tmp_path: Path):
    with pytest.raises(SystemExit, match="no peer is called spark; there are throng, "):
        run.compare(bench.options().parse_args(["--peers", "throng,spark", "--results", str(tmp_path / "p.json")]))


def test_only_plausible_configurations_run_where_the_best_are_wanted():
    assert run.going_on({}, "flink", "single", "best") == ["parallel", "g1", "record", "siphash"]
    assert run.going_on({}, "kafka_streams", "single", "best") == ["packed", "bundled", "siphash"]


def test_a_short_run_that_was_cut_off_is_judged_by_its_own_rate():
    short = Run(5.0, 5.0, 10, 1.0, [], Sums())
    assert run.marginal(short, short, 100, 300) == 5.0
