"""The peers' benchmark: its oracle on a case done by hand, and that its comparer and its figures can be trusted."""

import argparse
import json
from collections import Counter
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks import bench, bench_latency
from benchmarks.peers import chart, oracle, run
from benchmarks.peers.drive import Run, Sample, rates
from benchmarks.peers.job import SMALL, START_MS, Size, blocks, cell_texts, draw, imsi_of, partition_of, zone_of
from benchmarks.peers.outputs import Sums, differences
from benchmarks.peers.publish import pieces
from benchmarks.peers.throng import Mark, warmed
from benchmarks.peers.throng import rates as rates_of_roles

ZONES = {"a": 0, "b": 1}


def event(who: int, ts: int, cell: str) -> dict:
    return {"event_id": "x", "imsi": f"0010100000000{who:02d}", "ts": ts, "cell": cell}


def counted(*events: dict) -> Sums:
    return oracle.count([[json.dumps(each).encode() for each in events]], ZONES, 1000, 100)


def test_one_who_moves_is_counted_by_hand():
    # Heard in zone 0 in pane 0, in zone 1 in pane 1, there again in pane 5.
    sums = counted(event(1, 1000, "a"), event(1, 1150, "b"), event(1, 1500, "b"))
    assert sums.events == {0: 1, 1: 1, 5: 1}
    assert sums.present == {(0, 0): 1, (1, 0): -1, (1, 1): 1}
    assert sums.recent == {(0, 0): 1, (1, 1): 1, (2, 1): 1, (3, 1): 1, (5, 1): 1, (6, 1): 1, (7, 1): 1}
    assert sums.arrivals == {(0, 0): 1, (1, 1): 1}
    assert sums.trips == {(1, "0-1"): 1}


def test_who_is_heard_again_in_time_is_counted_once_in_a_window():
    sums = counted(event(1, 1000, "a"), event(1, 1010, "a"), event(1, 1250, "a"), event(2, 1250, "a"))
    assert sums.recent == {(0, 0): 1, (1, 0): 1, (2, 0): 2, (3, 0): 2, (4, 0): 2}
    assert sums.present == {(0, 0): 1, (2, 0): 1}


def test_arrays_count_as_their_events_and_faults_are_rejected():
    good = [event(1, 1000, "a"), event(2, 1001, "b")]
    bad = [
        event(1, 1000, "c"),
        {**event(1, 1000, "a"), "ts": "yesterday"},
        {**event(1, 1000, "a"), "imsi": "00101x000000001"},
        {key: value for key, value in event(1, 1000, "a").items() if key != "cell"},
    ]
    sums = oracle.count([[json.dumps(good + bad).encode()]], ZONES, 1000, 100)
    assert (sums.events, sums.rejected) == ({0: 2}, 4)


def outputs_of(sums: Sums) -> list[bytes]:
    """The sums as a peer would tell them, in two parts a pane."""
    records = []
    for pane, number in sums.events.items():
        keyed = {
            name: {str(key): n for (p, key), n in getattr(sums, name).items() if p == pane}
            for name in ("present", "recent", "arrivals", "trips")
        }
        records.append({"pane": pane, "events": number - 1, "rejected": 0, **keyed})
        records.append({"pane": pane, "events": 1})
    return [json.dumps(record).encode() for record in records]


def test_parts_add_up_to_no_difference():
    sums = counted(event(1, 1000, "a"), event(1, 1150, "b"), event(2, 1150, "a"), event(1, 1250, "a"))
    found = Sums()
    for record in outputs_of(sums):
        found.add(record)
    found.drop_zeros()
    assert differences(sums, found, 3) == []


@pytest.mark.parametrize("name", ["events", "present", "recent", "arrivals", "trips"])
@pytest.mark.parametrize("by", [-1, 1])
def test_a_planted_difference_is_found(name, by):
    right = counted(event(1, 1000, "a"), event(1, 1150, "b"))
    found = counted(event(1, 1000, "a"), event(1, 1150, "b"))
    key = next(iter(getattr(found, name)))
    getattr(found, name)[key] += by
    found.drop_zeros()
    lines = differences(right, found, 2)
    assert lines[0] == f"{name}: 1 differ"
    assert differences(right, found, 0) == []


