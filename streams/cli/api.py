"""`throng api`: the tokens of those who may ask the API."""

from pathlib import Path
from typing import cast

import click

from schemas.policy import Purpose
from schemas.registry import PURPOSES
from streams.api import tokens
from streams.cli.options import settings_options
from streams.settings import Settings


@click.group()
def api() -> None:
    """Make, list and revoke the tokens of the API (`throng worker api` serves it)."""


@api.command()
@click.option("--name", required=True, help="What logs and the list call it.")
@click.option("--purpose", type=click.Choice(list(PURPOSES)), help="What it is for.  [default: the deployment's]")
@settings_options(kafka=False, redis=False)
def token(settings: Settings, name: str, purpose: str | None) -> None:
    """Make a token and print it, this once: only its hash is kept."""
    click.echo(tokens.make(Path(settings.api.tokens), name, cast(Purpose, purpose or settings.gateway.purpose)))


@api.command("list")
@settings_options(kafka=False, redis=False)
def list_(settings: Settings) -> None:
    """List the tokens' names, purposes and scopes."""
    for each in tokens.load(Path(settings.api.tokens)):
        click.echo(f"{each.name}: {', '.join(each.scopes)}")


@api.command()
@click.argument("name")
@settings_options(kafka=False, redis=False)
def revoke(settings: Settings, name: str) -> None:
    """Revoke a token; whoever holds it is refused at once."""
    tokens.revoke(Path(settings.api.tokens), name)
    click.echo(f"{name} is revoked")
