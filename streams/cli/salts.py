"""`throng salts`: which epochs' salts can still be had, and what to do when one got out."""

import asyncio
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

import click
import msgspec
import orjson

from schemas.epochs import Epoch
from schemas.policy import Rulebook
from schemas.salts import WrappedSalt
from schemas.topics import EPOCHS, SALTS
from streams.cli.options import settings_options
from streams.errors import ThrongError
from streams.settings import Settings
from streams.stores.audit import Decision, decide, system_user
from streams.stores.epochs import EpochReader
from streams.stores.keys import KeyProvider
from streams.stores.log import TailReader
from streams.stores.policies import configured_rules
from streams.stores.providers import key_provider


class Salt(msgspec.Struct, frozen=True):
    """An epoch's salt: `sealed` under a key that is there, `destroyed` for good, or not made yet (`none`)."""

    epoch: int
    start: str
    end: str
    key: str
    state: Literal["sealed", "destroyed", "none"]


@click.group()
def salts() -> None:
    """List the epochs' salts, or destroy the one in use after an incident."""


@salts.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@settings_options(redis=False)
def list_(settings: Settings, as_json: bool) -> None:
    """List the epochs and whether their salts can still be had. No salt is read."""
    epochs, first = asyncio.run(_read(settings))
    found = [salt_of(epoch, first.get(epoch.epoch), key_provider(settings)) for epoch in epochs]
    if as_json:
        click.echo(orjson.dumps([msgspec.to_builtins(each) for each in found]))
        return
    for each in found:
        click.echo(f"{each.epoch}  {each.start} to {each.end}  {each.state}  {each.key}".rstrip())


@salts.command()
@click.option("--now", is_flag=True, required=True, help="At once: there is no other way.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--reason", metavar="TEXT", required=True, help="Why: stands in the audit log.")
@click.option("--by", metavar="NAME", help="Who decided it.  [default: the system's user]")
@settings_options(redis=False)
def rotate(settings: Settings, now: bool, yes: bool, reason: str, by: str | None) -> None:
    """Destroy the salt in use, because it may have got out. Says what that costs first.

    An entry of the audit log says who, when and why; then the key is destroyed. Gateways notice within seconds. Nothing
    is counted until the next epoch begins with a fresh salt.
    """
    if not reason.strip():
        raise ThrongError("usage", "say why with --reason: it stands in the audit log")
    epochs, _ = asyncio.run(_read(settings))
    keys, time_ms = key_provider(settings), round(datetime.now().timestamp() * 1000)
    running = next((epoch for epoch in epochs if epoch.start_ms <= time_ms < epoch.end_ms), None)
    if running is None or not keys.holds(running.epoch):
        raise ThrongError("salts", "no epoch is running whose salt could still be had")
    for line in cost(running, time_ms):
        click.echo(line, err=True)
    if not yes:
        click.confirm(f"Destroy the salt of epoch {running.epoch}?", abort=True, err=True)
    told, unrecorded = "", None
    try:
        told = asyncio.run(record(settings, running, reason.strip(), by or system_user()))
    except ThrongError as error:
        unrecorded = error  # who broke the log must not be able to keep the key alive
    try:
        keys.destroy(running.epoch)
    except (OSError, ThrongError) as error:
        raise ThrongError("keys", f"the key of {running.epoch} is NOT destroyed: {error}; run it again") from error
    click.echo(f"the salt of epoch {running.epoch} is destroyed; the next one is made for the epoch after it")
    if unrecorded is not None:
        raise ThrongError("audit", f"the salt is destroyed, but no entry of the audit log says so: {unrecorded}")
    click.echo(told)


async def record(settings: Settings, epoch: Epoch, reason: str, by: str) -> str:
    """Write the decision to the audit log, and say so. It comes before the deed, as every decision does.

    Raises:
        ThrongError: it could not be written.
    """

    def work_out(rules: Rulebook) -> Decision:
        return "rotate", "", f"the salt of epoch {epoch.epoch}: {reason}", rules

    entry, log = await decide(settings, work_out, by, lambda: configured_rules(settings))
    assert entry is not None
    return f"entry {len(log.chain.taken)} of the audit log, by {entry.by}; hash {log.chain.head}"


def salt_of(epoch: Epoch, wrapped: WrappedSalt | None, keys: KeyProvider) -> Salt:
    """What there is of an epoch's salt."""
    state: Literal["sealed", "destroyed", "none"] = "none"
    if wrapped is not None:
        state = "sealed" if keys.holds(epoch.epoch) else "destroyed"
    start, end = (_local(epoch, ms) for ms in (epoch.start_ms, epoch.end_ms))
    return Salt(epoch.epoch, start, end, wrapped.key_id if wrapped else "", state)


def cost(epoch: Epoch, time_ms: int) -> list[str]:
    """What destroying the running epoch's salt costs, in words."""
    minutes = (epoch.end_ms - time_ms) // 60_000
    return [
        f"The salt of epoch {epoch.epoch} is in use until {_local(epoch, epoch.end_ms)}. Once it is destroyed:",
        "- nobody can make or undo its pseudonyms any more, this deployment included;",
        f"- the {minutes // 60} h {minutes % 60} min until then are not counted: events are rejected as salt_gone;",
        "- nothing is released of them: by the audit log's entry the release withholds what is left of the epoch;",
        "- the day's budget is not given back, and no pane is drawn again: what was released stays as it is;",
        "- the salt of the next epoch, where it is made already, stays: if its key got out too, start with new keys;",
        "- no new epoch begins before then: the day's caps were counted under the pseudonyms that are gone.",
    ]


def _local(epoch: Epoch, time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, ZoneInfo(epoch.timezone)).isoformat(timespec="minutes")


async def _read(settings: Settings) -> tuple[list[Epoch], dict[int, WrappedSalt]]:
    reader = EpochReader(TailReader(settings.kafka, settings.topic(EPOCHS)))
    log = TailReader(settings.kafka, settings.topic(SALTS))
    await reader.start()
    try:
        await log.start()
        first: dict[int, WrappedSalt] = {}
        async for records in log.read_to_end():
            for record in records:
                wrapped = msgspec.msgpack.decode(record.value, type=WrappedSalt)
                first.setdefault(wrapped.epoch, wrapped)
        return list(reader.table.epochs), first
    finally:
        await log.stop()
        await reader.stop()
