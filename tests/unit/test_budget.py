"""The privacy account: conversion, noise scales, and what OpenDP says to them."""

import math

import msgspec
import numpy as np
import pytest

from schemas.measures import DEFAULT_MEASURES, Measure
from streams.core.release.budget import delta_of, epsilon_for, rho_for, rho_of, sensitivity, sigma
from streams.core.rules.soundness import sound
from streams.errors import ThrongError
from streams.stores.noise import draw
from tests.support.world import epochs_at

EPOCH = epochs_at(1_772_420_400_000)[0]
PRESENT = DEFAULT_MEASURES[0]


def test_epsilon_2_and_delta_2e_9_are_rho_0_0583() -> None:
    assert rho_for(2.0, 2e-9) == pytest.approx(0.0583, abs=5e-5)


@pytest.mark.parametrize(("epsilon", "delta"), [(0.5, 1e-6), (1.0, 1e-9), (2.0, 2e-9), (8.0, 1e-5)])
def test_there_and_back(epsilon: float, delta: float) -> None:
    rho = rho_for(epsilon, delta)
    assert epsilon_for(rho, delta) == pytest.approx(epsilon, rel=1e-6)
    assert delta_of(rho, epsilon) == pytest.approx(delta, rel=1e-4)


def test_the_tight_conversion_is_below_the_simple_one() -> None:
    # Bun and Steinke 2016, proposition 1.3: epsilon = rho + 2 sqrt(rho ln(1/delta)).
    rho = rho_for(2.0, 2e-9)
    assert epsilon_for(rho, 2e-9) < rho + 2 * math.sqrt(rho * math.log(1 / 2e-9))


def test_people_present_have_noise_of_79() -> None:
    epoch = EPOCH.__class__(**{f: getattr(EPOCH, f) for f in EPOCH.__struct_fields__})
    assert sensitivity(PRESENT, epoch) == math.sqrt(288)
    assert sigma(PRESENT, epoch) == pytest.approx(78.6, abs=0.2)


def test_the_default_measures_cost_all_of_it() -> None:
    assert sound(EPOCH) is EPOCH
    assert sum(rho_of(m, EPOCH) for m in EPOCH.measures) == pytest.approx(EPOCH.rho)


def test_shares_above_the_whole_are_refused() -> None:
    halves = [Measure(name, "present", "zone", 300_000, 0, share) for name, share in (("a", 0.5), ("b", 0.51))]
    with pytest.raises(ThrongError, match=r"add up to 1\.010"):
        sound(msgspec.structs.replace(EPOCH, measures=tuple(halves)))


def test_an_epoch_whose_rho_is_more_than_its_epsilon_and_delta_pay_for_is_refused() -> None:
    whole = rho_for(EPOCH.epsilon, EPOCH.delta)
    assert sound(msgspec.structs.replace(EPOCH, rho=whole)).rho == whole
    with pytest.raises(ThrongError, match=r"epoch 20260302: it costs a delta of 2\.0\de-09 at its epsilon of 2, and"):
        sound(msgspec.structs.replace(EPOCH, rho=whole * 1.001))


def test_every_key_gets_noise_zeros_too() -> None:
    scale = sigma(PRESENT, EPOCH)
    noisy = draw(np.zeros(20_000, np.int64), sensitivity(PRESENT, EPOCH), scale, rho_of(PRESENT, EPOCH))
    # The mean of 20,000 draws has a standard error of scale / 141, their deviation one of scale / 200: 6 of each.
    assert abs(noisy.mean()) < 6 * scale / 141
    assert abs(noisy.std() / scale - 1) < 6 / 200
    assert np.count_nonzero(noisy == 0) < 20_000 * 3 / scale


def test_noise_too_small_for_the_account_is_refused() -> None:
    with pytest.raises(ThrongError, match="would cost rho"):
        draw(np.zeros(3, np.int64), math.sqrt(288), 10.0, 0.02)
