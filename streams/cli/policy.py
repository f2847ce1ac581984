"""`throng policy`: what may be counted and told, shown, explained, changed. A change is an entry of the audit log."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import click
import msgspec
import orjson

from schemas.audit import Entry
from schemas.measures import DEFAULT_MEASURES
from schemas.policy import Policy, Rulebook
from schemas.topics import EPOCHS
from streams.cli.examples import examples
from streams.cli.options import settings_options
from streams.cli.policy_words import explanation, words
from streams.core.rules import decisions
from streams.core.rules.changes import Change, Way, changes, looser
from streams.core.rules.rules import usable
from streams.core.times import rfc3339
from streams.errors import ThrongError
from streams.settings import Settings
from streams.stores.audit import AuditReader, Decision, decide, read_audit, system_user
from streams.stores.epochs import EpochReader
from streams.stores.log import TailReader
from streams.stores.plans import load_plan
from streams.stores.policies import configured_rules

by_option = click.option("--by", metavar="NAME", help="Who decides.  [default: the system's user]")
reason_option = click.option("--reason", metavar="TEXT", default="", help="Why. Needed wherever something is loosened.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def policy() -> None:
    """Show, check and change what may be counted."""


@policy.command()
@json_option
@settings_options(redis=False)
def show(settings: Settings, as_json: bool) -> None:
    """Show the rules in force, and since when."""
    rules, origin = asyncio.run(_in_force(settings))
    if as_json:
        click.echo(orjson.dumps(msgspec.to_builtins(rules) | {"from": origin}))
        return
    click.echo(f"purpose {rules.purpose}; {origin}")
    for each in rules.policies:
        click.echo(f"{each.country} ({', '.join(each.mccs)}): {_state(each, rules)}")
        click.echo(f"  {_who(each)}")
        click.echo(f"  k {each.k}, epsilon {each.epsilon:g}, delta {each.delta:g} a subscriber-day")
    click.echo(f"measures: {', '.join(measure.name for measure in rules.measures)}")


async def _in_force(settings: Settings) -> tuple[Rulebook, str]:
    chain = (await read_audit(settings)).chain
    if not chain.taken:
        return configured_rules(settings), "from the files: the deployment has not begun"
    last = chain.taken[-1]
    entry = last.entry
    return entry.rules, f"by {entry.by}, {last.when}, entry {len(chain.taken)}, hash {chain.head}"


def _state(policy: Policy, rules: Rulebook) -> str:
    if policy.state == "suspended":
        return "suspended: its events are dropped by their country code, nothing of it is released"
    if not usable(policy, rules.purpose):
        return f"not for {rules.purpose}: its events are dropped by their country code, nothing of it is released"
    return "active"


def _who(policy: Policy) -> str:
    consent = "whoever granted it" if policy.basis == "opt_in" else "whoever did not refuse it"
    networks = "any network" if policy.inbound_roamers or not policy.home else f"networks {', '.join(policy.home)}"
    places = f"; nobody in {', '.join(policy.excluded_zones)}" if policy.excluded_zones else ""
    return f"counted is {consent}, from {policy.minimum_age} years on, of {networks}{places}"


@policy.command()
@json_option
@settings_options(kafka=False, redis=False)
def check(settings: Settings, as_json: bool) -> None:
    """Check the files, and explain what numbers they give. Needs no server."""
    rules = configured_rules(settings)
    plan = load_plan(Path(settings.gateway.plan)) if Path(settings.gateway.plan).exists() else None
    found = explanation(rules, plan, settings.release.confidence)
    click.echo(msgspec.json.encode(found) if as_json else "\n".join(words(found)))


@policy.command()
def measures() -> None:
    """Print the default measures, TOML: what a file of one's own (release.measures) begins with."""
    click.echo(f"# Shares are of the day's budget: they add up to {sum(each.share for each in DEFAULT_MEASURES):g}.")
    for measure in DEFAULT_MEASURES:
        click.echo("\n[[measure]]")
        for name, value in msgspec.to_builtins(measure).items():
            click.echo(f"{name} = {orjson.dumps(value).decode()}")


@policy.command(epilog=examples('throng policy suspend Germany --by "the ministry" --reason "order of 1 November"'))
@click.argument("country")
@reason_option
@by_option
@settings_options(redis=False)
def suspend(settings: Settings, country: str, reason: str, by: str | None) -> None:
    """Suspend COUNTRY (a name or a mobile country code) at once: a regulator's switch.

    Within 5 s every gateway drops its raw events by their country code, and nothing of it is released.
    """

    def work_out(rules: Rulebook) -> Decision | None:
        after = decisions.suspended(rules, country)
        return None if after == rules else ("suspend", _name(after, country), reason.strip(), after)

    entry, log = _decide(settings, work_out, by)
    if entry is None:
        click.echo(f"{_name(_rules(log), country)} is suspended already")
        return
    click.echo(f"{entry.country} is suspended; every worker follows within 5 s")
    _tell(entry, log)


