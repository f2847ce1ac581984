"""`throng import`: others' trajectories and events as attach events on a cell plan."""

import asyncio
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import click
import msgspec
import orjson
from aiokafka.errors import KafkaError
from rich.console import Console

from schemas.registry import PURPOSES
from schemas.topics import ATTACH, HOUR_MS, REGISTRY
from streams.cli.examples import examples
from streams.cli.options import settings_options, with_servers
from streams.cli.stopping import stopped_by_term
from streams.cli.values import ABOVE_ZERO, check_timezone, check_writable, speed_of
from streams.errors import ThrongError
from streams.importing.disguise import Disguise, key_of
from streams.importing.mapping import MULTIMNO, Columns, read_mapping
from streams.importing.out import slices
from streams.importing.people import People
from streams.importing.reading import check_columns, check_readable
from streams.importing.run import Made, Told, mapped, notified, take
from streams.importing.spool import Spool
from streams.owned import owned
from streams.places.extra import check_installed
from streams.places.findings import Findings
from streams.settings import Settings
from streams.simulate import Slice
from streams.simulate.files import Recorder
from streams.simulate.publish import producer, publish, publish_registry
from streams.stores.connection import client_options
from streams.stores.topics import attach_for

FILE_PARTITIONS = 4
PLAIN_EVERY_S = 3.0
ENDINGS = (".ndjson", ".parquet")


@click.command(
    "import",
    epilog=examples(
        "throng import walks/*.csv --cells cells.csv --mapping walks.toml --consent marketing --to-file walks.parquet",
        "throng import notifications.ndjson --as amf --cells plan.json --to-file events.ndjson",
    ),
)
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option(
    "--cells",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV of cells as for 'throng zones build', or a zone plan, *.json.",
)
@click.option(
    "--as", "known", type=click.Choice(["multimno", "amf"]), help="What the files are, if it is known by name."
)
@click.option(
    "--mapping",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Else a mapping of their columns, TOML.",
)
@click.option("--timezone", help="IANA name, of times without an offset.  [default: the mapping's, or UTC]")
@click.option("--within", type=ABOVE_ZERO, default=35_000, show_default=True, help="Farthest cell, m.")
@click.option("--max-error", type=ABOVE_ZERO, help="Leave positions less exact out, m.")
@click.option(
    "--mnc-digits", type=click.IntRange(2, 3), help="Digits of the cells' network codes.  [default: by country]"
)
@click.option("--key", type=click.Path(dir_okay=False, path_type=Path), help="File of the hash's key, made if missing.")
@click.option(
    "--keep-imsi", is_flag=True, help="The subscribers are IMSIs and stay so; I know that the output is personal data."
)
@click.option(
    "--consent", multiple=True, type=click.Choice(PURPOSES), help="Also write a registry: all consent to this."
)
@click.option("--to-file", type=click.Path(dir_okay=False, path_type=Path), help="A recording, *.parquet, or *.ndjson.")
@click.option("--kafka", "brokers", metavar="HOST:PORT", help="Kafka's brokers.  [default: the local stack]")
@click.option("--partitions", type=click.IntRange(1, 4096), help="Raw partitions.  [default: the topic's; 4 in a file]")
@click.option("--speed", default="max", show_default=True, help="Seconds of the events a second, or max.")
@click.option(
    "--unusable", type=click.Path(dir_okay=False, path_type=Path), help="List rows that make no event here, NDJSON."
)
@settings_options(kafka=False, redis=False)
def import_(
    settings: Settings,
    files: tuple[Path, ...],
    cells: Path,
    known: str | None,
    mapping: Path | None,
    timezone: str | None,
    within: float,
    max_error: float | None,
    mnc_digits: int | None,
    key: Path | None,
    keep_imsi: bool,
    consent: tuple[str, ...],
    to_file: Path | None,
    brokers: str | None,
    partitions: int | None,
    speed: str,
    unusable: Path | None,
) -> None:
    """Turn trajectories, call detail records, check-ins or a network's own events into attach events on a cell plan.

    FILE is CSV, NDJSON (both also .gz) or Parquet. Subscribers become IMSIs of the test network 001-01. Rows that make
    no event are told on standard error, with their numbers and reasons; the last line of standard output counts, as
    JSON.
    """
    check_installed("throng import")
    stopped_by_term()
    # Only now: it needs the packages just asked for.
    from streams.importing.locate import locator

    if keep_imsi and consent:
        raise ThrongError(
            "usage", "--consent doesn't go with --keep-imsi: what real subscribers allow they say themselves"
        )
    made = _made(files, known, mapping, timezone, max_error)
    pace = speed_of(speed)
    if to_file is not None and to_file.suffix not in ENDINGS:
        raise ThrongError("usage", f"--to-file is {to_file}, which ends in neither of {', '.join(ENDINGS)}")
    for option, path in (("--to-file", to_file), ("--unusable", unusable), ("--key", key)):
        check_writable(option, path)
    if to_file is None:
        if brokers is not None:
            settings = msgspec.structs.replace(
                settings, kafka=msgspec.structs.replace(settings.kafka, bootstrap=brokers)
            )
        settings = with_servers(settings, redis=False)
    findings = Findings()
    at = locator(cells, within, findings, mnc_digits)
    people = People(consent)
    totals: Counter[str] = Counter()
    with ExitStack() as stack:
        told = Told(stack.enter_context(owned(unusable).open("w", encoding="utf-8")) if unusable else None)
        spool = stack.enter_context(Spool())
        progress = _Progress()
        disguise = Disguise(key_of(key), keep_imsi)
        take(made, at.cells, disguise, spool, told, people.add, lambda rows: progress.say("rows read", rows))

        def sent(piece: Slice) -> None:
            totals["events"] += piece.counts["events"]
            progress.say("events written", totals["events"])

        if not spool.events:
            pass  # a file would say that nobody was anywhere
        elif to_file is None:
            asyncio.run(_to_kafka(settings, spool, people, partitions, pace, sent))
        else:
            count = partitions or FILE_PARTITIONS
            # Nothing follows: every pane that has an event can be closed, those of an hour too.
            pieces = slices(spool.by_time(), count, settings.epoch.lateness_ms + HOUR_MS)
            _to_file(to_file, pieces, people, count, keep_imsi, sent)
        for line in (*findings.lines(), *told.lines()):
            click.echo(line, err=True)
    counts = {"rows": told.rows, "events": totals["events"], "unusable": told.reasons.total(), "people": len(people)}
    click.echo(orjson.dumps(counts | {"reasons": dict(told.reasons.most_common())}))
    if not spool.events:
        why = "the reasons are above" if told.rows else "there are none"
        raise ThrongError("import", f"none of {told.rows:,} rows made an event, and nothing was written: {why}")


