"""Whether a subscriber may be used: the only place that says what a policy makes of the registry's bits.

In: packed IMSIs, their bits in the registry, the year that ages are counted to, the rules. Out: for each one more than
the place in DROPS, whose order is that of the checks, or 0 for one who may be used. Nothing can fail.
"""

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from schemas.attach import LONG_IMSI
from streams.core.gateway.policy import ALLOWED, OPT_OUT_BASIS, ROAMERS, PolicyTable
from streams.core.gateway.registry import CONSENT_SHIFT, FIRST_YEAR, GRANTED, MACHINE, OPTED_OUT, RECORD, REFUSED

DROPS: Final = ("roamer", "no_record", "opted_out", "under_age", "no_consent", "registered_machine")
OLDEST: Final = 255
# By the set of checks that fail, a bit for each, the first of them: people differ, and a branch would guess wrong.
_FIRST = np.array([(failed & -failed).bit_length() for failed in range(1 << len(DROPS))], np.uint8)


def refusals(imsi: NDArray[np.uint64], bits: NDArray[np.uint32], year: int, policies: PolicyTable) -> NDArray[np.uint8]:
    """Why each of these subscribers may not be used in a year: u8[n]."""
    found = np.empty(len(imsi), np.uint8)
    _refusals(imsi, bits, year, policies.rules, found)
    return found


@njit(cache=True, nogil=True)
def _refusals(imsi, bits, year, rules, found):  # type: ignore[no-untyped-def]
    for i in range(len(imsi)):
        found[i] = refusal(imsi[i], bits[i], age(bits[i], year), rules)


@njit(cache=True, nogil=True, forceinline=True)
def refusal(imsi, bits, age, rules):  # type: ignore[no-untyped-def]
    """The same for one, of an age as `age` gives it."""
    mcc = country(imsi)
    allowed = rules.by_mcc[mcc]
    consent = (bits >> np.uint32(CONSENT_SHIFT + 2 * rules.purpose)) & np.uint32(3)
    roamer = (allowed & ALLOWED) == 0 or ((allowed & ROAMERS) == 0 and not _at_home(imsi, rules))
    no_record = (bits & np.uint32(RECORD)) == 0
    opted_out = (bits & np.uint32(OPTED_OUT)) != 0
    under_age = age < rules.minimum_age[mcc]
    no_consent = consent == REFUSED if allowed & OPT_OUT_BASIS else consent != GRANTED
    machine = (bits & np.uint32(MACHINE)) != 0
    return _FIRST[roamer | no_record << 1 | opted_out << 2 | under_age << 3 | no_consent << 4 | machine << 5]


@njit(cache=True, nogil=True, forceinline=True)
def age(bits, year):  # type: ignore[no-untyped-def]
    """The whole years that a subscriber reaches in a year, 0 to OLDEST; 0 if unknown."""
    born = np.int64(bits & np.uint32(0xFF))
    return min(max(year - (born + (FIRST_YEAR - 1)), 0), OLDEST) if born else 0


@njit(cache=True, nogil=True, forceinline=True)
def country(imsi):  # type: ignore[no-untyped-def]
    """The country code (MCC) of a packed IMSI."""
    digits = imsi & np.uint64(LONG_IMSI - 1)
    return np.int64(digits // np.uint64(10**12) if imsi & np.uint64(LONG_IMSI) else digits // np.uint64(10**11))


@njit(cache=True, nogil=True, forceinline=True)
def _at_home(imsi, rules):  # type: ignore[no-untyped-def]
    home = False
    for n in range(len(rules.home_from)):
        home |= rules.home_from[n] <= imsi < rules.home_to[n]
    return home
