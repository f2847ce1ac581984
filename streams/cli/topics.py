"""`throng topics`: make and check the topics."""

import asyncio

import click

from streams.cli.options import settings_options
from streams.settings import Settings
from streams.stores.topics import create as create_topics
from streams.stores.topics import differing


@click.group()
def topics() -> None:
    """Create the topics."""


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
