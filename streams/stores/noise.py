"""Noise from OpenDP: the discrete Gaussian mechanism on every public key, zeros too; for keys from data its thresholded
form.

OpenDP draws by exact arithmetic, without the holes of floating point (Mironov 2012), from the system's randomness; it
saturates instead of overflowing, and releases the interpreter while it works. Whether the measure costs what the
account says is asked of OpenDP's own privacy map, at each draw.

A release has its noise from a `NoiseSource`: `OnTheSpot` draws it when it is asked for, `noise_ahead.Ahead` before.
What noise a measure's pane has is said by the account, in one place, for what is expected and for what is drawn.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np
import opendp.prelude as dp
from numpy.typing import NDArray

from schemas.epochs import Epoch
from schemas.measures import Measure
from streams.core.release import budget
from streams.core.release.sums import Counted, Keyed
from streams.errors import ThrongError

dp.enable_features("contrib")

# Counts, L2 sensitivity, scale, and the rho that it may cost; gives the counts with noise.
Noise = Callable[[NDArray[np.int64], float, float, float], NDArray[np.int64]]


class NoiseSource(Protocol):
    """Where a release has its noise from. None is given twice: on a second pane it hides nothing."""

    def of_all(self, counts: NDArray[np.int64], sensitivity: float, scale: float, rho: float) -> NDArray[np.int64]:
        """As `draw`, of a measure whose keys are public: it has as many in each pane."""

    def of_some(self, counts: NDArray[np.int64], sensitivity: float, scale: float, rho: float) -> NDArray[np.int64]:
        """As `draw`, of keys from data: nobody knows beforehand how many there will be."""

    def expect(self, keys: int, sensitivity: float, scale: float, rho: float) -> None:
        """Noise `of_all` will be asked for, of so many keys."""

    def forget(self) -> None:
        """Give nothing of what was drawn so far: the ledger has records that weren't just written here. A process whose
        memory was copied, or put back, has noise that was used."""

    def resting(self) -> AbstractContextManager[None]:
        """While it lasts a pane is released: draw nothing but what is asked for."""


class OnTheSpot:
    """Noise that is drawn when it is asked for, by who asks. Nothing is kept, so there is nothing to forget."""

    def __init__(self, draw: Noise) -> None:
        self._draw = draw

    def of_all(self, counts: NDArray[np.int64], sensitivity: float, scale: float, rho: float) -> NDArray[np.int64]:
        return self._draw(counts, sensitivity, scale, rho)

    def of_some(self, counts: NDArray[np.int64], sensitivity: float, scale: float, rho: float) -> NDArray[np.int64]:
        return self._draw(counts, sensitivity, scale, rho)

    def expect(self, keys: int, sensitivity: float, scale: float, rho: float) -> None: ...

    def forget(self) -> None: ...

    def resting(self) -> AbstractContextManager[None]:
        return nullcontext()


class Noisy(NamedTuple):
    """A measure's pane with noise: i64[keys], of all keys or of `keys` u32."""

    counts: NDArray[np.int64]
    keys: NDArray[np.uint32] | None = None


def expect_panes(noise: NoiseSource, epoch: Epoch) -> None:
    """Have noise for a pane of each of the epoch's measures expected; of keys from data nobody knows how many."""
    for measure in epoch.measures:
        if not measure.keys_from_data(epoch.zones, epoch.parents):
            noise.expect(measure.keys(epoch.zones, epoch.parents), *_accounted(measure, epoch))


def draw_pane(noise: NoiseSource, epoch: Epoch, measure: Measure, counted: Counted) -> Noisy:
    """A measure's exact pane with the noise that the account has for it.

    Raises:
        ThrongError: `noise` if OpenDP says that it costs more.
    """
    sensitivity, scale, rho = _accounted(measure, epoch)
    if not isinstance(counted, Keyed):
        return Noisy(noise.of_all(counted, sensitivity, scale, rho))
    cost, threshold = (rho, budget.keys_delta(measure, epoch)), budget.threshold(measure, epoch)
    kept = draw_keyed(counted, epoch.cap(measure), sensitivity, scale, threshold, cost, noise.of_some)
    return Noisy(kept.counts, kept.keys)


def _accounted(measure: Measure, epoch: Epoch) -> tuple[float, float, float]:
    """Of the noise on each count, as `Noise` takes them: L2 sensitivity, scale, and what it may cost."""
    return budget.sensitivity(measure, epoch), budget.sigma(measure, epoch), budget.rho_of(measure, epoch)


def draw(counts: NDArray[np.int64], sensitivity: float, scale: float, rho: float) -> NDArray[np.int64]:
    """`counts` i64[keys] plus discrete Gaussian noise of `scale` on each.

    Args:
        sensitivity: L2 distance by which one subscriber can change the epoch's counts. rho: what that may cost.

    Raises:
        ThrongError: `noise` if OpenDP says that it costs more.
    """
    mechanism = _mechanism(scale)
    cost = mechanism.map(d_in=sensitivity)
    if cost > rho * (1 + 1e-9):
        raise ThrongError("noise", f"noise of scale {scale:.3f} would cost rho {cost:.6f}, the account has {rho:.6f}")
    return np.array(mechanism(counts.tolist()), np.int64)


def draw_keyed(
    counted: Keyed,
    cap: int,
    sensitivity: float,
    scale: float,
    threshold: int,
    cost: tuple[float, float],
    noise: Noise = draw,
) -> Keyed:
    """`counted` with noise on each, those below `threshold` left out; in the order of the keys, which says nothing.

    So does OpenDP's thresholded mechanism (`make_gaussian_threshold`), which is asked what it costs. It would draw here
    and now; `noise` may have been drawn ahead.

    Args:
        cap, sensitivity: the most counts that one subscriber adds to the epoch's, 1 at most to each, and their L2
            distance. cost: what that may cost, rho and delta.

    Raises:
        ThrongError: `noise` if OpenDP says that it costs more.
    """
    rho, delta = _keyed_mechanism(scale, threshold).map(d_in=(cap, sensitivity, 1.0))
    if rho > cost[0] * (1 + 1e-9) or delta > cost[1] * (1 + 1e-9):
        raise ThrongError(
            "noise",
            f"noise of scale {scale:.3f} above {threshold} would cost rho {rho:.6f} and delta {delta:.3g}, the account "
            f"has {cost[0]:.6f} and {cost[1]:.3g}",
        )
    noisy = noise(counted.counts, sensitivity, scale, cost[0])
    shown = np.flatnonzero(noisy >= threshold)
    shown = shown[np.argsort(counted.keys[shown])]
    return Keyed(counted.keys[shown], noisy[shown])


@lru_cache(maxsize=64)
def _keyed_mechanism(scale: float, threshold: int) -> dp.Measurement:
    space = (
        dp.map_domain(dp.atom_domain(T="u32"), dp.atom_domain(T="i64")),
        dp.l02inf_distance(dp.absolute_distance(T="f64")),
    )
    return space >> dp.m.then_gaussian_threshold(scale=scale, threshold=threshold)


@lru_cache(maxsize=64)
def _mechanism(scale: float) -> dp.Measurement:
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T="f64")
    return space >> dp.m.then_gaussian(scale=scale)
