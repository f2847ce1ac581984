"""`throng record` and `throng replay`: recordings of topics, and what runs over them count."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
import orjson
from rich.console import Console
from rich.table import Table

from schemas.rejects import Reason
from schemas.topics import ATTACH, LEDGER, REGISTRY, REJECTS, SALTS, SIGHTINGS, TOPICS
from streams.cli.examples import examples
from streams.cli.options import settings_options, with_brokers
from streams.cli.stopping import stopped_by_term
from streams.cli.values import ABOVE_ZERO, check_writable, moment_ms, speed_of
from streams.core.inline import Inline
from streams.core.release.sums import occurring
from streams.core.rules.soundness import BASE_PANE_MS
from streams.errors import ThrongError
from streams.recording.capture import Bounds, capture, topic_settings
from streams.recording.disguise import Disguise
from streams.recording.embedded import LAST_MS, replay_embedded
from streams.recording.file import Reader, Writer
from streams.recording.panes import ENDINGS, PaneTable, save
from streams.recording.play import FIRST, Way, await_panes, play
from streams.recording.sightings import Seen, save_seen
from streams.recording.watch import read_sightings
from streams.settings import Settings
from streams.stores.plans import load_plan

PERSONAL = (ATTACH, REGISTRY, REJECTS, SIGHTINGS)
UNDISGUISED = (REJECTS, SIGHTINGS)
PLAIN_EVERY_S = 3.0


@click.command(
    epilog=examples(
        "throng record attach registry morning.parquet --re-pseudonymise --for 600",
        "throng record footfall flows released.parquet",
    )
)
@click.argument("topics", nargs=-1, required=True, metavar="TOPIC...")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--for",
    "for_s",
    type=ABOVE_ZERO,
    help="Go on for so many seconds.  [default: what is there now]",
)
@click.option("--count", type=click.IntRange(1), help="End after so many records, waiting for them.")
@click.option(
    "--from-offset", type=click.IntRange(0), help="Of each partition, the first offset.  [default: the oldest]"
)
@click.option("--to-offset", type=click.IntRange(1), help="Of each partition, the offset to end before.")
@click.option("--contains-personal-data", is_flag=True, help="I know that the file will hold identifiers.")
@click.option("--re-pseudonymise", is_flag=True, help="Put consistent test-network IMSIs in place of the real ones.")
@settings_options(redis=False)
def record(
    settings: Settings,
    topics: tuple[str, ...],
    file: Path,
    for_s: float | None,
    count: int | None,
    from_offset: int | None,
    to_offset: int | None,
    contains_personal_data: bool,
    re_pseudonymise: bool,
) -> None:
    """Record topics to a Parquet file: keys, values, headers, partitions, offsets and times.

    TOPIC is a name without the namespace: attach, registry, panes, footfall, ... The last line of standard output
    counts what was written, as JSON; after Ctrl-C or SIGTERM, too. Where nothing is recorded, a file that exists stays
    as it is.
    """
    _check_topics(topics, contains_personal_data, re_pseudonymise)
    if from_offset is not None and to_offset is not None and from_offset >= to_offset:
        raise ThrongError("usage", f"--from-offset {from_offset} is not below --to-offset {to_offset}")
    if file.suffix != ".parquet":
        raise ThrongError("usage", f"FILE is {file}, which doesn't end in .parquet; it stands behind the topics")
    check_writable("FILE", file)
    stopped_by_term()
    described = asyncio.run(topic_settings(settings, list(topics)))
    bounds = Bounds(from_offset, to_offset, count, for_s)
    disguise = Disguise() if re_pseudonymise else None
    began, stopped = time.process_time(), False
    writer = Writer(file, described, re_pseudonymise)
    what = "records" if count is None else f"of {count:,} records, waiting for more; Ctrl-C ends it and keeps them"
    try:
        with writer, _progress(what) as told:
            asyncio.run(capture(settings, described, bounds, writer, disguise, lambda n: told(n, "")))
    except KeyboardInterrupt:
        stopped = True
    cpu_s = round(time.process_time() - began, 3)
    if not writer.records:
        click.echo(f"nothing was recorded: {', '.join(topics)} held no record within the bounds", err=True)
    written = file.stat().st_size if writer.records else 0
    click.echo(orjson.dumps({"records": writer.records, "bytes": written, "cpu_s": cpu_s}))
    if stopped:
        raise KeyboardInterrupt


def _check_topics(topics: tuple[str, ...], contains_personal_data: bool, re_pseudonymise: bool) -> None:
    known = [topic.name for topic in TOPICS]
    for name in topics:
        if name not in known:
            raise ThrongError("usage", f"there is no topic {name!r}; there are: {', '.join(known)}")
    if SALTS in topics:
        raise ThrongError("usage", "the salts are not for recordings")
    personal = [name for name in topics if name in PERSONAL]
    if personal and not (contains_personal_data or re_pseudonymise):
        raise ThrongError(
            "usage",
            f"{', '.join(personal)} holds identifiers or pseudonyms: say --contains-personal-data, "
            "or --re-pseudonymise",
        )
    plain = [name for name in topics if name in UNDISGUISED]
    if re_pseudonymise and plain:
        raise ThrongError("usage", f"{', '.join(plain)} can't be re-pseudonymised: only attach and registry can")


@click.command(
    epilog=examples(
        "throng replay morning.parquet --embedded --out one.parquet --sightings",
        "throng replay morning.parquet --speed 60 --json",
    )
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--topic", "renamed", multiple=True, metavar="RECORDED=OTHER", help="Play a topic into another one.")
@click.option("--only", multiple=True, metavar="TOPIC", help="Play these topics only.")
@click.option("--speed", default="max", show_default=True, help="Times the recording's own speed, or max.")
@click.option("--from", "from_", metavar="TIME", help="RFC 3339 record time to begin at.")
@click.option("--to", metavar="TIME", help="RFC 3339 record time to end before.")
@click.option("--loop", is_flag=True, help="Begin anew at the end, later in time, until stopped.")
@click.option("--turns", type=click.IntRange(1), metavar="N", help="Like --loop, but end after N times.")
@click.option("--embedded", is_flag=True, help="Through the core in this process: no Kafka, no Redis.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the panes: *.parquet or *.duckdb.")
@click.option("--sightings", is_flag=True, help="With --out: also write what 'throng diff' explains by.")
@click.option("--contains-personal-data", is_flag=True, help="I know that the sightings are real persons'.")
@click.option("--json", "as_json", is_flag=True, help="Wait for the panes; end with their number and digest, as JSON.")
@settings_options(kafka=False, redis=False)
@click.option("--kafka", "brokers", metavar="HOST:PORT", help="Kafka's brokers.  [default: the local stack]")
def replay(
    settings: Settings,
    file: Path,
    renamed: tuple[str, ...],
    only: tuple[str, ...],
    speed: str,
    from_: str | None,
    to: str | None,
    loop: bool,
    turns: int | None,
    embedded: bool,
    out: Path | None,
    sightings: bool,
    contains_personal_data: bool,
    as_json: bool,
    brokers: str | None,
) -> None:
    """Play a recording into Kafka, or with --embedded through the core alone.

    The same recording counts the same panes at any speed, with any number of workers, and embedded: --json ends with
    {"events":...,"panes":...,"digest":...}, embedded also with "rejects" and "drops" by reason. The panes are exact
    counts: internal data.
    """
    if embedded and (speed != "max" or brokers is not None):
        raise ThrongError("usage", "--speed and --kafka don't go with --embedded: it runs in this process")
    _check_out(out)
    reader = Reader(file)
    topics = _renamed(reader, renamed, only)
    if embedded and (renamed or only):
        raise ThrongError("usage", "--topic and --only don't go with --embedded: it plays attach and registry")
    if (as_json or out) and not embedded and topics.get(ATTACH) != ATTACH:
        raise ThrongError("usage", "--json and --out wait for panes, and none come unless attach is played into attach")
    span = _span(reader, {ATTACH} if embedded else set(topics) - {*FIRST}, from_, to)
    if sightings:
        _check_sightings(reader, out, contains_personal_data)
    if loop and (embedded or as_json or out):
        raise ThrongError("usage", "--loop has no end to count at: say how often, with --turns")
    if embedded:
        seen = Seen() if sightings else None
        with _progress("events") as told:
            panes, inline, plan = replay_embedded(
                reader, settings, *span, lambda at, events: told(events, _clock(at)), seen=seen, turns_played=turns or 1
            )
        if seen is not None and out is not None:
            save_seen(out, seen, list(panes.epochs.values()), inline.crowds[0].watermark_ms or 0, plan)
        _tell(panes, inline.events, settings, out, as_json, inline)
        for line in (*_left_out(inline, settings.gateway.plan), *held_back(inline.reached_ms)):
            _say(line)
        return
    if (loop or (turns or 1) > 1) and topics.get(LEDGER) == LEDGER:
        raise ThrongError(
            "usage",
            "--loop and --turns don't go with a ledger: it holds what was told of the first turn, and later ones would "
            "be drawn anew; name the other topics with --only, and let no release run unless nobody is real",
        )
    settings = with_brokers(settings, brokers)
    way = Way(topics, *span, speed_of(speed), None if loop else turns or 1)

    async def run() -> None:
        with _progress("records") as told:
            played = await play(reader, settings, way, lambda at, records: told(records, _clock(at)), _say)
        if not (as_json or out):
            click.echo(orjson.dumps({"records": played.records}))
            return
        panes = await await_panes(settings, played.reached_ms, reader.about.topics[ATTACH].partitions)
        if sightings and out is not None:
            seen, watermark_ms = await read_sightings(settings), played.complete_ms(settings)
            save_seen(out, seen, list(panes.epochs.values()), watermark_ms, load_plan(Path(settings.gateway.plan)))
        _tell(panes, played.events, settings, out, as_json)

    asyncio.run(run())


def _say(line: str) -> None:
    click.echo(line, err=True)


def _check_sightings(reader: Reader, out: Path | None, contains_personal_data: bool) -> None:
    if out is None:
        raise ThrongError("usage", "--sightings goes with --out: the files are written beside it")
    if not (reader.about.re_pseudonymised or contains_personal_data):
        raise ThrongError(
            "usage",
            "the recording was not re-pseudonymised, and its sightings would be under pseudonyms that anybody can "
            "compute: if they are simulated, or you may have them so, say --contains-personal-data",
        )


def _left_out(inline: Inline, plan: str) -> Iterator[str]:
    """How many events were rejected or dropped, by reason; and a warning where the plan seems to be another network's,
    or hardly anybody has agreed to be counted."""
    events = inline.events
    for what, by_reason in {"rejected": inline.rejects, "dropped": inline.drops}.items():
        if by_reason:
            reasons = ", ".join(f"{count:,} {name}" for name, count in by_reason.most_common())
            yield f"{by_reason.total():,} of {events:,} events {what}: {reasons}"
    unknown = inline.rejects[Reason.unknown_cell.name]
    if 2 * unknown > events:
        yield (
            f"warning: {unknown:,} of {events:,} events are of cells that {plan} doesn't have: which plan is the "
            "recording of? Name that one with THRONG_GATEWAY_PLAN"
        )
    nobody = inline.drops["no_record"]
    if 2 * nobody > events:
        yield (
            f"warning: {nobody:,} of {events:,} events are of subscribers without a record in the registry, who "
            "are not counted: was it recorded without its registry, or imported without --consent?"
        )


def held_back(reached_ms: Mapping[int, int | None]) -> Iterator[str]:
    """A warning where a partition's end holds the panes of all others, as it does in a deployment."""
    times = [at for at in reached_ms.values() if at is not None]
    if silent := [partition for partition, at in reached_ms.items() if at is None]:
        yield (
            f"warning: no record of partition {silent[0]} of attach was played, so no pane closed: "
            "is the recording cut? Record it whole, or play more of it (--from, --to)"
        )
    elif max(times) - min(times) > BASE_PANE_MS:
        first = min(reached_ms, key=lambda partition: reached_ms[partition] or 0)
        yield (
            f"warning: partition {first} of attach ends at {_clock(min(times))}, and others at {_clock(max(times))}: "
            "no pane closes after the first end"
        )


