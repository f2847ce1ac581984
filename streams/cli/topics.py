"""`throng topics`: make and check the topics."""

import asyncio

import click

from streams.cli.options import settings_options
from streams.settings import Settings
from streams.stores.topics import create as create_topics


@click.group()
def topics() -> None:
    """Create the topics."""


@topics.command()
@settings_options(redis=False)
def create(settings: Settings) -> None:
    """Create the topics that are missing, and announce the raw partitions to the crowd. Safe to repeat."""
    made = asyncio.run(create_topics(settings))
    click.echo(f"created {', '.join(made)}" if made else "all topics are there")
