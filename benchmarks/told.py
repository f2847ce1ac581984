"""The generated figures of docs/explanation/speed.md and speed-steps.md, from the files in benchmarks/results.

To be run after the benchmarks.

Between `<!-- figures: NAME -->` and `<!-- end -->` stands what the function NAME below makes of its results' file; a
file that isn't there is told as not run. `goals` is of them all. The charts (`peers.svg`, `curves.svg`) are drawn by
the same command.

    python -m benchmarks.told [--results benchmarks/results] [--docs docs/explanation]
"""

import argparse
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks import bench_functions, bench_latency, bench_rebalance, bench_soak, curves_chart
from benchmarks.goals import WAYS, goals
from benchmarks.peers import chart
from benchmarks.peers.job import SHAPES
from benchmarks.peers.peers import BY_NAME, RESULTS, THRONG
from benchmarks.peers.run import Rounds, medians

DOCS: Final = Path(__file__).parent.parent / "docs" / "explanation"
PAGES: Final = ("speed.md", "speed-steps.md")
BLOCK: Final = re.compile(r"<!-- figures: (\w+) -->\n.*?<!-- end -->", re.DOTALL)
STAGES: Final = {
    "walk": ("Kafka's record format to columns", "a record's varints, one after the other: memory, in arrays"),
    "decode": (
        "JSON to columns, every check of the contract",
        "bytes of the text: 64 at a time, some 400 instructions",
    ),
    "screen": (
        "policy, registry, lateness, pseudonym, zone, cohort, target",
        "BLAKE2b's 12 rounds and two cache misses",
    ),
    "frame": ("rows to the frames of `sightings`", "memory: each row is written once"),
    "crowd": ("order, presence, windows, panes", "cache misses of the table, more with more subscribers"),
}
RELEASED: Final = {
    "present": "present",
    "arrivals": "arrivals",
    "trips_zone": "trips between zones",
    "present_cohort": "present by cohort",
}


def row(*cells: object) -> str:
    """A row of a table."""
    return f"| {' | '.join(map(str, cells))} |"


def rows(heading: Sequence[str], body: Sequence[Sequence[object]]) -> str:
    """A table."""
    return "\n".join([row(*heading), row(*["---"] * len(heading)), *(row(*cells) for cells in body)])


def number(value: float | None, places: int = 0) -> str:
    """With commas; a dash where there is none."""
    return "–" if value is None else f"{value:,.{places}f}"


def stages(found: dict[str, Any]) -> str:
    """Where the time goes, stage by stage."""
    one, many = found["1"]["ns"], found["100"]["ns"]
    whole = sum(one.values()), sum(many.values())
    body = [
        (
            name,
            what,
            f"{1000.0 / one[name]:.2f}, {1000.0 / many[name]:.2f}",
            f"{one[name]:,.0f}, {many[name]:,.0f}",
            f"{one[name] / whole[0]:.0%}, {many[name] / whole[1]:.0%}",
            limit,
        )
        for name, (what, limit) in STAGES.items()
    ]
    all_of_it = (
        "**all**",
        "",
        f"**{1e3 / whole[0]:.2f}, {1e3 / whole[1]:.2f}**",
        f"{whole[0]:,.0f}, {whole[1]:,.0f}",
        "",
        "",
    )
    times = ", ".join(f"{name} {ratio:,.0f} times" for name, ratio in found["1"]["references"].items())
    return (
        f"{found['1']['events']:,} events of {found['subscribers']:,} subscribers in {found['zones']:,} zones, "
        "one a record and 100 a record:\n\n"
        + rows(
            ("stage", "what it does", "million a CPU-second", "ns an event", "share", "its limit"), [*body, all_of_it]
        )
        + f"\n\nThe plain references take, one a record: {times} as long."
    )


def functions(found: dict[str, Any]) -> str:
    """Each hot function."""
    body = [(name, number(ns, 1), bench_functions.UNITS[name]) for name, ns in found["ns"].items()]
    about = f"{found['events']:,} events of {found['subscribers']:,} subscribers, one a record, one partition:"
    return f"{about}\n\n" + rows(("function", "ns of CPU", "a"), body)


