"""The release's empirical audit stays under the claim, and catches planted mistakes.

Every bound is wrong with a probability of at most ALPHA, so an honest release raises a false alarm less than once in
10,000 runs of this file. The runs are as many as it takes to see each mistake as surely; AUDIT_RUNS asks for more.
"""

import math
import os
from statistics import NormalDist

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from streams.core.release.render import Estimates, Page
from streams.stores.noise import draw
from tests.privacy.audit import (
    DAY,
    LOOKS,
    MEASURES,
    PLAN,
    audit,
    busy,
    claimed,
    differences,
    least,
    likelihood,
    neighbours,
    standing,
    telling,
    worst,
    zeros,
)

ALPHA = 2e-5
RUNS = int(os.environ.get("AUDIT_RUNS", "1500"))
EVERYWHERE = [0, 1, 2, 3]  # every pair of districts, in the first hour
EDGE = msgspec.structs.replace(DAY, k=20)


def test_the_subscriber_does_the_most_that_the_account_allows() -> None:
    both = neighbours(busy(EVERYWHERE), [])
    assert worst(both) == pytest.approx(claimed(DAY).mu, rel=1e-9) == math.sqrt(2 * DAY.rho)
    assert len(differences(both)) == sum(DAY.cap(measure) for measure in MEASURES)


def test_the_release_gives_away_no_more_than_is_claimed() -> None:
    shown = audit(neighbours(busy(EVERYWHERE), []), [likelihood, zeros], RUNS, ALPHA)
    assert shown.mu <= claimed(DAY).mu
    assert shown.epsilon <= claimed(DAY).epsilon


def test_nor_does_what_is_told_and_what_isnt() -> None:
    shown = audit(neighbours(busy([0]), standing(19), EDGE, EDGE), [likelihood, telling], RUNS // 5, ALPHA)
    assert shown.mu <= claimed(EDGE).mu


def test_a_forgotten_cap_is_caught() -> None:
    """The crowd counts whatever comes, the account reckons with one arrival and one trip a day."""

    def capped(cap: int) -> object:
        measures = tuple(msgspec.structs.replace(m, cap=m.cap and cap) for m in MEASURES)
        return msgspec.structs.replace(DAY, measures=measures)

    both = neighbours(busy([0, 1, 2, 3, 4]), [], counted=capped(1000), accounted=capped(1))
    assert audit(both, [likelihood], max(RUNS, 1600), ALPHA, enough=claimed(DAY).mu).mu > claimed(DAY).mu
    honest = neighbours(busy([0, 1, 2, 3, 4]), [], counted=capped(1), accounted=capped(1))
    assert worst(honest) <= claimed(DAY).mu * (1 + 1e-9)


def test_noise_of_half_the_size_is_caught() -> None:
    def halved(counts: NDArray[np.int64], sensitivity: float, scale: float, rho: float) -> NDArray[np.int64]:
        return draw(counts, sensitivity, scale / 2, 4 * rho)

    both, claim = neighbours(busy(EVERYWHERE), []), claimed(DAY).mu
    assert audit(both, [likelihood], max(RUNS, 2000), ALPHA, halved, enough=claim).mu > claim


def test_noise_on_the_keys_that_are_not_zero_alone_is_caught() -> None:
    def sparing(counts: NDArray[np.int64], *scale: float) -> NDArray[np.int64]:
        return np.where(counts != 0, draw(counts, *scale), 0)

    shown = audit(neighbours(busy(EVERYWHERE), []), [likelihood, zeros], 100, ALPHA, sparing)
    assert shown.mu > 3 * claimed(DAY).mu


class Careless(Page):
    """Decides by the true count whether a place is told."""

    def __init__(self, people: int) -> None:
        super().__init__(PLAN, 0.95)
        self._true = np.array([people] + [0] * (len(PLAN.zones) - 1))

    def told(self, estimates: Estimates, k: int) -> NDArray[np.bool_]:
        if len(estimates.mean) != len(self._true):
            return super().told(estimates, k)
        return self._true >= k


def test_a_threshold_on_the_true_value_is_caught() -> None:
    both = neighbours(busy([0]), standing(19), EDGE, EDGE)
    shown = audit(both, [likelihood, telling], 100, ALPHA, pages=(Careless(19), Careless(20)))
    assert shown.mu > 3 * claimed(DAY).mu


@pytest.mark.parametrize(
    ("louder", "runs", "bounds"),
    [(2.0, 2000, 2 * LOOKS), (2.14, 1600, 2 * LOOKS), (2.14, 1500, 4)],
    ids=["half the noise", "a forgotten cap", "a forgotten cap in what is released"],
)
def test_the_runs_suffice_to_see_it(louder: float, runs: int, bounds: int) -> None:
    """By theory: a release so many times as loud as the claim is missed, and an honest one blamed, once in 10,000."""
    normal, claim = NormalDist(), claimed(DAY).mu
    allowed = normal.cdf(claim / math.sqrt(2))
    needed = next(hits for hits in range(runs) if least(hits, runs, ALPHA / bounds) > allowed)
    assert binom.sf(needed - 1, runs, normal.cdf(louder * claim / math.sqrt(2))) > 0.9999
    assert binom.sf(needed - 1, runs, allowed) < ALPHA
