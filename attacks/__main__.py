"""`python -m attacks`: all attacks; the last line of output sums up, and the exit code says whether all verdicts hold.

ATTACK=quick takes less of everything. `--write` keeps the results, the pictures and the table of the documentation.
"""

import argparse
import os
import sys
from pathlib import Path

import orjson

from attacks import page, picture
from attacks.run import FULL, QUICK, attack, last_line
from streams.progress import Progress
from streams.stores.noise import draw

DOCS = Path(__file__).parents[1] / "docs" / "explanation"


def main() -> int:
    """Run, print, and judge."""
    options = argparse.ArgumentParser(prog="python -m attacks", description=__doc__)
    options.add_argument("--write", action="store_true", help="keep the results in docs/explanation")
    chosen = options.parse_args()
    size = os.environ.get("ATTACK", "full")
    if size not in ("quick", "full"):
        print(f"ATTACK is {size!r}; it may be quick or full", file=sys.stderr)
        return 2
    found = attack(QUICK if size == "quick" else FULL, draw, Progress())
    for name, values in found.results.items():
        print(f"== {name}")
        for key, value in values.items():
            print(f"   {key}: {orjson.dumps(value).decode()}")
    print("== verdicts")
    for verdict in found.verdicts:
        print(f"   {verdict}")
    if chosen.write:
        kept = DOCS / "attacks"
        kept.mkdir(parents=True, exist_ok=True)
        (kept / "results.json").write_bytes(orjson.dumps(found.results, option=orjson.OPT_INDENT_2) + b"\n")
        picture.draw(found.results, kept)
        page.write(DOCS / "attacks.md", found.results)
    print(orjson.dumps(last_line(found.results)).decode(), flush=True)
    return 0 if all(verdict.holds for verdict in found.verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
