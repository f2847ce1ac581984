"""From noisy panes to estimates: a filter over time, key by key. Post-processing: it costs no budget.

Counts of people are smooth, noise is not; but mornings are no nights. So each key is followed by several models at a
time (Kalman 1960), from one of nights, when hardly anything moves, to one of a street that fills up, and how well each
has foretold what was seen decides how much it is believed (interacting multiple models, Blom and Bar-Shalom 1988). In
a model the level goes on by a trend that fades, plus a random step whose variance is a share of the level, squared, for
tides that lift all, and a share of the level, for people coming and going on their own (a Poisson flow). What is seen
is the level plus noise of known scale.

Where yesterday is known (`yesterday.py`), two more kinds of model know it: one goes by yesterday's level, one by its
changes alone. Who foretells well is believed, so on a day that is another than yesterday they soon say nothing.

In: what is believed after the panes so far, and a noisy pane. Out: what is believed then. The estimate is the models'
mean, and its variance says too how far they are apart: so the stated error is right while things change.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.core.estimates.models import Again, Model, Models

# Keys taken up at a time: what is worked out in between is a hundred numbers a key.
BLOCK: Final = 16_384
# Before its first pane a level is normal about 0, by any of these standard deviations: small where nothing speaks
# against it, since of thousands of keys with nobody the noise of some is large, and else whatever was seen.
SCALES: Final = (10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10_000.0, 30_000.0, 100_000.0)
# Of how far today is from yesterday: so many people more make a place grow or shrink no faster than it can be known,
# and it does so by no more than this factor in a pane.
FEW: Final = 30.0
MOST_GROWN: Final = 2.0


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


class Yesterday(NamedTuple):
    """What is known of yesterday: f64[keys] each.

    Attributes:
        before, now: the levels at the pane before this one, and at this one. variance: of `now`. alike: how far the two
            err together, from 0 to 1.
    """

    before: NDArray[np.float64]
    now: NDArray[np.float64]
    variance: NDArray[np.float64]
    alike: NDArray[np.float64]


def begin(noisy: NDArray[np.int64], noise_sigma: Sigma, models: Models, yesterday: Yesterday | None = None) -> Belief:
    """What the first noisy pane says: to all models that know no yesterday the same, and each is trusted as much."""
    number, keys = len(models.models), len(noisy)
    squares = np.array(SCALES)[:, None] ** 2
    noise = np.broadcast_to(np.asarray(noise_sigma, np.float64), noisy.shape) ** 2
    seen = squares + noise
    likely = -(noisy.astype(np.float64) ** 2 / seen + np.log(seen)) / 2
    trust = np.exp(likely - likely.max(axis=0))
    together = trust.sum(axis=0)
    trust /= together
    gain = squares / seen
    level = (trust * gain).sum(axis=0) * noisy
    apart = (gain * noisy - level) ** 2
    mean, covariance = np.zeros((number, 2, keys)), np.zeros((number, 3, keys))
    mean[:, 0] = level
    covariance[:, 0] = (trust * (gain * noise + apart)).sum(axis=0)
    alone = Belief(mean, covariance, np.full((number, keys), 1 / number))
    if yesterday is None or models.again is None:
        return alone
    return _begun_again(
        alone, likely.max(axis=0) + np.log(together / len(SCALES)), noisy, noise, models.again, yesterday
    )


def _begun_again(
    alone: Belief,
    likely: NDArray[np.float64],
    noisy: NDArray[np.int64],
    noise: NDArray[np.float64],
    again: Again,
    yesterday: Yesterday,
) -> Belief:
    """The first belief with the models that know yesterday. `likely`: log-likelihood of what is seen without them."""
    shares, _, apart, _, floor = _columns(again)
    now, keys = yesterday.now, len(noisy)
    variance = yesterday.variance + (apart * now) ** 2 + floor
    whole = variance + noise
    surprise = noisy - now
    mean, covariance = np.zeros((len(shares), 2, keys)), np.zeros((len(shares), 3, keys))
    mean[:, 0] = now + variance / whole * surprise
    covariance[:, 0] = variance * noise / whole
    trust = np.concatenate(
        [
            np.log((1 - again.at_first) * alone.trust) + likely,
            np.log(again.at_first * shares / shares.sum()) - (surprise**2 / whole + np.log(whole)) / 2,
        ]
    )
    trust = np.exp(trust - trust.max(axis=0))
    return Belief(
        np.concatenate([alone.mean, mean]), np.concatenate([alone.covariance, covariance]), trust / trust.sum(axis=0)
    )


def update(
    belief: Belief, noisy: NDArray[np.int64], noise_sigma: Sigma, models: Models, yesterday: Yesterday | None = None
) -> Belief:
    """Take up one noisy pane; with `yesterday` if what is believed was begun so."""
    sigmas = np.broadcast_to(np.asarray(noise_sigma, np.float64), noisy.shape)
    parts = []
    for block in (slice(first, first + BLOCK) for first in range(0, len(noisy), BLOCK)):
        then = Yesterday(*(part[block] for part in yesterday)) if yesterday is not None else None
        expected = foretold(Belief(*(part[..., block] for part in belief)), models, then)
        parts.append(seen(expected, noisy[block], sigmas[block]))
    return Belief(*(np.concatenate(columns, axis=-1) for columns in zip(*parts, strict=True)))


def seen(expected: Belief, noisy: NDArray[np.int64], noise_sigma: Sigma) -> Belief:
    """What is believed once the pane is seen."""
    mean, covariance, trust = expected
    whole = covariance[:, 0] + np.asarray(noise_sigma) ** 2
    surprise = noisy - mean[:, 0]
    gain = covariance[:, :2] / whole[:, None]
    after = np.stack(
        [
            covariance[:, 0] * (1 - gain[:, 0]),
            covariance[:, 1] * (1 - gain[:, 0]),
            covariance[:, 2] - gain[:, 1] * covariance[:, 1],
        ],
        axis=1,
    )
    likely = np.log(trust) - (surprise**2 / whole + np.log(whole)) / 2
    trust = np.exp(likely - likely.max(axis=0))
    return Belief(mean + gain * surprise[:, None], after, trust / trust.sum(axis=0))


def foretold(belief: Belief, models: Models, yesterday: Yesterday | None = None) -> Belief:
    """What is believed of a pane later, by each model."""
    if yesterday is None or models.again is None:
        return _by_models(_mixed(belief, models.shares, models.stays), models.models)
    own, shares = len(models.models), np.array([model.share for model in models.again.models])
    mixed = _mixed(belief, np.concatenate([models.shares * (1 - shares.sum()), shares]), models.again.stays)
    alone, again = (Belief(*(part[which] for part in mixed)) for which in (slice(own), slice(own, None)))
    parts = (_by_models(alone, models.models), _by_yesterday(again, models.again, yesterday))
    return Belief(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _mixed(belief: Belief, shares: NDArray[np.float64], stays: float) -> Belief:
    """What each model begins a pane with: the others' beliefs too, as far as a key may have come over from them."""
    chances = stays * np.eye(len(shares)) + (1 - stays) * shares
    trust = np.einsum("ij,ik->jk", chances, belief.trust)
    share = chances[:, :, None] * belief.trust[:, None] / trust
    mean = np.einsum("ijk,ick->jck", share, belief.mean)
    apart = belief.mean[:, None] - mean
    spread = np.stack([apart[:, :, 0] ** 2, apart[:, :, 0] * apart[:, :, 1], apart[:, :, 1] ** 2], axis=2)
    return Belief(mean, np.einsum("ijk,ijck->jck", share, belief.covariance[:, None] + spread), trust)


