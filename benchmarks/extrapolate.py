"""What a whole national network would take: 46 million SIMs and 5.3 billion events a day, from what was measured here.

Measured, from the results' files of the other benchmarks: events per CPU-second of gateway and crowd in a deployment
(`peers.json`, one event a record), what an event costs more where a partition has as many subscribers as it would have
then (`curves.json`), bytes of a subscriber in crowds and snapshots at their most (a simulated day's of `memory.json`),
CPU of Kafka and Redis an event (`scale.json`).
Measured by this command in some seconds: bytes of an event in Kafka, of a subscriber in the registry, and the
simulator's rhythm of the day. All else is computed, by `extrapolate` below. What no file has yet is null, and so is
what follows from it.

    python -m benchmarks.extrapolate [--sims 46000000] [--events-a-day 5300000000] [--zones 10000] [--partitions 64]
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any, Final, NamedTuple

import cramjam
import numpy as np

from benchmarks.core_job import Core, chunks_of
from benchmarks.peers.job import PARTITIONS, WHOLE, Size
from benchmarks.peers.peers import RESULTS, THRONG
from benchmarks.peers.publish import people, prepare
from schemas.cohorts import COHORTS
from streams.core.events.records import walk
from streams.core.gateway.framing import Framer, Mark
from streams.core.gateway.gateway import NEVER_MS
from streams.core.gateway.lateness import behind
from streams.core.gateway.registry import RegistryTable
from streams.settings import Settings
from streams.simulate import Rates, generate, make_town

DAY_S: Final = 86_400
HOURS: Final = 24
WINDOWS: Final = 2  # of the live counts: 15 and 60 minutes
SNAPSHOTS_KEPT: Final = 1  # of a partition; while the next one is written, that of a few is there twice
REPLICAS: Final = 3
KEPT_H: Final = 4  # of `attach` and `sightings`, at most
LOAD: Final = 0.6  # of a core, at most, in the busiest hour
SMALL: Final = Size(20_000, 200_000, 10)
TOWN: Final = 2_000
TOWN_START_MS: Final = 1_772_420_400_000  # Monday 2026-03-02 04:00 in the town
FETCH_BYTES: Final = 16_000
_HEADER_BYTES: Final = 61


class Network(NamedTuple):
    """What is to be carried."""

    sims: int = 46_000_000
    events_a_day: int = 5_300_000_000
    zones: int = 10_000
    partitions: int = 64


class Measured(NamedTuple):
    """What was measured; None: not yet.

    Attributes:
        gateway, crowd: events per CPU-second in a deployment. gateway_more, crowd_more: times that an event costs at
            the network's subscribers a partition, against those of the deployment. servers_ns: Kafka's and Redis's CPU.
        table, snapshot, registry: bytes a subscriber. raw, frame: bytes an event, compressed. busiest: the busiest
            hour's events over the mean hour's.
    """

    gateway: float | None
    crowd: float | None
    gateway_more: float | None
    crowd_more: float | None
    servers_ns: float | None
    table: float | None
    snapshot: float | None
    registry: float
    raw: float
    frame: float
    busiest: float


def extrapolate(network: Network, measured: Measured) -> dict[str, float | None]:
    """What follows: cores, memory, Kafka and Redis. GB are 10**9 bytes."""
    mean = network.events_a_day / DAY_S
    peak = mean * measured.busiest
    gateway_s = _cost_s(measured.gateway, measured.gateway_more)
    crowd_s = _cost_s(measured.crowd, measured.crowd_more)
    both_s = None if gateway_s is None or crowd_s is None else gateway_s + crowd_s
    servers_s = None if measured.servers_ns is None else measured.servers_ns / 1e9
    kafka = measured.raw + measured.frame
    # One packed value a partition and window, a byte a count where that is enough (`streams/stores/counts.py`).
    counts = network.partitions * WINDOWS * network.zones * COHORTS
    return {
        "events_a_s_mean": mean,
        "events_a_s_busiest": peak,
        "cores_mean": _times(mean, both_s),
        "cores_busiest": _times(peak, both_s),
        "cores_gateway_busiest": _times(peak, gateway_s),
        "cores_crowd_busiest": _times(peak, crowd_s),
        "cores_to_have": _times(peak / LOAD, both_s),
        "cores_servers_busiest": _times(peak, servers_s),
        "subscribers_a_partition": network.sims / network.partitions,
        "crowd_gb": _times(network.sims / 1e9, measured.table),
        "registry_gb_a_gateway": network.sims * measured.registry / 1e9,
        "kafka_gb_a_day": network.events_a_day * kafka / 1e9,
        "kafka_mb_a_s_busiest": peak * kafka / 1e6,
        "kafka_gb_stored": network.events_a_day * kafka * REPLICAS * KEPT_H / HOURS / 1e9,
        "partitions": float(network.partitions),
        "events_a_s_a_partition_busiest": peak / network.partitions,
        "redis_snapshots_gb": _times(network.sims * SNAPSHOTS_KEPT / 1e9, measured.snapshot),
        "redis_counts_gb": counts / 1e9,
    }


def _cost_s(rate: float | None, more: float | None) -> float | None:
    """CPU-seconds an event, at the network's size."""
    return None if rate is None or more is None else more / rate