def _tell(
    panes: PaneTable,
    events: int,
    settings: Settings,
    out: Path | None,
    as_json: bool,
    inline: Inline | None = None,
) -> None:
    """`inline`: None where gateways decide, and tell by reason what they reject and drop."""
    if out is not None:
        save(panes.rows(load_plan(Path(settings.gateway.plan))), out)
    if as_json or out:
        told = {"events": events, "panes": panes.panes, "digest": panes.digest()}
        if inline is not None:
            told |= {"rejects": dict(inline.rejects.most_common()), "drops": dict(inline.drops.most_common())}
        click.echo(orjson.dumps(told))
    else:
        Console().print(_summary(panes))


def _summary(panes: PaneTable) -> Table:
    table = Table(title=f"{panes.panes} panes, digest {panes.digest()}")
    for column in ("measure", "panes", "sum of counts", "keys above 0"):
        table.add_column(column, justify="left" if column == "measure" else "right")
    for name in sorted({name for _, _, name in panes.counts}):
        counted = [occurring(vector) for (_, _, measure), vector in panes.counts.items() if measure == name]
        people, above = sum(int(each.counts.sum()) for each in counted), sum(len(each.keys) for each in counted)
        table.add_row(name, str(len(counted)), f"{people:,}", f"{above:,}")
    return table


