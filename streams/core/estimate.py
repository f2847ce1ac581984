"""From noisy panes to estimates: a filter over time, key by key. Post-processing: it costs no budget.

Counts of people are smooth, noise is not. The level of each key follows a random walk; what is seen is the level plus
noise of known scale (local-level model, Kalman 1960; Harvey 1989, section 2.3). The walk's variance is a share of the
level, squared, for tides that lift all, and a share of the level, for people coming and going on their own (a Poisson
flow).

In: the state after the panes so far and a noisy pane. Out: the new state; its level and variance are the estimate.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Walk(NamedTuple):
    """How fast a level may change in a pane: variance (tide x level)^2 + flow x level + floor."""

    tide: float
    flow: float
    floor: float


# Tuned on simulated days (tests/unit/test_estimate.py says what they give).
PRESENT = Walk(tide=0.025, flow=0.15, floor=1.0)
EVENTS = Walk(tide=0.15, flow=1.0, floor=1.0)


class Level(NamedTuple):
    """The filter's state: f64[keys] each. A variance of infinity means that nothing is known yet."""

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]


def unknown(keys: int) -> Level:
    """The state before the first pane."""
    return Level(np.zeros(keys), np.full(keys, np.inf))


def update(level: Level, noisy: NDArray[np.int64], noise_sigma: float, walk: Walk) -> Level:
    """Take up one noisy pane. No count is below zero, so neither is a mean."""
    people = np.maximum(level.mean, 0.0)
    predicted = level.variance + (walk.tide * people) ** 2 + walk.flow * people + walk.floor
    known = np.isfinite(predicted)
    finite = np.where(known, predicted, 0.0)
    gain = np.where(known, finite / (finite + noise_sigma**2), 1.0)
    mean = level.mean + gain * (noisy - level.mean)
    return Level(mean, np.where(known, (1 - gain) * finite, noise_sigma**2))


def pack(level: Level) -> bytes:
    """The state as bytes, for the ledger."""
    return np.concatenate([level.mean, level.variance]).astype("<f8").tobytes()


def unpack(data: bytes) -> Level:
    """The reverse of `pack`."""
    values = np.frombuffer(data, "<f8")
    return Level(values[: len(values) // 2].copy(), values[len(values) // 2 :].copy())