def peers(found: dict[str, Any]) -> str:
    """All configurations that ran, by the median of their rounds, throng's ratio to each, and what the servers took."""
    of = "Events per CPU-second, median of the rounds, and how many times as fast throng is"
    beside: tuple[str, ...] = ()
    if any("servers_ns" in each for each in found["rounds"]):  # results of before they were measured have none
        of, beside = f"{of}; beside it the CPU of Kafka and Redis, ns an event", ("servers",)
    heading = ("", "configuration", "one a record", "times", *beside, "arrays of 100", "times", *beside)
    every = rows(heading, _configurations(found, bool(beside)))
    return f"{of}; {found['events']:,} events of {found['subscribers']:,} subscribers:\n\n{every}"


def _configurations(found: dict[str, Any], with_servers: bool) -> list[tuple[object, ...]]:
    rounds: Rounds = {}
    for each in found["rounds"]:
        rounds.setdefault((each["peer"], each["configuration"], each["shape"]), []).append({"rate": None, **each})
    rates, servers = medians(rounds), medians(rounds, "servers_ns")
    ours: dict[str, float | None] = {shape: found["summary"][shape][THRONG] for shape in SHAPES}

    def cells(name: str, way: str, of: dict[str, float | None]) -> list[str]:
        """Of each shape the rate, how many times as much throng's is, and the servers' ns."""
        told = []
        for shape, rate in of.items():
            mine = ours[shape] if name != THRONG else None
            told += [number(rate), number(mine / rate if mine and rate else None, 2)]
            told += [number(servers.get((name, way, shape)))] if with_servers else []
        return told

    body: list[tuple[object, ...]] = [("**throng**", "defaults", *cells(THRONG, "default", ours))]
    for peer in BY_NAME.values():
        for way in peer.configurations:
            of = {shape: rates.get((peer.name, way.name, shape)) for shape in SHAPES}
            if any(of.values()):
                body.append((peer.title, way.how, *cells(peer.name, way.name, of)))
    return body


def latency(found: dict[str, Any]) -> str:
    """To the counter, and to the release; over the end of an hour as well, if that was run."""
    spans = [found, *([found[bench_latency.HOUR]] if bench_latency.HOUR in found else [])]
    return "\n\n".join(_latency(each) for each in spans if each["latency_ms"])


def _latency(found: dict[str, Any]) -> str:
    body = [
        (
            f"{kind}, {zones.replace('_', ' ')}",
            number(each.get("p50")),
            number(each.get("p99")),
            number(each["samples"]),
            bench_latency.panes(each),
        )
        for zones, kinds in found["latency_ms"].items()
        for kind, each in kinds.items()
    ]
    about = f"At {found['rate']:,} events a second of {found['subscribers']:,} subscribers"
    span = f" over {found['minutes']} minutes of it" if "minutes" in found else ""
    return f"{about}, event time {found['speed']:g} times as fast as the clock{span}, ms:\n\n" + rows(
        ("", "p50", "p99", "samples", "panes"), body
    )


def curves(found: dict[str, Any]) -> str:
    """How flat the cost is by size; the chart has the rest."""
    body = [
        (
            name,
            number(p["value"]),
            number(p["events_per_cpu_s"]),
            number(p["gateway_ns"]),
            number(p["crowd_ns"]),
            number(p["row_bytes"], 1),
        )
        for name, points in found["sizes"].items()
        for p in points
    ]
    more = ", ".join(f"{name} {share:.0%}" for name, share in found["flatness"].items())
    heading = ("by", "", "events per CPU-second", "gateway ns", "crowd ns", "bytes a row")
    return f"The dearest point costs more than the cheapest by: {more}.\n\n" + rows(heading, body)


def memory(found: dict[str, Any]) -> str:
    """What a subscriber takes, by what it is for."""
    body = [
        (what, *(number(found[way][name], 1) for way in WAYS))
        for name, what in {
            "departures_each": "departures of the last hour, each",
            "rows": "the row, caps and zones visited",
            "departures": "departures of the last hour",
            "lists": "who was counted in the open panes",
            "counts": "counts of places, and room for what is listed",
            "memory": "**in memory**",
            "snapshot_rows": "in Redis, the row, caps and zones visited",
            "snapshot": "**in Redis**",
        }.items()
    ]
    about = (
        f"{found['subscribers_a_partition']:,} subscribers a partition, {found['zones']:,} zones; bytes a subscriber"
    )
    return f"{about}:\n\n" + rows(("", *(f"after {of}" for of in WAYS.values())), body)