def _times(number: float, each: float | None) -> float | None:
    return None if each is None else number * each


def read(name: str, folder: Path) -> Any:
    """A results' file, or None."""
    path = folder / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def kept(network: Network, folder: Path) -> dict[str, float | None]:
    """What the other benchmarks measured."""
    peers, curves, memory, scale = (read(name, folder) for name in ("peers", "curves", "memory", "scale"))
    rounds = [r for r in peers["rounds"] if r["peer"] == THRONG and r["shape"] == "single"] if peers else []
    sizes = curves["sizes"].get("subscribers", []) if curves else []
    here = WHOLE.subscribers / Settings().kafka.partitions
    there = network.sims / network.partitions
    return {
        **{role: statistics.median(r[role] for r in rounds) if rounds else None for role in ("gateway", "crowd")},
        **{
            f"{role}_more": cost(sizes, role, there) / cost(sizes, role, here) if sizes else None
            for role in ("gateway", "crowd")
        },
        "servers_ns": scale["sets"][max(scale["sets"])]["servers_ns"] if scale else None,
        "table": memory["day"]["memory"] if memory else None,
        "snapshot": memory["day"]["snapshot"] if memory else None,
    }


def cost(sizes: list[dict[str, Any]], role: str, a_partition: float) -> float:
    """ns of an event where a partition has so many subscribers: between the points of a curve of subscribers by their
    logarithm, beyond them as at the last."""
    points = sorted((point["subscribers"] / max(point["partitions"], 4), point[f"{role}_ns"]) for point in sizes)
    at, ns = zip(*points, strict=True)
    return float(np.interp(np.log(a_partition), np.log(at), ns))


def raw_bytes() -> float:
    """Bytes of a raw event in Kafka: batches of 100 KB before lz4, with their headers."""
    made = prepare(SMALL, lambda _: None)
    packed = made.packed["single"]
    return sum(len(each.records) + _HEADER_BYTES for each in packed) / SMALL.events


def frame_bytes() -> float:
    """Bytes of an event in `sightings`: frames of a hundred rows, each with lz4 as its record."""
    core = Core(SMALL, targets=PARTITIONS)
    inline = core.begin()
    framer, size = Framer(PARTITIONS, behind(core.terms.lateness_ms)), 0
    for source in range(PARTITIONS):
        framer.open(source, Mark(0, NEVER_MS))
    chunks = chunks_of(SMALL, "single", sentinels=False, chunk_bytes=FETCH_BYTES)
    for number, chunk in enumerate(chunks, 1):
        rows = inline.take(chunk.partition, walk([chunk.batch]))
        framer.add(chunk.partition, rows, inline.taken(chunk.partition))
        if number % PARTITIONS == 0 and (flush := framer.take()):
            size += sum(len(bytes(cramjam.lz4.compress(frame))) + _HEADER_BYTES for frame in flush.frames)
    return size / SMALL.events


def registry_bytes() -> float:
    """Bytes of a subscriber in the registry's table."""
    table = RegistryTable(0)
    table.take(people(SMALL.subscribers * 10))
    return table.lines.nbytes / table.subscribers


def busiest_hour() -> float:
    """The busiest hour's events over the mean hour's, of a simulated Monday."""
    town = make_town(1, TOWN)
    end_ms = TOWN_START_MS + HOURS * 3_600_000
    hours = [0] * HOURS
    for piece in generate(town, TOWN_START_MS, end_ms, 1, rates=Rates(malformed=0), slice_ms=3_600_000):
        hours[(piece.start_ms - TOWN_START_MS) // 3_600_000] += len(piece.time)
    return max(hours) / statistics.mean(hours)


def table(network: Network, measured: Measured, found: dict[str, float | None]) -> str:
    """What was measured and what was computed, a line each."""
    lines = [f"{network.sims:,} SIMs, {network.events_a_day:,} events a day", "measured:"]
    lines += [f"  {name:32}{_shown(value):>16}" for name, value in measured._asdict().items()]
    lines += ["computed:", *(f"  {name:32}{_shown(value):>16}" for name, value in found.items())]
    return "\n".join(lines)


def _shown(value: float | None) -> str:
    if value is None:
        return "not measured"
    return f"{value:,.0f}" if value >= 1_000 else f"{value:,.2f}"


def main() -> None:
    """Print both, and keep them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = Network()
    parser.add_argument("--sims", type=int, default=usual.sims)
    parser.add_argument("--events-a-day", type=int, default=usual.events_a_day)
    parser.add_argument("--zones", type=int, default=usual.zones)
    parser.add_argument("--partitions", type=int, default=usual.partitions)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder")
    chosen = parser.parse_args()
    network = Network(chosen.sims, chosen.events_a_day, chosen.zones, chosen.partitions)
    measured = Measured(
        **kept(network, chosen.results),
        **{"registry": registry_bytes(), "raw": raw_bytes(), "frame": frame_bytes(), "busiest": busiest_hour()},
    )
    found = extrapolate(network, measured)
    whole = {"network": network._asdict(), "measured": measured._asdict(), "computed": found}
    (chosen.results / "extrapolation.json").write_text(json.dumps(whole, indent=1) + "\n")
    print(table(network, measured, found))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
