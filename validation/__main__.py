"""`python -m validation`: all towns against their truth; the last line of output sums up.

VALIDATE=quick takes the village alone, and one draw of noise instead of several. `--write` keeps the results, the
picture and the tables of the documentation. `--again` judges other towns of the same shapes, for the column beside.
The exit code tells whether it ran and agrees with the reference; a goal that isn't met is told, not failed.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import orjson

from attacks.verdict import Json
from schemas.measures import Measure
from schemas.plan import Plan
from streams.progress import Progress
from streams.stores.noise import draw
from validation import by_grid, calibrated, draws, foretold, page, picture, reference
from validation.by_grid import ByGrid
from validation.calibrated import Calibrated, Counted, Counts
from validation.draws import Noisy
from validation.foretold import Town
from validation.judge import Judged, judge, together, truth_of
from validation.summary import by_grid_line, calibrated_line, last_line, noise_alone, results
from validation.towns import AGAIN, TOWNS, Day, Shape, live_days

DOCS = Path(__file__).parents[1] / "docs" / "explanation"
KEPT = DOCS / "validation"
RESULTS, OTHERS = KEPT / "results.json", KEPT / "again.json"


def main() -> int:
    """Run, print, and keep."""
    options = argparse.ArgumentParser(prog="python -m validation", description=__doc__)
    options.add_argument("--write", action="store_true", help="keep the results in docs/explanation")
    options.add_argument(
        "--again", action="store_true", help="judge five other towns, plainly and with both, for the columns beside"
    )
    chosen = options.parse_args()
    size = os.environ.get("VALIDATE", "full")
    if size not in ("quick", "full"):
        print(f"VALIDATE is {size!r}; it may be quick or full", file=sys.stderr)
        return 2
    told, times = Progress(), draws.DRAWS[size]
    if chosen.again:
        return _again(AGAIN[-1:] if size == "quick" else AGAIN, times, told, chosen.write)
    days: list[Day] = []
    judged: list[list[Judged]] = [[] for _ in range(times)]  # by draw of noise, then by town
    first: list[list[Judged]] = [[] for _ in range(times)]
    corrected: list[list[Calibrated]] = [[] for _ in range(times)]
    grids: list[list[ByGrid]] = [[] for _ in range(times)]
    both: list[list[Calibrated]] = [[] for _ in range(times)]
    thirds: list[list[Town]] = [[] for _ in range(times)]
    agreed = None
    for shape in TOWNS[-1:] if size == "quick" else TOWNS:
        last = shape is TOWNS[-1]
        print(f"== {shape.name}", flush=True)
        day, *earlier_days = live_days(shape, calibrated.DAYS + 1, told, keep_rows=last)
        truth, before, gridded = truth_of(day), calibrated.with_truth(earlier_days), by_grid.with_census(day)
        print(f"   {day.events:,} events counted; releasing them", flush=True)
        for nth, (noisy, *noisy_before) in enumerate(draws.several(_wanted(day, before), draw, times)):
            estimates = draws.estimates(day, noisy, noisy_before[0])
            by_census = by_grid.estimates(gridded, noisy, noisy_before[0], estimates)
            on_site = _on_site(before, day.plan, noisy_before, nth)
            judged[nth].append(judge(day, truth, estimates))
            first[nth].append(judge(day, truth, draws.estimates(day, noisy)))
            grids[nth].append(by_grid.by_grid(gridded, truth, by_census))
            corrected[nth].append(calibrated.judge(day, truth.counts, on_site, estimates))
            gridded_on_site = _on_site(before, gridded.plan, noisy_before, nth)
            both[nth].append(calibrated.judge(gridded, truth.counts, gridded_on_site, by_census))
            thirds[nth].append(foretold.town(day, truth.counts, on_site, estimates[foretold.DWELL], nth))
            told(f"{shape.name}: {nth + 1} of {times} draws of noise")
        if last:
            agreed = reference.agree(day, told)
        days.append(day._replace(stretches=day.stretches[:0], counts={}, rows=None))
    found = results(
        days,
        [together(each) for each in judged],
        agreed,
        [calibrated.together(each) for each in corrected],
        [by_grid.together(each) for each in grids],
        [calibrated.together(each) for each in both],
        [foretold.judge(each) for each in thirds],
        [together(each) for each in first],
        list(zip(*judged, strict=True)),
    )
    again = _kept(OTHERS)
    print(page.tables(found, again), end="")
    if chosen.write:
        _keep(RESULTS, found)
        picture.draw(found, KEPT / "errors.svg")
        page.write(DOCS / "validation.md", found, again)
    print(orjson.dumps({"against_what_was_counted": noise_alone(found)}).decode())
    print(orjson.dumps({"with_a_density_grid": by_grid_line(found)}).decode())
    print(orjson.dumps({"with_a_density_grid_and_counts_on_site": calibrated_line(found["with_both"])}).decode())
    print(orjson.dumps(last_line(found)).decode(), flush=True)
    return 1 if agreed and any(one.apart for one in agreed.values()) else 0


def _again(shapes: Sequence[Shape], times: int, told: Progress, write: bool) -> int:
    """Judge towns on a day that knows the one before, plainly and with both a density grid and counts on site."""
    days: list[Day] = []
    judged: list[list[Judged]] = [[] for _ in range(times)]
    both: list[list[Calibrated]] = [[] for _ in range(times)]
    for shape in shapes:
        print(f"== {shape.name}, seed {shape.seed}", flush=True)
        day, *earlier_days = live_days(shape, calibrated.DAYS + 1, told)
        truth, before, gridded = truth_of(day), calibrated.with_truth(earlier_days), by_grid.with_census(day)
        for nth, (noisy, *noisy_before) in enumerate(draws.several(_wanted(day, before), draw, times)):
            estimates = draws.estimates(day, noisy, noisy_before[0])
            by_census = by_grid.estimates(gridded, noisy, noisy_before[0], estimates)
            judged[nth].append(judge(day, truth, estimates))
            on_site = _on_site(before, gridded.plan, noisy_before, nth)
            both[nth].append(calibrated.judge(gridded, truth.counts, on_site, by_census))
            told(f"{shape.name}: {nth + 1} of {times} draws of noise")
        days.append(day._replace(stretches=day.stretches[:0], counts={}))
    by_town, with_both = list(zip(*judged, strict=True)), [calibrated.together(each) for each in both]
    found = results(days, [together(each) for each in judged], None, both=with_both, by_town=by_town)
    if write:
        _keep(OTHERS, found)
        if (first := _kept(RESULTS)) is not None:
            page.write(DOCS / "validation.md", first, found)
    print(page.tables(found), end="")
    print(orjson.dumps(last_line(found)).decode(), flush=True)
    return 0


def _wanted(day: Day, before: Sequence[tuple[Day, Counts]]) -> list[tuple[Day, list[Measure]]]:
    """What noise is drawn of: a day, the one before, and of those before it what is counted on site."""
    yesterday, *earlier = [each for each, _ in before]
    known = [(each, draws.counted_measures(each)) for each in (day, yesterday)]
    return known + [(each, calibrated.counted_on_site(each)) for each in earlier]


def _on_site(before: Sequence[tuple[Day, Counts]], plan: Plan, noisy: Sequence[Noisy], nth: int) -> list[Counted]:
    """The days before as counted on site, and as released by this plan, of a draw of noise."""
    return [
        calibrated.on_site(day._replace(plan=plan), true, drawn, nth)
        for (day, true), drawn in zip(before, noisy, strict=True)
    ]


def _keep(path: Path, found: dict[str, Json]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2) + b"\n")


def _kept(path: Path) -> dict[str, Json] | None:
    found: dict[str, Json] | None = orjson.loads(path.read_bytes()) if path.exists() else None
    return found


if __name__ == "__main__":
    sys.exit(main())