def test_a_key_too_many_and_a_reject_too_few_are_found():
    right, found = counted(event(1, 1000, "a")), counted(event(1, 1000, "a"))
    found.trips = Counter({(0, "7-8"): 1})
    right.rejected = 1
    assert differences(right, found, 1) == [
        "rejected: 0 instead of 1",
        "trips: 1 differ",
        "  trips, pane 0, 7-8: 1 instead of 0",
    ]


def test_both_shapes_say_the_same_and_each_subscriber_has_one_partition_in_order():
    size = Size(500, 4_000, 5)
    events = draw(size)
    zones = {name: zone_of(number) for number, name in enumerate(cell_texts())}
    single, batched = (
        oracle.count(
            ([v for _, v in block.values()] for block in blocks(size, events, shape, 4)), zones, START_MS, 60_000
        )
        for shape in (1, 100)
    )
    assert single == batched
    assert single.done(size.minutes) == events.good
    assert single.rejected == size.events - events.good > 0
    assert (np.diff(events.ts) >= 0).all()
    assert set(partition_of(np.arange(500), 4)) == {0, 1, 2, 3}
    assert len(set(imsi_of(np.arange(1_000_000)).tolist())) == 1_000_000


def test_events_are_of_about_150_bytes_and_end_with_a_sentinel():
    size = Size(500, 4_000, 5)
    block = next(blocks(size, draw(size), 1, 4))
    values = [json.loads(value) for _, value in block.values()]
    assert 140 < len(block.payload) / len(values) < 160
    assert values[-1]["ts"] == size.end_ms + 3_600_000
    assert block.time[-1] == values[-1]["ts"] + 500


def test_a_block_in_pieces_is_the_same_block():
    size = Size(500, 4_000, 5)
    block = next(blocks(size, draw(size), 1, 4))
    parts = list(pieces(block, 10_000))
    assert len(parts) > 3
    assert [each for part in parts for each in part.values()] == list(block.values())


def test_arrays_of_the_small_input_span_less_than_the_lateness():
    for block in blocks(SMALL, draw(SMALL), 100):
        for at, value in block.values():
            times = [e["ts"] for e in json.loads(value) if isinstance(e.get("ts"), int)]
            assert at - min(times) < 10_000


def test_a_rate_is_of_what_was_told_after_the_warm_up():
    samples = [Sample(0, 0, 0), Sample(5, 8, 50), Sample(6, 10, 100), Sample(8, 12, 300), Sample(9, 99, 300)]
    assert rates(samples) == (100.0, 100.0)
    assert rates([Sample(0, 1, 0)]) == (None, None)


def test_the_servers_time_is_of_the_events_that_the_figure_is_of():
    def ended(servers_s: float, events: int) -> Run:
        samples = [Sample(0, 0.0, 0), Sample(5, 1.0, 100, 2.0), Sample(9, 5.0, events, servers_s)]
        return Run(1.0, None, events, 0.0, samples, Sums())

    assert run.servers_ns(ended(3.0, 100), ended(5.0, 300), 100, 300) == 1e7
    # Cut off: from the end of the warm-up.
    assert run.servers_ns(ended(3.0, 100), ended(5.0, 250), 100, 300) == 2e7
    assert run.servers_ns(ended(3.0, 100)._replace(trouble="ended"), ended(5.0, 300), 100, 300) is None


def test_the_servers_time_is_told_in_the_table_and_kept_in_the_rounds(tmp_path):
    rounds = {("flink", "siphash", "single"): [{"rate": 900.0, "servers_ns": ns} for ns in (70.2, 90.0, 81.0)]}
    assert run.table(rounds).splitlines()[2].split()[:6] == ["flink", "siphash", "900", "900", "to", "900"]
    assert run.table(rounds).splitlines()[2].split()[6] == "81"
    chosen = argparse.Namespace(results=tmp_path / "peers.json", events=1, subscribers=1)
    run.keep(rounds, chosen)
    kept = json.loads(chosen.results.read_text())["rounds"]
    assert [each["servers_ns"] for each in kept] == [70, 90, 81]


