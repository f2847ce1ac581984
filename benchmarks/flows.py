"""What travel times and passes are worth at their noise: by which keys, how many a subscriber has, which filter.

On towns of `make validate`, by the hour, from what truly happened (trips) and from what the crowd counts (all else):

    told     of each way to key them, the share of the counts that are in numbers which can be told, and the median of
             these numbers' relative error, with as many people and with ten times as many; `share` of the budget
    caps     a subscriber's counts of a day, and what caps would drop
    filters  coverage of 95 % intervals by the two models of events, at about 50 and 500; noise is a rounded normal

    python -m benchmarks.flows [--towns 1,2] [--share 0.1]
"""

import argparse
from collections.abc import Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.epochs import Epoch
from schemas.lengths import TRAVEL_LIMITS_MIN
from schemas.measures import Measure
from schemas.panes import Pane, pairs
from schemas.sightings import Section, encode_control, encode_frame
from streams.core.crowd.crowd import Crowd
from streams.core.estimates import estimate
from streams.core.estimates.models import HOURLY, TRIPS, Models
from streams.core.release.budget import sigma
from validation import happened
from validation.towns import TOWNS, Day, live

HOUR_MS = 3_600_000
MINUTE_MS = 60_000
QUANTILE_95 = 1.645
TWO_SIDED_95 = 1.96
MEDIAN = 0.6745
TIMES = len(TRAVEL_LIMITS_MIN) + 1
TRIPS_CAP, PASSES_CAP, NO_CAP = 32, 48, 255
CAPS = (16, 32, 48, 96)
SCALES = (1, 10)
FILTERS = {"as trips": TRIPS, "by the hour": HOURLY}


def measures(share: float, caps: bool) -> tuple[Measure, ...]:
    """What is counted, with caps or so that none binds."""
    passes, trips = (PASSES_CAP, TRIPS_CAP) if caps else (NO_CAP, NO_CAP - 1)
    return (
        Measure("passes by zone", "passes", "zone", HOUR_MS, passes, share),
        Measure("travel times by district", "travel_times", "parent", HOUR_MS, trips, share),
        Measure("passes by district", "passes", "parent", HOUR_MS, passes, share),
    )


def counted(day: Day, epoch: Epoch) -> tuple[Crowd, list[Pane]]:
    """The day's sightings through a crowd, up to the last moments of the epoch, while all is in its table."""
    rows = day.rows
    assert rows is not None
    crowd = Crowd(0, day.parents)
    crowd.add_epoch(epoch)
    crowd.feed(encode_control(1, [0]), 0)
    number, order = len(rows.ts), np.argsort(rows.ts, kind="stable")
    section = Section(
        *(0, 0, 0, max(number, 1), epoch.end_ms - 1),
        *(rows.pseudonym[order], rows.ts[order], np.arange(number), np.zeros(number, np.uint32)),
        *(rows.zone[order], rows.cohort[order], rows.kind[order]),
    )
    return crowd, crowd.feed(encode_frame([section]), 1)


