"""What a ring of departures holds, whatever its size."""

import numpy as np
from numpy.typing import NDArray

from streams.core.crowd.departures import HEAD, TAIL, Departures


def in_order(departures: Departures) -> NDArray[np.void]:
    """From tail to head: DEPARTURE[n]."""
    ring, span = departures
    held: NDArray[np.void] = ring[np.arange(span[TAIL], span[HEAD]) % len(ring)]
    return held