def test_throngs_servers_are_measured_from_the_gateways_third_to_the_crowds_end():
    marks = [
        Mark(0, 1.0, 0, 1.0, 0, 5.0),
        Mark(1, 1.5, 150, 1.1, 10, 6.0),
        Mark(2, 2.0, 300, 1.2, 130, 7.0),
        Mark(3, 2.1, 300, 2.2, 300, 9.0),
    ]
    assert rates_of_roles(*warmed(marks), {}).servers_ns == pytest.approx(2e7)


def test_the_best_java_peers_run_with_both_hashes_and_kafka_streams_with_bundles():
    for name in ("kafka_streams", "flink"):
        siphash = [way for way in run.BY_NAME[name].configurations if way.options[-2:] == ("--hash", "siphash")]
        others = [way.options for way in run.BY_NAME[name].configurations if way.plausible]
        assert [(way.plausible, way.options[:-2] in others) for way in siphash] == [(True, True)]
    assert any("--bundle" in way.options for way in run.BY_NAME["kafka_streams"].configurations)


def test_each_role_is_measured_while_it_works():
    # The gateway has all at 2 s, when the crowd has hardly begun; then it idles, at a tenth of a core.
    marks = [
        Mark(0, 1.0, 0, 1.0, 0),
        Mark(1, 1.5, 150, 1.1, 10),
        Mark(2, 2.0, 300, 1.2, 30),
        Mark(3, 2.1, 300, 2.2, 130),
        Mark(4, 2.2, 300, 4.2, 300),
    ]
    found = rates_of_roles(*warmed(marks), {})
    assert (found.gateway, found.crowd, found.wall_rate) == (300, 85, 170)
    assert found.rate == pytest.approx(1 / (1 / 300 + 1 / 85))
    with pytest.raises(AssertionError, match="the gateway was too fast"):
        rates_of_roles(*warmed(marks[2:]), {})


SUMMARY = {
    "single": {"throng": 600_000, "flink": 300_000, "quix": None},
    "batched": {"throng": 900_000, "flink": None, "quix": None},
}


def test_the_chart_has_a_bar_for_each_figure_and_none_for_what_is_missing():
    drawn = chart.svg(SUMMARY)
    assert [name for name, _ in chart.bars(SUMMARY)] == ["throng", "flink"]
    assert [text in drawn for text in (">600,000<", ">900,000<", ">300,000<", "Quix")] == [True, True, True, False]
    assert ElementTree.fromstring(drawn).tag.endswith("svg")


def test_ratios_are_of_the_better_configuration_on_the_single_shape():
    rounds = {
        ("throng", "default", "single"): [{"rate": 500.0}, {"rate": 900.0}, {"rate": 600.0}],
        ("flink", "g1", "single"): [{"rate": 200.0}],
        ("flink", "parallel", "single"): [{"rate": 300.0}, {"rate": None}],
        ("flink", "parallel", "batched"): [{"rate": 700.0}],
        ("quix", "default", "single"): [{"rate": None, "trouble": "told nothing"}],
    }
    summary = run.summarise(rounds)
    assert summary["single"]["throng"] == 600
    assert summary["batched"]["flink"] == 700
    assert summary["ratios"]["flink"] == 2.0
    assert summary["single"]["quix"] is summary["ratios"]["quix"] is summary["batched"]["throng"] is None
    assert list(summary["single"]) == ["throng", "stock_faust", "quix", "bytewax", "kafka_streams", "flink"]
    assert list(summary) == ["single", "batched", "ratios"]


