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
    plan, others, no_pairs = read_places(places), 0, 0
    for option, place in (("--origin", origin), ("--destination", destination)):
        if place and place not in plan.ids:
            raise ThrongError("usage", f"{option}: {places} has no place {place!r}")

    def ours() -> Iterator[Flow]:
        nonlocal others, no_pairs
        for flow in flows(records):
            if flow is None:
                no_pairs += 1
            elif flow.plan != plan.plan:
                others += 1
            else:
                yield flow

    lines = by_measure(ours(), plan, origin, destination)
    for line in lines:
        click.echo(msgspec.json.encode(line))
    click.echo(f"left out: {no_pairs} records of no pair of places, {others} of other plans than {plan.plan}", err=True)
    if not lines:
        ends = "".join(f" {word} {place}" for word, place in (("from", origin), ("to", destination)) if place)
        click.echo(f"no flow{ends} is told in these records", err=True)
