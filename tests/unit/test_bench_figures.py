"""What the benchmarks make of what they measured: medians, extrapolation, growth, charts, and the page telling it."""

import importlib
import json
import math
import pkgutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

import benchmarks
from benchmarks import (
    bench_functions,
    bench_memory,
    bench_rebalance,
    bench_release,
    bench_scale,
    bench_soak,
    curves,
    curves_chart,
    extrapolate,
    sizes_by_turns,
    told,
)
from benchmarks.core_job import Core, chunks_of
from benchmarks.extrapolate import Measured, Network
from benchmarks.goals import goals
from benchmarks.peers.job import Size
from benchmarks.peers.peers import BY_NAME, RESULTS
from benchmarks.peers.throng import Mark
from streams.core.events.decode import decode
from streams.core.events.records import walk

PROGRAMS = sorted(each.name for each in pkgutil.iter_modules(benchmarks.__path__))
NETWORK = Network(sims=1_000_000, events_a_day=86_400_000, zones=100, partitions=10)
MEASURED = Measured(
    **{"gateway": 1_000_000, "crowd": 500_000, "gateway_more": 1.0, "crowd_more": 1.5, "servers_ns": 2_000},
    **{"table": 60.0, "snapshot": 20.0, "registry": 18.0, "raw": 60.0, "frame": 40.0, "busiest": 2.0},
)


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_benchmark_names_what_there_is(program: str):
    importlib.import_module(f"benchmarks.{program}")


def point(subscribers: int, rate: int, **figures: float) -> dict:
    usual = {"gateway_ns": 300, "crowd_ns": 200, "row_bytes": 60.0, "partitions": 16}
    return {"value": subscribers, "subscribers": subscribers, "events_per_cpu_s": rate, **usual, **figures}


def test_a_network_is_computed_by_hand():
    found = extrapolate.extrapolate(NETWORK, MEASURED)
    assert (found["events_a_s_mean"], found["events_a_s_busiest"]) == (1_000, 2_000)
    # 1 us an event in the gateway, 2 us and half as much again in the crowd.
    assert found["cores_mean"] == pytest.approx(0.004)
    assert found["cores_busiest"] == pytest.approx(0.008)
    assert found["cores_to_have"] == pytest.approx(0.008 / 0.6)
    assert found["cores_servers_busiest"] == pytest.approx(0.004)
    assert (found["crowd_gb"], found["registry_gb_a_gateway"]) == (0.06, 0.018)
    assert found["kafka_gb_a_day"] == pytest.approx(8.64)
    assert found["kafka_gb_stored"] == pytest.approx(8.64 * 3 / 6)
    assert found["redis_snapshots_gb"] == pytest.approx(0.02)
    assert found["redis_counts_gb"] == pytest.approx(10 * 2 * 100 * 28 / 1e9)


def test_what_was_not_measured_is_null_and_what_follows_from_it_too(tmp_path: Path):
    missing = extrapolate.kept(NETWORK, tmp_path)
    assert set(missing.values()) == {None}
    found = extrapolate.extrapolate(NETWORK, MEASURED._replace(**missing))
    assert found["cores_mean"] is found["crowd_gb"] is found["cores_servers_busiest"] is None
    assert found["kafka_gb_a_day"] == pytest.approx(8.64)


def test_measured_is_read_from_the_results_files(tmp_path: Path):
    rounds = [
        {"peer": "throng", "shape": shape, "gateway": gateway, "crowd": 2 * gateway}
        for shape, gateway in (("single", 100), ("single", 300), ("single", 200), ("batched", 900))
    ]
    sizes = [point(1_000_000, 2), point(16_000_000, 1, crowd_ns=500)]
    (tmp_path / "peers.json").write_text(json.dumps({"rounds": rounds}))
    (tmp_path / "curves.json").write_text(json.dumps({"sizes": {"subscribers": sizes}}))
    (tmp_path / "memory.json").write_text(json.dumps({"day": {"memory": 70.0, "snapshot": 20.0}}))
    (tmp_path / "scale.json").write_text(json.dumps({"sets": {"1": {"servers_ns": 5}, "2": {"servers_ns": 7}}}))
    found = extrapolate.kept(Network(), tmp_path)
    assert (found["gateway"], found["crowd"], found["servers_ns"]) == (200, 400, 7)
    # A million in 4 partitions are between the two points: 62,500 and a million a partition, of 200 and 500 ns.
    here = 200 + 300 * math.log(4) / math.log(16)
    there = 200 + 300 * math.log(718_750 / 62_500) / math.log(16)
    assert (found["gateway_more"], found["crowd_more"]) == (1.0, pytest.approx(there / here))
    assert (found["table"], found["snapshot"]) == (70.0, 20.0)


