"""Interleaved rounds of all peers on both shapes: a table, a file, and the figures that `make bench` tells last.

A figure is the median over the rounds of events per CPU-second (user and system, of all the peer's processes) after
the warm-up. A ratio compares throng with a peer's better configuration, one event a record. What Kafka and Redis took
meanwhile is told beside it, ns an event.
"""

import argparse
import asyncio
import json
import logging
import platform
import statistics
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from benchmarks.peers import chart
from benchmarks.peers.drive import Run, drive, pause, warmed
from benchmarks.peers.job import PARTITIONS, SHAPES, WHOLE, sized
from benchmarks.peers.peers import BY_NAME, PEERS, RESULTS, THRONG, Configuration, install
from benchmarks.peers.publish import Input, Packed, create, prepare, publish, registry
from benchmarks.peers.throng import DOES_MORE, run_throng
from streams.local.stack import Stack, start

TOLD: Final = tuple(peer.name for peer in PEERS if peer.told)
# A configuration with less than this of its peer's best in the first round runs no more. Rounds of one configuration
# have differed by 17 %, so of two that are as good one may have 0.7 of the other's.
GOES_ON: Final = 0.7
THIRDS: Final = 3
# By peer, configuration and shape: what each round gave.
Rounds = dict[tuple[str, str, str], list[dict[str, Any]]]


def told(line: str) -> None:
    """Show progress at once."""
    print(line, flush=True)


def arguments(command: argparse.ArgumentParser) -> None:
    """The options of `run`."""
    command.add_argument("--rounds", type=int, default=3)
    command.add_argument("--peers", default=",".join([THRONG, *BY_NAME]), help="names, with commas between")
    command.add_argument("--shapes", default=",".join(SHAPES))
    command.add_argument("--events", type=int, default=WHOLE.events)
    command.add_argument("--subscribers", type=int, default=WHOLE.subscribers)
    command.add_argument("--ways", choices=("all", "best"), default="all", help="configurations in the first round")
    command.add_argument("--most-s", type=float, default=15.0, help="a slow peer's run on a third ends then, s")
    command.add_argument("--chart", type=Path, help="draw the results into this SVG file")
    command.add_argument("--results", type=Path, default=RESULTS / "peers.json")


def main(chosen: argparse.Namespace) -> int:
    """Run all; 1 if throng itself gave no figure."""
    summary = compare(chosen)
    print(json.dumps(summary))
    return 0 if has_figures(summary) else 1


def has_figures(summary: dict[str, Any]) -> bool:
    """Whether throng itself gave any."""
    return any(summary[shape].get(THRONG) for shape in SHAPES)


