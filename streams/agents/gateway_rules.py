"""The rules in force as a gateway has them: tables to screen by.

In: the audit log as it is followed, the epochs, the zone plans. Out: the context to screen a chunk by, chosen by how
far its source has come: the rules of the epoch that its next event in time falls in, as `core.rules` says. Every
switch is a new context in place of the old one, between two chunks.

An epoch's rules are at most as loose as those of the next one, so a chunk that reaches over the change is judged by the
stricter. What can fail: an epoch that was made by an audit log that is not this one (`audit`).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from schemas.epochs import Epoch
from schemas.plan import Plan
from streams.agents.rules import Log, cut, rules_of, show
from streams.core.gateway.gateway import NEVER_MS, Context
from streams.core.gateway.policy import PolicyTable
from streams.core.gateway.zones import CellTable
from streams.core.rules.rules import in_force, limits
from streams.metrics import PolicyMetrics

SHOWN_EVERY_S: Final = 0.5
# Contexts at hand: sources lie in an epoch and the next one, or are not heard yet.
KEPT: Final = 4


class GatewayRules:
    """What a gateway judges by. `context`: that it begins with; its epochs and registry go on to be its own."""

    def __init__(self, audit: Log, context: Context, plans: Sequence[Plan], metrics: PolicyMetrics) -> None:
        self._audit = audit
        self._context = context
        self._plans = plans
        self._metrics = metrics
        metrics.age.set_function(audit.age_s)
        self._head = self._shown = ""
        self._contexts: dict[int, Context] = {}

    def fresh(self) -> bool:
        """Is what is known of the rules young enough?"""
        return self._audit.fresh()

    def at(self, running_max: int) -> Context:
        """What decides for the next chunk of a source whose record times have come so far."""
        epochs = self._context.epochs
        if not epochs.epochs:
            return self._of(None)
        first = epochs.epochs[0]
        # Of a source that was never heard nothing is known: the first epoch's rules are the strictest.
        ts_ms = first.start_ms if running_max == NEVER_MS else self._context.watermark_ms(running_max)
        return self._of(epochs.find(max(ts_ms, first.start_ms)))

    def look(self) -> None:
        """Tell the metrics of what was read, also where no chunk asks for it."""
        if self._audit.chain.head != self._shown:
            self._shown = self._audit.chain.head
            show(self._audit.chain, self._metrics)

    async def keep_looking(self) -> None:
        """The same for ever."""
        while True:
            self.look()
            await asyncio.sleep(SHOWN_EVERY_S)

    def table(self, epoch: Epoch) -> PolicyTable:
        """Who may be used in an epoch."""
        return self._of(epoch).policies

    def _of(self, epoch: Epoch | None) -> Context:
        chain = self._audit.chain
        if chain.head != self._head:
            self._head, self._contexts = chain.head, {}
            self.look()
            cut(self._context.epochs, chain)
        number = epoch.epoch if epoch is not None else 0
        if number not in self._contexts:
            for old in list(self._contexts)[: -KEPT + 1]:
                del self._contexts[old]
            base, since = rules_of(chain, epoch)
            merged = in_force([base, *(taken.entry.rules for taken in since)])
            self._contexts[number] = replace(
                self._context,
                policies=PolicyTable(merged.policies, merged.purpose),
                cells=CellTable(self._plans, limits(merged).excluded),
            )
        return self._contexts[number]