def test_between_the_points_of_a_curve_an_event_costs_by_the_logarithm_of_subscribers():
    sizes = [point(160_000, 1, crowd_ns=100), point(16_000_000, 1, crowd_ns=300)]
    found = [extrapolate.cost(sizes, "crowd", a_partition) for a_partition in (1_000, 10_000, 100_000, 1_000_000, 9e6)]
    assert found == pytest.approx([100, 100, 200, 300, 300])


def test_scaling_tells_medians_by_sets_and_the_gain():
    begin, end = Mark(0.0, 0.0, 0, 0.0, 0), Mark(2.0, 1.0, 1_000, 1.0, 1_000)
    one = bench_scale.came_to(1, begin, end, 1.0)
    assert (one.wall_rate, one.rate, one.servers_share, one.servers_ns) == (500.0, 500.0, 0.5, 1e6)
    two = [one._replace(sets=2, wall_rate=rate) for rate in (700.0, 100.0, 800.0)]
    found = bench_scale.summary([one, *two])
    assert found["sets"]["2"]["wall_rate"] == 700.0
    assert found["sets"]["2"]["freed"] == 1_000.0
    assert found["gain"] == {"wall_rate": 1.4, "rate": 1.0}
    assert "gain: 1.40 by wall time" in bench_scale.table(found)


def hour(memory: float, keys: int) -> dict:
    each = dict.fromkeys(bench_soak.ROLES, 10)
    by_role = dict.fromkeys(bench_soak.ROLES, memory)
    return {
        "memory_mb": by_role,
        "files": each,
        "threads": each,
        "redis_keys": keys,
        "redis_released": 9,
        "redis_mb": 5.0,
    }


def test_a_soak_tells_what_grew_beyond_what_is_allowed_and_null_if_it_was_too_short():
    steady = [hour(200.0, 100) for _ in range(33)]
    assert bench_soak.grown(steady, bench_soak.growth(steady)) == []
    leaking = [*steady[:31], hour(240.0, 100), hour(200.0, 140)]
    assert bench_soak.grown(leaking, bench_soak.growth(leaking)) == [
        "gateway MB",
        "crowd MB",
        "release MB",
        "Redis keys",
    ]
    assert bench_soak.grown(steady[:20], bench_soak.growth(steady[:20])) is None


def test_a_soak_of_many_days_compares_the_last_with_the_one_before():
    filling = [hour(200.0 + at, 100) for at in range(48)]
    full = [hour(248.0, 100) for _ in range(48)]
    assert set(bench_soak.growth([*filling, *full]).values()) == {0.0}
    assert bench_soak.growth([*full, *filling, *full[:1]])["crowd MB"] == 24.0


def test_flatness_is_the_dearest_over_the_cheapest():
    assert curves.flatness([point(1, 120), point(2, 100), point(3, 110)]) == 0.2


