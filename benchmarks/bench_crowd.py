"""What the crowd costs by its size: one partition's state machine, frames in, panes and windows out, no shell.

Every subscriber is heard at random, 115 times a day, lives in a zone by a Zipf law, moves on every half hour to
hour and a half, and flickers to a neighbouring zone now and then; events come up to 3 s late from several sources. The
crowd is taken through two hours first, so that the table and the windows are full; then the frames of the measured
minutes are fed, one by one. A frame of 2,000 rows is what a live worker gets; 100,000 is catching up.

    python benchmarks/bench_crowd.py [--subscribers 100000,1000000] [--zones 60,1000,10000] [--rows 2000,100000]
"""

import argparse
import cProfile
import pstats
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from schemas.epochs import Epoch
from schemas.measures import DEFAULT_MEASURES
from schemas.sightings import Section, encode_control, encode_frame
from streams.core.crowd.crowd import Crowd
from streams.core.crowd.snapshot import to_columns
from streams.stores.snapshots import compress

HOUR_MS = 3_600_000
EVENTS_A_DAY = 115
LATENESS_MS = 10_000
DELAY_MS = 3_000
SOURCES = 4
FILL_ROWS = 500_000
# Two hours and a little more: the hour's end, at which an hour's trips are counted, is not measured.
FILL_MS = 2 * HOUR_MS + 60_000
LEAST_MEASURED_MS = HOUR_MS // 12
MOST_MEASURED_MS = 20 * HOUR_MS


class Traffic:
    """Frames of a made-up network, in the order of time."""

    def __init__(self, subscribers: int, zones: int, seed: int = 1) -> None:
        self._rng = np.random.default_rng(seed)
        self._subscribers, self._zones = subscribers, zones
        weights = 1 / np.arange(1, zones + 1)
        self._home = self._rng.choice(zones, subscribers, p=weights / weights.sum())
        self._dwell = self._rng.integers(HOUR_MS // 2, HOUR_MS * 3 // 2, subscribers)
        self._phase = self._rng.integers(0, HOUR_MS, subscribers)
        self._name = self._rng.integers(1, 1 << 63, subscribers, np.uint64)
        self._cohort = self._rng.integers(0, 28, subscribers).astype(np.uint8)
        self._offsets = [0] * SOURCES
        self._now = 0

    def until(self, end_ms: int, rows: int) -> Iterator[bytes]:
        """Frames of `rows` rows each, up to a time."""
        step = rows * 86_400_000 / (self._subscribers * EVENTS_A_DAY)
        while self._now < end_ms:
            until = min(end_ms, self._now + max(1, round(step)))
            yield self._frame(until, max(1, round((until - self._now) / step * rows)))
            self._now = until

    def _frame(self, until: int, rows: int) -> bytes:
        arrived = np.sort(self._rng.integers(self._now, until, rows))
        ts = np.maximum(arrived - self._rng.integers(0, DELAY_MS, rows), 0)
        who = self._rng.integers(0, self._subscribers, rows)
        flicker = self._rng.random(rows) < 0.05
        zone = (self._home[who] + (ts + self._phase[who]) // self._dwell[who] + flicker) % self._zones
        source = self._rng.integers(0, SOURCES, rows)
        sections = []
        for number in range(SOURCES):
            mine = np.flatnonzero(source == number)
            sections.append(self._section(number, until, who[mine], ts[mine], zone[mine]))
        return encode_frame(sections)

    def _section(
        self, number: int, until: int, who: NDArray[np.int64], ts: NDArray[np.int64], zone: NDArray[np.int64]
    ) -> Section:
        first = self._offsets[number]
        self._offsets[number] = following = first + max(1, len(ts))
        return Section(
            *(number, 0, first, following, until - LATENESS_MS),
            *(self._name[who], ts, np.arange(first, first + len(ts)), np.zeros(len(ts), np.uint32)),
            *(zone.astype(np.uint16), self._cohort[who], np.zeros(len(ts), np.uint8)),
        )


def epoch(zones: int, parents: int) -> Epoch:
    """A day with the measures of the default policy."""
    return Epoch(
        *(0, 0, 24 * HOUR_MS, 0, "UTC", 1, "", zones, parents),
        *(DEFAULT_MEASURES, 2.0, 2e-9, 0.05, 20, "", "", tuple(range(SOURCES))),
    )


def feed(crowd: Crowd, frames: list[bytes]) -> tuple[int, float]:
    """(sightings, CPU seconds) of feeding the frames."""
    before, began = crowd.taken, time.process_time()
    for frame in frames:
        crowd.feed(frame, crowd.next_offset)
    return crowd.taken - before, time.process_time() - began


def measure(subscribers: int, zones: int, rows: int, measured: int, profile: bool) -> None:
    """Fill a crowd, feed it, and print what that cost."""
    traffic = Traffic(subscribers, zones)
    parents = max(1, zones // 20)
    crowd = Crowd(0, (np.arange(zones) // 20 % parents).astype(np.uint16))
    crowd.add_epoch(epoch(zones, parents))
    crowd.feed(encode_control(1, list(range(SOURCES))), 0)
    fill = 0.0
    for frame in traffic.until(FILL_MS, FILL_ROWS):
        fill += feed(crowd, [frame])[1]
    filled = crowd.taken
    length = measured * 86_400_000 / (subscribers * EVENTS_A_DAY)
    length = max(min(length, MOST_MEASURED_MS), LEAST_MEASURED_MS)
    frames = list(traffic.until(FILL_MS + round(length), rows))
    profiler = cProfile.Profile()
    if profile:
        profiler.enable()
    taken, spent = feed(crowd, frames)
    profiler.disable()
    began = time.process_time()
    columns = to_columns(crowd)
    cut = time.process_time() - began
    data, _ = compress(columns)
    packed = time.process_time() - began - cut
    population = crowd.population
    assert population is not None
    tables = [*population.slots, population.departures.ring, *population.tally, *population.running[:1]]
    tables += [column for parts in population.listed for listed in parts for column in listed]
    held = sum(table.nbytes for table in tables)
    print(
        f"{subscribers:10,} {zones:6,} {rows:8,} {taken:10,} {taken / spent:12,.0f} {filled / fill:12,.0f}"
        f" {held / crowd.subscribers:8.1f} {len(data) / crowd.subscribers:8.1f} {cut:7.2f} {packed:7.2f}"
    )
    if profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(18)


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    """Print a line for each size."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--subscribers", type=_numbers, default=[10_000, 100_000, 1_000_000])
    options.add_argument("--zones", type=_numbers, default=[60, 1_000, 10_000])
    options.add_argument("--rows", type=_numbers, default=[2_000, 100_000])
    options.add_argument("--measured", type=int, default=1_000_000, help="sightings")
    options.add_argument("--profile", action="store_true")
    chosen = options.parse_args()
    print("subscribers  zones rows/frame  sightings      a CPU-s  (filling)  bytes each (stored)  cut s  packed s")
    for subscribers in chosen.subscribers:
        for zones in chosen.zones:
            for rows in chosen.rows:
                measure(subscribers, zones, rows, chosen.measured, chosen.profile)


if __name__ == "__main__":
    main()
