"""Policies as the gateway asks them: by the IMSI's country code, in arrays that compiled loops read."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.attach import LONG_IMSI
from schemas.policy import Policy
from schemas.registry import PURPOSES

MCCS = 1000
ALLOWED, SUSPENDED, OPT_OUT_BASIS, ROAMERS = 1, 2, 4, 8


class Rules(NamedTuple):
    """All countries' rules for one purpose.

    Attributes:
        purpose: place in PURPOSES. by_mcc: u8[MCCS], the bits above. minimum_age: u8[MCCS].
        home_from, home_to: u64[n], ranges of packed IMSIs, `home_to` exclusive, that are of an own network.
    """

    purpose: int
    by_mcc: NDArray[np.uint8]
    minimum_age: NDArray[np.uint8]
    home_from: NDArray[np.uint64]
    home_to: NDArray[np.uint64]


class PolicyTable:
    """What policies say for one purpose. A country without a policy is neither allowed nor suspended.

    Attributes:
        home: the first digits of own networks' IMSIs. rules: the same and the rest, in arrays.
    """

    def __init__(self, policies: Sequence[Policy], purpose: str) -> None:
        by_mcc, minimum_age = np.zeros(MCCS, np.uint8), np.zeros(MCCS, np.uint8)
        for policy in policies:
            usable = policy.state == "active" and purpose in policy.purposes
            rules = ALLOWED if usable else SUSPENDED
            rules |= OPT_OUT_BASIS if policy.basis == "opt_out" else 0
            rules |= ROAMERS if policy.inbound_roamers or not policy.home else 0
            for mcc in policy.mccs:
                by_mcc[int(mcc)] = rules
                minimum_age[int(mcc)] = policy.minimum_age
        self.home = [network.replace("-", "") for policy in policies for network in policy.home]
        ranges = [bounds for prefix in self.home for bounds in _packed(prefix)]
        home_from = np.array([begin for begin, _ in ranges], np.uint64)
        home_to = np.array([end for _, end in ranges], np.uint64)
        self.rules = Rules(PURPOSES.index(purpose), by_mcc, minimum_age, home_from, home_to)


def _packed(prefix: str) -> list[tuple[int, int]]:
    """The ranges of packed IMSIs that begin with these digits: those of 14 and those of 15."""
    ranges = []
    for digits, mark in ((14, 0), (15, LONG_IMSI)):
        more = 10 ** (digits - len(prefix))
        ranges.append((mark | int(prefix) * more, mark | (int(prefix) + 1) * more))
    return ranges
