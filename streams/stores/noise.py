"""Noise from OpenDP: the discrete Gaussian mechanism on every public key, zeros too; for keys from data its thresholded
form.

OpenDP draws by exact arithmetic, without the holes of floating point (Mironov 2012), from the system's randomness; it
saturates instead of overflowing, and releases the interpreter while it works. Whether the measure costs what the
account says is asked of OpenDP's own privacy map, once per measure and epoch.
"""

from functools import lru_cache

import numpy as np
import opendp.prelude as dp
from numpy.typing import NDArray

from streams.core.sums import Keyed
from streams.errors import ThrongError

dp.enable_features("contrib")


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
    counted: Keyed, cap: int, sensitivity: float, scale: float, threshold: int, cost: tuple[float, float]
) -> Keyed:
    """`counted` with noise on each, those below `threshold` left out; in the order of the keys, which says nothing.

    Args:
        cap, sensitivity: the most counts that one subscriber adds to the epoch's, 1 at most to each, and their L2
            distance. cost: what that may cost, rho and delta.

    Raises:
        ThrongError: `noise` if OpenDP says that it costs more.
    """
    mechanism = _keyed_mechanism(scale, threshold)
    rho, delta = mechanism.map(d_in=(cap, sensitivity, 1.0))
    if rho > cost[0] * (1 + 1e-9) or delta > cost[1] * (1 + 1e-9):
        raise ThrongError(
            "noise",
            f"noise of scale {scale:.3f} above {threshold} would cost rho {rho:.6f} and delta {delta:.3g}, the account "
            f"has {cost[0]:.6f} and {cost[1]:.3g}",
        )
    kept = sorted(mechanism(dict(zip(counted.keys.tolist(), counted.counts.tolist(), strict=True))).items())
    return Keyed(np.array([key for key, _ in kept], np.uint32), np.array([count for _, count in kept], np.int64))


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