def test_after_the_first_round_only_what_may_be_the_best_goes_on():
    ways = [way.name for way in run.BY_NAME["flink"].configurations]
    assert run.going_on({}, "flink", "single") == ways
    # Rounds of one configuration have differed by 17 %: what is 25 % slower in one may be the best all the same.
    rates = dict(zip(ways, [300.0, 200.0, 225.0], strict=False))
    rounds = {("flink", way, "single"): [{"rate": rates.get(way)}] for way in ways}
    assert run.going_on(rounds, "flink", "single") == [ways[0], ways[2]]
    assert run.going_on(rounds, "flink", "batched") == ways
    assert run.going_on({("throng", "default", "single"): [{"rate": None}]}, "throng", "single") == ["default"]


def test_latencies_are_from_the_slice_that_lets_the_watermark_pass():
    size = Size(200, 6_000, 10)
    feed = bench_latency.Feed(size, speed=20.0)
    feed.sent[:] = np.arange(len(feed.sent)) * 10.0
    in_time = np.count_nonzero(draw(size).ts + 500 < size.end_ms)
    assert sum(each.count for some in feed.slices for each in some) == in_time
    boundary = START_MS + 310_000
    passed = feed.passed_at(boundary, 10_000)
    number = round(passed / 10)
    assert feed.reached[number] >= boundary + 10_000 > feed.reached[number - 1]
    assert feed.passed_at(START_MS, 0) is feed.passed_at(START_MS + 300_000, 10_000) is None, "the first pane's"
    assert feed.passed_at(size.end_ms + 60_000, 0) is None


def test_releases_are_told_by_measure_and_by_panes_without_the_first():
    feed = bench_latency.Feed(Size(200, 6_000, 65), speed=20.0)
    feed.sent[:] = np.arange(len(feed.sent)) * 0.05
    hour = START_MS + bench_latency.HOUR_MS
    passed = {end: feed.passed_at(end, 10_000) for end in range(START_MS + 600_000, hour + 1, 300_000)}
    # Of each pane of people present two records, of the first too; of stays one, a second later.
    panes = [START_MS + 300_000, *passed]
    releases = {("present", end): [(passed.get(end) or 0.0) + late for late in (0.1, 0.3)] for end in panes}
    releases["dwell", hour] = [passed[hour] + 1.0]
    found = bench_latency.release_latencies(feed, bench_latency.Seen([], releases), 10_000)
    assert found["release of present"] == {"p50": 200, "p99": 300, "samples": 22, "panes": 11, "due": 11}
    assert found["release of dwell"] == {"p50": 1000, "p99": 1000, "samples": 1, "panes": 1, "due": 1}
    assert found["release of arrivals"] == {"samples": 0, "panes": 0, "due": 4}
    assert found["release of departures"] == {"samples": 0, "panes": 0, "due": 3}
    assert found["release"]["samples"] == 23 and (found["release"]["panes"], found["release"]["due"]) == (12, 29)


def test_the_first_pane_is_left_out_with_the_length_that_make_bench_has():
    chosen = bench.options().parse_args([])
    minutes = round(chosen.latency_s * bench_latency.options().parse_args([]).speed / 60)
    feed = bench_latency.Feed(Size(200, 6_000, minutes), speed=20.0)
    feed.sent[:] = np.arange(len(feed.sent)) * 0.05
    ends = list(feed.passed(300_000, 10_000))
    assert ends[0] == START_MS + 600_000 and len(ends) >= 3


def test_a_figure_is_of_what_the_whole_run_did_beyond_the_short_one():
    def ended(cpu_s: float, events: int, rate: float = 1.0) -> Run:
        return Run(rate, None, events, 0.0, [Sample(0, 0, 0), Sample(9, cpu_s, events)], Sums())

    assert run.marginal(ended(5.0, 100), ended(9.0, 300), 100, 300) == 50.0
    assert run.marginal(ended(5.0, 100), ended(9.0, 250, 7.0), 100, 300) == 7.0
    assert run.marginal(ended(5.0, 100), ended(9.0, 300)._replace(trouble="ended"), 100, 300) is None