def _by_models(belief: Belief, models: tuple[Model, ...]) -> Belief:
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


def _by_yesterday(belief: Belief, again: Again, yesterday: Yesterday) -> Belief:
    """Yesterday's level, and what is kept of how far today's is from it. Their trend is yesterday's change."""
    _, keeps, apart, flow, floor = _columns(again)
    before, now, variance, alike = yesterday
    kept = keeps * np.clip((now + FEW) / (before + FEW), 1 / MOST_GROWN, MOST_GROWN)
    level = now + kept * (belief.mean[:, 0] - before)
    people = np.maximum(level, 0.0)
    # What is not known of yesterday comes anew with what is not kept, and where its panes err each by itself wholly.
    unknown = np.maximum(1 - keeps**2, 1 + keeps**2 - 2 * keeps * alike) * variance
    step = flow * people + floor + (1 - keeps**2) * (apart * people) ** 2 + unknown
    none = np.zeros_like(level)
    covariance = np.stack([kept**2 * belief.covariance[:, 0] + step, none, none], axis=1)
    return Belief(np.stack([level, none + (now - before)], axis=1), covariance, belief.trust)


def _columns(again: Again) -> Iterator[NDArray[np.float64]]:
    """The models' parameters, f64[models, 1] each."""
    return (np.array(column)[:, None] for column in zip(*again.models, strict=True))


