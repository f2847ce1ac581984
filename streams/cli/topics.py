"""`throng topics`: make and check the topics, and say who may read and write them."""

import asyncio
import time

import click
import orjson

from schemas.access import scopes_for
from schemas.topics import DAY_MS
from streams.cli.access_lists import acls, command, redis_command, redis_users
from streams.cli.examples import examples
from streams.cli.options import settings_options, with_brokers, with_servers
from streams.settings import Settings
from streams.stores.access import Acl, RedisUser, grant, set_users
from streams.stores.ledger_trim import find_cut, trim
from streams.stores.topics import create as create_topics
from streams.stores.topics import differing


@click.group()
def topics() -> None:
    """Create the topics, and say who may use them."""


@topics.command()
@settings_options(redis=False)
def create(settings: Settings) -> None:
    """Create what is missing: topics, and partitions of attach. Safe to repeat, while workers run too.

    With a larger kafka.raw_partitions than attach has, the new partitions are announced to the crowd before they are
    made; running gateways take them up within seconds.
    """
    made = asyncio.run(create_topics(settings))
    click.echo(f"created {', '.join(made)}" if made else "all topics are there")
    for line in asyncio.run(differing(settings)):
        click.echo(line, err=True)


@topics.command(
    "trim-ledger", epilog=examples("throng topics trim-ledger --keep-days 60", "throng topics trim-ledger --dry-run")
)
@click.option("--keep-days", type=click.IntRange(min=1), default=60, show_default=True, help="Keep what is newer.")
@click.option("--dry-run", is_flag=True, help="Only tell what would go.")
@settings_options(redis=False)
def trim_ledger(settings: Settings, keep_days: int, dry_run: bool) -> None:
    """Delete the ledger's oldest records, while workers run too.

    Never those that a release still needs: the running epoch's and the one's before. Nothing of an epoch that is over
    is drawn again, whether or not the ledger still has it. Outlooks are made of the last 8 weeks: with fewer days they
    begin anew sooner. Needs the right Delete on the topic: that of the user throng-trimmer.
    """
    cut = asyncio.run(find_cut(settings, time.time_ns() // 1_000_000 - keep_days * DAY_MS))
    if cut.to > cut.start and not dry_run:
        asyncio.run(trim(settings, cut))
    what = "would go" if dry_run else "are deleted"
    click.echo(
        f"{cut.to - cut.start} of {cut.end - cut.start} records {what}; a release reads the last {cut.end - cut.needed}"
    )


@topics.command(
    "acls",
    epilog=examples("throng topics acls", "throng topics acls --apply", "throng topics acls --redis-users"),
)
@click.option("--prefix", default="throng-", show_default=True, help="Before each role's name, in its principal.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--redis-users", "on_redis", is_flag=True, help="The rights on Redis instead.")
@click.option("--apply", "put_in_force", is_flag=True, help="Give the rights on the servers instead of printing them.")
@click.option(
    "--kafka", "brokers", metavar="HOST:PORT", help="With --apply: Kafka's brokers.  [default: the local stack]"
)
@settings_options(kafka=False, redis=False)
def acls_command(
    settings: Settings, prefix: str, as_json: bool, on_redis: bool, put_in_force: bool, brokers: str | None
) -> None:
    """Print or give the rights of each role, and of the consumers of the deployment's purpose.

    Printed as commands of the servers' own tools; set BOOTSTRAP, and ADMIN to a file of client settings that may alter
    ACLs, or REDIS to a URL. Given as the user of the settings, who must be allowed to (a superuser; on Redis one who
    may ACL SETUSER). Passwords are not touched.
    """
    if on_redis:
        _redis(settings, redis_users(settings, prefix), as_json, put_in_force)
        return
    found = acls(settings, prefix)
    if put_in_force:
        asyncio.run(grant(with_brokers(settings, brokers), found))
        click.echo(f"{len(found)} rights are in force, of {len({each.principal for each in found})} users")
    elif as_json:
        lists = [dict(zip(Acl._fields, each, strict=True)) for each in found]
        purpose = settings.gateway.purpose
        click.echo(orjson.dumps({"purpose": purpose, "scopes": scopes_for(purpose), "acls": lists}))  # type: ignore[arg-type]
    else:
        for each in found:
            click.echo(command(each))


def _redis(settings: Settings, users: list[RedisUser], as_json: bool, put_in_force: bool) -> None:
    if put_in_force:
        nodes = asyncio.run(set_users(with_servers(settings, kafka=False), users))
        where = f" on {nodes} nodes; one that joins later needs them too" if settings.redis.cluster else ""
        click.echo(f"the rights of {', '.join(user.name for user in users)} are in force{where}")
    elif as_json:
        click.echo(orjson.dumps([{"user": user.name, "rules": user.rules} for user in users]))
    else:
        for user in users:
            click.echo(redis_command(user))
