"""`throng salts`: which epochs' salts can still be had, and what to do when one got out."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final, Literal
from zoneinfo import ZoneInfo

import click
import msgspec
import orjson
from aiokafka.errors import KafkaError
from msgspec import UNSET, UnsetType

from schemas.attach import AHEAD_MS
from schemas.epochs import Epoch
from schemas.policy import Rulebook
from schemas.salts import WrappedSalt
from schemas.topics import EPOCHS, SALTS
from streams.agents.rules import cut
from streams.cli.examples import examples
from streams.cli.options import settings_options
from streams.core.clocks import said_apart
from streams.core.epochs import PART
from streams.core.rules.rules import EFFECT_MS
from streams.errors import ThrongError
from streams.settings import Settings
from streams.stores.audit import Decision, decide, read_audit, system_user
from streams.stores.connection import no_broker
from streams.stores.epochs import EpochReader
from streams.stores.keys import KeyProvider
from streams.stores.log import TailReader
from streams.stores.policies import configured_rules
from streams.stores.providers import key_provider
from streams.stores.salts import SaltLog
from streams.stores.topics import announce_reset, brokers_ms

# Every gateway that sends knows the audit log to within 5 s, and an event is at most a minute ahead of its record; the
# rest is for clocks.
HEAD_START_MS: Final = 180_000
# An epoch has three parts at most, and there is the one before.
LATELY: Final = 4


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
    if not found:
        click.echo("no epoch has been opened yet: the first gateway does, with the first event", err=True)
    for each in found:
        click.echo(f"{each.epoch}  {each.start} to {each.end}  {each.state}  {each.key}".rstrip())


@salts.command(
    epilog=examples('throng salts rotate --now --reason "a laptop with a dump is gone" --by "the security officer"')
)
@click.option("--now", is_flag=True, required=True, help="At once: there is no other way.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--reason", metavar="TEXT", required=True, help="Why: stands in the audit log.")
@click.option("--by", metavar="NAME", help="Who decided it.  [default: the system's user]")
@settings_options(redis=False)
def rotate(settings: Settings, now: bool, yes: bool, reason: str, by: str | None) -> None:
    """Destroy the salt in use, because it may have got out. Says what that costs first.

    An entry of the audit log says who, when and why; then the key is destroyed, and gateways forget the salt within
    seconds. A fresh one holds from the end of a pane in 3 to 8 minutes on; nothing is counted until then.
    """
    if not reason.strip():
        raise ThrongError("usage", "say why with --reason: it stands in the audit log")
    epochs, _ = asyncio.run(_read(settings))
    keys, time_ms, asked_s = key_provider(settings), asyncio.run(_now_ms(settings)), time.monotonic()
    if halves := half_destroyed(epochs, time_ms, keys):
        for epoch in halves:
            _destroy(keys, epoch)
        click.echo("that was decided before, and could not be done: no other salt is destroyed")
        return
    running = next((epoch for epoch in epochs if epoch.start_ms <= time_ms < epoch.end_ms), None)
    if running is None or not keys.holds(running.epoch):
        raise ThrongError("salts", "no epoch is running whose salt could still be had")
    for line in cost(running, time_ms, _fresh_from(settings, running, time_ms)):
        click.echo(line, err=True)
    if not yes:
        click.confirm(f"Destroy the salt of epoch {running.epoch}?", abort=True, err=True)
    answered_ms = time_ms + round((time.monotonic() - asked_s) * 1000)
    if answered_ms >= running.end_ms:
        raise ThrongError("salts", f"epoch {running.epoch} ended before the answer: run it again for the salt in use")
    from_ms = _fresh_from(settings, running, answered_ms)
    told, unrecorded = "", None
    try:
        told = asyncio.run(record(settings, running, reason.strip(), by or system_user(), from_ms))
    except ThrongError as error:
        unrecorded = error  # who broke the log must not be able to keep the key alive
    _destroy(keys, running)
    if unrecorded is not None:
        raise ThrongError("audit", f"the salt is destroyed, but no entry of the audit log says so: {unrecorded}")
    click.echo(f"a fresh salt holds from {_local(running, running.end_ms if from_ms is UNSET else from_ms)} on")
    click.echo(told)


def half_destroyed(epochs: Sequence[Epoch], time_ms: int, keys: KeyProvider) -> list[Epoch]:
    """Of the running epoch's parts and the one before those whose key is there, although it was to be destroyed."""
    lately = [epoch for epoch in epochs if epoch.start_ms <= time_ms][-LATELY:]
    return [epoch for epoch in lately if keys.destroyed(epoch.epoch) and keys.holds(epoch.epoch)]


def _destroy(keys: KeyProvider, epoch: Epoch) -> None:
    try:
        keys.destroy(epoch.epoch)
    except ThrongError as error:
        raise ThrongError("keys", f"the key of {epoch.epoch} is NOT destroyed: {error}; run it again") from error
    click.echo(f"the salt of epoch {epoch.epoch} is destroyed")


