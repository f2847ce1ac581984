"""Has the epoch and the salt of an event time in the gateway's context, before the event goes on.

In: an event time that lacks one of them. Out: both, or the epoch among those whose salt is gone. Kept: nothing that the
logs don't have. What can fail: an epoch whose noise would not be right, or that is of another number of targets.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.core.gateway.pseudonyms import key_state
from streams.core.rules.soundness import sound
from streams.errors import ThrongError
from streams.stores.epochs import EpochKeeper
from streams.stores.keys import KeyProvider
from streams.stores.salts import SaltGone, Vault
from streams.stores.wiping import wipe


class Salts(NamedTuple):
    """What the gateway's context knows of salts, and who holds their keys.

    `states`: of each epoch, for hashing; `gone`: epochs whose salt has been destroyed.
    """

    states: dict[int, NDArray[np.uint64]]
    gone: set[int]
    keys: KeyProvider


class Provider:
    """Provides both.

    Args:
        targets: over how many partitions of `sightings` subscribers are spread. look_again: `RegistryReader`'s.
    """

    def __init__(
        self, keeper: EpochKeeper, vault: Vault, salts: Salts, targets: int, look_again: Callable[[], None]
    ) -> None:
        self._keeper = keeper
        self._vault = vault
        self._salts = salts
        self._targets = targets
        self._look_again = look_again

    async def provide(self, ts_ms: int) -> None:
        """Have them of this time.

        Raises:
            ThrongError: `epochs`, `salts` or `topics`.
        """
        found = sound(await self._keeper.provide(ts_ms))
        if found.partitions != self._targets:
            raise ThrongError(
                "topics", f"epoch {found.epoch} is of {found.partitions} partitions of sightings, not {self._targets}"
            )
        if found.epoch in self._salts.states:
            return
        try:
            # Whoever wrote the registry before the epoch (a replay) needn't wait until each gateway knows it.
            self._look_again()
            salt = await self._vault.ensure(found.epoch)
            self._salts.states[found.epoch] = key_state(salt)
            wipe(salt)
        except SaltGone:
            self._salts.gone.add(found.epoch)
