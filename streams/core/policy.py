"""Policies as the gateway asks them: by the IMSI's country code, a batch at a time."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.attach import LONG_IMSI
from schemas.policy import Policy
from schemas.registry import PURPOSES

MCCS = 1000
ALLOWED, SUSPENDED, OPT_OUT_BASIS, ROAMERS = 1, 2, 4, 8


def excluded_kinds(policies: Sequence[Policy]) -> set[str]:
    """The kinds of zones where nobody is counted: what any active policy excludes."""
    return {kind for policy in policies if policy.state == "active" for kind in policy.excluded_zones}


class PolicyTable:
    """All countries' rules for one purpose. A country without a policy is neither allowed nor suspended."""

    def __init__(self, policies: Sequence[Policy], purpose: str) -> None:
        self.purpose = PURPOSES.index(purpose)
        self.rules = np.zeros(MCCS, np.uint8)
        self.minimum_age = np.zeros(MCCS, np.uint8)
        home: list[tuple[int, int]] = []
        for policy in policies:
            usable = policy.state == "active" and purpose in policy.purposes
            rules = ALLOWED if usable else SUSPENDED
            rules |= OPT_OUT_BASIS if policy.basis == "opt_out" else 0
            rules |= ROAMERS if policy.inbound_roamers or not policy.home else 0
            for mcc in policy.mccs:
                self.rules[int(mcc)] = rules
                self.minimum_age[int(mcc)] = policy.minimum_age
            home += [(int(network.replace("-", "")), len(network) - 1) for network in policy.home]
        self._home = home

    def mccs(self, imsis: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The country code of each packed IMSI."""
        long = (imsis & np.uint64(LONG_IMSI)) != 0
        digits = (imsis & np.uint64(LONG_IMSI - 1)).astype(np.int64)
        return np.asarray(np.where(long, digits // 10**12, digits // 10**11), np.int64)

    def at_home(self, imsis: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Whether each IMSI is of an own network."""
        long = (imsis & np.uint64(LONG_IMSI)) != 0
        digits = (imsis & np.uint64(LONG_IMSI - 1)).astype(np.int64)
        found = np.zeros(len(imsis), np.bool_)
        for prefix, size in self._home:
            found |= np.where(long, digits // 10 ** (15 - size), digits // 10 ** (14 - size)) == prefix
        return found
