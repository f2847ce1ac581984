"""`throng outlook`: released people present against their usual selves, and what comes next."""

from pathlib import Path
from typing import BinaryIO

import click
import msgspec
import zstandard

from streams.cli.examples import examples
from streams.cli.released import footfall, read_places
from streams.cli.values import check_writable
from streams.core.derived.outlook import Outlooks
from streams.errors import ThrongError

# So many records with something to say are written between two times that the profile is kept.
KEPT_EVERY = 20_000


@click.command(epilog=examples("throng outlook --places places.json --profile usual.bin footfall.parquet"))
@click.option(
    "--places",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="The plan's places, JSON.",
)
@click.option(
    "--profile",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="File of what is usual: gone on with if it exists, and kept up to date.",
)
@click.argument("records", type=click.File("rb"), default="-")
def outlook(places: Path, profile: Path, records: BinaryIO) -> None:
    """Compare RECORDS, released records of footfall (JSON lines, or a recording; - or nothing: standard
    input), with what is usual.

    Writes one line for each place and quarter of an hour that is told and was in an earlier week: how it compares, how
    congested that is, a forecast of the next two hours, and how good earlier forecasts were. Records that the profile
    has seen are left out, so the whole topic can be read again.
    """
    check_writable("--profile", profile)
    outlooks = _begun(places, profile)
    since = told = 0
    try:
        for record in footfall(records):
            for line in outlooks.take(record) if record is not None else ():
                click.echo(msgspec.json.encode(line))
                since, told = since + 1, told + 1
            if since >= KEPT_EVERY:
                _keep(outlooks, profile)
                since = 0
        for line in outlooks.close():
            click.echo(msgspec.json.encode(line))
            told += 1
    finally:
        _keep(outlooks, profile)
    if not told:
        why = "none is both new to the profile and of a time of the week that it knows"
        click.echo(f"no record could be compared: {why}", err=True)


def _begun(places: Path, profile: Path) -> Outlooks:
    try:
        before = zstandard.decompress(profile.read_bytes()) if profile.exists() else None
        return Outlooks(read_places(places), before)
    except (zstandard.ZstdError, ValueError) as error:
        raise ThrongError("usage", f"--profile {profile} was not written by 'throng outlook': {error}") from error


def _keep(outlooks: Outlooks, profile: Path) -> None:
    beside = profile.with_name(profile.name + ".new")
    beside.write_bytes(zstandard.compress(outlooks.profile(), 3))
    beside.replace(profile)
