"""`make schedules`: many schedules, on all cores, with progress; the seeds that fail, shrunk.

    SCHEDULES=10000 SCHEDULES_FROM=0 make schedules

The last line of standard output counts; the exit code is 0 only if no schedule failed.
"""

import logging
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed

import orjson

from tests.simulation.schedule import run, shrunk

BLOCK = 50


def failures(seeds: range) -> dict[int, list[str]]:
    """Of these schedules the failing ones, and what was wrong."""
    logging.disable(logging.CRITICAL)
    return {seed: wrong for seed in seeds if (wrong := run(seed).wrong)}


def blocks(first: int, number: int) -> Iterator[range]:
    """The seeds, a few at a time."""
    for begin in range(first, first + number, BLOCK):
        yield range(begin, min(begin + BLOCK, first + number))


def main() -> int:
    """Read the choices from the environment."""
    number, first = int(os.environ.get("SCHEDULES", "500")), int(os.environ.get("SCHEDULES_FROM", "0"))
    began, done, failed = time.monotonic(), 0, {}
    with ProcessPoolExecutor() as pool:
        running = {pool.submit(failures, seeds): len(seeds) for seeds in blocks(first, number)}
        for future in as_completed(running):
            done += running[future]
            failed |= future.result()
            seeds = f": {', '.join(map(str, sorted(failed)))}" if failed else ""
            print(f"{done:,} of {number:,} schedules, {len(failed)} failed{seeds}", file=sys.stderr, flush=True)
    for seed, wrong in sorted(failed.items()):
        print(f"seed {seed}: {wrong[0]}", *shrunk(seed), sep="\n  ")
    said = {"schedules": number, "from": first, "failed": sorted(failed), "seconds": round(time.monotonic() - began)}
    print(orjson.dumps(said).decode())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