@policy.command(epilog=examples('throng policy resume Germany --reason "the order was lifted"'))
@click.argument("country")
@reason_option
@by_option
@settings_options(redis=False)
def resume(settings: Settings, country: str, reason: str, by: str | None) -> None:
    """Let COUNTRY be counted again, from the next epoch on that is written. Needs a reason."""

    def work_out(rules: Rulebook) -> Decision | None:
        after = decisions.resumed(rules, country)
        if after == rules:
            return None
        _require(reason, looser(rules, after))
        return "resume", _name(after, country), reason.strip(), after

    entry, log = _decide(settings, work_out, by)
    if entry is None:
        click.echo(f"{_name(_rules(log), country)} is active already")
        return
    click.echo(f"{entry.country} is active from {asyncio.run(_next_epoch(settings))}")
    _tell(entry, log)


@policy.command(
    epilog=examples("throng policy apply --dry-run", 'throng policy apply --reason "a pilot with smaller groups"')
)
@reason_option
@by_option
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@settings_options(redis=False)
def apply(settings: Settings, reason: str, by: str | None, dry_run: bool) -> None:
    """Put the files (gateway.policies, release.measures, gateway.purpose) in force.

    What is tighter counts at once, what is looser needs a reason and waits for the next epoch. A country that is
    suspended stays so, whatever its file says.
    """
    files = configured_rules(settings)
    before = asyncio.run(read_audit(settings)).chain.rules
    found: list[Change] = []

    def work_out(rules: Rulebook) -> Decision | None:
        after = decisions.applied(rules, files)
        found[:] = changes(rules, after)
        if after == rules:
            return None
        _require(reason, looser(rules, after))
        return "apply", "", reason.strip(), after

    if dry_run:
        _tell_changes(settings, changes(before, decisions.applied(before, files)) if before is not None else [], before)
        return
    entry, log = _decide(settings, work_out, by, lambda: files)
    _tell_changes(settings, found, before)
    if entry is not None or before is None:
        _tell(log.chain.taken[-1].entry, log)


def _tell_changes(settings: Settings, found: list[Change], before: Rulebook | None) -> None:
    later = asyncio.run(_next_epoch(settings)) if any(change.way is not Way.TIGHTER for change in found) else ""
    for change in found:
        click.echo(f"{change}: {'at once' if change.way is Way.TIGHTER else f'from {later}'}")
    if before is None:
        click.echo("the files are the deployment's first rules")
    elif not found:
        click.echo("the files are in force already")


def _no_rules() -> Rulebook:
    # The files of whoever types a command need not be the gateways'.
    raise ThrongError(
        "policy", "the deployment has no rules yet: start a gateway, or take the files with 'throng policy apply'"
    )


def _decide(
    settings: Settings,
    work_out: Callable[[Rulebook], Decision | None],
    by: str | None,
    first: Callable[[], Rulebook] = _no_rules,
) -> tuple[Entry | None, AuditReader]:
    who = (by if by is not None else system_user()).strip()
    if not who:
        raise ThrongError("usage", "--by is empty: say who decides")
    return asyncio.run(decide(settings, work_out, who, first))


def _rules(log: AuditReader) -> Rulebook:
    return log.chain.taken[-1].entry.rules


def _name(rules: Rulebook, country: str) -> str:
    found = decisions.find(rules, country)
    return found.country if found is not None else country


def _require(reason: str, loosened: list[Change]) -> None:
    if loosened and not reason.strip():
        more = f" and {len(loosened) - 1} more" if len(loosened) > 1 else ""
        raise ThrongError("usage", f"this loosens something ({loosened[0]}{more}): give a reason with --reason")


def _tell(entry: Entry, log: AuditReader) -> None:
    click.echo(f"entry {len(log.chain.taken)} of the audit log, by {entry.by}; hash {log.chain.head}")


async def _next_epoch(settings: Settings) -> str:
    """From when on a loosening counts: the end of the last epoch that is written."""
    epochs = EpochReader(TailReader(settings.kafka, settings.topic(EPOCHS)))
    await epochs.start()
    await epochs.stop()
    horizon_ms = epochs.table.horizon_ms
    return "the first epoch on" if horizon_ms is None else f"the next epoch on, which begins {rfc3339(horizon_ms)}"
