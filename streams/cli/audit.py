"""`throng audit`: who decided what, when and why; and whether the log of it is the one that was written."""

import asyncio
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import click
import msgspec
import orjson
from aiokafka.errors import KafkaError
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from schemas.audit import Entry
from schemas.policy import Rulebook
from schemas.topics import AUDIT, EPOCHS
from streams.cli.examples import examples
from streams.cli.options import settings_options
from streams.core.rules.audit import Broken, Chain, Foreign
from streams.core.rules.changes import changes
from streams.errors import ThrongError
from streams.settings import Settings
from streams.stores.audit import NO_ENTRY, Decision, decide, read_audit, system_user
from streams.stores.connection import no_broker
from streams.stores.epochs import EpochReader
from streams.stores.log import TailReader
from streams.stores.policies import configured_rules
from streams.stores.signing import is_signed, public_key

HASH: Final = re.compile("[0-9a-fA-F]{64}")


class Verdict(msgspec.Struct, frozen=True):
    """What was found. Of the `records` read, `entries` count. `head`: the log's hash; `problem`: empty if whole.

    `signed`: how many entries are, by the keys given. `foreign`: how many records are no entries, passed over.
    """

    whole: bool
    records: int
    entries: int
    head: str
    problem: str = ""
    signed: int = 0
    foreign: int = 0


@click.group()
def audit() -> None:
    """Show and verify the log of decisions."""


@audit.command()
@settings_options(redis=False)
def show(settings: Settings) -> None:
    """List the decisions: when, who, what, why."""
    taken = asyncio.run(read_audit(settings)).chain.taken
    if not taken:
        click.echo(
            "nothing has been decided yet: the first gateway takes the files, or 'throng policy apply'", err=True
        )
    else:
        first = taken[0].entry
        click.echo(f"1  {taken[0].when}  {first.by}: {first.action}: {first.reason}")
    for number, (before, each) in enumerate(pairwise(taken), 2):
        entry = each.entry
        why = f": {entry.reason}" if entry.reason else ""
        whom = f" {entry.country}" if entry.country else ""
        click.echo(f"{number}  {each.when}  {entry.by}: {entry.action}{whom}{why}")
        for change in changes(before.entry.rules, entry.rules):
            click.echo(f"     {change}")


@audit.command(epilog=examples("throng audit verify", "throng audit verify --key operator.pub --signed-from 2"))
@click.option(
    "--head", "heads", multiple=True, metavar="HASH", help="A hash that was told earlier, whole. May be repeated."
)
@click.option("--key", "keys", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Public key of whoever signs decisions, PEM. May be repeated.")  # fmt: skip
@click.option("--signed-from", type=click.IntRange(1), default=1, show_default=True, metavar="N",
              help="The first entry that one of the keys must have signed.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@settings_options(redis=False)
def verify(settings: Settings, heads: tuple[str, ...], keys: tuple[Path, ...], signed_from: int, as_json: bool) -> None:
    """Find whatever was changed, deleted or reordered in the log; ends with 1 if anything was.

    What is missing at the end only a hash that is kept elsewhere can tell: those in the epochs' records are looked at,
    and those given with --head (every command that decides prints one, and workers log it).

    With --key each entry must be signed by one of the keys. Gateways sign nothing: where one adopted the first rules,
    say --signed-from 2, or run 'throng policy apply' before the first gateway.
    """
    for head in heads:
        if not HASH.fullmatch(head):
            raise ThrongError("usage", f"--head is {head!r}, not a whole hash of 64 hexadecimal digits")
    public = [public_key(file) for file in keys]
    verdict, chain = asyncio.run(_verify(settings, heads))
    if public and verdict.whole:
        verdict = _signatures(verdict, [taken.entry for taken in chain.taken], public, signed_from)
    if as_json:
        click.echo(orjson.dumps(msgspec.to_builtins(verdict)))
    elif verdict.whole:
        by_key = f", {verdict.signed} of them signed" if public else ""
        beside = f", and {verdict.foreign} records that throng did not write" if verdict.foreign else ""
        click.echo(f"the audit log is whole: {verdict.entries} entries{by_key}{beside}; hash {verdict.head}")
    if not verdict.whole:
        raise ThrongError("audit", verdict.problem)


@audit.command(name="pass-over", epilog=examples('throng audit pass-over --head HASH --reason "a trial of the import"'))
@click.option("--head", required=True, metavar="HASH", help="The hash of the log's last entry, from elsewhere, whole.")
@click.option("--reason", required=True, metavar="TEXT", help="Where the records come from.")
@settings_options(redis=False)
def pass_over(settings: Settings, head: str, reason: str) -> None:
    """Append an entry behind records that throng didn't write, so that workers go on.

    The rules stay. Such a record at the end of the log may be what is left of a decision: that none is missing says the
    hash of the last one, from a worker's log ('audit entry'), or as a command printed it.
    """
    if not HASH.fullmatch(head):
        raise ThrongError("usage", f"--head is {head!r}, not a whole hash of 64 hexadecimal digits")
    if not reason.strip():
        raise ThrongError("usage", "say with --reason where the records come from")

    def stay(rules: Rulebook) -> Decision:
        return "apply", "", reason, rules

    entry, log = asyncio.run(decide(settings, stay, system_user(), lambda: configured_rules(settings), head=head))
    if entry is None:
        raise ThrongError("audit", "the audit log ends with an entry: there is nothing to pass over")
    click.echo(f"entry {len(log.chain.taken)} of the audit log, by {entry.by}; hash {log.chain.head}")


def _signatures(
    verdict: Verdict, entries: Sequence[Entry], keys: Sequence[Ed25519PublicKey], signed_from: int
) -> Verdict:
    count, problem = 0, ""
    for number, entry in enumerate(entries, 1):
        if any(is_signed(entry, key) for key in keys):
            count += 1
        elif number >= signed_from and not problem:
            what = f"{entry.action} {entry.country}".rstrip()
            problem = f"entry {number} of the audit log ({what}, by {entry.by}) is not signed by any of the keys given"
    return msgspec.structs.replace(verdict, whole=not problem, problem=problem, signed=count)


async def _verify(settings: Settings, heads: tuple[str, ...]) -> tuple[Verdict, Chain]:
    chain = Chain()
    problem = unfollowed = ""
    reader = TailReader(settings.kafka, settings.topic(AUDIT))
    epochs = EpochReader(TailReader(settings.kafka, settings.topic(EPOCHS)))
    try:
        await reader.start()
        async for records in reader.read_to_end():
            for record in records:
                if not problem:
                    counted = len(chain.taken)
                    problem, is_entry = _taken(chain, record.value, record.offset)
                    if not is_entry:
                        place = f"{record.topic}, partition {record.partition}, offset {record.offset}"
                        unfollowed = unfollowed or f"{place}: {NO_ENTRY}"
                    elif len(chain.taken) > counted:
                        unfollowed = ""
        problem = problem or unfollowed
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
    return Verdict(not problem, chain.records, len(chain.taken), chain.head, problem, foreign=chain.foreign), chain


def _taken(chain: Chain, value: bytes | None, offset: int) -> tuple[str, bool]:
    """What is wrong with the log by the record; whether that is an entry."""
    try:
        chain.take(value, offset=offset)
    except Foreign:
        chain.pass_over()
        return "", False
    except Broken as error:
        return str(error), True
    return "", True
