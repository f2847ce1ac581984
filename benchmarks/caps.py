"""What caps drop on a simulated weekday: of each measure's counts the share of all, and of the hour that loses most.

    python -m benchmarks.caps [--town 3] [--subscribers 6000] [--zones 40]

`tests/privacy/test_caps.py` holds the default caps to bounds in this town; noise grows by the root of a cap.
"""

import argparse
from typing import Final

import msgspec
import numpy as np

from schemas.measures import DEFAULT_MEASURES
from streams.simulate.town import make_town
from tests.support.towns import count_days

HOURS: Final = 24
TRIED: Final = {"trips": (12, 16, 20, 24, 32), "dwell": (48, 64, 80, 96), "visits": (16, 24, 32)}
ARRIVALS: Final = (48, 72)  # a table has room for three measures of them
HOUR_MS: Final = 3_600_000


def main() -> None:
    """Count a day by every cap at once, and print."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--town", type=int, default=3, help="its seed")
    arguments.add_argument("--subscribers", type=int, default=6000)
    arguments.add_argument("--zones", type=int, default=40)
    asked = arguments.parse_args()
    tried = [
        msgspec.structs.replace(measure, name=f"{measure.name} {cap}", cap=cap)
        for measure in DEFAULT_MEASURES
        if measure.cap
        for cap in (*TRIED.get(measure.statistic, ARRIVALS), 0)
    ]
    day = count_days(make_town(asked.town, asked.subscribers, asked.zones), tuple(tried), HOURS)
    for measure in tried:
        if measure.cap:
            capped, free = (day[name].sum(axis=1) for name in (measure.name, f"{measure.name.split()[0]} 0"))
            hours = np.arange(len(free)) * measure.pane_ms // HOUR_MS
            told, wanted = (np.bincount(hours, counts, HOURS) for counts in (capped, free))
            worst = 1 - (told[wanted > 0] / wanted[wanted > 0]).min()
            print(f"{measure.name:16} {1 - capped.sum() / free.sum():8.3%} of all, {worst:7.2%} of the worst hour")


if __name__ == "__main__":
    main()