def compare(chosen: argparse.Namespace) -> dict[str, Any]:
    """Install, run all, show the table; the summary."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # retries while topics settle
    names = chosen.peers.split(",")
    if unknown := sorted({*names} - {THRONG, *BY_NAME}):
        raise SystemExit(f"no peer is called {', '.join(unknown)}; there are {', '.join([THRONG, *BY_NAME])}")
    failed = install([peer for peer in PEERS if peer.name in names])
    for name, why in failed.items():
        told(f"{name} is left out: {why}")
    rounds = asyncio.run(_rounds(chosen, [name for name in names if name not in failed], chosen.shapes.split(",")))
    summary = keep(rounds, chosen)
    told(table(rounds))
    told(f"\nthrong does more: {DOES_MORE}")
    for name in dict.fromkeys(name for name, _, _ in rounds if name in BY_NAME):
        told(f"{name} leaves out: {BY_NAME[name].leaves_out}")
    if chosen.chart:
        chart.draw(chosen.results, chosen.chart)
    return summary


async def _rounds(chosen: argparse.Namespace, names: list[str], shapes: list[str]) -> Rounds:
    size = sized(chosen.events, chosen.subscribers)
    rounds: Rounds = {}
    made = prepare(size, told)
    part = prepare(size._replace(events=size.events // THIRDS, minutes=size.minutes // THIRDS), told)
    people = registry(size.subscribers) if THRONG in names else []
    with start(ephemeral=True, progress=told, heap_mb=1024) as stack:
        for shape in shapes:
            for topic, some in ((f"events-{shape}", made), (f"part-{shape}", part)):
                await create(stack.kafka, topic, PARTITIONS)
                await publish(stack.kafka, topic, some.packed[shape], told)
        for number in range(chosen.rounds):
            for shape in shapes:
                for name in names:
                    ways = going_on(rounds, name, shape, chosen.ways)
                    async for way, figures in _runs(stack, (part, made), people, name, ways, shape, chosen.most_s):
                        rounds.setdefault((name, way, shape), []).append(figures)
                        rate = figures["rate"]
                        shown = f"{rate:,.0f} events/CPU-s" if rate else f"no figure: {figures.get('trouble')}"
                        told(f"round {number + 1}, {shape:8} {name:14} {way:9} {shown}")
                    await pause()
            keep(rounds, chosen)
    return rounds


async def _runs(
    stack: Stack,
    inputs: tuple[Input, Input],
    consents: list[Packed],
    name: str,
    ways: list[str],
    shape: str,
    most_s: float,
) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """A peer's configurations in turn, on one shape: each on a third of the input, then on all of it."""
    part, made = inputs
    if name == THRONG:
        yield ways[0], await _throng(stack, made, consents, shape)
        return
    for way in BY_NAME[name].configurations:
        if way.name not in ways:
            continue
        began = time.monotonic()

        async def on(topic: str, some: Input, within_s: float, way: Configuration = way) -> Run:
            peer, topic = BY_NAME[name], f"{topic}-{shape}"
            return await drive(stack, peer, way, topic, shape, some.size, some.good, within_s)

        short = await on("part", part, most_s)
        # Who didn't get through a third in the time would not tell more of the whole.
        done = await on("events", made, most_s * THIRDS) if short.events >= part.good else short
        yield (
            way.name,
            {
                **{
                    "rate": marginal(short, done, part.good, made.good),
                    "servers_ns": servers_ns(short, done, part.good, made.good),
                    "wall_rate": done.wall_rate,
                    "events": done.events,
                    "memory_mb": done.memory_mb,
                },
                **{"took_s": time.monotonic() - began, "trouble": short.trouble or done.trouble},
            },
        )
        await pause()


def marginal(short: Run, whole: Run, short_good: int, whole_good: int) -> float | None:
    """Events per CPU-second of what the whole run did beyond the short one: start and warm-up cancel out.

    What a peer has told says little of what it has read, so one run alone can't be cut in two. A run that was cut off,
    of a slow peer, has only that.
    """
    if short.trouble or whole.trouble:
        return None
    if short.events < short_good or whole.events < whole_good:
        return whole.rate
    spent = whole.samples[-1].cpu_s - short.samples[-1].cpu_s
    return (whole_good - short_good) / spent if spent > 0 else None


def servers_ns(short: Run, whole: Run, short_good: int, whole_good: int) -> float | None:
    """CPU time of Kafka and Redis an event, ns: beside the same events as `marginal`."""
    if short.trouble or whole.trouble:
        return None
    if short.events < short_good or whole.events < whole_good:
        done = warmed(whole.samples)
        return done.servers_s / done.events * 1e9 if done else None
    spent = whole.samples[-1].servers_s - short.samples[-1].servers_s
    return spent / (whole_good - short_good) * 1e9


async def _throng(stack: Stack, made: Input, consents: list[Packed], shape: str) -> dict[str, Any]:
    began = time.monotonic()
    try:
        run = await run_throng(stack, made, shape, consents, lambda _: None)
    except (AssertionError, TimeoutError) as error:
        return {"rate": None, "trouble": f"{type(error).__name__}: {error}"}
    return {
        **{"rate": run.rate, "gateway": run.gateway, "crowd": run.crowd, "wall_rate": run.wall_rate},
        **{"servers_ns": run.servers_ns, "memory_mb": run.memory_mb, "took_s": time.monotonic() - began},
    }


