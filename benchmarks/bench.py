"""throng against its peers, and its latency: one command, two tables, and a last line of JSON.

    {"single":{"throng":…,"stock_faust":…,…},"batched":{…},"ratios":{…},"latency_ms":{…}}

Events per CPU-second by shape and peer, each in its best configuration; ratios on the single shape; latency as
`bench_latency.py` tells it. What wasn't run in this run, or gave no figure, is null. Progress is told as it goes.

    python -m benchmarks.bench [--rounds 3] [--peers throng,flink,…] [--shapes single,batched] [--ways all|best]
                               [--events 12000000] [--subscribers 1000000] [--most-s 15]
                               [--latency-s 75] [--latency-rate 500000] [--latency-zones 1000,10000] [--no-latency]
"""

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import bench_latency
from benchmarks.peers import run
from benchmarks.peers.peers import RESULTS


def options() -> argparse.ArgumentParser:
    """Those of the peers, and of latency."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    run.arguments(parser)
    parser.add_argument("--latency-s", type=int, default=75, help="of sending, by number of zones")
    parser.add_argument("--latency-rate", type=int, default=500_000, help="events a second")
    parser.add_argument("--latency-zones", default="1000,10000")
    parser.add_argument("--latency-results", type=Path, default=RESULTS / "latency.json")
    parser.add_argument("--no-latency", action="store_true")
    return parser


def measured_latency(chosen: argparse.Namespace) -> dict[str, Any] | None:
    """Latency, by number of zones; None where it isn't to be run."""
    if chosen.no_latency:
        return None
    words = ["--rate", str(chosen.latency_rate), "--seconds", str(chosen.latency_s), "--zones", chosen.latency_zones]
    words += ["--subscribers", str(chosen.subscribers), "--results", str(chosen.latency_results)]
    return asyncio.run(bench_latency.measured(bench_latency.options().parse_args(words)))


def last_line(summary: dict[str, Any], latency: dict[str, Any] | None) -> str:
    """The peers' summary with the latency beside it, in the order that the module tells."""
    return json.dumps({**{key: summary[key] for key in ("single", "batched", "ratios")}, "latency_ms": latency})


def main(arguments: list[str] | None = None) -> int:
    """1 if throng itself gave no figure."""
    chosen = options().parse_args(arguments)
    began = time.monotonic()
    latency = measured_latency(chosen)
    print(f"-- {time.monotonic() - began:.0f} s so far", flush=True)
    summary = run.compare(chosen)
    if latency is not None:
        print(bench_latency.table(latency))
    print(f"-- {time.monotonic() - began:.0f} s in all")
    print(last_line(summary, latency))
    return 0 if run.has_figures(summary) else 1


if __name__ == "__main__":
    sys.exit(main())
