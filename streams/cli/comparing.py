"""`throng diff`: what two runs counted differently, and why."""

from pathlib import Path

import click

from streams.cli.examples import examples
from streams.errors import ThrongError
from streams.recording.explain import Run, explained, read_run
from streams.recording.panes import differences, lacks, reach, within

DIFFERENCES_SHOWN = 10
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(epilog=examples("throng diff before.parquet after.parquet"))
@click.argument("one", type=_FILE)
@click.argument("other", type=_FILE)
def diff(one: Path, other: Path) -> int:
    """Compare the panes of two runs, written by 'throng replay --out'. Ends with 1 if they differ, 2 on an error.

    Panes that only one run has, because the other begins later or ends earlier, are told and not compared. If both
    runs wrote their sightings too (--sightings), the first difference is explained: which subscribers are counted in
    one run only, and which of their sightings differ.
    """
    try:
        names = (one.stem, other.stem) if one.stem != other.stem else (str(one), str(other))
        return _compared(read_run(one), read_run(other), names)
    except ThrongError as error:
        raise ThrongError("usage", error.sentence) from error  # as diff(1): 1 is kept for runs that differ


def _compared(first: Run, second: Run, names: tuple[str, str]) -> int:
    one, other = reach(first.panes), reach(second.panes)
    missing = [*lacks(one, other, names[0]), *lacks(other, one, names[1])]
    for line in missing:
        click.echo(line)
    first, second = (run._replace(panes=within(run.panes, one, other)) for run in (first, second))
    found = list(differences(first.panes, second.panes))
    for row, count, against in found[:DIFFERENCES_SHOWN]:
        where = " ".join(str(row[name]) for name in ("place", "destination", "age_band", "gender", "part") if row[name])
        click.echo(f"{row['end']:%Y-%m-%dT%H:%M:%SZ} {row['measure']} {where}: {count} and {against}")
    if len(found) > DIFFERENCES_SHOWN:
        click.echo(f"... and {len(found) - DIFFERENCES_SHOWN:,} more")
    if not found:
        if (one and other) or not missing:
            click.echo(f"the runs counted the same{' in the panes that both have' if missing else ''}")
        return 1 if missing else 0
    if first.sightings is None or second.sightings is None:
        click.echo("to see which sightings made the first: 'throng replay FILE --embedded --out PANES --sightings'")
    else:
        click.echo("\n".join(["", "the first of them:", *explained(first, second, names)]))
    return 1
