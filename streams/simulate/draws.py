"""Every chance in the simulator, made from integers.

Two kinds of draw, both SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators"):
`hashed` gives the draw that belongs to a name (a seed, a purpose, a number), whoever asks and in whatever order;
`stepped` advances a subscriber's own state, so that one subscriber's day doesn't depend on how many others there are or
on how time is cut into slices. Quantiles are integer tables: no draw in the loop calls a mathematical library, whose
last bit may differ between machines.
"""

import math
from typing import Final, TypeAlias

import numpy as np
from numba import int64, njit, uint64
from numpy.typing import NDArray

U64: TypeAlias = NDArray[np.uint64]

GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
MIX_2: Final = np.uint64(0x94D049BB133111EB)
S27: Final = np.uint64(27)
S30: Final = np.uint64(30)
S31: Final = np.uint64(31)
S32: Final = np.uint64(32)

# The purposes that draws are named by: two never share one.
TOWN, HOME, WORK, BIRTH, GENDER, CONSENT, DEVICE, RHYTHM, PLACE, DAY, EVENT_ID, FATE, WARM, RADIO, MSISDN, TICKET = (
    range(1, 17)
)
SHADOW, FADING, THING = 17, 18, 19

QUANTILES: Final = 1024
SCALE: Final = 1 << 16


@njit(cache=True, nogil=True, inline="always")
def mixed(value: int) -> int:
    """SplitMix64's finaliser: u64 to u64, one to one."""
    z = uint64(value)
    z = (z ^ (z >> S30)) * MIX_1
    z = (z ^ (z >> S27)) * MIX_2
    result: int = z ^ (z >> S31)
    return result


@njit(cache=True, nogil=True, inline="always")
def named(seed: int, purpose: int, number: int) -> int:
    """The u64 that belongs to (seed, purpose, number)."""
    result: int = mixed(mixed(uint64(seed) + GOLDEN * uint64(purpose)) + GOLDEN * uint64(number))
    return result


@njit(cache=True, nogil=True, inline="always")
def below(draw: int, n: int) -> int:
    """The upper half of a draw, brought to [0, n) for n < 2**31 (Lemire 2019, without the rejection)."""
    result: int = int64(((uint64(draw) >> S32) * uint64(n)) >> S32)
    return result


def hashed(seed: int, purpose: int, numbers: U64 | NDArray[np.int64] | int) -> U64:
    """`named` over an array of numbers; with an int, the draws 0 up to it."""
    if isinstance(numbers, int):
        numbers = np.arange(numbers, dtype=np.uint64)
    with np.errstate(over="ignore"):
        base = _mixed(np.array([seed & 0xFFFFFFFFFFFFFFFF], np.uint64) + GOLDEN * np.uint64(purpose))
        return _mixed(base + GOLDEN * numbers.astype(np.uint64))


def _mixed(z: U64) -> U64:
    z = (z ^ (z >> S30)) * MIX_1
    z = (z ^ (z >> S27)) * MIX_2
    return z ^ (z >> S31)


def bounded(draws: U64, n: int | NDArray[np.int64]) -> NDArray[np.int64]:
    """`below` over an array."""
    return (((draws >> S32) * np.asarray(n, dtype=np.uint64)) >> S32).astype(np.int64)


def threshold(share: float) -> int:
    """The number below which a u32 draw falls with this probability."""
    return min(max(round(share * (1 << 32)), 0), 1 << 32)


def cumulative(weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Weights (..., n) as cumulative u32 thresholds (..., n), the last of each row 2**32, for `pick`.

    Raises:
        ValueError: a row without any weight.
    """
    totals = weights.sum(axis=-1, keepdims=True)
    if np.any(totals <= 0):
        raise ValueError("a row of weights is empty")
    table = np.rint(np.cumsum(weights, axis=-1) / totals * (1 << 32)).astype(np.int64)
    table[..., -1] = 1 << 32
    result: NDArray[np.int64] = table
    return result


@njit(cache=True, nogil=True)
def pick(draw: int, table: NDArray[np.int64]) -> int:
    """The index that a draw's upper half falls on in a row of `cumulative`."""
    value = int64(uint64(draw) >> S32)
    low, high = 0, table.shape[0] - 1
    while low < high:
        middle = (low + high) // 2
        if value < table[middle]:
            high = middle
        else:
            low = middle + 1
    return low


@njit(cache=True, nogil=True)
def picks(draws: U64, tables: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """`pick` of each draw from its own row of tables."""
    out = np.empty(draws.size, np.int64)
    for i in range(draws.size):
        out[i] = pick(draws[i], tables[rows[i]])
    return out


def exponential_quantiles() -> NDArray[np.int64]:
    """QUANTILES + 1 quantiles of the unit exponential, times SCALE; the last stands for the tail."""
    values = [-math.log1p(-k / QUANTILES) for k in range(QUANTILES)]
    return np.array([round(v * SCALE) for v in [*values, values[-1] + 1.5]], np.int64)


def power_law_quantiles(shortest: float, longest: float, exponent: float) -> NDArray[np.int64]:
    """Quantiles of a density ~ x**-exponent between two bounds (exponent != 1), rounded to integers."""
    a, b, e = shortest ** (1 - exponent), longest ** (1 - exponent), 1 / (1 - exponent)
    return np.array([round((a + (b - a) * k / QUANTILES) ** e) for k in range(QUANTILES + 1)], np.int64)


@njit(cache=True, nogil=True, inline="always")
def quantile(draw: int, table: NDArray[np.int64]) -> int:
    """The draw's quantile, linear between two of the table."""
    high = int64(uint64(draw) >> S32)
    k = high >> 22
    part = high & ((1 << 22) - 1)
    result: int = table[k] + (((table[k + 1] - table[k]) * part) >> 22)
    return result
