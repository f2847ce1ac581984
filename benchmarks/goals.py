"""What was aimed at, beside what the kept results hold: the first table of docs/explanation/speed.md."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.bench_rebalance import worst
from benchmarks.bench_soak import grown
from benchmarks.peers.peers import BY_NAME, THRONG

Found = dict[str, Any]

RATIOS: Final = {"flink": 1.5, "kafka_streams": 5.0, "quix": 10.0, "bytewax": 10.0, "stock_faust": 30.0}
RATES: Final = {"single": ("one event a record", 600_000), "batched": ("arrays of 100", 1_000_000)}
FLAT: Final = 0.2
BYTES: Final = {
    "rows": ("the own row in memory", 64.0),
    "memory": ("all that a crowd holds in memory", 64.0),
    "snapshot_rows": ("the own row in Redis", 32.0),
    "snapshot": ("a whole snapshot in Redis", 32.0),
}
WAYS: Final = {"job": "two hours of the job", "day": "a simulated day"}
LATENCY_MS: Final = {
    ("counter", "1000_zones"): ("the watermark's passing of a tick to its counters in Redis, 1,000 zones", 1_000.0),
    ("release", "1000_zones"): ("the watermark's passing to the released record, 1,000 zones", 500.0),
    ("release", "10000_zones"): ("the watermark's passing to the released record, 10,000 zones", 2_000.0),
    ("hour", "10000_zones"): ("the same with an hour's end in it, 10,000 zones", 2_000.0),
}
SERVING_S: Final = 3.0
REBALANCE_S: Final = 5.0


class Goal(NamedTuple):
    """One line. `found`: None if it wasn't measured."""

    what: str
    aim: str
    found: str | None
    met: bool

    def cells(self) -> tuple[str, str, str, str]:
        """Of the table."""
        if self.found is None:
            return self.what, self.aim, "–", "not measured"
        return self.what, self.aim, self.found, "yes" if self.met else "**no**"


def _throughput(found: Found) -> list[Goal]:
    best = found["summary"]
    return _rates(found, "events per CPU-second") + [
        Goal(
            f"times as fast as {BY_NAME[name].title}, one event a record",
            f"{aim:g}",
            None if (ratio := best["ratios"].get(name)) is None else f"{ratio:.2f}",
            ratio is not None and ratio >= aim,
        )
        for name, aim in RATIOS.items()
    ]


def _faster(found: Found) -> list[Goal]:
    """Of a machine twice as fast. Peers had fewer configurations there, so no ratios."""
    return _rates(found, "events per CPU-second on a machine twice as fast")


def _rates(found: Found, what: str) -> list[Goal]:
    best = found["summary"]
    return [
        Goal(f"{what}, {how}", f"{aim:,}", f"{best[shape][THRONG]:,}", best[shape][THRONG] >= aim)
        for shape, (how, aim) in RATES.items()
    ]


def _flat(found: Found) -> list[Goal]:
    ends = {name: (points[0]["value"], points[-1]["value"]) for name, points in found["sizes"].items()}
    return [
        Goal(f"dearer at worst, {low:,} to {high:,} {name}", f"{FLAT:.0%}", f"{more:.0%}", more <= FLAT)
        for name, more in found["flatness"].items()
        for low, high in (ends[name],)
    ]


def _memory(found: Found) -> list[Goal]:
    return [
        Goal(
            f"bytes a subscriber, {what}",
            f"{aim:g}",
            ", ".join(f"{found[way][name]:.1f} after {of}" for way, of in WAYS.items()),
            max(found[way][name] for way in WAYS) <= aim,
        )
        for name, (what, aim) in BYTES.items()
    ]


def _late(found: Found) -> list[Goal]:
    told = found["latency_ms"]
    of = {key: told.get(key[1], {}).get(key[0], {}).get("p99") for key in LATENCY_MS}
    if (hour := found.get("hour")) is not None:
        of |= {key: hour["latency_ms"].get(key[1], {}).get("release", {}).get("p99") for key in of if key[0] == "hour"}
    return [
        Goal(
            f"ms at p99 from {what}",
            f"{aim:,.0f}",
            None if p99 is None else f"{p99:,.0f}",
            p99 is not None and p99 <= aim,
        )
        for key, (what, aim) in LATENCY_MS.items()
        for p99 in (of[key],)
    ]


def _steady(found: Found) -> list[Goal]:
    more = grown(found["hours"], found["grew"])
    told = None if more is None else ", ".join(more) or "nothing"
    return [Goal("grows from one day to the next beyond its rhythm", "nothing", told, not more)]


def _rebalanced(found: Found) -> list[Goal]:
    of_each = worst(found["steps"])
    alone = max(of["serving"] for of in of_each.values() if "from_signal" in of)
    whole = max(of["whole"] for of in of_each.values() if "whole" in of)
    return [
        Goal(f"s from {what}", f"{aim:g}", f"{took:.1f}", took <= aim)
        for what, aim, took in (
            (
                f"assignment to serving, of one worker with {found['subscribers']:,} subscribers that is started anew",
                *(SERVING_S, alone),
            ),
            ("the first partition given up to the last served, of up to 4 workers", REBALANCE_S, whole),
        )
    ]


FROM: Final[dict[str, Callable[[Found], list[Goal]]]] = {
    "peers": _throughput,
    "peers_faster": _faster,
    "latency": _late,
    "curves": _flat,
    "memory": _memory,
    "soak": _steady,
    "rebalance": _rebalanced,
}


def goals(folder: Path) -> list[Goal]:
    """All of them, of the results that are there."""
    return [
        goal
        for name, of in FROM.items()
        if (path := folder / f"{name}.json").exists()
        for goal in of(json.loads(path.read_text()))
    ]
