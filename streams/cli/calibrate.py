"""`throng calibrate`: from counts on site and released records to a plan with factors."""

from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, TypeVar

import click
import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from schemas.measures import DEFAULT_MEASURES, Measure
from schemas.plan import Correction, Hours, Plan
from streams.cli.examples import examples
from streams.cli.on_site import read_on_site
from streams.cli.released import calibratable
from streams.cli.values import check_writable
from streams.core.calibration.calibration import (
    FEWEST_ALIKE,
    LEAST,
    MOST,
    Found,
    OfDay,
    by_part_of_day,
    found,
    odd,
)
from streams.core.calibration.evidence import Paired, Pairing
from streams.core.calibration.foretelling import STATISTICS, Foretold, foretold, sizes
from streams.core.estimates.factors import correction_of, part_names
from streams.core.estimates.view import SIMULATED
from streams.errors import ThrongError
from streams.stores.plans import load_plan
from streams.stores.policies import load_measures

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_DIGITS: Final = 4
_Said = TypeVar("_Said", Correction, Hours)
WIDTH: Final = 110  # of the table, at least


class _Measured(NamedTuple):
    """What was found of a measure: its keys, i64[n], and each one's factor, also by parts of the day."""

    measure: Measure
    paired: Paired
    keys: NDArray[np.int64]
    found: Found
    of_day: OfDay


@click.command(
    epilog=examples("throng calibrate --on-site counts.csv --released week.parquet --plan plan.json --to next.json")
)
@click.option("--on-site", type=_FILE, required=True, help="CSV of who was counted on site.")
@click.option(
    "--released",
    type=click.File("rb"),
    required=True,
    help="Released records of that time: JSON lines, or a recording.",
)
@click.option("--plan", "plan_file", type=_FILE, required=True, help="The zone plan that they were released under.")
@click.option(
    "--to", type=click.Path(dir_okay=False, path_type=Path), required=True, help="Write the plan with factors here."
)
@click.option("--measures", type=_FILE, help="Measures, TOML, as in release.measures.  [default: those shipped]")
@click.option(
    "--counter-error",
    type=click.FloatRange(0, 0.5),
    default=0.05,
    show_default=True,
    help="How far one count on site is off, as a share of it (standard error).",
)
@click.option(
    "--foretell/--no-foretell",
    default=True,
    help="Give zones that nobody counted factors of dwell by those counted and their areas, where that holds.  "
    "[default: foretell]",
)
def calibrate(
    on_site: Path,
    released: BinaryIO,
    plan_file: Path,
    to: Path,
    measures: Path | None,
    counter_error: float,
    foretell: bool,
) -> None:
    """Find from counts on site by how much people present, dwell, visits and flows of each place are off, and write the
    next version of the plan with these factors, which releases then multiply by.

    What was found is shown by measure and part; counts that contradict the others are told on standard error. The last
    line of standard output counts, as JSON.
    """
    check_writable("--to", to)
    if to.exists() and to.samefile(plan_file):
        raise ThrongError("usage", f"--to is the plan itself, {to}: epochs that it was counted by need it, keep both")
    plan = load_plan(plan_file)
    named = {each.name: each for each in (load_measures(measures) if measures else DEFAULT_MEASURES)}
    counts = read_on_site(on_site, plan, list(named.values()))
    pairings = {
        name: Pairing(named[name], plan, [each for each in counts if each.measure == name])
        for name in sorted({each.measure for each in counts})
    }
    for record in calibratable(released):
        if record is not None and record.measure in pairings:
            pairings[record.measure].take(record)
    results = [_measured(named[name], pairing.paired(), counter_error) for name, pairing in pairings.items()]
    corrections = {_about(each): each for each in plan.calibration if not each.foretold}
    new = [each for result in results for each in _corrections(plan, result)]
    unknown = sum(result.paired.unknown for result in results)
    if not new:
        heard = len(counts) - unknown
        why = "and too few were told" if heard else f"and the records must be of that time, whole, under {plan.hash()}"
        raise ThrongError("calibrate", f"no factor: of {len(counts)} counts {heard} are of released panes, {why}")
    corrections |= {_about(each): each for each in new}
    counted_plan = msgspec.structs.replace(plan, version=plan.version + 1, calibration=tuple(corrections.values()))
    others = {name: foretold(counted_plan, each) for name, each in named.items()} if foretell else {}
    more = [_rounded(factor) for parts in others.values() for part in parts for factor in part.factors]
    made = msgspec.structs.replace(counted_plan, calibration=(*counted_plan.calibration, *more))
    to.write_bytes(msgspec.json.encode(made) + b"\n")
    load_plan(to)
    Console(width=max(Console().width, WIDTH)).print(_table(results, others))
    for result in results:
        for line in _contradicting(plan, result):
            click.echo(line, err=True)
    if foretell:
        for line in _not_foretold(plan, results, others):
            click.echo(line, err=True)
    if unknown:
        click.echo(f"{unknown} counts are of panes that the records don't tell of, whole and under this plan", err=True)
    said = {"plan": made.hash(), "version": made.version, "counts": len(counts)}
    click.echo(orjson.dumps({**said, "factors": len(new), "foretold": len(more)}))


