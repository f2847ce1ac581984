"""`throng api`: the tokens of those who may ask the API."""

import time
from pathlib import Path
from typing import cast

import click

from schemas.policy import Purpose
from schemas.registry import PURPOSES
from streams.api import tokens
from streams.cli.examples import examples
from streams.cli.options import settings_options
from streams.cli.values import expiry_ms
from streams.settings import Settings


@click.group()
def api() -> None:
    """Make, list and revoke the tokens of the API (`throng worker api` serves it)."""


@api.command(
    epilog=examples("throng api token --name lights --expires 90d", "throng api token --name me --expires 1d --replace")
)
@click.option("--name", required=True, help="What logs and the list call it.")
@click.option("--purpose", type=click.Choice(list(PURPOSES)), help="What it is for.  [default: the deployment's]")
@click.option(
    "--expires", metavar="WHEN", help="90d, 12h, a day (its first moment, UTC) or a time.  [default: api.token_days]"
)
@click.option("--replace", is_flag=True, help="In place of the one of that name, which is refused from now on.")
@settings_options(kafka=False, redis=False)
def token(settings: Settings, name: str, purpose: str | None, expires: str | None, replace: bool) -> None:
    """Make a token and print it, this once: only its hash is kept.

    It ends after api.token_days days unless --expires says when. The name of one that has expired is free again.
    """
    now_ms, file = _now_ms(), Path(settings.api.tokens)
    until_ms = expiry_ms("--expires", expires or f"{settings.api.token_days}d", now_ms)
    given = cast(Purpose, purpose or settings.gateway.purpose)
    click.echo(tokens.make(file, name, given, until_ms, now_ms, replace=replace))
    if given != settings.gateway.purpose:
        here = f"here gateway.purpose is {settings.gateway.purpose}"
        click.echo(f"a deployment for {given} alone answers it: {here}", err=True)


@api.command("list")
@settings_options(kafka=False, redis=False)
def list_(settings: Settings) -> None:
    """List the tokens' names, scopes and when they end."""
    found = tokens.load(Path(settings.api.tokens))
    if not found:
        click.echo(f"no tokens in {settings.api.tokens}: make one with 'throng api token'", err=True)
    for each in found:
        if not each.expires:
            ends = "never expires"
        else:
            ends = f"{'EXPIRED' if each.expired(_now_ms()) else 'expires'} {each.expires}"
        click.echo(f"{each.name}: {', '.join(each.scopes)}; {ends}")


@api.command(epilog=examples("throng api revoke lights"))
@click.argument("name")
@settings_options(kafka=False, redis=False)
def revoke(settings: Settings, name: str) -> None:
    """Revoke a token; whoever holds it is refused at once."""
    tokens.revoke(Path(settings.api.tokens), name)
    click.echo(f"{name} is revoked")


def _now_ms() -> int:
    return round(time.time() * 1000)
