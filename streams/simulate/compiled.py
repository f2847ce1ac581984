"""How the simulator's loops are compiled.

They neither make nor free arrays, so Numba's reference counting is left out of them (`_nrt=False`): with it, each call
that takes a tuple of arrays costs two atomic operations an array, and the loops 1.7 times the time.
"""

from typing import Any, TypeAlias

from numba import njit
from numpy.typing import NDArray

# A record of a structured array, and such an array: Numba knows the fields and their types, a type checker doesn't.
Row: TypeAlias = Any
Rows: TypeAlias = NDArray[Any]

kernel = njit(cache=True, nogil=True, _nrt=False)
inlined = njit(cache=True, nogil=True, _nrt=False, inline="always")
