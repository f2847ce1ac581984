"""What a release that starts pays for its outlooks: ms of CPU a quarter of an hour of the ledger, by number of places.

And what the words of one pane take, in which every place has a usual self.

    python -m benchmarks.bench_outlooks [--quarters 60] [--places 60 1000 10000]
"""

import argparse
import time

import numpy as np

from schemas.ledger import LedgerRecord
from schemas.released import FOOTFALL_SCHEMA, Footfall
from streams.core.derived.following import BLOCK_MS, Following
from streams.core.derived.usual import A_WEEK, QUARTER_MS
from streams.core.times import rfc3339
from tests.support.ledgers import present

FIRST_MS = -(-1_772_409_600_000 // BLOCK_MS) * BLOCK_MS


def quarter(number: int, places: int) -> LedgerRecord:
    """A pane's record: people as of a day's rhythm and chance; a place in thirty is a district."""
    end_ms = FIRST_MS + number * QUARTER_MS
    people = 800 + 500 * np.sin(2 * np.pi * (number % 96 - 40) / 96)
    counts = np.random.default_rng(number).normal(people, 30, places).round(1).tolist()
    about = {
        "start": rfc3339(end_ms - 300_000), "end": rfc3339(end_ms), "window_s": 300, "epsilon": 2.0, "rho": 0.02,
        "k": 20, "covered": 1.0, "complete": True, "plan": "p", "policy": "Test network", "purpose": "traffic",
    }  # fmt: skip
    said = (
        Footfall(
            schema=FOOTFALL_SCHEMA, measure="present", level="parent" if place % 30 == 29 else "zone",
            zone=f"place-{place}", suppressed=False, noisy=round(count), estimate=count, se=20.0, low=count - 40,
            high=count + 40, **about,
        )
        for place, count in enumerate(counts)
    )  # fmt: skip
    return present(number + 1, end_ms, said)


def measured(places: int, quarters: int) -> tuple[float, float]:
    """ms of CPU a quarter, and for the words of one pane."""
    following = Following("Europe/Berlin")
    following.take(quarter(quarters - 1, places))
    following.work_out(following.waiting())
    for number in range(A_WEEK, A_WEEK + quarters):
        following.take(quarter(number, places))
    waiting = following.waiting()
    began = time.process_time()
    following.work_out(waiting)
    worked = time.process_time()
    asked = time.process_time()
    following.of(waiting[-1])
    return (worked - began) / quarters * 1000, (time.process_time() - asked) * 1000


def main() -> None:
    """Print a line for each size."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quarters", type=int, default=60)
    options.add_argument("--places", type=int, nargs="+", default=[60, 1_000, 10_000])
    chosen = options.parse_args()
    for places in chosen.places:
        each, words = measured(places, chosen.quarters)
        weeks = [each * BLOCK_MS * blocks / QUARTER_MS / 1000 for blocks in (1, 2)]
        print(
            f"{places:,} places: {each:.2f} ms a quarter, {words:.1f} ms for a pane's words; "
            f"{weeks[0]:.1f} to {weeks[1]:.1f} s for four to eight weeks"
        )


if __name__ == "__main__":
    main()