def _about(each: Correction) -> tuple[str, str, str, str]:
    return each.measure, each.place, each.destination, each.part


def _measured(measure: Measure, paired: Paired, counter_error: float) -> _Measured:
    keys, at = np.unique(paired.evidence.key, return_inverse=True)
    evidence = paired.evidence._replace(key=at.astype(np.int64))
    if paired.told is None:
        none = np.zeros(len(keys))
        return _Measured(measure, paired, keys, Found(none + 1, none, none, none, none), OfDay(none, none))
    group = keys % len(part_names(measure))
    of = found(evidence, group, paired.told, counter_error, paired.erring)
    of_day = by_part_of_day(evidence, of, paired.told, counter_error, paired.erring)
    return _Measured(measure, paired, keys, of, of_day)


def _corrections(plan: Plan, result: _Measured) -> list[Correction]:
    return [
        _rounded(
            correction_of(
                plan,
                result.measure,
                int(result.keys[n]),
                float(result.found.factor[n]),
                float(result.found.se[n]),
                hours=result.of_day.hours(n),
            )
        )
        for n in np.flatnonzero(result.found.panes).tolist()
    ]


def _rounded(of: Correction) -> Correction:
    hours = tuple(_digits(each) for each in of.hours)
    return msgspec.structs.replace(_digits(of), hours=hours)


def _digits(of: _Said) -> _Said:
    return msgspec.structs.replace(of, factor=round(of.factor, _DIGITS), se=round(of.se, _DIGITS))


def _table(results: list[_Measured], others: Mapping[str, list[Foretold]]) -> Table:
    table = Table(title="People on site to each one counted", box=None)
    numbers = ("places", "panes", "withheld", "factor", "before", "left", "others", "left there")
    for column in ("measure", "part", *numbers):
        table.add_column(column, justify="right" if column in numbers else "left", no_wrap=True)
    for result in results:
        names = part_names(result.measure)
        for part, name in enumerate(names):
            at = (result.keys % len(names) == part) & (result.found.panes > 0)
            if not at.any():
                continue
            factor, se, panes, told, _ = (column[at] for column in result.found)
            view = SIMULATED.get(result.measure.name)
            rest = 0.0 if view is None or view.calibrated_share is None else view.calibrated_share
            more = [of for each in others.get(result.measure.name, ()) if each.part == name for of in each.factors]
            off = np.array([of.se / of.factor for of in more])
            table.add_row(
                result.measure.name,
                name,
                f"{at.sum():,}",
                f"{panes.sum():,.0f}",
                f"{(panes - told).sum():,.0f}",
                f"{np.median(factor):.2f} ({factor.min():.2f}-{factor.max():.2f})",
                f"{np.sqrt(((1 / factor - 1) ** 2).mean()):.1%}",
                f"{np.sqrt(((se / factor) ** 2 + rest**2).mean()):.1%}",
                f"{len(more):,}" if more else "",
                f"{np.sqrt((off**2 + rest**2).mean()):.1%}" if more else "",
            )
    return table


def _not_foretold(plan: Plan, results: list[_Measured], others: Mapping[str, list[Foretold]]) -> list[str]:
    """Why those counted say nothing of other places."""
    about = [each.measure.name for each in results if each.measure.statistic in STATISTICS]
    if about and not sizes(plan)[1].any():
        return ["no other place has factors by those counted: the plan has no areas (throng zones build keeps them)"]
    few, unlike = [], []
    for name in about:
        for each in others[name]:
            if each.line is None:
                few.append(f"{each.part} ({each.places})")
            elif not each.line.holds:
                unlike.append(each.part)
    lines = []
    if few:
        lines.append(f"too few places of dwell to foretell others by, {FEWEST_ALIKE} are needed: {', '.join(few)}")
    if unlike:
        lines.append(
            f"the areas of those counted don't foretell their factors of dwell, so no others': {', '.join(unlike)}"
        )
    return lines


def _contradicting(plan: Plan, result: _Measured) -> list[str]:
    lines = []
    group = result.keys % len(part_names(result.measure))
    beyond, apart = odd(result.found, group)
    for n in np.flatnonzero(beyond | apart).tolist():
        factor = float(result.found.factor[n])
        of = correction_of(plan, result.measure, int(result.keys[n]), factor, 0.0)
        what = " ".join(
            word for word in (of.measure, of.place, of.destination and f"to {of.destination}", of.part) if word
        )
        if beyond[n]:
            bound = f", which is as far as it goes ({LEAST:g} to {MOST:g})" if not LEAST < factor < MOST else ""
            lines.append(f"{what}: a factor of {factor:.2f} is far from those of other places{bound}")
        if apart[n]:
            lines.append(
                f"{what}: its panes contradict each other, by {result.found.apart[n] ** 0.5:.1f} of their errors"
            )
    return lines
