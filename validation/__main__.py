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
from streams.progress import Progress
from streams.stores.noise import draw
from validation import by_grid, calibrated, draws, foretold, page, picture, reference
from validation.by_grid import ByGrid
from validation.calibrated import Calibrated
from validation.foretold import Town
from validation.judge import Judged, judge, together, truth_of
from validation.summary import by_grid_line, last_line, noise_alone, results
from validation.towns import AGAIN, TOWNS, Day, Shape, live_days

DOCS = Path(__file__).parents[1] / "docs" / "explanation"
KEPT = DOCS / "validation"
RESULTS, OTHERS = KEPT / "results.json", KEPT / "again.json"


def main() -> int:
    """Run, print, and keep."""
    options = argparse.ArgumentParser(prog="python -m validation", description=__doc__)
    options.add_argument("--write", action="store_true", help="keep the results in docs/explanation")
    options.add_argument(
        "--again", action="store_true", help="judge five other towns, without what is beside the goals"
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
    thirds: list[list[Town]] = [[] for _ in range(times)]
    agreed = None
    for shape in TOWNS[-1:] if size == "quick" else TOWNS:
        last = shape is TOWNS[-1]
        print(f"== {shape.name}", flush=True)
        day, *earlier_days = live_days(shape, calibrated.DAYS + 1, told, keep_rows=last)
        truth, before, gridded = truth_of(day), calibrated.with_truth(earlier_days), by_grid.with_census(day)
        print(f"   {day.events:,} events counted; releasing them", flush=True)
        yesterday, *earlier = [each for each, _ in before]
        wanted = [
            *((each, draws.counted_measures(each)) for each in (day, yesterday)),
            *((each, calibrated.counted_on_site(each)) for each in earlier),
        ]
        for nth, (noisy, *noisy_before) in enumerate(draws.several(wanted, draw, times)):
            estimates = draws.estimates(day, noisy, noisy_before[0])
            on_site = [
                calibrated.on_site(each, true, drawn, nth)
                for (each, true), drawn in zip(before, noisy_before, strict=True)
            ]
            judged[nth].append(judge(day, truth, estimates))
            first[nth].append(judge(day, truth, draws.estimates(day, noisy)))
            grids[nth].append(by_grid.by_grid(gridded, truth, noisy, noisy_before[0], estimates))
            corrected[nth].append(calibrated.judge(day, truth.counts, on_site, estimates))
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
    print(orjson.dumps(last_line(found)).decode(), flush=True)
    return 1 if agreed and any(one.apart for one in agreed.values()) else 0


def _again(shapes: Sequence[Shape], times: int, told: Progress, write: bool) -> int:
    """Judge towns on a day that knows the one before, and nothing else."""
    days: list[Day] = []
    judged: list[list[Judged]] = [[] for _ in range(times)]
    for shape in shapes:
        print(f"== {shape.name}, seed {shape.seed}", flush=True)
        day, yesterday = live_days(shape, 2, told)
        truth = truth_of(day)
        wanted = [(each, draws.counted_measures(each)) for each in (day, yesterday)]
        for nth, drawn in enumerate(draws.several(wanted, draw, times)):
            judged[nth].append(judge(day, truth, draws.estimates(day, *drawn)))
            told(f"{shape.name}: {nth + 1} of {times} draws of noise")
        days.append(day._replace(stretches=day.stretches[:0], counts={}))
    by_town = list(zip(*judged, strict=True))
    found = results(days, [together(each) for each in judged], None, by_town=by_town)
    if write:
        _keep(OTHERS, found)
        if (first := _kept(RESULTS)) is not None:
            page.write(DOCS / "validation.md", first, found)
    print(page.tables(found), end="")
    print(orjson.dumps(last_line(found)).decode(), flush=True)
    return 0


def _keep(path: Path, found: dict[str, Json]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2) + b"\n")


def _kept(path: Path) -> dict[str, Json] | None:
    found: dict[str, Json] | None = orjson.loads(path.read_bytes()) if path.exists() else None
    return found


if __name__ == "__main__":
    sys.exit(main())