def fresh_from(epoch: Epoch, time_ms: int) -> int | UnsetType:
    """From when on a fresh salt can hold: a pane's end that no gateway and no crowd has come to when they hear of it.

    Unset if the epoch is over by then, or its numbers are used up.
    """
    panes = -((epoch.start_ms - time_ms - HEAD_START_MS) // epoch.pane_ms)
    at_ms = epoch.start_ms + panes * epoch.pane_ms
    return UNSET if at_ms >= epoch.end_ms or epoch.epoch % 100 > 2 * PART else at_ms


def _fresh_from(settings: Settings, epoch: Epoch, time_ms: int) -> int | UnsetType:
    return UNSET if settings.kafka.keep_forever else fresh_from(epoch, time_ms)


async def record(settings: Settings, epoch: Epoch, reason: str, by: str, from_ms: int | UnsetType) -> str:
    """Tell the crowds when pseudonyms change, write the decision to the audit log, and say so.

    It comes before the deed, as every decision does. Crowds first: they must know before any gateway does.

    Raises:
        ThrongError: it could not be written.
    """

    def work_out(rules: Rulebook) -> Decision:
        return "rotate", "", f"the salt of epoch {epoch.epoch}: {reason}", rules

    if from_ms is not UNSET:
        try:
            await announce_reset(settings, from_ms, epoch.partitions)
        except (KafkaError, OSError) as error:
            raise ThrongError("kafka", f"the crowds can't be told: {type(error).__name__}") from error
    entry, log = await decide(settings, work_out, by, lambda: configured_rules(settings), from_ms)
    assert entry is not None
    told = f"entry {len(log.chain.taken)} of the audit log, by {entry.by}; hash {log.chain.head}"
    if from_ms is not UNSET and from_ms - log.chain.taken[-1].time_ms < EFFECT_MS + AHEAD_MS:
        told += "\nthat is less than planned ahead: workers may hear too late; 'throng policy suspend'"
    return told


def salt_of(epoch: Epoch, wrapped: WrappedSalt | None, keys: KeyProvider) -> Salt:
    """What there is of an epoch's salt."""
    state: Literal["sealed", "destroyed", "none"] = "none"
    if wrapped is not None:
        state = "sealed" if keys.holds(epoch.epoch) else "destroyed"
    start, end = (_local(epoch, ms) for ms in (epoch.start_ms, epoch.end_ms))
    return Salt(epoch.epoch, start, end, wrapped.key_id if wrapped else "", state)


def cost(epoch: Epoch, time_ms: int, from_ms: int | UnsetType) -> list[str]:
    """What destroying the running epoch's salt costs, in words."""
    minutes = ((epoch.end_ms if from_ms is UNSET else from_ms) - time_ms) // 60_000
    return [
        f"The salt of epoch {epoch.epoch} is in use until {_local(epoch, epoch.end_ms)}. Once it is destroyed:",
        "- nobody can make or undo its pseudonyms any more, this deployment included;",
        f"- {minutes // 60} h {minutes % 60} min are not counted (events are rejected as salt_gone) nor released;",
        *_afterwards(epoch, from_ms),
        "- the day's budget is not given back, and no pane is drawn again: what was released stays as it is;",
        "- the salt of the next epoch, where it is made already, stays: if its key got out too, start with new keys.",
    ]


def _afterwards(epoch: Epoch, from_ms: int | UnsetType) -> list[str]:
    if from_ms is UNSET:
        return ["- no fresh salt holds before the next epoch;"]
    return [
        f"- from {_local(epoch, from_ms)} on a fresh salt holds; people present are told again "
        f"{epoch.silence_ms // 60_000} min later, when all have been heard;",
        "- measures with caps are told again with the next epoch: what each person has used of them is gone;",
    ]


def _local(epoch: Epoch, time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, ZoneInfo(epoch.timezone)).isoformat(timespec="minutes")


async def _now_ms(settings: Settings) -> int:
    """Kafka's time, which says what epoch runs; this machine's where the broker stamps nothing, or takes nothing: who
    keeps it from that must not be able to keep the key alive."""
    own_ms, kafka_ms = round(datetime.now().timestamp() * 1000), None
    if not settings.kafka.keep_forever:
        with suppress(KafkaError, OSError):
            kafka_ms = await brokers_ms(settings)
    if kafka_ms is None:
        return own_ms
    if said := said_apart(own_ms - kafka_ms):
        click.echo(f"{said}, which counts", err=True)
    return kafka_ms


async def _read(settings: Settings) -> tuple[list[Epoch], dict[int, WrappedSalt]]:
    reader = EpochReader(TailReader(settings.kafka, settings.topic(EPOCHS)))
    log = TailReader(settings.kafka, settings.topic(SALTS))
    try:
        await reader.start()
        # Without a log that can be read an epoch stands as it was made.
        with suppress(ThrongError):
            cut(reader.table, (await read_audit(settings)).chain)
        await log.start()
        sealed = SaltLog(log)
        await sealed.read()
        return list(reader.table.epochs), sealed.first
    except (KafkaError, OSError) as error:
        raise no_broker(settings.kafka) from error
    finally:
        await log.stop()
        await reader.stop()