def going_on(rounds: Rounds, name: str, shape: str, wanted: str = "all") -> list[str]:
    """The configurations of a peer that run: first all that are wanted, then those that may be its best."""
    if name == THRONG:
        return ["default"]
    ways = [way.name for way in BY_NAME[name].configurations if wanted == "all" or way.plausible]
    rates = {way: [each["rate"] or 0.0 for each in rounds.get((name, way, shape), [])] for way in ways}
    best = max((found[0] for found in rates.values() if found), default=0.0)
    return [way for way, found in rates.items() if not found or found[0] > best * GOES_ON]


def medians(rounds: Rounds, what: str = "rate") -> dict[tuple[str, str, str], float]:
    """The median of `what` (`rate`, `servers_ns`) of each that gave figures."""
    figures = {key: [each[what] for each in found if each.get(what)] for key, found in rounds.items()}
    return {key: statistics.median(found) for key, found in figures.items() if found}


def summarise(rounds: Rounds) -> dict[str, Any]:
    """By shape and peer the better configuration's figure, and the ratios; null where there is none."""
    rates = medians(rounds)
    best: dict[str, dict[str, float | None]] = {}
    for shape in SHAPES:
        best[shape] = {}
        for name in (THRONG, *TOLD):
            found = [rate for (who, _, on), rate in rates.items() if who == name and on == shape]
            best[shape][name] = round(max(found)) if found else None
    ours = best["single"][THRONG]
    ratios = {name: round(ours / theirs, 2) if ours and (theirs := best["single"][name]) else None for name in TOLD}
    return {**best, "ratios": ratios}


def table(rounds: Rounds) -> str:
    """All configurations, with the spread of their rounds, and ns an event of Kafka and Redis."""
    rates, servers = medians(rounds), medians(rounds, "servers_ns")
    heading = "".join(f"{shape:>12}{'(rounds)':>26}{'servers ns':>12}" for shape in SHAPES)
    lines = [f"\n{'events per CPU-second':34}{heading}"]
    for name, way in dict.fromkeys((name, way) for name, way, _ in rounds):
        line = f"{name + ' ' + way:34}"
        for shape in SHAPES:
            rate = rates.get((name, way, shape))
            spread = [each["rate"] for each in rounds.get((name, way, shape), []) if each["rate"]]
            told_spread = f"{min(spread):,.0f} to {max(spread):,.0f}" if spread else ""
            beside = servers.get((name, way, shape))
            line += f"{f'{rate:,.0f}' if rate else '-':>12}{told_spread:>26}"
            line += f"{f'{beside:,.0f}' if beside else '-':>12}"
        lines.append(line)
    return "\n".join(lines)


def keep(rounds: Rounds, chosen: argparse.Namespace) -> dict[str, Any]:
    """Write the results' file, after each round, since a run may be cut off; returns the summary."""
    summary = summarise(rounds)
    chosen.results.parent.mkdir(exist_ok=True)
    chosen.results.write_text(json.dumps(kept(rounds, summary, chosen), indent=1) + "\n")
    return summary


def kept(rounds: Rounds, summary: dict[str, Any], chosen: argparse.Namespace) -> dict[str, Any]:
    """The results' file: all rounds, and on what they ran."""
    return {
        "summary": summary,
        "events": chosen.events,
        "subscribers": chosen.subscribers,
        "python": platform.python_version(),
        "rounds": [
            {"peer": name, "configuration": way, "shape": shape, **_rounded(figures)}
            for (name, way, shape), found in rounds.items()
            for figures in found
        ],
    }


def _rounded(figures: dict[str, Any]) -> dict[str, Any]:
    return {key: round(value) if isinstance(value, float) else value for key, value in figures.items() if value}
