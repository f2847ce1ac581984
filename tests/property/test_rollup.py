"""Roll-up: zones and districts add up, by least squares over the tree, against a plain solution of the whole system."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from streams.core.estimates import estimate
from streams.core.estimates.estimate import Level
from streams.core.estimates.models import PRESENT
from streams.core.estimates.rollup import TOGETHER, Tree, added, blended, reconciled

DAYS = Path(__file__).parents[1] / "golden" / "days.npz"
SIGMA = 78.6
AN_HOUR = 12
ZONES_EACH = 10


@st.composite
def trees(draw: st.DrawFn) -> tuple[Tree, NDArray[np.int64]]:
    """Up to 12 zones in up to 4 districts, some without any."""
    districts = draw(st.integers(1, 4))
    district_of = np.array(draw(st.lists(st.integers(0, districts - 1), min_size=1, max_size=12)), np.int64)

    def level(size: int) -> Level:
        means = st.lists(st.floats(-1000, 10_000), min_size=size, max_size=size)
        variances = st.lists(st.floats(0.5, 10_000), min_size=size, max_size=size)
        return Level(np.array(draw(means)), np.array(draw(variances)))

    return Tree(level(len(district_of)), level(districts)), district_of


def plainly(tree: Tree, district_of: NDArray[np.int64]) -> Tree:
    """Aitken's estimator, with the whole design matrix: of the zones, and of their sums."""
    zones, districts = len(tree.zones.mean), len(tree.districts.mean)
    sums = np.zeros((districts, zones))
    sums[district_of, np.arange(zones)] = 1
    design = np.vstack([np.eye(zones), sums])
    weights = np.diag(1 / np.concatenate([tree.zones.variance, tree.districts.variance]))
    covariance = np.linalg.inv(design.T @ weights @ design)
    mean = covariance @ design.T @ weights @ np.concatenate([tree.zones.mean, tree.districts.mean])
    return Tree(Level(mean, np.diag(covariance)), Level(sums @ mean, np.diag(sums @ covariance @ sums.T)))


