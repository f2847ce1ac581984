"""`throng diff`: what two runs counted differently, and why."""

from pathlib import Path

import click

from streams.recording.explain import explained, read_run
from streams.recording.panes import differences

DIFFERENCES_SHOWN = 10
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("one", type=_FILE)
@click.argument("other", type=_FILE)
def diff(one: Path, other: Path) -> int:
    """Compare the panes of two runs, written by 'throng replay --out'. Ends with 1 if they differ.

    If both runs wrote their sightings too (--sightings), the first difference is explained: which subscribers are
    counted in one run only, and which of their sightings differ.
    """
    first, second = read_run(one), read_run(other)
    found = list(differences(first.panes, second.panes))
    for row, count, against in found[:DIFFERENCES_SHOWN]:
        where = " ".join(str(row[name]) for name in ("place", "destination", "age_band", "gender") if row[name])
        click.echo(f"{row['end']:%Y-%m-%dT%H:%M:%SZ} {row['measure']} {where}: {count} and {against}")
    if len(found) > DIFFERENCES_SHOWN:
        click.echo(f"... and {len(found) - DIFFERENCES_SHOWN:,} more")
    if not found:
        click.echo("the runs counted the same")
        return 0
    if first.sightings is None or second.sightings is None:
        click.echo("to see which sightings made the first: 'throng replay FILE --embedded --out PANES --sightings'")
    else:
        click.echo("\n".join(["", "the first of them:", *explained(first, second, (one.stem, other.stem))]))
    return 1
