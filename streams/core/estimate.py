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
        share: of keys that do not go on as they did, that go on by this.
        tide, flow, floor: the step's variance is (tide x level)^2 + flow x level + floor.
        keeps: share of its trend that a key keeps; 0: it has none.
        turn, turn_floor: the trend's own change has the variance (turn x level)^2 + turn_floor.
    """

    share: float
    tide: float
    flow: float
    floor: float
    keeps: float = 0.0
    turn: float = 0.0
    turn_floor: float = 0.0


class Models(NamedTuple):
    """Models of one measure.

    Attributes:
        stays: the chance that a key goes on as it did from one pane to the next; else its model is drawn by the
            models' shares, its own among them.
    """

    models: tuple[Model, ...]
    stays: float

    @property
    def shares(self) -> NDArray[np.float64]:
        """f64[models], together 1."""
        shares: NDArray[np.float64] = np.array([model.share for model in self.models])
        together: float = shares.sum()
        return shares / together


# Before its first pane a level is normal about 0, by any of these standard deviations: small where nothing speaks
# against it, since of thousands of keys with nobody the noise of some is large, and else whatever was seen.
SCALES: Final = (10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10_000.0, 30_000.0, 100_000.0)
HOUR_MS: Final = 3_600_000

# Tuned on simulated towns (of whole towns' interval scores and of coverage by size; Gneiting and Raftery 2007, section
# 6.2), for places of any size from a zone to a district. What a large one does is a steady trend for most of the time,
# so of people present one model has that alone, and one each knows what hardly moves, what fills up, and a break.
#
# Of events a key that stays at 50 looks like one that jumps up by hundreds until it does. Were each pane's step wide
# enough for that, intervals would be too wide at 50. So steps are narrow, by the level, and to break is rare; but what
# breaks may then be anywhere: a model with wide steps that most of those who change come over to.
# benchmarks/accuracy.py, areas.py and rollup.py say what all of these give, on other towns than those.
PRESENT: Final = Models(
    (
        Model(0.2, 0.0062, 0.052, 0.117),
        Model(0.625, 0.0, 0.0, 0.012, 0.949, 0.0043, 0.062),
        Model(0.16, 0.00055, 0.022, 0.0, 0.982, 0.0005, 90.0),
        Model(0.0153, 0.34, 0.26, 0.32, 0.515, 0.09, 0.036),
    ),
    0.9944,
)
ARRIVALS: Final = Models(
    (
        Model(0.984, 0.16, 0.661, 1.05),
        Model(0.0095, 0.0232, 122, 114),
        Model(0.0036, 0.202, 13.8, 4_190),
        Model(0.0032, 0.42, 1.22, 80_600),
    ),
    0.975,
)
TRIPS: Final = Models(
    (
        Model(0.896, 0.122, 0.817, 30.0),
        Model(0.0652, 0.0248, 6.65, 780),
        Model(0.0364, 0.07, 117, 994),
        Model(0.0022, 0.971, 6.34, 15_700),
    ),
    0.979,
)
HOURLY: Final = Models(
    (
        Model(0.0069, 0.0231, 1.36, 0.0249),
        Model(0.309, 0.338, 1.5, 201),
        Model(0.306, 0.267, 69.8, 667),
        Model(0.378, 1.13, 0.662, 765_000),
    ),
    0.875,
)
DWELL: Final = Models(
    (
        Model(0.0093, 16.1, 4.55, 0.0659),
        Model(0.0202, 0.042, 19.7, 6.4),
        Model(0.0002, 0.197, 3.1, 22_400),
        Model(0.97, 0.892, 9.78, 1_200_000),
    ),
    0.937,
)
VISITS: Final = Models(
    (
        Model(0.0354, 3.63, 4.44, 0.246),
        Model(0.248, 0.166, 15.2, 226),
        Model(0.0015, 0.655, 1.61, 5_100),
        Model(0.715, 1.5, 2.7, 1_200_000),
    ),
    0.947,
)
COHORTS: Final = Models(
    (
        Model(0.962, 0.0065, 1.84, 0.254),
        Model(0.026, 0.185, 1.82, 1_220),
        Model(0.0125, 1.33, 8.41, 129_000),
    ),
    0.909,
)


def models_of(measure: Measure) -> Models:
    """What follows a measure's keys."""
    if measure.statistic == "present":
        return PRESENT
    if measure.statistic == "present_cohort":
        return COHORTS
    if measure.statistic in ("dwell", "visits"):
        return DWELL if measure.statistic == "dwell" else VISITS
    if measure.pane_ms >= HOUR_MS:
        return HOURLY
    return ARRIVALS if measure.statistic == "arrivals" else TRIPS


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
    """What the first noisy pane says: to all models the same, and each is trusted as much."""
    number, keys = len(models.models), len(noisy)
    squares = np.array(SCALES)[:, None] ** 2
    noise = np.broadcast_to(np.asarray(noise_sigma, np.float64), noisy.shape) ** 2
    seen = squares + noise
    likely = -(noisy.astype(np.float64) ** 2 / seen + np.log(seen)) / 2
    trust = np.exp(likely - likely.max(axis=0))
    trust /= trust.sum(axis=0)
    gain = squares / seen
    level = (trust * gain).sum(axis=0) * noisy
    apart = (gain * noisy - level) ** 2
    mean, covariance = np.zeros((number, 2, keys)), np.zeros((number, 3, keys))
    mean[:, 0] = level
    covariance[:, 0] = (trust * (gain * noise + apart)).sum(axis=0)
    return Belief(mean, covariance, np.full((number, keys), 1 / number))