@given(trees())
def test_it_is_the_least_squares_solution(case: tuple[Tree, NDArray[np.int64]]) -> None:
    for level, plain in zip(reconciled(*case), plainly(*case), strict=True):
        np.testing.assert_allclose(level.mean, plain.mean, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(level.variance, plain.variance, rtol=1e-6, atol=1e-9)


@given(trees())
def test_zones_add_up_to_districts(case: tuple[Tree, NDArray[np.int64]]) -> None:
    _, district_of = case
    for tree in (reconciled(*case), blended(*case)):
        sums = added(tree.zones.mean, district_of, len(tree.districts.mean))
        np.testing.assert_allclose(sums, tree.districts.mean, rtol=1e-9, atol=1e-7)


@given(trees())
def test_no_error_grows(case: tuple[Tree, NDArray[np.int64]]) -> None:
    tree, district_of = case
    after = reconciled(tree, district_of)
    assert (after.zones.variance <= tree.zones.variance).all() and (after.zones.variance > 0).all()
    with_zones = np.isin(np.arange(len(tree.districts.mean)), district_of)
    assert (after.districts.variance <= tree.districts.variance + 1e-9)[with_zones].all()
    np.testing.assert_array_equal(blended(tree, district_of).zones.variance, tree.zones.variance)


@given(trees())
def test_what_agrees_already_stays_as_it_is(case: tuple[Tree, NDArray[np.int64]]) -> None:
    tree, district_of = case
    sums = added(tree.zones.mean, district_of, len(tree.districts.mean))
    agreeing = Tree(tree.zones, Level(sums, tree.districts.variance))
    for after in (reconciled(agreeing, district_of), blended(agreeing, district_of)):
        np.testing.assert_allclose(after.zones.mean, tree.zones.mean, rtol=1e-9, atol=1e-7)


@given(trees())
def test_a_blended_districts_error_is_that_of_what_was_weighed_and_of_how_far_it_was_apart(
    case: tuple[Tree, NDArray[np.int64]],
) -> None:
    tree, district_of = case
    found = blended(*case).districts
    for district in np.unique(district_of):
        of = district_of == district
        own, owns = tree.districts.mean[district], tree.districts.variance[district]
        whole, wholes = tree.zones.mean[of].sum(), tree.zones.variance[of].sum()
        # The surer of the two weighs more. They err together, as they are made of the same noise.
        worth = np.array([wholes, owns]) / (owns + wholes)
        error = np.array([[owns, TOGETHER * np.sqrt(owns * wholes)], [TOGETHER * np.sqrt(owns * wholes), wholes]])
        assert found.mean[district] == pytest.approx(worth @ [own, whole], abs=1e-6)
        apart = worth @ (np.array([own, whole]) - worth @ [own, whole]) ** 2
        assert found.variance[district] == pytest.approx(worth @ error @ worth + apart, rel=1e-6)


def test_over_many_draws_it_is_unbiased_and_errs_as_it_says() -> None:
    rng = np.random.default_rng(8)
    district_of = np.array([0, 0, 0, 1, 1])
    zones, districts = np.array([100.0, 20, 5, 700, 40]), np.array([125.0, 740])
    variances = np.array([900.0, 400, 400, 2500, 100]), np.array([600.0, 1600])
    draws = [
        reconciled(
            Tree(
                Level(rng.normal(zones, np.sqrt(variances[0])), variances[0]),
                Level(rng.normal(districts, np.sqrt(variances[1])), variances[1]),
            ),
            district_of,
        )
        for _ in range(20_000)
    ]
    for number, truth in enumerate((zones, districts)):
        means = np.array([tree[number].mean for tree in draws])
        np.testing.assert_allclose(means.mean(axis=0), truth, atol=1.0)
        np.testing.assert_allclose(means.var(axis=0), draws[0][number].variance, rtol=0.05)


@pytest.mark.parametrize("people", [50, 500])
def test_districts_are_nearer_to_the_truth_than_their_zones_sum_and_say_how_near(people: int) -> None:
    """On simulated weekdays (see tests/unit/test_estimate.py), with ten zones a district."""
    errors: dict[str, list[NDArray[np.float64]]] = {"sum": [], "blended": []}
    inside, of_zones = [], []
    for seed, day in enumerate(np.load(DAYS)[str(people)].astype(np.int64)):
        for truth, zones, tree, district_of in followed(day, seed):
            count = len(tree.districts.mean)
            whole = added(truth, district_of, count)
            errors["sum"].append(added(zones.mean, district_of, count) - whole)
            errors["blended"].append(tree.districts.mean - whole)
            inside.append(np.abs(tree.districts.mean - whole) <= 1.96 * np.sqrt(tree.districts.variance))
            of_zones.append((np.abs(zones.mean - truth).mean(), np.abs(tree.zones.mean - truth).mean()))
    squares = {name: float(np.mean(np.concatenate(found) ** 2)) for name, found in errors.items()}
    assert squares["blended"] < squares["sum"]
    assert 0.91 <= np.mean(np.concatenate(inside)) <= 0.98
    before, after = np.mean(of_zones, axis=0)
    assert after < before


def followed(day: NDArray[np.int64], seed: int):
    """From an hour on: the truth, the zones' filter, and both levels blended."""
    rng = np.random.default_rng(seed)
    district_of = np.arange(day.shape[1]) // ZONES_EACH
    wide = SIGMA * np.sqrt(ZONES_EACH)
    beliefs = None
    for number, truth in enumerate(day):
        zones = np.rint(truth + rng.normal(0, SIGMA, truth.shape)).astype(np.int64)
        districts = np.bincount(district_of, zones).astype(np.int64)
        if beliefs is None:
            beliefs = (estimate.begin(zones, SIGMA, PRESENT), estimate.begin(districts, wide, PRESENT))
        else:
            beliefs = (
                estimate.update(beliefs[0], zones, SIGMA, PRESENT),
                estimate.update(beliefs[1], districts, wide, PRESENT),
            )
        if number >= AN_HOUR:
            tree = Tree(beliefs[0].level, beliefs[1].level)
            yield truth, tree.zones, blended(tree, district_of), district_of
