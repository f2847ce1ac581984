"""The privacy account: what a subscriber-day costs, and how much noise it buys.

Zero-concentrated differential privacy (Bun and Steinke 2016): a vector to which one subscriber adds at most 1 in at
most m cells has L2 sensitivity sqrt(m); discrete Gaussian noise of scale sigma costs rho = m / (2 sigma^2) (Canonne,
Kamath and Steinke 2020, arXiv 2004.00010, theorem 4), and costs of several vectors add. Conversion to (epsilon,
delta): there, proposition 12.

Where keys come from data, noise is drawn for those alone that occur, and what is then below a threshold is left out. A
key that is there by one subscriber alone passes it with a small probability, for at most m such keys: that goes to
delta, and the conversion has the rest of it.
"""

import math
from statistics import NormalDist

from schemas.epochs import Epoch
from schemas.measures import Measure

HIGHEST_ALPHA = 1e6
# Share of delta that goes to measures whose keys come from data, if there are any.
KEYS_SHARE = 0.1


def delta_of(rho: float, epsilon: float) -> float:
    """The delta at which rho-zCDP is (epsilon, delta)-differentially private.

    inf over alpha > 1 of exp((alpha-1)(alpha rho - epsilon)) / (alpha-1) * (1 - 1/alpha)^alpha; the logarithm is
    convex in the range that matters, and searched by ternary steps over log(alpha - 1).
    """

    def log_delta(log_excess: float) -> float:
        excess = math.exp(log_excess)
        alpha = 1 + excess
        return excess * (alpha * rho - epsilon) - log_excess + alpha * math.log1p(-1 / alpha)

    low, high = math.log(1e-6), math.log(HIGHEST_ALPHA)
    for _ in range(200):
        third = (high - low) / 3
        if log_delta(low + third) < log_delta(high - third):
            high -= third
        else:
            low += third
    return min(1.0, math.exp(log_delta((low + high) / 2)))


def rho_for(epsilon: float, delta: float) -> float:
    """The largest rho whose guarantee is at least (epsilon, delta)."""
    low, high = 0.0, epsilon
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if delta_of(middle, epsilon) <= delta else (low, middle)
    return low


def epsilon_for(rho: float, delta: float) -> float:
    """The least epsilon that rho gives at `delta`."""
    low, high = 0.0, 1.0
    while delta_of(rho, high) > delta:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (low, middle) if delta_of(rho, middle) <= delta else (middle, high)
    return high


def rho_of(measure: Measure, epoch: Epoch) -> float:
    """The measure's part of the epoch's budget, for all of its panes together."""
    return measure.share * epoch.rho


def sensitivity(measure: Measure, epoch: Epoch) -> float:
    """L2 distance by which one subscriber can change the measure's counts of an epoch: sqrt(m)."""
    return math.sqrt(epoch.cap(measure))


def sigma(measure: Measure, epoch: Epoch) -> float:
    """Scale of the noise on each count: sqrt(m / (2 rho))."""
    return sensitivity(measure, epoch) / math.sqrt(2 * rho_of(measure, epoch))


def rho_within(epsilon: float, delta: float, keyed: bool) -> float:
    """The largest rho of a day; `keyed`: a part of delta is for measures whose keys come from data."""
    return rho_for(epsilon, delta * (1 - KEYS_SHARE) if keyed else delta)


def keys_delta(measure: Measure, epoch: Epoch) -> float:
    """The measure's part of the epoch's delta, for all of its panes together: 0 if its keys are public."""
    from_data = measure.keys_from_data(epoch.zones, epoch.parents)
    return measure.share * KEYS_SHARE * epoch.delta if from_data else 0.0


def threshold(measure: Measure, epoch: Epoch) -> int:
    """The least noisy count of a key from data that is kept: one person's passes with a chance of delta / m."""
    beyond = -NormalDist().inv_cdf(keys_delta(measure, epoch) / epoch.cap(measure))
    return math.ceil(1 + sigma(measure, epoch) * beyond) + 1


def delta_spent(epoch: Epoch) -> float:
    """The delta of all that is told of a subscriber's epoch, at its epsilon."""
    return delta_of(epoch.rho, epoch.epsilon) + sum(keys_delta(measure, epoch) for measure in epoch.keyed)