def _made(
    files: tuple[Path, ...], known: str | None, mapping: Path | None, timezone: str | None, max_error: float | None
) -> Iterator[Made]:
    if (known is None) == (mapping is None):
        raise ThrongError("usage", "say what the files are: either --as or --mapping")
    if known == "amf":
        return notified(files)
    check_readable(files)
    columns: Columns = MULTIMNO if mapping is None else read_mapping(mapping)
    check_columns(files, columns)
    if timezone is not None:
        check_timezone("--timezone", timezone)
        columns = msgspec.structs.replace(columns, timezone=timezone)
    return mapped(files, columns, max_error if max_error is not None else math.inf)


def _to_file(
    path: Path, pieces: Iterator[Slice], people: People, partitions: int, real: bool, sent: Callable[[Slice], None]
) -> None:
    if path.suffix == ".ndjson":
        with Recorder(path) as recorder:
            for piece in pieces:
                recorder.write(piece)
                sent(piece)
        if len(people):
            beside = path.with_suffix(".registry.ndjson")
            with owned(beside).open("wb") as lines:
                lines.writelines(value + b"\n" for _, value in people.records())
        return
    from streams.recording.made import write_recording

    write_recording(path, partitions, people.records(), pieces, real, sent)


async def _to_kafka(
    settings: Settings,
    spool: Spool,
    people: People,
    partitions: int | None,
    pace: float | None,
    sent: Callable[[Slice], None],
) -> None:
    """The registry first, then the events."""
    there = await attach_for(settings, of_now=False)
    if partitions is not None and partitions > there:
        raise ThrongError("usage", f"--partitions is {partitions}, but {settings.topic(ATTACH)} has {there}")
    slice_ms = None if pace is None else min(max(round(pace / 5), 1), 60) * 1000
    sender = producer(**client_options(settings.kafka))
    await sender.start()
    try:
        if len(people):
            await publish_registry(sender, settings.topic(REGISTRY), people.records())
        # What follows in the topic must not be late: panes close up to the last event.
        pieces = slices(spool.by_time(), partitions or there, settings.epoch.lateness_ms, slice_ms)
        await publish(sender, settings.topic(ATTACH), pieces, pace, sent)
    except KafkaError as error:
        raise ThrongError("kafka", f"Kafka did not take the records ({type(error).__name__}): see its log") from error
    finally:
        await sender.stop()


class _Progress:
    """How far it is, on standard error: a line now and then, written over on a terminal."""

    def __init__(self) -> None:
        self._console = Console(file=sys.stderr)
        self._told = time.monotonic()

    def say(self, what: str, number: int) -> None:
        """Say it, if it is time."""
        if time.monotonic() - self._told >= PLAIN_EVERY_S:
            self._told = time.monotonic()
            end = "\r" if self._console.is_terminal else "\n"
            self._console.print(f"{number:,} {what}", end=end, highlight=False, soft_wrap=True)
