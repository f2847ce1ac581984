"""`throng zones`: the zone plan, built from polygons and cells, and what it knows."""

from collections import Counter
from pathlib import Path
from statistics import median

import click
import msgspec
import orjson
from rich.console import Console
from rich.table import Table

from schemas.plan import NOWHERE, Plan
from streams.cli.examples import examples
from streams.cli.values import check_timezone, check_writable
from streams.errors import ThrongError
from streams.places.extra import check_installed
from streams.places.findings import Findings
from streams.stores.plans import load_plan

FINEST_H3 = 15
_LISTED = "they are those with 0 cells in: throng zones show"
_FACTORS_DROPPED = "they were of the plan before, whose cells these may not be (throng calibrate)"


@click.group()
def zones() -> None:
    """Build the zone plan from polygons and cells, and show it."""


@zones.command(
    epilog=examples(
        "throng zones build plan.json --zones places.geojson --cells cells.csv --picture plan.svg",
        "throng zones build plan.json --h3 8 --cells cells.csv.gz",
    )
)
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--cells", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path), help="CSV of cells, or .gz."
)
@click.option(
    "--zones",
    "polygons",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="GeoJSON polygons, or a file of H3 cells, one a line.",
)
@click.option(
    "--h3", "resolution", type=click.IntRange(0, FINEST_H3), help="Instead: the H3 cells in which the network stands."
)
@click.option(
    "--parents",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="GeoJSON of districts.  [default: the zones' property 'parent', or the H3 cells two above]",
)
@click.option("--id-property", default="id", show_default=True, help="Property that holds a polygon's id.")
@click.option("--name-property", default="name", show_default=True, help="Property that holds its name.")
@click.option("--mnc-digits", type=click.IntRange(2, 3), help="Digits of network codes.  [default: by country]")
@click.option("--name", help="Of the plan.  [default: the file's]")
@click.option("--timezone", default="Europe/Berlin", show_default=True, help="IANA name; days change by it.")
@click.option("--weighted", is_flag=True, help="Give estimates of people back to zones that neighbours' cells serve.")
@click.option(
    "--density",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV grid of where people are: weight; lat and lon, or x and y (EPSG:3035).  [default: spread evenly]",
)
@click.option("--picture", type=click.Path(dir_okay=False, path_type=Path), help="Draw it, SVG.")
def build(
    out: Path,
    cells: Path,
    polygons: Path | None,
    resolution: int | None,
    parents: Path | None,
    id_property: str,
    name_property: str,
    mnc_digits: int | None,
    name: str | None,
    timezone: str,
    weighted: bool,
    density: Path | None,
    picture: Path | None,
) -> None:
    """Build the zone plan OUT (JSON) from zones and a plan of cells.

    Each cell stands for the zone that has most of its coverage, or for none if most of it is in no zone; with --density
    most of the people there. What was found to be odd is told on standard error; the last line of standard output
    counts what was made, as JSON. An OUT that exists is replaced by the next version, unless it says the same. Zones
    without a cell are warned of; if no zone has one, nothing is written.
    """
    check_installed("throng zones build")
    # Only now: they need the packages just asked for.
    from streams.places.build import build as built_from
    from streams.places.density import read_density
    from streams.places.picture import draw
    from streams.places.polygons import h3_around, read_places
    from streams.places.sites import read_sites

    if (polygons is None) == (resolution is None):
        raise ThrongError("usage", "say what the zones are: either --zones or --h3")
    check_writable("OUT", out)
    check_writable("--picture", picture)
    check_timezone("--timezone", timezone)
    findings = Findings()
    sites = read_sites(cells, findings, mnc_digits)
    if polygons is not None:
        places = read_places(polygons, findings, id_property, name_property)
    else:
        places = h3_around(sites, resolution or 0)
    districts = read_places(parents, findings, id_property, name_property) if parents else []
    before = load_plan(out) if out.exists() else None
    about = (before.version if before else 1, name or out.stem, timezone)
    grid = read_density(density) if density else None
    built = built_from(places, districts, sites, about, findings, weighted, grid)
    plan = built.plan
    if before is not None:
        plan = _following(before, plan)
        if before.calibration and not plan.calibration:
            click.echo(
                f"{len(before.calibration)} factors of counts on site are left out: {_FACTORS_DROPPED}", err=True
            )
    out.write_bytes(msgspec.json.encode(plan) + b"\n")
    load_plan(out)
    if picture is not None:
        draw(built, picture)
    for line in findings.lines():
        click.echo(line, err=True)
    if empty := len(plan.zones) - len(_heard(plan)):
        click.echo(
            f"warning: {empty:,} of {len(plan.zones):,} zones have no cell: nobody is counted there; {_LISTED} {out}",
            err=True,
        )
    nowhere = sum(cell.zone == NOWHERE for cell in plan.cells)
    if nowhere and resolution is not None:
        share = f"{nowhere:,} of {len(plan.cells):,} cells ({nowhere / len(plan.cells):.0%})"
        click.echo(
            f"warning: {share} are mostly in no zone: "
            "who is there is counted nowhere; take a smaller --h3, whose hexagons are wider than cells reach",
            err=True,
        )
    click.echo(orjson.dumps(_counts(plan)))


