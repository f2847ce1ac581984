"""`throng people`: from released numbers of phones to people, by a file of market shares."""

import tomllib
from pathlib import Path
from typing import BinaryIO

import click
import msgspec

from schemas.plan import Places
from schemas.shares import Shares
from streams.cli.examples import examples
from streams.cli.released import footfall, read_places
from streams.core.derived.people import people as people_of
from streams.core.derived.people import problems
from streams.errors import ThrongError

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(epilog=examples("throng people --shares shares.toml --places places.json footfall.parquet"))
@click.option("--shares", "shares_file", type=_FILE, required=True, help="Market shares and other factors, TOML.")
@click.option(
    "--places",
    type=_FILE,
    help="The plan's places, JSON: zones take their district's share, and each share must be of one.",
)
@click.argument("records", type=click.File("rb"), default="-")
def people(shares_file: Path, places: Path | None, records: BinaryIO) -> None:
    """Make people of RECORDS, released records of footfall (JSON lines, or a recording; - or nothing: standard
    input).

    Writes one line for each number that is told and has a share, with the errors of the count and of the shares. What
    was left out is told on standard error.
    """
    shares = load_shares(shares_file)
    parent_of = {} if places is None else _districts(read_places(places), shares, shares_file)
    if places is None and shares.areas:
        click.echo("without --places no zone is known to be in a district: none takes its district's share", err=True)
    told, left_out = 0, 0
    for record in footfall(records):
        found = people_of(record, shares, parent_of) if record is not None else None
        if found is None:
            left_out += 1
            continue
        told += 1
        click.echo(msgspec.json.encode(found))
    click.echo(f"{told} numbers of people; {left_out} records not told, without a share, or not of places", err=True)


def _districts(plan: Places, shares: Shares, file: Path) -> dict[str, str]:
    """Each zone's district. A share of a place that the plan doesn't have would be used for nothing.

    Raises:
        ThrongError: `shares`, naming the file and such places.
    """
    if unknown := sorted(shares.areas.keys() - plan.ids):
        raise ThrongError("shares", f"the shares {file} are of places that the plan doesn't have: {', '.join(unknown)}")
    return {zone.id: zone.parent for zone in plan.zones}


def load_shares(file: Path) -> Shares:
    """The shares of a file.

    Raises:
        ThrongError: `shares`, naming the file and what is wrong.
    """
    try:
        shares = msgspec.convert(tomllib.loads(file.read_text(encoding="utf-8-sig")), Shares)
    except OSError as error:
        raise ThrongError("shares", f"cannot read the shares {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ThrongError("shares", f"the shares {file} are not as expected: {error}") from error
    for problem in problems(shares):
        raise ThrongError("shares", f"the shares {file} are not as expected: {problem}")
    return shares
