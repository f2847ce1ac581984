"""What the settings and the sizes that matter do to the cost of an event: throng's core alone, one thread, no servers.

Settings, on the peers' events (one a record), each by itself, the others at their defaults; the median of interleaved
rounds, in events per CPU-second of gateway and crowd together:

    fetch      kB of a partition that are taken at once (in a deployment `flush_ms` and the fetch's size set it)
    lateness   s that an event may be late, for which sightings wait in order
    pane       min of the shortest panes

Sizes by `sizes_by_turns.py`, in steady state, by turns: raw partitions, zones, subscribers; for subscribers the bytes
of each one's row in the crowd's tables as well. Kept in benchmarks/results/curves.json and drawn in
docs/explanation/curves.svg.

    python -m benchmarks.curves [--events 1000000] [--rounds 3] [--no-sizes] [--chart FILE] [--turns 16]
                                [--subscribers 10000,100000,1000000,10000000] [--zones 100,1000,10000]
                                [--partitions 1,4,16,64]
"""

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks import curves_chart, sizes_by_turns
from benchmarks.core_job import Chunk, Core, chunks_of
from benchmarks.peers.job import Size
from benchmarks.peers.peers import RESULTS

SUBSCRIBERS: Final = 200_000
MINUTES: Final = 30
USUAL_KB: Final = 1_000
FETCH_KB: Final = (16, 64, 256, 1_000, 4_000)
LATENESS_S: Final = (1, 10, 60, 300)
PANE_MIN: Final = (1, 5, 15, 60)
SIZES: Final = ("partitions", "zones", "subscribers")

Point = dict[str, float]


class Setting(NamedTuple):
    """One point of a setting's curve. `changed`: terms of the epoch that differ from the defaults, in ms."""

    value: float
    fetch_kb: int = USUAL_KB
    pane_ms: int = Core.pane_ms
    changed: tuple[tuple[str, int], ...] = ()


SETTINGS: Final = {
    "fetch": [Setting(kb, fetch_kb=kb) for kb in FETCH_KB],
    "lateness": [Setting(s, changed=(("lateness_ms", s * 1000),)) for s in LATENESS_S],
    "pane": [Setting(minutes, pane_ms=minutes * 60_000) for minutes in PANE_MIN],
}


def told(line: str) -> None:
    """Show progress at once."""
    print(line, flush=True)


def cost_s(core: Core, chunks: list[Chunk], setting: Setting) -> float:
    """CPU time of one run over all chunks with a setting, s."""
    usual = core.terms, core.pane_ms
    core.terms, core.pane_ms = core.terms._replace(**dict(setting.changed)), setting.pane_ms
    try:
        core.gateway_s = core.crowd_s = 0.0
        core.run(chunks)
        return core.gateway_s + core.crowd_s
    finally:
        core.terms, core.pane_ms = usual


def settings_curves(size: Size, rounds: int) -> dict[str, list[Point]]:
    """All settings' curves."""
    core = Core(size)
    by_kb = {kb: chunks_of(size, "single", chunk_bytes=kb * 1000) for kb in FETCH_KB}
    cost_s(core, by_kb[USUAL_KB], Setting(0))  # warms up
    found = {}
    for name, points in SETTINGS.items():
        turns = [[cost_s(core, by_kb[each.fetch_kb], each) for each in points] for _ in range(rounds)]
        spent = [statistics.median(of_one) for of_one in zip(*turns, strict=True)]
        found[name] = [
            {"value": each.value, "events_per_cpu_s": round(size.events / s)}
            for each, s in zip(points, spent, strict=True)
        ]
        told(f"{name:12}" + "".join(f"{p['value']:>8g}: {p['events_per_cpu_s']:<10,}" for p in found[name]))
    return found


def sizes(chosen: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """The sizes' curves, by what is varied; what is in several is run once."""
    usual = sizes_by_turns.Case(*sizes_by_turns.USUAL)
    curves = {
        name: [usual._replace(**{name: int(value)}) for value in getattr(chosen, name).split(",")] for name in SIZES
    }
    distinct = tuple(dict.fromkeys(case for cases in curves.values() for case in cases))
    found = sizes_by_turns.by_turns(distinct, chosen.turns, told)
    return {name: [{"value": case._asdict()[name], **found[case]} for case in cases] for name, cases in curves.items()}


def flatness(points: list[dict[str, Any]]) -> float:
    """By how much the dearest point of a curve costs more than the cheapest: 0.2 is 20 %."""
    rates = [point["events_per_cpu_s"] for point in points]
    return round(max(rates) / min(rates) - 1, 3)


def main() -> None:
    """Tell, keep and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--turns", type=int, default=16, help="of the sizes, 250,000 events each")
    parser.add_argument("--subscribers", default="10000,100000,1000000,10000000")
    parser.add_argument("--zones", default="100,1000,10000")
    parser.add_argument("--partitions", default="1,4,16,64")
    parser.add_argument("--no-sizes", action="store_true", help="settings only; the kept sizes stay")
    parser.add_argument("--results", type=Path, default=RESULTS / "curves.json")
    parser.add_argument("--chart", type=Path, default=curves_chart.OUT)
    chosen = parser.parse_args()
    began = time.monotonic()
    kept = json.loads(chosen.results.read_text()) if chosen.results.exists() else {}
    settings = settings_curves(Size(SUBSCRIBERS, chosen.events, MINUTES), chosen.rounds)
    found = kept.get("sizes", {}) if chosen.no_sizes else sizes(chosen)
    whole = {
        **{"settings": settings, "sizes": found, "flatness": {name: flatness(some) for name, some in found.items()}},
        **{
            "events": chosen.events,
            "turns": chosen.turns,
            "python": platform.python_version(),
            "cores": os.cpu_count(),
        },
    }
    chosen.results.parent.mkdir(exist_ok=True)
    chosen.results.write_text(json.dumps(whole, indent=1) + "\n")
    chosen.chart.write_text(curves_chart.svg(whole), encoding="utf-8")
    told(f"\n{time.monotonic() - began:.0f} s; more at the dearest point of each size than at the cheapest:")
    print(json.dumps(whole["flatness"]))


if __name__ == "__main__":
    main()
