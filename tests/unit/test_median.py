"""The median length from counts by bucket: against the lengths themselves, and how often its interval holds them."""

import numpy as np
import pytest

from schemas.lengths import BUCKETS, CUT, LIMITS_MS, MINUTE_MS
from streams.core.estimates.median import median

RNG = np.random.default_rng(8)


def by_bucket(minutes: np.ndarray) -> np.ndarray:
    found = np.searchsorted(np.array(LIMITS_MS) / MINUTE_MS, minutes, side="right")
    return np.bincount(found, minlength=len(BUCKETS)).astype(np.float64)


@pytest.mark.parametrize("middle", [12.0, 25.0, 60.0, 100.0, 180.0])
def test_it_is_near_the_lengths_own_median(middle: float) -> None:
    lengths = middle * RNG.lognormal(0, 0.6, 20_000)
    found = median(by_bucket(lengths)[None], np.zeros((1, len(BUCKETS))))
    assert found.median[0] == pytest.approx(np.median(lengths), rel=0.15)
    assert found.low[0] <= found.median[0] <= found.high[0] <= found.low[0] + 1


def test_its_interval_holds_what_the_exact_counts_say_in_95_of_100_draws() -> None:
    counts = by_bucket(50 * RNG.lognormal(0, 0.8, 1500))
    exact = median(counts[None], np.zeros((1, len(BUCKETS)))).median[0]
    noise = 60.0
    drawn = counts + RNG.normal(0, noise, (4000, len(BUCKETS)))
    found = median(drawn, np.full(drawn.shape, noise**2))
    held = (found.low <= exact) & (exact <= found.high)
    assert 0.93 <= held.mean() <= 0.98
    assert (found.low <= found.median).all() and (found.median <= found.high).all()


def test_what_lies_in_the_open_bucket_has_no_end_and_what_was_cut_does_not_count() -> None:
    counts = np.zeros((2, len(BUCKETS)))
    counts[0, CUT - 1] = 1000.0
    counts[1, 2], counts[1, CUT] = 1000.0, 1e6
    found = median(counts, np.full(counts.shape, 100.0))
    assert (found.median[0], found.low[0], found.high[0]) == (240, 240, np.inf)
    assert 10 <= found.low[1] <= found.median[1] <= found.high[1] <= 20
