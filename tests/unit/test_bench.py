"""`make bench`: the shape of its last line, and that it tells null where nothing was run."""

import json
from pathlib import Path

import pytest

from benchmarks import bench, bench_latency
from benchmarks.peers import run
from benchmarks.peers.drive import Run
from benchmarks.peers.outputs import Sums

PEERS = ["stock_faust", "quix", "bytewax", "kafka_streams", "flink"]
LATENCY = {"1000_zones": {"counter": {"p50": 10, "p99": 20, "samples": 3}, "release": {"samples": 0}}}


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
    assert rows[-2].split() == ["counter,", "1000", "zones", "10", "20", "3"]
    assert rows[-1].split() == ["release,", "1000", "zones", "-", "-", "0"]


def test_an_unknown_peer_is_named(tmp_path: Path):
    with pytest.raises(SystemExit, match="no peer is called spark; there are throng, "):
        run.compare(bench.options().parse_args(["--peers", "throng,spark", "--results", str(tmp_path / "p.json")]))


def test_only_plausible_configurations_run_where_the_best_are_wanted():
    assert run.going_on({}, "flink", "single", "best") == ["parallel", "g1", "record", "siphash"]
    assert run.going_on({}, "kafka_streams", "single", "best") == ["packed", "bundled", "siphash"]


def test_a_short_run_that_was_cut_off_is_judged_by_its_own_rate():
    short = Run(5.0, 5.0, 10, 1.0, [], Sums())
    assert run.marginal(short, short, 100, 300) == 5.0
