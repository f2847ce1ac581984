"""From noisy panes to estimates: a filter over time, key by key. Post-processing: it costs no budget.

Counts of people are smooth, noise is not; but mornings are no nights. So each key is followed by several models at a
time (Kalman 1960), from one of nights, when hardly anything moves, to one of a street that fills up, and how well each
has foretold what was seen decides how much it is believed (interacting multiple models, Blom and Bar-Shalom 1988). In
a model the level goes on by a trend that fades, plus a random step whose variance is a share of the level, squared, for
tides that lift all, and a share of the level, for people coming and going on their own (a Poisson flow). What is seen
is the level plus noise of known scale.

In: what is believed after the panes so far, and a noisy pane. Out: what is believed then. The estimate is the models'
mean, and its variance says too how far they are apart: so the stated error is right while things change.
"""

from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.measures import Measure

# Keys taken up at a time: what is worked out in between is a hundred numbers a key.
BLOCK: Final = 16_384


class Model(NamedTuple):
    """How a level moves in a pane.

    Attributes:
        tide, flow, floor: the step's variance is (tide x level)^2 + flow x level + floor.
        keeps: share of its trend that a key keeps; 0: it has none.
        turn, turn_floor: the trend's own change has the variance (turn x level)^2 + turn_floor.
    """

    tide: float
    flow: float
    floor: float
    keeps: float = 0.0
    turn: float = 0.0
    turn_floor: float = 0.0


class Models(NamedTuple):
    """Models of one measure, and the chance that a key goes on as it did from one pane to the next."""

    models: tuple[Model, ...]
    stays: float


# Tuned on simulated towns (of whole towns' interval scores; Gneiting and Raftery 2007, section 6.2), for places of any
# size from a zone to a district: what a large one does is a steady trend for most of the time, so one model has that
# alone, and one each knows what hardly moves, what fills up, and a break. benchmarks/accuracy.py and rollup.py say what
# they give, on other towns than those.
PRESENT: Final = Models(
    (
        Model(0.009, 0.11, 0.07),
        Model(0.0, 0.0, 0.03, 0.97, 0.0004, 0.035),
        Model(0.0003, 0.014, 0.0, 0.96, 0.004, 77.0),
        Model(0.2, 0.14, 0.35, 0.5, 0.3, 0.05),
    ),
    0.995,
)
EVENTS: Final = Models((Model(0.03, 0.5, 1.0), Model(0.17, 4.0, 6.0), Model(2.5, 7.5, 1000.0)), 0.9)
# An hour's stays by length, visits by number, travel times and passes say less of the next hour's: these trust what was
# drawn the sooner.
HOURLY: Final = Models((Model(0.3, 0.5, 1.0), Model(0.7, 4.0, 5000.0), Model(2.5, 8.0, 100_000.0)), 0.6)


def models_of(measure: Measure) -> Models:
    """What follows a measure's keys."""
    if measure.statistic == "present":
        return PRESENT
    return EVENTS if measure.statistic in ("present_cohort", "arrivals", "trips") else HOURLY


class Level(NamedTuple):
    """An estimate: f64[keys] each."""

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]