def _renamed(reader: Reader, renamed: tuple[str, ...], only: tuple[str, ...]) -> dict[str, str]:
    recorded = reader.about.topics
    for name in only:
        if name not in recorded:
            raise ThrongError("usage", f"--only {name}: it is not recorded; there are: {', '.join(recorded)}")
    topics = {name: name for name in recorded if not only or name in only}
    for text in renamed:
        name, _, other = text.partition("=")
        if name not in topics or not other:
            raise ThrongError("usage", f"--topic {text}: it must be a recorded topic, =, and a topic of the namespace")
        topics[name] = other
    return topics


def _span(reader: Reader, topics: set[str], from_: str | None, to: str | None) -> tuple[int, int]:
    """The record times to play, ms: from, to before. Topics that are played whole are none of `topics`."""
    from_ms = moment_ms("--from", from_) if from_ is not None else -LAST_MS
    to_ms = moment_ms("--to", to) if to is not None else LAST_MS
    if (from_ is None and to is None) or not topics:
        return from_ms, to_ms
    first, last = reader.span(topics)
    if from_ms >= to_ms or from_ms > last or to_ms <= first:
        what = "--from is not before --to" if from_ms >= to_ms else "nothing of the recording is in --from and --to"
        raise ThrongError("usage", f"{what}: it covers {_clock(first)} to {_clock(last)}")
    return from_ms, to_ms


def _check_out(out: Path | None) -> None:
    if out is not None and out.suffix not in ENDINGS:
        raise ThrongError("usage", f"--out is {out}, which ends in neither of {', '.join(ENDINGS)}")
    check_writable("--out", out)


def _clock(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, str], None]]:
    """A line that is written over on a terminal, and now and then a line elsewhere."""
    console = Console(stderr=True)
    said_at = time.monotonic()
    with console.status("") if console.is_terminal else _silent() as status:

        def told(number: int, where: str) -> None:
            nonlocal said_at
            line = f"{number:,} {what} {where}"
            if status is not None:
                status.update(line)
            elif time.monotonic() - said_at >= PLAIN_EVERY_S:
                said_at = time.monotonic()
                console.print(line, highlight=False, soft_wrap=True)

        yield told


@contextmanager
def _silent() -> Iterator[None]:
    yield None