def scale(found: dict[str, Any]) -> str:
    """One set of workers and two."""
    body = [
        (
            sets,
            number(each["wall_rate"]),
            number(each["rate"]),
            f"{each['servers_share']:.0%}",
            number(each["servers_ns"]),
            number(each["freed"]),
        )
        for sets, each in found["sets"].items()
    ]
    heading = (
        *("gateways and crowds, a core each", "events a second", "events per CPU-second", "Kafka and Redis, of a core"),
        *("ns an event", "events a second if the servers took nothing (computed)"),
    )
    gain = f"{found['gain']['wall_rate']:.2f} times by wall time, {found['gain']['rate']:.2f} by CPU time"
    return f"On {found['cores']} cores that the servers share, two sets against one: {gain}.\n\n" + rows(heading, body)


def extrapolation(found: dict[str, Any]) -> str:
    """A whole network: what was measured, and what is computed from it."""
    names = {
        **{"events_a_s_mean": "events a second, mean", "events_a_s_busiest": "in the busiest hour"},
        **{"cores_mean": "cores of gateway and crowd, mean", "cores_busiest": "in the busiest hour"},
        **{
            "cores_to_have": "cores to have for that, at 60 % load",
            "cores_servers_busiest": "cores of Kafka and Redis",
        },
        **{"crowd_gb": "memory of all crowds, GB", "registry_gb_a_gateway": "registry in each gateway, GB"},
        **{
            "kafka_gb_a_day": "Kafka, GB a day written (raw and sightings, lz4)",
            "kafka_mb_a_s_busiest": "MB/s, busiest",
        },
        **{"kafka_gb_stored": "GB stored, 4 hours, 3 replicas", "partitions": "partitions of `sightings`"},
        **{"events_a_s_a_partition_busiest": "events a second and partition, busiest hour"},
        **{"redis_snapshots_gb": "Redis, snapshots, GB", "redis_counts_gb": "Redis, live counts, GB"},
    }
    by_whom = {
        **{"gateway": ("events per CPU-second of the gateway", "peers.json"), "crowd": ("of the crowd", "peers.json")},
        "gateway_more": ("times that an event costs the gateway at that many subscribers a partition", "curves.json"),
        "crowd_more": ("and the crowd", "curves.json"),
        "servers_ns": ("CPU of Kafka and Redis, ns an event", "scale.json"),
        **{"table": ("bytes a subscriber in a crowd", "memory.json"), "snapshot": ("and in Redis", "memory.json")},
        **{"registry": ("bytes a subscriber in the registry", "this"), "raw": ("bytes a raw event, lz4", "this")},
        **{"frame": ("bytes a sighting, lz4", "this"), "busiest": ("busiest hour over mean hour, simulated", "this")},
    }

    def shown(value: float | None) -> str:
        return number(value, 2 if (value or 0) < 100 else 0)

    network = found["network"]
    measured = [(what, shown(found["measured"][name]), of) for name, (what, of) in by_whom.items()]
    computed = [(what, shown(found["computed"][name])) for name, what in names.items()]
    about = f"{network['sims']:,} SIMs, {network['events_a_day']:,} events a day, {network['zones']:,} zones"
    tables = rows(("measured", "", "in"), measured), rows(("computed", ""), computed)
    return f"{about}:\n\n" + "\n\n".join(tables)


def soak(found: dict[str, Any]) -> str:
    """What a day grew by."""
    body = [(what, f"{more:+.1f}") for what, more in found["grew"].items()]
    hours = len(found["hours"])
    allowed = bench_soak.ALLOWED["MB"][1]
    about = f"{hours} hours; the most that an hour of the last day has over the same hour of the day before (memory is "
    about += f"said to grow from {allowed:g} MB on)"
    return f"{about}:\n\n" + rows(("", "more"), body)


def release(found: dict[str, Any]) -> str:
    """What a pane takes, and what of it is noise."""
    body = []
    for pane in found["panes"]:
        if pane["measure"] not in RELEASED:
            continue
        ms, noise = sum(pane["cpu_ms"].values()), pane["cpu_ms"]["noise"]
        each = f", {pane['each']} of each" if pane["each"] else ""
        body.append(
            (
                RELEASED[pane["measure"]] + each,
                *(number(pane["zones"]), number(pane["keys"]), number(pane["records"])),
                *(number(ms), number(noise), number(ms - noise)),
            )
        )
    heading = ("measure", "zones", "keys", "records told", "all", "noise", "the rest")
    return f"CPU ms, the median of {found['rounds']} panes:\n\n" + rows(heading, body)


