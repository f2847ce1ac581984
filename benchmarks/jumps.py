"""What the rule of jumps gains: two towns of `make validate`'s shapes, 300 km apart, counted as one country.

Within a town of 10 km no way is a jump, so each town alone counts the same with and without. What can be wrong is put
into the sightings, at a share each:

    copied   subscribers whose events come from a second phone as well, that of somebody in the other town
    garbled  events that name a cell of the other town

Before noise, against what truly happened: the sum of all counts' errors, by the sum of the true counts, and the counts'
sum by the true one, from the second hour on; with no limit of speed, and with 100 m/s.

    python -m benchmarks.jumps [--seeds 61,62] [--people 6000] [--copied 0.01] [--garbled 0.001]
"""

import argparse
from collections.abc import Iterator

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from schemas.epochs import Epoch
from schemas.panes import pairs
from schemas.sightings import Section, encode_control, encode_frame
from streams.core.crowd.crowd import Crowd
from streams.core.distances import positions_of
from validation import happened
from validation.happened import Presences
from validation.judge import paired, with_footfall
from validation.towns import TOWNS, Day, Rows, live

APART_M = 300_000
SPEEDS_M_S = (0, 100)
KINDS = ("present", "footfall", "flows by zone", "flows by district", "dwell, stays", "visits")
Counts = dict[str, NDArray[np.int64]]


def country(days: list[Day]) -> tuple[Rows, Presences, Epoch, NDArray[np.uint16], NDArray[np.int64]]:
    """Two towns as one: sightings, who truly was where, the epoch, the zones' districts and positions."""
    one, other = days
    zones, parents = len(one.parents), int(one.parents.max()) + 1
    rows = Rows(*(np.concatenate(columns) for columns in zip(*(day.rows or () for day in days), strict=True)))
    rows.zone[len(one.rows.ts if one.rows else ()) :] += zones
    there = [happened.presences(day.stretches, day.excluded, day.epoch) for day in days]
    moved = there[1]._replace(who=there[1].who + one.shape.people, zone=there[1].zone + zones)
    together = Presences(*(np.concatenate(columns) for columns in zip(there[0], moved, strict=True)))
    positions = np.concatenate([positions_of(day.plan) for day in days])
    positions[zones:, 0] += APART_M
    measures = tuple(measure for measure in one.epoch.measures if measure.statistic not in ("home", "work"))
    both = parents + int(other.parents.max()) + 1
    epoch = replace(one.epoch, zones=2 * zones, parents=both, measures=measures)
    return rows, together, epoch, np.concatenate([one.parents, other.parents + np.uint16(parents)]), positions


def copied(rows: Rows, zones: int, share: float, rng: np.random.Generator) -> Rows:
    """With the events of somebody in the other town under a share of the names."""
    here, there = (np.unique(rows.pseudonym[(rows.zone >= zones) == far]) for far in (False, True))
    number = round(share * len(here))
    chosen = rng.permutation(here)[:number], rng.permutation(there)[:number]
    parts = [rows]
    for names, others in (chosen, chosen[::-1]):
        order = np.argsort(others)
        second = rows.rows(np.isin(rows.pseudonym, others))
        as_if = names[order][np.searchsorted(others[order], second.pseudonym)]
        parts.append(second._replace(pseudonym=as_if))
    return Rows(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def garbled(rows: Rows, zones: int, share: float, rng: np.random.Generator) -> Rows:
    """With a share of the events somewhere in the other town."""
    at = rng.random(len(rows.ts)) < share
    far = np.where(rows.zone[at] >= zones, 0, zones) + rng.integers(0, zones, at.sum())
    zone = rows.zone.copy()
    zone[at] = far
    return rows._replace(zone=zone)


def counted(rows: Rows, epoch: Epoch, parents: NDArray[np.uint16], positions: NDArray[np.int64]) -> Counts:
    """The crowd's counts, i64[panes, keys] by measure."""
    crowd = Crowd(0, parents, positions)
    crowd.add_epoch(epoch)
    crowd.feed(encode_control(1, [0]), 0)
    number, order = len(rows.ts), np.argsort(rows.ts, kind="stable")
    section = Section(
        *(0, 0, 0, number, epoch.end_ms),
        *(rows.pseudonym[order], rows.ts[order], np.arange(number), np.zeros(number, np.uint32)),
        *(rows.zone[order], rows.cohort[order], rows.kind[order]),
    )
    counts = {
        m.name: np.zeros((epoch.panes(m.pane_ms), m.keys(epoch.zones, epoch.parents)), np.int64) for m in epoch.measures
    }
    for pane in crowd.feed(encode_frame([section]), 1):
        for measure in epoch.due(pane.number):
            keys, values = pairs(pane.counts[measure.name])
            counts[measure.name][pane.number * epoch.pane_ms // measure.pane_ms - 1, keys] = values
    return counts


def lines(days: list[Day], asked: argparse.Namespace) -> Iterator[str]:
    """A line for each kind of count, and what is wrong with the sightings."""
    rows, there, epoch, parents, positions = country(days)
    zones, rng = len(days[0].parents), np.random.default_rng(1)
    truth = happened.everything(there, epoch, parents)
    wrong = {
        "nothing": rows,
        f"copied {asked.copied:g}": copied(rows, zones, asked.copied, rng),
        f"garbled {asked.garbled:g}": garbled(rows, zones, asked.garbled, rng),
    }
    for name, seen in wrong.items():
        told = [counted(seen, replace(epoch, jump_m_s=speed), parents, positions) for speed in SPEEDS_M_S]
        found = [paired(with_footfall(counts), truth) for counts in told]
        for kind in KINDS:
            errors = " | ".join(f"{np.abs(f[kind].told - f[kind].true).sum() / f[kind].true.sum():.2%}" for f in found)
            sums = " | ".join(f"{f[kind].told.sum() / f[kind].true.sum() - 1:+.2%}" for f in found)
            yield f"| {name} | {kind} | {errors} | {sums} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", default="61,62")
    parser.add_argument("--people", type=int, default=6000)
    parser.add_argument("--copied", type=float, default=0.01)
    parser.add_argument("--garbled", type=float, default=0.001)
    asked = parser.parse_args()
    shapes = [
        shape._replace(seed=int(seed), people=asked.people, zones=60, cells=300)
        for seed, shape in zip(asked.seeds.split(","), TOWNS[1:3], strict=True)
    ]
    days = [live(shape._replace(date=TOWNS[0].date), lambda _: None, keep_rows=True) for shape in shapes]
    print("| wrong | count | errors | with 100 m/s | sum | with 100 m/s |\n|---|---|---|---|---|---|")
    for line in lines(days, asked):
        print(line)


if __name__ == "__main__":
    main()
