"""How often the home and work area that the crowd knows of somebody is where they live and work, and how exactly
visitors by area are told.

Towns with the harder radio, a weekday from 04:00 to 24:00, through the crowd's own loops. What it then knows of
everyone who was heard is compared with the simulator's home, and place of work or study of those who have one: the
share that is known, the share of those that is right, and of a guess (all in the most frequent district). `at home` is
the share whose told area is their home's district.

Then the median relative errors of noisy numbers and of estimates, %, and the coverage of 95 % intervals, at a share of
0.05 and a cap of 16, of pairs of zone and district with about so many first visits an hour; as in `accuracy.py`, of its
large towns.

    python -m benchmarks.areas [--towns 3] [--subscribers 4000] [--zones 60] [--radio real]
"""

import argparse

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from benchmarks import accuracy
from benchmarks.place_changes import START_MS, simulate
from schemas.measures import Measure
from streams.core.crowd.population import Population
from streams.core.crowd.reorder import Rows
from streams.simulate.people import populate
from streams.simulate.town import make_town
from tests.support.towns import count_days
from tests.support.world import epochs_at

HOUR_MS = 3_600_000
UNTIL_MS = START_MS + 20 * HOUR_MS
AREA = 0xFFFF
MEASURES = tuple(Measure(name, name, "zone", HOUR_MS, 0xFF, 0.5) for name in ("home", "work"))


def known(seed: int, subscribers: int, zones: int, radio: str) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Districts i64[people, home and work]: as the crowd knows them, and as they truly are; -1: none. And how many
    districts there are. Only of who was heard."""
    town = make_town(seed, subscribers, zones, radio=radio)
    day = simulate(seed, subscribers, 20, radio, zones)
    parents = np.array([zone.parent for zone in town.layout.zones], np.uint16)
    count = int(parents.max()) + 1
    epoch = replace(epochs_at(START_MS)[0], zones=zones, parents=count, measures=MEASURES)
    population = Population(epoch, parents, count)
    order = np.lexsort((day.who, day.ts))
    rows = Rows(
        (day.who[order] + 1).astype(np.uint64),
        day.ts[order] + START_MS,
        day.zone[order].astype(np.uint16),
        np.zeros(len(order), np.uint8),
        day.kind[order].astype(np.uint8),
    )
    for end_ms in range(START_MS + epoch.pane_ms, UNTIL_MS + 1, epoch.pane_ms):
        due = slice(*np.searchsorted(rows.ts, [end_ms - epoch.pane_ms, end_ms]))
        population.handle(Rows(*(column[due] for column in rows)))
        population.advance(end_ms)
        population.close_pane(end_ms)
    slots = population.slots
    taken = np.flatnonzero(slots.rows["pseudonym"])
    who = slots.rows["pseudonym"][taken].astype(np.int64) - 1
    told = (slots.areas[taken].astype(np.int64) & AREA) - 1
    people, _, _ = populate(town)
    district = np.append(parents.astype(np.int64), -1)
    truly = [district[np.minimum(people[name][who].astype(np.int64), zones)] for name in ("home", "work")]
    return told, np.stack(truly, axis=1), count


def exactness(seeds: tuple[int, ...] = (7, 8)) -> None:
    """Print how exactly numbers are told."""
    measures = tuple(replace(measure, cap=16, share=0.05) for measure in MEASURES)
    days = [count_days(make_town(seed, *accuracy.LARGE), measures, 24) for seed in seeds]
    print("| area | people | pairs | noisy % | estimate % | covered % | told % |")
    print("|---|---|---|---|---|---|---|")
    for measure in measures:
        for people in (50, 500, 5000):
            line = accuracy.found(measure, [day[measure.name] for day in days], people, 10)
            figures = f"{line['raw']:.1f} | {line['estimate']:.1f} | {line['covered']:.1f} | {line['told']:.1f}"
            print(f"| {measure.name} | {people} | {line['panes']} | {figures} |")


def main() -> None:
    """Print both tables, over all towns together."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--towns", type=int, default=3)
    parser.add_argument("--subscribers", type=int, default=4000)
    parser.add_argument("--zones", type=int, default=60)
    parser.add_argument("--radio", default="real")
    asked = parser.parse_args()
    towns = [known(seed, asked.subscribers, asked.zones, asked.radio) for seed in range(1, asked.towns + 1)]
    print(f"districts {[count for _, _, count in towns]}, people {[len(told) for told, _, _ in towns]}")
    print("| area | of | known | of these right | a guess | at home |")
    print("|---|---|---|---|---|---|")
    for column, name in enumerate(("home", "work")):
        told, truly, home, guess = [], [], [], []
        for found, true, count in towns:
            has = true[:, column] >= 0
            told.append(found[has, column])
            truly.append(true[has, column])
            home.append(true[has, 0])
            guess.append(np.bincount(true[has, column], minlength=count).max() / has.sum())
        mine, theirs, homes = (np.concatenate(parts) for parts in (told, truly, home))
        there = mine >= 0
        print(
            f"| {name} | {len(mine):,} | {there.mean():.1%} | {(mine == theirs)[there].mean():.1%} | "
            f"{np.mean(guess):.1%} | {(mine == homes)[there].mean():.1%} |"
        )
    exactness()


if __name__ == "__main__":
    main()
