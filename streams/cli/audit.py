"""`throng audit`: who decided what, when and why; and whether the log of it is the one that was written."""

import asyncio
from itertools import pairwise

import click
import msgspec
import orjson
from aiokafka.errors import KafkaError

from schemas.topics import AUDIT, EPOCHS
from streams.cli.options import settings_options
from streams.core.audit import Broken, Chain
from streams.core.changes import changes
from streams.errors import ThrongError
from streams.settings import Settings
from streams.stores.audit import read_audit
from streams.stores.connection import no_broker
from streams.stores.epochs import EpochReader
from streams.stores.log import TailReader


class Verdict(msgspec.Struct, frozen=True):
    """What was found. Of the `records` read, `entries` count. `head`: the log's hash; `problem`: empty if whole."""

    whole: bool
    records: int
    entries: int
    head: str
    problem: str = ""


@click.group()
def audit() -> None:
    """Show and verify the log of decisions."""


@audit.command()
@settings_options(redis=False)
def show(settings: Settings) -> None:
    """List the decisions: when, who, what, why."""
    entries = [taken.entry for taken in asyncio.run(read_audit(settings)).chain.taken]
    if entries:
        first = entries[0]
        click.echo(f"1  {first.at}  {first.by}: {first.action}: {first.reason}")
    for number, (before, entry) in enumerate(pairwise(entries), 2):
        why = f": {entry.reason}" if entry.reason else ""
        whom = f" {entry.country}" if entry.country else ""
        click.echo(f"{number}  {entry.at}  {entry.by}: {entry.action}{whom}{why}")
        for change in changes(before.rules, entry.rules):
            click.echo(f"     {change}")


@audit.command()
@click.option("--head", "heads", multiple=True, metavar="HASH", help="A hash that was told earlier. May be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@settings_options(redis=False)
def verify(settings: Settings, heads: tuple[str, ...], as_json: bool) -> None:
    """Find whatever was changed, deleted or reordered in the log; ends with 1 if anything was.

    What is missing at the end only a hash that is kept elsewhere can tell: those in the epochs' records are looked at,
    and those given with --head (every command that decides prints one, and workers log it).
    """
    verdict = asyncio.run(_verify(settings, heads))
    if as_json:
        click.echo(orjson.dumps(msgspec.to_builtins(verdict)))
    elif verdict.whole:
        click.echo(f"the audit log is whole: {verdict.entries} entries; hash {verdict.head}")
    if not verdict.whole:
        raise ThrongError("audit", verdict.problem)


async def _verify(settings: Settings, heads: tuple[str, ...]) -> Verdict:
    chain = Chain()
    problem = ""
    reader = TailReader(settings.kafka, settings.topic(AUDIT))
    epochs = EpochReader(TailReader(settings.kafka, settings.topic(EPOCHS)))
    try:
        await reader.start()
        async for records in reader.read_to_end():
            for record in records:
                if not problem:
                    problem = _taken(chain, record.value, record.offset)
        await epochs.start()
    except (KafkaError, OSError) as error:
        raise no_broker(settings.kafka) from error
    finally:
        await reader.stop()
        await epochs.stop()
    for number, head in [(epoch.epoch, epoch.audit) for epoch in epochs.records if epoch.audit]:
        if not problem and not chain.knows(head):
            problem = (
                f"the audit log lacks its end: epoch {number} was made by rules of the hash {head}, it never had it"
            )
    for head in heads:
        if not problem and not chain.knows(head.lower()):
            problem = f"the audit log lacks its end: it never had the hash {head}"
    return Verdict(not problem, chain.records, len(chain.taken), chain.head, problem)


def _taken(chain: Chain, value: bytes | None, offset: int) -> str:
    try:
        chain.take(value, offset=offset)
    except Broken as error:
        return str(error)
    return ""
