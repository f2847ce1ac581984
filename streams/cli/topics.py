"""`throng topics`: make and check the topics, and say who may read and write them."""

import asyncio

import click
import orjson

from schemas.access import scopes_for
from streams.cli.access_lists import Acl, acls, command
from streams.cli.options import settings_options
from streams.settings import Settings
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


@topics.command("acls")
@click.option("--prefix", default="throng-", show_default=True, help="Before each role's name, in its principal.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@settings_options(kafka=False, redis=False)
def print_acls(settings: Settings, prefix: str, as_json: bool) -> None:
    """Print the Kafka ACLs of each role, and of the consumers of the deployment's purpose.

    As commands of Kafka's own tool; set BOOTSTRAP, and ADMIN to a file of client settings that may alter ACLs.
    """
    found = acls(settings, prefix)
    if as_json:
        lists = [dict(zip(Acl._fields, each, strict=True)) for each in found]
        purpose = settings.gateway.purpose
        click.echo(orjson.dumps({"purpose": purpose, "scopes": scopes_for(purpose), "acls": lists}))  # type: ignore[arg-type]
        return
    for each in found:
        click.echo(command(each))
