"""What a release knows of yesterday, worked out before a pane needs it: with many zones that takes seconds.

In: an epoch that has begun, what was drawn in the one before (the ledger's account), and what the rules in force let be
told of both. Out: by measure a task that ends with its profile. Kept: those of one epoch.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import NamedTuple

from schemas.epochs import Epoch
from schemas.measures import Measure
from streams.core.release.release import Profiles, profiles
from streams.core.release.render import Pages
from streams.core.rules.rules import Told
from streams.stores.epochs import EpochReader
from streams.stores.ledger import Ledger


class Known(NamedTuple):
    """What yesterday's profile was made of."""

    epoch: int
    excluded: frozenset[str]
    panes: int


class Yesterdays:
    """Of one worker. `told`: what the rules in force let be told of an epoch."""

    def __init__(self, epochs: EpochReader, ledger: Ledger, pages: Pages, told: Callable[[Epoch], Told]) -> None:
        self._epochs = epochs
        self._ledger = ledger
        self._pages = pages
        self._told = told
        self._known: dict[str, tuple[Known, asyncio.Task[Profiles]]] = {}
        self._one_by_one = asyncio.Lock()

    def expect(self, epoch: Epoch) -> None:
        """Have what the epoch's panes will need worked out meanwhile; of another epoch nothing is any more."""
        told = self._told(epoch)
        for name in [name for name, (known, _) in self._known.items() if known.epoch != epoch.epoch]:
            self._known.pop(name)[1].cancel()
        for measure in sorted(told.epoch.measures, key=lambda each: each.pane_ms):
            self.of(told, measure)

    def of(self, told: Told, measure: Measure) -> asyncio.Task[Profiles] | None:
        """The measure's yesterday, unless the rules in force withhold any of it; worked out once an epoch."""
        epoch = told.epoch
        yesterday = next((each for each in self._epochs.records if each.end_ms == epoch.start_ms), None)
        if yesterday is None:
            return None
        then = self._told(yesterday)
        if (
            then.withheld
            or then.quiet_ms > yesterday.start_ms
            or measure.name not in {each.name for each in then.epoch.measures}
        ):
            return None
        drawn = self._ledger.account.days.before(epoch, yesterday, measure)
        if drawn is None:
            return None
        known = Known(epoch.epoch, told.excluded, len(drawn.panes))
        before = self._known.get(measure.name)
        if before is None or before[0] != known:
            if before is not None:
                before[1].cancel()
            steps = profiles(drawn, epoch, measure, self._pages.of(epoch, told.excluded))
            self._known[measure.name] = known, asyncio.create_task(self._last(steps))
        return self._known[measure.name][1]

    async def _last(self, steps: Iterator[Profiles | None]) -> Profiles:
        """What the last step gives. Each is a thread's, which can't be cancelled; between them this can be. One measure
        is worked out at a time, in the order in which they are asked for."""
        async with self._one_by_one:
            while (found := await asyncio.to_thread(next, steps)) is None:
                pass
            return found
