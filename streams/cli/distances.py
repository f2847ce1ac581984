"""`throng distances`: released flows by how far apart their places are."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import click
import msgspec

from schemas.released import Flow
from streams.cli.examples import examples
from streams.cli.released import flows, read_places
from streams.core.derived.bands import distances as by_measure
from streams.errors import ThrongError

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(epilog=examples("throng distances --places places.json --destination z0001 flows.parquet"))
@click.option("--places", type=_FILE, required=True, help="The plan's places, JSON.")
@click.option("--origin", default="", metavar="PLACE", help="Only what came from this zone or district.")
@click.option("--destination", default="", metavar="PLACE", help="Only what went there.")
@click.argument("records", type=click.File("rb"), default="-")
def distances(places: Path, origin: str, destination: str, records: BinaryIO) -> None:
    """Tell how far people went: RECORDS, released records of flows (JSON lines, or a recording; - or nothing: standard
    input).

    Writes one line for each measure, of all its panes together, with the standard error of each band. Pairs of places
    that are too small to be told are in none of it, and far ones are the smaller ones.
    """
    plan, left_out = read_places(places), 0
    for option, place in (("--origin", origin), ("--destination", destination)):
        if place and place not in plan.ids:
            raise ThrongError("usage", f"{option}: {places} has no place {place!r}")

    def ours() -> Iterator[Flow]:
        nonlocal left_out
        for flow in flows(records):
            if flow is not None and flow.plan == plan.plan:
                yield flow
            else:
                left_out += 1

    for line in by_measure(ours(), plan, origin, destination):
        click.echo(msgspec.json.encode(line))
    click.echo(f"{left_out} records not of pairs of places, or of another plan than {plan.plan}", err=True)