class Belief(NamedTuple):
    """What is believed of each key: by each model its level and trend, and how far the model is trusted.

    Attributes:
        mean: f64[models, 2, keys]. covariance: f64[models, 3, keys]: of the level, of both, of the trend. trust:
            f64[models, keys], together 1.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    trust: NDArray[np.float64]

    @property
    def level(self) -> Level:
        """The estimate."""
        mean = (self.trust * self.mean[:, 0]).sum(axis=0)
        apart = (self.mean[:, 0] - mean) ** 2
        return Level(mean, (self.trust * (self.covariance[:, 0] + apart)).sum(axis=0))


# Standard deviation of what was drawn: of all keys, or f64[keys].
Sigma = float | NDArray[np.float64]


def begin(noisy: NDArray[np.int64], noise_sigma: Sigma, models: Models) -> Belief:
    """What the first noisy pane says."""
    number, keys = len(models.models), len(noisy)
    belief = Belief(np.zeros((number, 2, keys)), np.zeros((number, 3, keys)), np.full((number, keys), 1 / number))
    belief.mean[:, 0] = noisy
    belief.covariance[:, 0] = noise_sigma**2
    return belief


def update(belief: Belief, noisy: NDArray[np.int64], noise_sigma: Sigma, models: Models) -> Belief:
    """Take up one noisy pane."""
    sigmas = np.broadcast_to(np.asarray(noise_sigma, np.float64), noisy.shape)
    blocks = [slice(first, first + BLOCK) for first in range(0, len(noisy), BLOCK)]
    parts = [
        _update(Belief(*(part[..., block] for part in belief)), noisy[block], sigmas[block], models) for block in blocks
    ]
    return Belief(*(np.concatenate(columns, axis=-1) for columns in zip(*parts, strict=True)))


def _update(belief: Belief, noisy: NDArray[np.int64], noise_sigma: NDArray[np.float64], models: Models) -> Belief:
    mixed = _mixed(belief, models.stays)
    mean, covariance = _foretold(mixed, models.models)
    seen = covariance[:, 0] + noise_sigma**2
    surprise = noisy - mean[:, 0]
    gain = covariance[:, :2] / seen[:, None]
    after = np.stack(
        [
            covariance[:, 0] * (1 - gain[:, 0]),
            covariance[:, 1] * (1 - gain[:, 0]),
            covariance[:, 2] - gain[:, 1] * covariance[:, 1],
        ],
        axis=1,
    )
    likely = np.log(mixed.trust) - (surprise**2 / seen + np.log(seen)) / 2
    trust = np.exp(likely - likely.max(axis=0))
    return Belief(mean + gain * surprise[:, None], after, trust / trust.sum(axis=0))


def _mixed(belief: Belief, stays: float) -> Belief:
    """What each model begins a pane with: the others' beliefs too, as far as a key may have come over from them."""
    number = len(belief.trust)
    goes = (1 - stays) / max(number - 1, 1)
    chances = np.full((number, number), goes) + np.eye(number) * ((stays if number > 1 else 1.0) - goes)
    trust = np.einsum("ij,ik->jk", chances, belief.trust)
    share = chances[:, :, None] * belief.trust[:, None] / trust
    mean = np.einsum("ijk,ick->jck", share, belief.mean)
    apart = belief.mean[:, None] - mean
    spread = np.stack([apart[:, :, 0] ** 2, apart[:, :, 0] * apart[:, :, 1], apart[:, :, 1] ** 2], axis=2)
    return Belief(mean, np.einsum("ijk,ijck->jck", share, belief.covariance[:, None] + spread), trust)


def _foretold(belief: Belief, models: tuple[Model, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and covariance a pane later, by each model."""
    tide, flow, floor, keeps, turn, turn_floor = (np.array(column)[:, None] for column in zip(*models, strict=True))
    level, trend = belief.mean[:, 0], keeps * belief.mean[:, 1]
    people = np.maximum(level, 0.0)
    own, both, turning = belief.covariance[:, 0], belief.covariance[:, 1], belief.covariance[:, 2]
    step = (tide * people) ** 2 + flow * people + floor
    return np.stack([level + trend, trend], axis=1), np.stack(
        [
            own + 2 * keeps * both + keeps**2 * turning + step,
            keeps * both + keeps**2 * turning,
            keeps**2 * turning + (turn * people) ** 2 + turn_floor,
        ],
        axis=1,
    )


def go_on(packed: bytes, noisy: NDArray[np.int64], noise_sigma: Sigma, models: Models) -> Belief:
    """Take up a noisy pane after what the ledger keeps, from `pack`; begin with it if that is nothing, or of a release
    with another number of models."""
    before = unpack(packed) if packed else None
    if before is None or len(before.trust) != len(models.models):
        return begin(noisy, noise_sigma, models)
    return update(before, noisy, noise_sigma, models)


def pack(belief: Belief) -> bytes:
    """A belief as bytes, for the ledger."""
    return msgspec.msgpack.encode((belief.trust.shape, [part.astype("<f4").tobytes() for part in belief]))


def unpack(data: bytes) -> Belief:
    """The reverse of `pack`."""
    (number, keys), parts = msgspec.msgpack.decode(data, type=tuple[tuple[int, int], tuple[bytes, bytes, bytes]])
    shapes = ((number, 2, keys), (number, 3, keys), (number, keys))
    columns = [np.frombuffer(part, "<f4").astype(np.float64) for part in parts]
    return Belief(*(column.reshape(shape) for column, shape in zip(columns, shapes, strict=True)))


def pack_level(level: Level) -> bytes:
    """An estimate as bytes, for the ledger."""
    return np.concatenate([level.mean, level.variance]).astype("<f8").tobytes()


def unpack_level(data: bytes) -> Level:
    """The reverse of `pack_level`."""
    values = np.frombuffer(data, "<f8")
    return Level(values[: len(values) // 2].copy(), values[len(values) // 2 :].copy())
