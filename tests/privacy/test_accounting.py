"""The privacy account against a second library, dp-accounting: its Renyi accountant and privacy loss distributions.

The Renyi accountant converts by the same theorem, so the two agree closely where its orders are dense. A privacy loss
distribution is the Gaussian mechanism's exact one: our account must never be below it, and costs a few percent more,
since zCDP bounds every mechanism of its cost and not the Gaussian alone.
"""

import math

import numpy as np
import pytest
from dp_accounting import dp_event
from dp_accounting.pld import privacy_loss_distribution as pld
from dp_accounting.rdp import RdpAccountant

from schemas.measures import DEFAULT_MEASURES
from streams.core.release.budget import delta_of, epsilon_for, rho_for, rho_of, sigma
from tests.support.world import epochs_at

EPOCH = epochs_at(1_772_420_400_000)[0]
LONG_DAY = epochs_at(1_792_879_200_000)[0]  # 25 October 2026: 25 hours
ORDERS = (1 + np.logspace(-2, 4, 1500)).tolist()
BUDGETS = [(0.5, 1e-6), (1.0, 1e-9), (2.0, 2e-9), (8.0, 1e-5)]
DAYS = {1: 2.000, 7: 5.687, 30: 12.880}
EXACT_DAYS = {1: 1.898, 7: 5.414, 30: 12.301}


def renyi(event: dp_event.DpEvent) -> RdpAccountant:
    return RdpAccountant(ORDERS).compose(event)


@pytest.mark.parametrize(("epsilon", "delta"), BUDGETS)
def test_the_conversion_is_the_renyi_accountants(epsilon: float, delta: float) -> None:
    rho = rho_for(epsilon, delta)
    other = renyi(dp_event.ZCDpEvent(rho))
    # Its orders are a grid, ours are searched: it can only be above, and by as much as the grid is coarse.
    assert other.get_epsilon(delta) == pytest.approx(epsilon, rel=1e-4)
    assert other.get_epsilon(delta) >= epsilon * (1 - 1e-9)
    assert other.get_delta(epsilon) == pytest.approx(delta, rel=1e-3)
    assert delta_of(rho, epsilon) <= other.get_delta(epsilon) * (1 + 1e-9)


@pytest.mark.parametrize(("days", "epsilon"), DAYS.items())
def test_days_add_up_as_the_renyi_accountant_says(days: int, epsilon: float) -> None:
    rho = rho_for(2.0, 2e-9)
    other = renyi(dp_event.SelfComposedDpEvent(dp_event.ZCDpEvent(rho), days)).get_epsilon(2e-9)
    assert epsilon_for(days * rho, 2e-9) == pytest.approx(other, rel=1e-4) == pytest.approx(epsilon, abs=1e-3)


@pytest.mark.parametrize(("days", "epsilon"), EXACT_DAYS.items())
def test_the_exact_loss_of_a_gaussian_is_below_our_account(days: int, epsilon: float) -> None:
    rho = rho_for(2.0, 2e-9)
    day = pld.from_gaussian_mechanism(1 / math.sqrt(2 * rho), value_discretization_interval=1e-3)
    exact = day.self_compose(days).get_epsilon_for_delta(2e-9)
    assert exact == pytest.approx(epsilon, abs=1e-3)
    assert 0.94 * epsilon_for(days * rho, 2e-9) < exact < epsilon_for(days * rho, 2e-9)


@pytest.mark.parametrize("epoch", [EPOCH, LONG_DAY], ids=["24h", "25h"])
def test_a_subscriber_days_draws_cost_at_most_epsilon_and_delta(epoch) -> None:
    """Every draw of the day in which one subscriber may count, one by one, by discrete Gaussian losses."""
    day = pld.identity(value_discretization_interval=1e-3)
    events = []
    for measure in DEFAULT_MEASURES:
        scale, draws = sigma(measure, epoch), epoch.cap(measure)
        one = pld.from_discrete_gaussian_mechanism(scale, value_discretization_interval=1e-5)
        assert one.self_compose(draws).get_epsilon_for_delta(2e-9) < epsilon_for(rho_of(measure, epoch), 2e-9)
        day = day.compose(pld.from_gaussian_mechanism(scale / math.sqrt(draws), value_discretization_interval=1e-3))
        events.append(dp_event.SelfComposedDpEvent(dp_event.GaussianDpEvent(scale), draws))
    spent = sum(rho_of(measure, epoch) for measure in DEFAULT_MEASURES)
    assert renyi(dp_event.ComposedDpEvent(events)).get_epsilon(2e-9) == pytest.approx(
        epsilon_for(spent, 2e-9), rel=1e-4
    )
    assert day.get_epsilon_for_delta(epoch.delta) < epsilon_for(spent, epoch.delta) < epoch.epsilon


@pytest.mark.parametrize("mistake", [0.5, 0.9, 1.1, 2.0])
def test_the_comparison_would_see_a_wrong_rho(mistake: float) -> None:
    rho = rho_for(2.0, 2e-9) * mistake
    assert abs(renyi(dp_event.ZCDpEvent(rho)).get_epsilon(2e-9) - 2.0) > 0.05
