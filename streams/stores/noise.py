"""Noise from OpenDP: the discrete Gaussian mechanism on every public key, zeros too.

OpenDP draws by exact arithmetic, without the holes of floating point (Mironov 2012), from the system's randomness; it
saturates instead of overflowing, and releases the interpreter while it works. Whether the measure costs what the
account says is asked of OpenDP's own privacy map, once per measure and epoch.
"""

from functools import lru_cache

import numpy as np
import opendp.prelude as dp
from numpy.typing import NDArray

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


@lru_cache(maxsize=64)
def _mechanism(scale: float) -> dp.Measurement:
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T="f64")
    return space >> dp.m.then_gaussian(scale=scale)