def dense(panes: list[Pane], measure: Measure, epoch: Epoch) -> NDArray[np.int64]:
    """i64[hours, keys], without the last hour, which is not over."""
    counts = np.zeros((23, measure.keys(epoch.zones, epoch.parents)), np.int64)
    for pane in panes:
        if measure.name in pane.counts:
            keys, values = pairs(pane.counts[measure.name])
            counts[pane.number * epoch.pane_ms // HOUR_MS - 1, keys] = values
    return counts


def true_trips(day: Day) -> dict[str, NDArray[np.int64]]:
    """Counts above zero of the trips that truly were, by hour and by the keys that they might have."""
    epoch = day.epoch
    stays = happened.stays(happened.presences(day.stretches, day.excluded, epoch), epoch)
    moved = (stays.who[1:] == stays.who[:-1]) & (stays.zone[1:] != stays.zone[:-1])
    left, came = stays.end[:-1][moved], stays.begin[1:][moved]
    origin, goal = (day.parents[zone[moved]].astype(np.int64) for zone in (stays.zone[:-1], stays.zone[1:]))
    band = np.searchsorted(np.array(TRAVEL_LIMITS_MIN), (came - left) // MINUTE_MS, side="right")
    hour, n = (came - epoch.start_ms) // HOUR_MS, epoch.parents
    keys = {
        "travel times by destination": goal * TIMES + band,
        "travel times by origin": origin * TIMES + band,
        "travel times by pair": (origin * n + goal) * TIMES + band,
    }
    return {name: np.unique(hour * n * n * TIMES + key, return_counts=True)[1] for name, key in keys.items()}


def told(name: str, counts: NDArray[np.int64], measure: Measure, epoch: Epoch) -> Iterator[str]:
    """How much of it can be told."""
    noise = sigma(measure, epoch)
    least = epoch.k + QUANTILE_95 * noise
    for scale in SCALES:
        large = counts[counts * scale >= least] * scale
        error = np.median(MEDIAN * noise / large) if len(large) else np.nan
        share = large.sum() / (counts.sum() * scale)
        yield f"{name}, people x{scale}: noise {noise:.0f}, told {share:.0%}, error {error:.0%}"


def dropped(crowd: Crowd) -> Iterator[str]:
    """How often subscribers counted, and what caps would drop."""
    assert crowd.population is not None
    table = crowd.population.slots
    used = table.used[table.rows["pseudonym"] != 0].astype(np.int64)
    for name, own in zip(("passes", "trips"), used.T, strict=False):
        quantiles = np.percentile(own, (50, 90, 99, 99.9)).round(1).tolist()
        yield f"{name} of a subscriber: mean {own.mean():.1f}, 50, 90, 99, 99.9 %: {quantiles}, most {own.max()}"
        for cap in CAPS:
            lost = np.maximum(own - cap, 0).sum() / own.sum()
            yield f"  a cap of {cap} drops {lost:.2%}, of {(own > cap).mean():.2%} of the people"


def covered(exact: NDArray[np.int64], noise: float, models: Models, size: int) -> NDArray[np.bool_]:
    """Which counts of about a size the intervals hold, from the second hour on."""
    rng = np.random.default_rng(1)
    belief, held = None, []
    for hour, counts in enumerate(exact):
        noisy = counts + np.rint(rng.normal(0, noise, len(counts))).astype(np.int64)
        belief = (
            estimate.begin(noisy, noise, models) if belief is None else estimate.update(belief, noisy, noise, models)
        )
        level = belief.level
        about = (counts >= 0.7 * size) & (counts <= 1.4 * size) & (hour > 0)
        held.append((np.abs(level.mean - counts) <= TWO_SIDED_95 * np.sqrt(level.variance))[about])
    return np.concatenate(held)


def main() -> None:
    """Print it, town by town."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--towns", default="1,2", help="Their places in validation.towns.TOWNS.")
    parser.add_argument("--share", type=float, default=0.1)
    options = parser.parse_args()
    held: dict[tuple[str, str, int], list[NDArray[np.bool_]]] = {}
    for number in map(int, options.towns.split(",")):
        day = live(TOWNS[number], lambda _: None, keep_rows=True)
        capped, free = (
            msgspec.structs.replace(day.epoch, measures=measures(options.share, caps)) for caps in (True, False)
        )
        print(f"== {day.shape.name}: {day.shape.people} subscribers, {capped.zones} zones, {capped.parents} districts")
        by_zone, times, by_district = capped.measures
        for name, counts in true_trips(day).items():
            print("\n".join(told(name, counts, times, capped)))
        panes = counted(day, capped)[1]
        for measure in (by_zone, by_district):
            exact = dense(panes, measure, capped)
            print("\n".join(told(measure.name, exact[exact > 0], measure, capped)))
        print("\n".join(dropped(counted(day, free)[0])))
        for measure in capped.measures:
            exact, noise = dense(panes, measure, capped), sigma(measure, capped)
            for name, models in FILTERS.items():
                for size in (50, 500):
                    found = [covered(exact * scale, noise, models, size) for scale in SCALES]
                    held.setdefault((measure.name, name, size), []).extend(found)
    for (measure_name, name, size), parts in held.items():
        print(f"{measure_name}, filtered {name}: intervals hold {np.concatenate(parts).mean():.1%} at {size}")


if __name__ == "__main__":
    main()