@zones.command(
    epilog=examples(
        "throng zones show plan.json",
        "throng zones show plan.json --zone z0001",
        "throng zones show plan.json --publish places.json",
    )
)
@click.argument("plan", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--zone", "only", help="This zone alone, with where its crowd else may be.")
@click.option(
    "--publish",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write what consumers may know of it: places and their uncertainty, no cells.",
)
def show(plan: Path, only: str | None, publish: Path | None) -> None:
    """Show what a zone PLAN knows of each zone: its cells, the share of its crowd surely inside, and how exactly the
    network knows where a phone is."""
    read = load_plan(plan)
    if publish is not None:
        check_writable("--publish", publish)
        publish.write_bytes(msgspec.json.encode(read.places()) + b"\n")
    if only is not None:
        _show_zone(read, only)
        return
    Console().print(_table(read))
    click.echo(orjson.dumps(_counts(read)))


def _following(before: Plan, plan: Plan) -> Plan:
    """The plan after the one before: that one if it says the same, else the next version; with its factors if they are
    of these very places and cells."""
    same = msgspec.structs.replace(before, calibration=())
    if all(zone.area_m2 is None for zone in before.zones):  # built before areas were kept
        areas = [zone.area_m2 for zone in plan.zones]
        zones = [msgspec.structs.replace(zone, area_m2=area) for zone, area in zip(before.zones, areas, strict=False)]
        same = msgspec.structs.replace(same, zones=tuple(zones))
    if same.hash() == plan.hash():
        plan = msgspec.structs.replace(plan, calibration=before.calibration)
    return plan if plan.hash() == before.hash() else msgspec.structs.replace(plan, version=plan.version + 1)


def _show_zone(plan: Plan, only: str) -> None:
    zone = next((zone for zone in plan.zones if zone.id == only), None)
    if zone is None:
        raise ThrongError("usage", f"the plan has no zone {only!r}")
    cells = [cell.cell for cell in plan.cells if cell.zone == only]
    click.echo(orjson.dumps({**msgspec.to_builtins(zone), "cells": cells}, option=orjson.OPT_INDENT_2))


def _table(plan: Plan) -> Table:
    heard = _heard(plan)
    table = Table(title=f"{plan.name}, version {plan.version}, {plan.hash()}")
    for column in ("zone", "name", "parent", "cells", "inside", "radius", "mostly else in"):
        table.add_column(column, justify="right" if column in ("cells", "inside", "radius") else "left")
    for zone in plan.zones:
        inside = "" if zone.inside is None else f"{zone.inside:.0%}"
        radius = "" if zone.radius_m is None else f"{zone.radius_m:,.0f} m"
        spill = f"{zone.spill[0].zone} ({zone.spill[0].share:.0%})" if zone.spill else ""
        table.add_row(zone.id, zone.name, zone.parent, str(heard[zone.id]), inside, radius, spill)
    return table


def _heard(plan: Plan) -> Counter[str]:
    """How many cells stand for each zone that has any."""
    return Counter(cell.zone for cell in plan.cells if cell.zone != NOWHERE)


def _counts(plan: Plan) -> dict[str, object]:
    """What is in a plan; `inside` and `radius_m` are medians over its zones."""
    inside = [zone.inside for zone in plan.zones if zone.inside is not None]
    radius = [zone.radius_m for zone in plan.zones if zone.radius_m is not None]
    return {
        "plan": plan.hash(),
        "version": plan.version,
        "zones": len(plan.zones),
        "without_cells": len(plan.zones) - len(_heard(plan)),
        "parents": len(plan.parents),
        "cells": len(plan.cells),
        "nowhere": sum(cell.zone == NOWHERE for cell in plan.cells),
        "inside": round(median(inside), 3) if inside else None,
        "radius_m": round(median(radius), 1) if radius else None,
    }
