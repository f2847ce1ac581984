"""`throng machines`: who behaves as a machine, as a list for whoever keeps the registry."""

import asyncio
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import click
import orjson

from schemas.attach import unpack_imsi
from schemas.topics import ATTACH
from streams.cli.examples import examples
from streams.cli.options import settings_options, with_brokers
from streams.cli.values import check_writable
from streams.core.events.behaviour import RULES, Evidence, Found
from streams.recording.capture import Bounds, capture, topic_settings
from streams.recording.file import Reader
from streams.recording.machines import Watching, first_ms, refuse_beats, watch
from streams.settings import Settings
from streams.stores.machines import load_machines
from streams.stores.plans import load_plan

DAY_S = 86_400


@click.command(
    epilog=examples(
        "throng machines --out found.ndjson --days 3", "throng machines recorded.parquet --out found.ndjson"
    )
)
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="Write the list here.")
@click.option("--days", type=click.IntRange(1, 31), default=3, show_default=True, help="Whole days to go by.")
@settings_options(kafka=False, redis=False)
@click.option("--kafka", "brokers", metavar="HOST:PORT", help="Kafka's brokers.  [default: the local stack]")
def machines(settings: Settings, file: Path | None, out: Path, days: int, brokers: str | None) -> None:
    """Propose SIMs that behave as machines do, by FILE, a recording of attach; without one, by the topic from now on.

    The list holds identifiers: a line for each, with the rules that hold and the numbers behind them. Whoever keeps the
    registry looks at it, and sets "machine": true in their records. The last line of standard output counts, as JSON.
    """
    check_writable("--out", out)
    zone = ZoneInfo(settings.epoch.timezone or load_plan(Path(settings.gateway.plan)).timezone)
    listed = load_machines(settings.gateway.machines)
    reader = Reader(file) if file else None
    start_ms = first_ms(reader, days) if reader else int(time.time() * 1000)
    ahead = datetime.fromtimestamp(start_ms / 1000, UTC).astimezone(zone).utcoffset() or timedelta()
    watching = Watching(
        Evidence(start_ms, days, round(ahead.total_seconds() * 1000)), listed, settings.gateway.max_record_bytes
    )
    if reader:
        watch(reader, watching)
        refuse_beats(reader, watching)
    else:
        asyncio.run(_live(with_brokers(settings, brokers), watching, days))
    found = watching.evidence.found()
    with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as lines:
        os.fchmod(lines.fileno(), 0o600)  # one that was there before may have been others' to read
        lines.writelines(_line(one) for one in found)
    by_rule = {rule: sum(rule in one.rules for one in found) for rule in RULES}
    evidence = watching.evidence
    told = {"events": evidence.events, "subscribers": evidence.subscribers, "proposed": len(found), **by_rule}
    click.echo(orjson.dumps(told))


async def _live(settings: Settings, watching: Watching, days: int) -> None:
    described = await topic_settings(settings, [ATTACH])
    await capture(settings, described, Bounds(for_s=days * DAY_S), watching, None, lambda _: None)


def _line(one: Found) -> bytes:
    told = {
        "imsi": unpack_imsi(one.imsi),
        "rules": one.rules,
        "events": one.events,
        "requests": one.requests,
        "repeats": round(one.repeats, 3),
    }
    return orjson.dumps(told) + b"\n"
