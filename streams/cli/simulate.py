"""`throng simulate`: a synthetic town's attach events, to Kafka or to a file."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import click
import orjson
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from schemas.topics import ATTACH, HOUR_MS, REGISTRY
from streams.cli.examples import examples
from streams.cli.options import settings_options, with_brokers
from streams.cli.stopping import stopped_by_term
from streams.cli.values import ABOVE_ZERO, PEOPLE, SEED, check_writable, moment_ms, speed_of
from streams.errors import ThrongError
from streams.settings import Settings
from streams.simulate import Rates, Slice, Town, generate, make_town, parse_rates, plan, registry
from streams.simulate.files import Recorder
from streams.simulate.publish import producer, publish, publish_registry
from streams.simulate.town import RADIOS, TIMEZONE
from streams.simulate.truth import TruthFile
from streams.stores.connection import client_options
from streams.stores.topics import attach_for

FILE_PARTITIONS = 4
ENDINGS = (".ndjson", ".parquet")
PLAIN_EVERY_S = 5.0


@click.command(
    epilog=examples(
        "throng simulate --hours 1 --plan-out plan.json",
        "throng simulate --subscribers 50000 --hours 24 --to-file day.parquet --plan-out plan.json --truth truth.npz",
    )
)
@click.option("--subscribers", type=PEOPLE, default=10_000, show_default=True, help="How many people live in the town.")
@click.option("--zones", default=60, show_default=True, help="Places in it, 20 to 1000.")
@click.option("--cells", type=int, help="Cells of its network.  [default: five a zone]")
@click.option(
    "--radio",
    type=click.Choice(RADIOS),
    default="simple",
    show_default=True,
    help="real: phones flap more.",
)
@click.option("--seed", type=SEED, default=1, show_default=True, help="Same seed, same bytes.")
@click.option("--start", default="2026-03-02T04:00+01:00", show_default=True, help="RFC 3339 time at which it begins.")
@click.option("--hours", type=ABOVE_ZERO, default=6.0, show_default=True, help="How long it runs, simulated.")
@click.option("--speed", default="max", show_default=True, help="Simulated seconds a second, or max.")
@click.option("--to-file", type=click.Path(dir_okay=False, path_type=Path), help="A recording, *.parquet, or *.ndjson.")
@click.option("--kafka", "brokers", metavar="HOST:PORT", help="Kafka's brokers.  [default: the local stack]")
@click.option("--partitions", type=click.IntRange(1, 1024), help="Raw partitions.  [default: the topic's; 4 in a file]")
@click.option(
    "--batch", type=click.IntRange(1), default=1, show_default=True, help="Events a record; more make arrays."
)
@click.option(
    "--rates", multiple=True, metavar="NAME=SHARE", help="How often something goes wrong, e.g. malformed=0.01."
)
@click.option("--plan-out", type=click.Path(dir_okay=False, path_type=Path), help="Write the zone plan here.")
@click.option(
    "--registry-out", type=click.Path(dir_okay=False, path_type=Path), help="Write the registry here, NDJSON."
)
@click.option("--registry/--no-registry", "with_registry", default=True, help="Send the registry first.")
@click.option("--truth", type=click.Path(dir_okay=False, path_type=Path), help="Write what truly happened here, .npz.")
@settings_options(kafka=False, redis=False)
def simulate(
    settings: Settings,
    subscribers: int,
    zones: int,
    cells: int | None,
    radio: str,
    seed: int,
    start: str,
    hours: float,
    speed: str,
    to_file: Path | None,
    brokers: str | None,
    partitions: int | None,
    batch: int,
    rates: tuple[str, ...],
    plan_out: Path | None,
    registry_out: Path | None,
    with_registry: bool,
    truth: Path | None,
) -> None:
    """Simulate a town's people and send its network's attach events to Kafka, or with --to-file to a file.

    A recording is for 'throng replay' and 'throng machines', with the plan that --plan-out writes.
    The last line of standard output counts what was made, as JSON.
    """
    start_ms = moment_ms("--start", start) // 1000 * 1000
    end_ms = start_ms + round(hours * 3600) * 1000
    pace = speed_of(speed)
    files = {"--to-file": to_file, "--plan-out": plan_out, "--registry-out": registry_out, "--truth": truth}
    if to_file is not None and to_file.suffix not in ENDINGS:
        raise ThrongError("usage", f"--to-file is {to_file}, which ends in neither of {', '.join(ENDINGS)}")
    for option, path in files.items():
        check_writable(option, path)
    try:
        shares = parse_rates(rates)
        kinds = {name: getattr(shares, name) for name in ("consent", "roamers", "machines", "homebound")}
        town = make_town(seed, subscribers, zones, cells, **kinds, radio=radio)
        slices = _slices(town, start_ms, end_ms, shares, batch, pace)
        slices(partitions or FILE_PARTITIONS)  # refuses what can't be before anything is written
    except ValueError as error:
        raise ThrongError("usage", str(error)) from error
    totals: Counter[str] = Counter()
    with ExitStack() as stack:
        tell = stack.enter_context(_Progress(start_ms, end_ms))
        seen: list[Callable[[Slice], None]] = [lambda piece: totals.update(piece.counts), tell.write]

        def begins() -> None:
            """What is beside the events, once nothing has refused them."""
            if plan_out:
                plan_out.write_bytes(orjson.dumps(plan(town), option=orjson.OPT_INDENT_2) + b"\n")
            if registry_out:
                with registry_out.open("wb") as lines:
                    lines.writelines(value + b"\n" for _, value in registry(town))
            if truth:
                seen.append(stack.enter_context(TruthFile(truth, town, start_ms, end_ms)).write)

        if to_file:
            begins()
            count = partitions or FILE_PARTITIONS
            people = registry(town) if with_registry else iter(())
            stopped_by_term()
            _to_file(to_file, count, people, slices(count), lambda piece: _all(seen, piece))
        else:
            settings = with_brokers(settings, brokers)
            asyncio.run(_to_kafka(settings, town, slices, start_ms, partitions, pace, seen, with_registry, begins))
    click.echo(orjson.dumps({name: totals[name] for name in totals}))


def _to_file(
    path: Path,
    partitions: int,
    people: Iterator[tuple[bytes, bytes]],
    pieces: Iterator[Slice],
    seen: Callable[[Slice], None],
) -> None:
    if path.suffix == ".ndjson":
        with Recorder(path) as recorder:
            for piece in pieces:
                recorder.write(piece)
                seen(piece)
        return
    # Only now: it needs a package that the rest doesn't.
    from streams.recording.made import write_recording

    write_recording(path, partitions, people, pieces, False, seen)


def _all(seen: list[Callable[[Slice], None]], piece: Slice) -> None:
    for each in seen:
        each(piece)


def _slices(
    town: Town, start_ms: int, end_ms: int, rates: Rates, batch: int, pace: float | None
) -> Callable[[int], Iterator[Slice]]:
    """What makes the slices, the number of partitions given: a fifth of a second each when paced, at most a minute."""
    slice_s = 60 if pace is None else min(max(round(pace / 5), 1), 60)
    return lambda partitions: generate(town, start_ms, end_ms, partitions, batch, rates, slice_s * 1000)


async def _to_kafka(
    settings: Settings,
    town: Town,
    slices: Callable[[int], Iterator[Slice]],
    start_ms: int,
    partitions: int | None,
    pace: float | None,
    seen: list[Callable[[Slice], None]],
    with_registry: bool,
    begins: Callable[[], None],
) -> None:
    """The registry first, then the events; `begins` is called once neither the topics nor a broker refuse them."""
    there = await attach_for(settings, of_now=abs(start_ms - time.time() * 1000) < HOUR_MS)
    if partitions is not None and partitions > there:
        raise ThrongError("usage", f"--partitions is {partitions}, but {settings.topic(ATTACH)} has {there}")
    sender = producer(**client_options(settings.kafka))
    await sender.start()
    try:
        begins()
        if with_registry:
            await publish_registry(sender, settings.topic(REGISTRY), registry(town))
        made = slices(partitions or there)
        await publish(sender, settings.topic(ATTACH), made, pace, lambda piece: _all(seen, piece))
    except KafkaError as error:
        raise ThrongError("kafka", f"Kafka did not take the records ({type(error).__name__}): see its log") from error
    finally:
        await sender.stop()


class _Progress:
    """How far the simulation is, on standard error: a bar on a terminal, else a line now and then."""

    def __init__(self, start_ms: int, end_ms: int) -> None:
        self._start_ms, self._end_ms = start_ms, end_ms
        self._events, self._began, self._told = 0, time.monotonic(), time.monotonic()
        console = Console(file=sys.stderr)
        self._bar = Progress(
            TextColumn("simulated to {task.fields[clock]}"),
            BarColumn(),
            TextColumn("{task.fields[events]:,} events, {task.fields[rate]:,}/s"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=end_ms - start_ms, clock="", events=0, rate=0)

    def __enter__(self) -> "_Progress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def write(self, piece: Slice) -> None:
        self._events += piece.counts["events"]
        now = time.monotonic()
        rate = round(self._events / max(now - self._began, 1e-3))
        clock = datetime.fromtimestamp(piece.end_ms / 1000, ZoneInfo(TIMEZONE)).isoformat(timespec="minutes")
        done = piece.end_ms - self._start_ms
        self._bar.update(self._task, completed=done, clock=clock, events=self._events, rate=rate)
        if self._bar.disable and now - self._told >= PLAIN_EVERY_S:
            self._told = now
            click.echo(f"simulated to {clock}: {self._events:,} events, {rate:,}/s", err=True)