def go_on(
    packed: bytes, noisy: NDArray[np.int64], noise_sigma: Sigma, models: Models, yesterday: Yesterday | None = None
) -> Belief:
    """Take up a noisy pane after what the ledger keeps, from `pack`; begin with it if that is nothing, or of another
    version: packed otherwise, or of another number of models. What was begun without yesterday goes on without it."""
    try:
        before = unpack(packed) if packed else None
    except msgspec.ValidationError:
        before = None
    known = len(before.trust) if before is not None else 0
    if before is not None and known == len(models.models):
        return update(before, noisy, noise_sigma, models)
    again = models.again if yesterday is not None else None
    if before is not None and again is not None and known == len(models.models) + len(again.models):
        return update(before, noisy, noise_sigma, models, yesterday)
    return begin(noisy, noise_sigma, models, yesterday)


def pack(belief: Belief) -> bytes:
    """A belief as bytes, for the ledger, which has one in each record: of the level's variance and of the trust the
    upper half of a float is kept. Variances are rounded up, so that a covariance stays one."""
    kept = (
        belief.mean.astype("<f4"),
        _half(belief.covariance[:, 0], 0xFFFF),
        belief.covariance[:, 1:].astype("<f4"),
        _half(belief.trust, 0x8000),
    )
    return msgspec.msgpack.encode((belief.trust.shape, [part.tobytes() for part in kept]))


def unpack(data: bytes) -> Belief:
    """The reverse of `pack`.

    Raises:
        msgspec.ValidationError: it was packed otherwise.
    """
    (number, keys), parts = msgspec.msgpack.decode(data, type=tuple[tuple[int, int], tuple[bytes, bytes, bytes, bytes]])
    mean, varies, others, trust = parts
    covariance = np.empty((number, 3, keys))
    covariance[:, 0] = _whole(varies).reshape(number, keys)
    covariance[:, 1:] = np.frombuffer(others, "<f4").reshape(number, 2, keys)
    trusted = _whole(trust).reshape(number, keys)
    means = np.frombuffer(mean, "<f4").astype(np.float64).reshape(number, 2, keys)
    return Belief(means, covariance, trusted / trusted.sum(axis=0))


def _half(values: NDArray[np.float64], add: int) -> NDArray[np.uint16]:
    """The upper 16 bits of positive floats: 8 bits of precision. What is added below them rounds."""
    return ((values.astype("<f4").view("<u4") + np.uint32(add)) >> np.uint32(16)).astype("<u2")


def _whole(halves: bytes) -> NDArray[np.float64]:
    return (np.frombuffer(halves, "<u2").astype("<u4") << np.uint32(16)).view("<f4").astype(np.float64)


def pack_level(level: Level) -> bytes:
    """An estimate as bytes, for the ledger."""
    return np.concatenate([level.mean, level.variance]).astype("<f8").tobytes()


def unpack_level(data: bytes) -> Level:
    """The reverse of `pack_level`."""
    values = np.frombuffer(data, "<f8")
    return Level(values[: len(values) // 2].copy(), values[len(values) // 2 :].copy())