def test_the_curves_chart_has_a_panel_for_each_curve_and_one_for_bytes():
    settings = {"lateness": [{"value": 1, "events_per_cpu_s": 10}, {"value": 10, "events_per_cpu_s": 12}]}
    found = {"settings": settings, "sizes": {"subscribers": [point(10_000, 1_500_000), point(1_000_000, 1_200_000)]}}
    drawn = ElementTree.fromstring(curves_chart.svg(found))
    texts = [each.text for each in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert [text for text in texts if text in ("lateness, s", "subscribers", "bytes a row")] == [
        *("lateness, s", "subscribers", "subscribers", "bytes a row"),
    ]
    assert {"1.5M", "1.2M", "10k"} <= set(texts)


@pytest.mark.parametrize("setting", [each[-1] for each in curves.SETTINGS.values()])
def test_a_setting_changes_the_run_and_leaves_the_core_as_it_was(setting: curves.Setting):
    size = Size(50, 400, 12)
    core, chunks = Core(size), chunks_of(size, "single", chunk_bytes=setting.fetch_kb * 1000)
    before = core.terms, core.pane_ms
    assert curves.cost_s(core, chunks, setting) > 0
    assert (core.terms, core.pane_ms) == before


def test_longer_panes_are_fewer():
    size = Size(50, 400, 60)
    core = Core(size)

    def panes(pane_ms: int) -> int:
        core.pane_ms = pane_ms
        return core.take(core.begin(), chunks_of(size, "single"))

    assert panes(300_000) > panes(900_000) > 0


def test_the_scanner_alone_finds_the_events_that_decoding_does():
    size = Size(50, 400, 12)
    records = [walk([chunk.batch]) for chunk in chunks_of(size, "single", sentinels=False)]
    assert sum(map(bench_functions.scanned, records)) == sum(len(decode(some, 1 << 18).ts) for some in records) == 400


def test_every_function_has_a_cost_and_a_unit():
    found = bench_functions.measured(Size(200, 2_000, 12), 1)
    assert list(found["ns"]) == list(bench_functions.UNITS)
    assert all(cost > 0 for cost in found["ns"].values())


def test_the_pages_tell_what_the_results_hold():
    pages = [(told.DOCS / name).read_text() for name in told.PAGES]
    found = [name for page in pages for name in told.BLOCK.findall(page)]
    assert sorted(found) == sorted([told.GOALS, *told.FIGURES])
    for page in pages:
        assert told.rewritten(page, RESULTS) == page, "run: python -m benchmarks.told"


def rounds_of_peers(**figures: int) -> dict:
    ways = (("throng", "default", 900), ("flink", "parallel", 450), ("flink", "siphash", 600))
    rounds = [
        {"peer": name, "configuration": way, "shape": "single", "rate": rate, **figures} for name, way, rate in ways
    ]
    rounds.append({"peer": "flink", "configuration": "g1", "shape": "single", "trouble": "told nothing"})
    summary = {"single": {"throng": 900, "flink": 600}, "batched": {"throng": None, "flink": None}}
    return {"rounds": rounds, "summary": summary, "events": 1_000, "subscribers": 100}


def test_peers_are_told_with_what_the_servers_took_beside_each():
    text = told.peers(rounds_of_peers(servers_ns=70)).splitlines()
    assert (
        "how many times as fast throng is; beside it the CPU of Kafka and Redis, ns an event; 1,000 events" in text[0]
    )
    assert text[2] == "|  | configuration | one a record | times | servers | arrays of 100 | times | servers |"
    assert text[4] == "| **throng** | defaults | 900 | – | 70 | – | – | – |"
    assert [line.split(" | ")[2:5] for line in text[5:]] == [["450", "2.00", "70"], ["600", "1.50", "70"]]


def test_peers_without_figures_of_the_servers_are_told_without_them():
    text = told.peers(rounds_of_peers()).splitlines()
    assert "servers" not in text[2]
    assert "Kafka and Redis" not in text[0]
    assert text[4] == "| **throng** | defaults | 900 | – | – | – |"
    assert text[6].endswith("SipHash in place of BLAKE2b | 600 | 1.50 | – | – |")


def test_goals_are_met_by_what_was_measured_and_by_nothing_else(tmp_path: Path):
    single = {"throng": 700_000, "flink": 500_000, "quix": 10_000}
    summary = {"single": single, "batched": {"throng": 900_000}, "ratios": {"flink": 1.4, "quix": 70.0}}
    (tmp_path / "peers.json").write_text(json.dumps({"summary": summary}))
    faster = {"summary": {"single": {"throng": 1_700_000}, "batched": {"throng": 1_900_000}, "ratios": {"flink": 9.0}}}
    (tmp_path / "peers_faster.json").write_text(json.dumps(faster))
    late = {"1000_zones": {"counter": {"p99": 999}, "release": {"p99": 501}}}
    end_of_hour = {"latency_ms": {"10000_zones": {"release": {"p99": 2_001}}}}
    (tmp_path / "latency.json").write_text(json.dumps({"latency_ms": late, "hour": end_of_hour}))
    sizes = {"zones": [point(100, 9), point(10_000, 6)], "subscribers": [point(1_000_000, 9)]}
    flat = {"zones": 0.5, "subscribers": 0.0}
    (tmp_path / "curves.json").write_text(json.dumps({"sizes": sizes, "flatness": flat}))
    job = {"rows": 50.0, "memory": 140.0, "snapshot_rows": 24.0, "snapshot": 31.0}
    memory = {"job": job, "day": {**job, "rows": 64.5}}
    (tmp_path / "memory.json").write_text(json.dumps(memory))
    leaking = [hour(200.0, 100) for _ in range(31)] + [hour(240.0, 100)] * 2
    soaked = {"hours": leaking, "grew": bench_soak.growth(leaking)}
    (tmp_path / "soak.json").write_text(json.dumps(soaked))
    found = {goal.what: goal.cells()[1:] for goal in goals(tmp_path)}
    assert found["events per CPU-second, one event a record"] == ("600,000", "700,000", "yes")
    assert found["events per CPU-second, arrays of 100"] == ("1,000,000", "900,000", "**no**")
    assert [
        found[f"times as fast as {BY_NAME[name].title}, one event a record"][1:]
        for name in ("flink", "quix", "bytewax")
    ] == [
        *(("1.40", "**no**"), ("70.00", "yes"), ("–", "not measured")),
    ]
    faster = {what: each[1:] for what, each in found.items() if "twice as fast" in what}
    assert list(faster.values()) == [("1,700,000", "yes"), ("1,900,000", "yes")]
    assert [each[2] for what, each in found.items() if what.startswith("ms at p99")] == [
        "yes",
        "**no**",
        "not measured",
        "**no**",
    ]
    assert found["dearer at worst, 100 to 10,000 zones"] == ("20%", "50%", "**no**")
    rows = "50.0 after two hours of the job, 64.5 after a simulated day"
    assert found["bytes a subscriber, the own row in memory"] == ("64", rows, "**no**")
    assert found["bytes a subscriber, all that a crowd holds in memory"][2] == "**no**"
    assert found["bytes a subscriber, a whole snapshot in Redis"][2] == "yes"
    assert found["grows from one day to the next beyond its rhythm"][1:] == (
        *("gateway MB, crowd MB, release MB", "**no**"),
    )


def test_latency_is_told_by_measure_and_of_how_many_panes_and_over_an_hour_if_that_was_run():
    kinds = {"release of dwell": {"p50": 900.4, "p99": 1_100, "samples": 9, "panes": 1, "due": 2}}
    run = {"latency_ms": {"10000_zones": kinds}, "rate": 20_000, "speed": 20.0, "subscribers": 300_000, "minutes": 65}
    text = told.latency({**run, "latency_ms": {}, "hour": run})
    assert text.startswith("At 20,000 events a second of 300,000 subscribers")
    assert "over 65 minutes of it" in text
    assert text.splitlines()[-1] == "| release of dwell, 10000 zones | 900 | 1,100 | 9 | 1 of 2 |"
    assert told.latency({**run, "hour": run}).count("release of dwell") == 2


def steps() -> dict:
    moved = {"rebalance": 0.2, "serving": 0.3, "whole": 0.9, "stall_stayed": 0.1}
    alone = {"serving": 3.4, "level": 4.0, "from_signal": 11.0}
    return {"a 4th joins 3": [moved, {**moved, "whole": 6.2}], "the only one stops, and back": [alone]}


def rebalanced() -> dict:
    of = {"subscribers": 1_000_000, "partitions": 8, "rate": 20_000, "snapshot_s": 60.0, "cores": 2}
    return {**of, "load_average": [1.04, 5.5], "steps": steps()}


def test_a_rebalance_is_told_by_the_worst_of_its_rounds_and_on_how_busy_a_machine():
    text = told.rebalance(rebalanced()).splitlines()
    assert text[0] == (
        "1,000,000 subscribers in 8 partitions, 20,000 sightings a second, snapshots every 60 s; s, the worst of at "
        "least 1, on 2 cores with a load average of 1.0 to 5.5:"
    )
    assert text[4:] == [
        "| a 4th joins 3 | 0.3 | 6.2 | 0.1 | – |",
        "| the only one stops, and back | 3.4 | – | – | 11.0 |",
    ]
    assert "6.20" in bench_rebalance.table(steps())


def test_a_rebalance_that_is_too_slow_misses_its_goals(tmp_path: Path):
    (tmp_path / "rebalance.json").write_text(json.dumps(rebalanced()))
    assert [goal.cells()[1:] for goal in goals(tmp_path)] == [("3", "3.4", "**no**"), ("5", "6.2", "**no**")]
    fast = [{"serving": 0.3, "whole": 4.9}], [{"serving": 2.9, "from_signal": 11.0}]
    quick = rebalanced() | {"steps": dict(zip(steps(), fast, strict=True))}
    (tmp_path / "rebalance.json").write_text(json.dumps(quick))
    assert [goal.met for goal in goals(tmp_path)] == [True, True]


def test_a_registry_is_told_by_its_loads_from_kafka():
    table = {"subscribers": 5_000, "memory_mb": 1.2, "table_bytes_each": 19.24}
    table |= {"load_cpu_s": 12.94, "million_look_ups_per_cpu_s": 40.0}
    kafka = {"load_s": 46.2, "load_cpu_s": 28.0, "records_per_s": 108_225.1, "rounds": 3, "load_average": 2, "cores": 2}
    planned = {"subscribers": 46_000, "memory_mb": 855.2, "table_bytes_each": 18.5}
    planned |= {"put_cpu_s": 9.7, "million_look_ups_per_cpu_s": 31.25}
    text = told.registry({"table": table, "kafka": kafka, "planned": planned}).splitlines()
    assert text[0] == "The median of 3 loads, on 2 cores with a load average of 2.0:"
    assert text[4:] == [
        "| 5,000 | 1 | 19.2 | 46 s, 108,225 a second | 28.0 s | 12.9 s | 40 million a CPU-second, 25 ns |",
        "| 46,000 (bits put straight into the table) | 855 | 18.5 | – | – | 9.7 s for the table alone | 31 million "
        "a CPU-second, 32 ns |",
    ]


def test_a_release_is_told_by_what_noise_takes_of_it_and_what_the_rest_does():
    cpu = {"sum": 3.0, "noise": 14.4, "record": 8.0}
    pane = {"measure": "trips_zone", "zones": 20, "keys": 400, "each": None, "records": 9, "wall_ms": {}, "cpu_ms": cpu}
    panes = [pane, {**pane, "each": 800, "records": 400}, {**pane, "measure": "dwell"}]
    text = told.release({"rounds": 4, "panes": panes}).splitlines()
    assert text[0] == "CPU ms, the median of 4 panes:"
    assert text[4:] == [
        "| trips between zones | 20 | 400 | 9 | 25 | 14 | 11 |",
        "| trips between zones, 800 of each | 20 | 400 | 400 | 25 | 14 | 11 |",
    ]


def test_a_pane_is_released_step_by_step_and_all_is_told_of_keys_with_many_people():
    plan, measure = bench_release.plan_of(400), bench_release.DEFAULT_MEASURES[2]
    few, many = (bench_release.measure_one(plan, measure, 1, each) for each in (None, bench_release.MANY_TRIPS))
    assert (few["zones"], few["keys"], list(few["cpu_ms"])) == (
        400,
        160_000,
        ["sum", "noise", "record", "read", "show"],
    )
    assert few["records"] < 1_000 < 50_000 < many["records"]
    assert "trips_zone" in bench_release.line(many)


def test_what_has_no_results_is_told_as_not_run(tmp_path: Path):
    text = "a\n<!-- figures: soak -->\nold\n<!-- end -->\nb"
    assert told.rewritten(text, tmp_path) == "a\n<!-- figures: soak -->\n(`soak.json`: not run yet.)\n<!-- end -->\nb"


def test_base_panes_of_an_epoch_divide_its_measures():
    core = Core(Size(10, 10, 12))
    core.pane_ms = 900_000
    epoch = core.begin()._context.epochs.epochs[0]
    assert epoch.pane_ms == 900_000
    assert all(each.pane_ms % 900_000 == 0 for each in epoch.measures)


def test_the_extrapolation_is_told_with_what_was_measured_and_what_was_not(tmp_path: Path):
    measured = MEASURED._replace(servers_ns=None)
    whole = {"network": NETWORK._asdict(), "measured": measured._asdict()}
    whole["computed"] = extrapolate.extrapolate(NETWORK, measured)
    (tmp_path / "extrapolation.json").write_text(json.dumps(whole))
    text = told.block("extrapolation", tmp_path)
    assert "| events per CPU-second of the gateway | 1,000,000 | peers.json |" in text
    assert "| cores of Kafka and Redis | – |" in text
    assert "| Kafka, GB a day written (raw and sightings, lz4) | 8.64 |" in text


def test_memory_is_told_by_what_it_is_for_and_at_an_hours_end_lists_are_in_it():
    crowds = bench_memory.after_the_job(100, 20)
    found = bench_memory.part(crowds)
    assert found.memory == pytest.approx(found.rows + found.departures + found.lists + found.counts)
    assert all(value > 0 for value in found)
    assert found.snapshot > found.snapshot_rows
    assert bench_memory.departures(crowds) == pytest.approx(2.9, abs=0.3)
    # Two bytes or four of a key, and four of whose it is.
    assert found.lists / bench_memory.departures(crowds) == pytest.approx(7, abs=1.5), (
        "about one list entry a departure"
    )


def test_sizes_take_their_turns_and_tell_of_each():
    cases = [sizes_by_turns.Case(subscribers, 10, 2) for subscribers in (500, 2_000)]
    found = sizes_by_turns.by_turns(cases, 1, lambda _: None)
    assert list(found) == cases
    assert all(figures["events_per_cpu_s"] > 0 for figures in found.values())
    assert found[cases[0]]["row_bytes"] > found[cases[1]]["row_bytes"] > 40