def registry(found: dict[str, Any]) -> str:
    """Of what a gateway reads first, and of a whole network."""

    def looked_up(of: dict[str, float]) -> str:
        millions = of["million_look_ups_per_cpu_s"]
        return f"{millions:.0f} million a CPU-second, {1e3 / millions:.0f} ns"

    table, kafka, network = found["table"], found["kafka"], found["planned"]
    load = f"{number(kafka['load_s'])} s, {number(kafka['records_per_s'])} a second"
    body = [
        (
            *(number(table["subscribers"]), number(table["memory_mb"]), number(table["table_bytes_each"], 1), load),
            *(f"{kafka['load_cpu_s']:.1f} s", f"{table['load_cpu_s']:.1f} s", looked_up(table)),
        ),
        (
            f"{number(network['subscribers'])} (bits put straight into the table)",
            *(number(network["memory_mb"]), number(network["table_bytes_each"], 1), "–", "–"),
            *(f"{network['put_cpu_s']:.1f} s for the table alone", looked_up(network)),
        ),
    ]
    heading = (
        *("subscribers", "MB", "bytes each", "load from Kafka", "of it CPU", "CPU of decoding and table alone"),
        "look-ups (a tenth unknown)",
    )
    about = f"The median of {kafka['rounds']} loads, {busy(kafka['cores'], [kafka['load_average']])}"
    return f"{about}:\n\n" + rows(heading, body)


def busy(cores: int, load: Sequence[float]) -> str:
    """How much else the machine had to do."""
    least, most = (f"{of(load):.1f}" for of in (min, max))
    return f"on {cores} cores with a load average of {least if least == most else f'{least} to {most}'}"


def rebalance(found: dict[str, Any]) -> str:
    """The worst of each step."""
    worst = bench_rebalance.worst(found["steps"])
    columns = ("serving", "whole", "stall_stayed", "from_signal")
    body = [(name, *(number(of.get(column), 1) for column in columns)) for name, of in worst.items()]
    times = {name: len(rounds) for name, rounds in found["steps"].items()}
    heading = (
        *("", "from assignment to serving", "from the first partition given up to the last served"),
        *("longest wait of a partition that stays", "from the signal that ends it to serving"),
    )
    about = f"{found['subscribers']:,} subscribers in {found['partitions']} partitions, {found['rate']:,} sightings a "
    about += f"second, snapshots every {found['snapshot_s']:g} s; s, the worst of at least {min(times.values())}"
    return f"{about}, {busy(found['cores'], found['load_average'])}:\n\n" + rows(heading, body)


GOALS: Final = "goals"
FIGURES: Final[dict[str, Callable[[dict[str, Any]], str]]] = {
    function.__name__: function
    for function in (
        *(stages, functions, peers, latency, curves, memory, scale, extrapolation, soak),
        *(release, registry, rebalance),
    )
}


def block(name: str, folder: Path) -> str:
    """What stands between the marks."""
    if name == GOALS:
        return rows(("", "goal", "measured", "met"), [goal.cells() for goal in goals(folder)])
    path = folder / f"{name}.json"
    return FIGURES[name](json.loads(path.read_text())) if path.exists() else f"(`{path.name}`: not run yet.)"


def rewritten(text: str, folder: Path) -> str:
    """The page with its figures anew."""
    return BLOCK.sub(lambda at: f"<!-- figures: {at[1]} -->\n{block(at[1], folder)}\n<!-- end -->", text)


def main() -> None:
    """Rewrite the pages, and draw the charts that have results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--docs", type=Path, default=DOCS)
    chosen = parser.parse_args()
    for name in PAGES:
        page = chosen.docs / name
        page.write_text(rewritten(page.read_text(), chosen.results))
    if (chosen.results / "peers.json").exists():
        chart.draw(chosen.results / "peers.json", chosen.docs / chart.OUT.name)
    if (chosen.results / "curves.json").exists():
        found = json.loads((chosen.results / "curves.json").read_text())
        (chosen.docs / curves_chart.OUT.name).write_text(curves_chart.svg(found), encoding="utf-8")
    print(f"{' and '.join(PAGES)} in {chosen.docs} tell what {chosen.results} holds")


if __name__ == "__main__":
    main()
