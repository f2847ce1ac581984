"""`python -m validation`: all towns against their truth; the last line of output sums up.

VALIDATE=quick takes the village alone. `--write` keeps the results, the picture and the tables of the documentation.
The exit code tells whether it ran and agrees with the reference; a goal that isn't met is told, not failed.
"""

import argparse
import os
import sys
from pathlib import Path

import orjson

from streams.progress import Progress
from streams.stores.noise import draw
from validation import by_grid, calibrated, foretold, page, picture, reference
from validation.judge import judge, together
from validation.summary import by_grid_line, last_line, noise_alone, results
from validation.towns import TOWNS, live

DOCS = Path(__file__).parents[1] / "docs" / "explanation"


def main() -> int:
    """Run, print, and keep."""
    options = argparse.ArgumentParser(prog="python -m validation", description=__doc__)
    options.add_argument("--write", action="store_true", help="keep the results in docs/explanation")
    chosen = options.parse_args()
    size = os.environ.get("VALIDATE", "full")
    if size not in ("quick", "full"):
        print(f"VALIDATE is {size!r}; it may be quick or full", file=sys.stderr)
        return 2
    told = Progress()
    days, judged, corrected, grids, thirds = [], [], [], [], []
    agreed = None
    for shape in TOWNS[-1:] if size == "quick" else TOWNS:
        last = shape is TOWNS[-1]
        print(f"== {shape.name}", flush=True)
        day = live(shape, told, keep_rows=last)
        print(f"   {day.events:,} events counted; releasing them", flush=True)
        judged.append(judge(day, draw))
        grids.append(by_grid.by_grid(day, draw))
        before = calibrated.counted_before(day, draw, told)
        corrected.append(calibrated.judge(day, before, draw))
        thirds.append(foretold.town(day, before, draw))
        if last:
            agreed = reference.agree(day, told)
        days.append(day._replace(stretches=day.stretches[:0], counts={}, rows=None))
    factors = calibrated.together(corrected), by_grid.together(grids), foretold.judge(thirds)
    found = results(days, together(judged), agreed, *factors)
    print(page.tables(found), end="")
    if chosen.write:
        kept = DOCS / "validation"
        kept.mkdir(parents=True, exist_ok=True)
        (kept / "results.json").write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2) + b"\n")
        picture.draw(found, kept / "errors.svg")
        page.write(DOCS / "validation.md", found)
    print(orjson.dumps({"against_what_was_counted": noise_alone(found)}).decode())
    print(orjson.dumps({"with_a_density_grid": by_grid_line(found)}).decode())
    print(orjson.dumps(last_line(found)).decode(), flush=True)
    return 1 if agreed and any(one.apart for one in agreed.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