def update(belief: Belief, noisy: NDArray[np.int64], noise_sigma: Sigma, models: Models) -> Belief:
    """Take up one noisy pane."""
    sigmas = np.broadcast_to(np.asarray(noise_sigma, np.float64), noisy.shape)
    blocks = [slice(first, first + BLOCK) for first in range(0, len(noisy), BLOCK)]
    parts = [
        _update(Belief(*(part[..., block] for part in belief)), noisy[block], sigmas[block], models) for block in blocks
    ]
    return Belief(*(np.concatenate(columns, axis=-1) for columns in zip(*parts, strict=True)))


def _update(belief: Belief, noisy: NDArray[np.int64], noise_sigma: NDArray[np.float64], models: Models) -> Belief:
    return _seen(_foretold(_mixed(belief, models), models.models), noisy, noise_sigma)


def _seen(foretold: Belief, noisy: NDArray[np.int64], noise_sigma: NDArray[np.float64]) -> Belief:
    """What is believed once the pane is seen."""
    mean, covariance, trust = foretold
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
    likely = np.log(trust) - (surprise**2 / seen + np.log(seen)) / 2
    trust = np.exp(likely - likely.max(axis=0))
    return Belief(mean + gain * surprise[:, None], after, trust / trust.sum(axis=0))


def _mixed(belief: Belief, models: Models) -> Belief:
    """What each model begins a pane with: the others' beliefs too, as far as a key may have come over from them."""
    shares = models.shares
    chances = models.stays * np.eye(len(shares)) + (1 - models.stays) * shares
    trust = np.einsum("ij,ik->jk", chances, belief.trust)
    share = chances[:, :, None] * belief.trust[:, None] / trust
    mean = np.einsum("ijk,ick->jck", share, belief.mean)
    apart = belief.mean[:, None] - mean
    spread = np.stack([apart[:, :, 0] ** 2, apart[:, :, 0] * apart[:, :, 1], apart[:, :, 1] ** 2], axis=2)
    return Belief(mean, np.einsum("ijk,ijck->jck", share, belief.covariance[:, None] + spread), trust)


def _foretold(belief: Belief, models: tuple[Model, ...]) -> Belief:
    """What is believed of a pane later, by each model."""
    _, tide, flow, floor, keeps, turn, turn_floor = (np.array(column)[:, None] for column in zip(*models, strict=True))
    level, trend = belief.mean[:, 0], keeps * belief.mean[:, 1]
    people = np.maximum(level, 0.0)
    own, both, turning = belief.covariance[:, 0], belief.covariance[:, 1], belief.covariance[:, 2]
    step = (tide * people) ** 2 + flow * people + floor
    covariance = np.stack(
        [
            own + 2 * keeps * both + keeps**2 * turning + step,
            keeps * both + keeps**2 * turning,
            keeps**2 * turning + (turn * people) ** 2 + turn_floor,
        ],
        axis=1,
    )
    return Belief(np.stack([level + trend, trend], axis=1), covariance, belief.trust)


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
