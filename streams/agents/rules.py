"""The rules in force as a worker has them: tables for the gateway, permission for the release.

In: the audit log as it is followed, the epochs, the zone plans. Out: for the gateway the context to screen a chunk by,
chosen by how far its source has come: the rules of the epoch that its next event in time falls in, as
`core.rules` says. Every switch is a new context in place of the old one, between two chunks. For the release, what may
still be told of an epoch.

An epoch's rules are at most as loose as those of the next one, so a chunk that reaches over the change is judged by the
stricter. What can fail: an epoch that was made by an audit log that is not this one (`audit`).
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from msgspec import UNSET

from schemas.epochs import Epoch
from schemas.plan import Plan
from schemas.policy import Rulebook
from streams.core.epochs import EpochTable
from streams.core.gateway.gateway import NEVER_MS, Context
from streams.core.gateway.policy import PolicyTable
from streams.core.gateway.zones import CellTable
from streams.core.rules.audit import Chain, Taken
from streams.core.rules.rules import Told, by_code, closed, home_codes, in_force, limits, told, usable
from streams.errors import ThrongError
from streams.metrics import PolicyMetrics

log = logging.getLogger("throng.rules")

SHOWN_EVERY_S = 0.5
# Contexts at hand: sources lie in an epoch and the next one, or are not heard yet.
KEPT = 4


class Log(Protocol):
    """What follows the audit log (`stores.audit.AuditReader`)."""

    @property
    def chain(self) -> Chain: ...
    def fresh(self) -> bool: ...
    def age_s(self) -> float: ...
    async def read(self) -> None: ...


def rules_of(chain: Chain, epoch: Epoch | None) -> tuple[Rulebook, Sequence[Taken]]:
    """The rules that an epoch was made by, and what came since; without one, those of now.

    Raises:
        ThrongError: `audit` if the epoch was made by another log.
    """
    try:
        return chain.since(chain.head if epoch is None else epoch.audit)
    except LookupError as error:
        of = f"epoch {epoch.epoch} was made by rules that it does not have" if epoch is not None else "it has no rules"
        raise ThrongError("audit", f"the audit log was cut or made anew: {of}; see 'throng audit verify'") from error


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
        ts_ms = first.start_ms if running_max == NEVER_MS else running_max - self._context.lateness_ms
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


class ReleaseRules:
    """What a release may tell."""

    def __init__(self, audit: Log, plans: Sequence[Plan], metrics: PolicyMetrics) -> None:
        self._audit = audit
        self._home = frozenset[str]().union(*(home_codes(plan) for plan in plans))
        self._metrics = metrics
        metrics.age.set_function(audit.age_s)
        self._head = ""
        self._told: dict[int, Told] = {}

    async def read(self) -> None:
        """Read the audit log to its end; waits while Kafka is away."""
        await self._audit.read()

    def look(self) -> None:
        """Take up what was read, also where nobody asks of an epoch."""
        if self._audit.chain.head != self._head:
            self._head, self._told = self._audit.chain.head, {}
            show(self._audit.chain, self._metrics)

    def of(self, epoch: Epoch) -> Told:
        """What holds of the epoch, by what was read."""
        self.look()
        if epoch.epoch not in self._told:
            base, since = rules_of(self._audit.chain, epoch)
            self._told[epoch.epoch] = told(epoch, base, since, self._home)
        return self._told[epoch.epoch]

    def now(self) -> str:
        """Why nothing at all may be told by the rules of now; empty if something may, or there are none yet."""
        rules = self._audit.chain.rules
        return "" if rules is None else closed(rules, self._home)


def cut(epochs: EpochTable, chain: Chain) -> None:
    """Give each rest of an epoch whose salt was destroyed the part of its own that the log says."""
    for taken in chain.taken:
        if taken.entry.action == "rotate" and taken.entry.from_ms is not UNSET:
            epochs.cut(taken.entry.from_ms)


def show(chain: Chain, metrics: PolicyMetrics) -> None:
    """The log's rules in the metrics."""
    metrics.entries.set(len(chain.taken))
    if chain.rules is None:
        return
    metrics.suspended.clear()
    for policy in chain.rules.policies:
        metrics.suspended.labels(policy.country).set(0 if usable(policy, chain.rules.purpose) else 1)


def log_differences(chain: Chain, files: Rulebook) -> None:
    """Say at the start if the deployment's files are not what is in force: only a command changes that."""
    rules = chain.rules
    if rules is None or files == rules:
        return
    olds, news = by_code(rules), by_code(files)
    names = {
        (olds.get(mcc) or news[mcc]).country for mcc in olds.keys() | news.keys() if olds.get(mcc) != news.get(mcc)
    }
    whom = ", ".join(sorted(names)) or "the measures or the purpose"
    log.warning("the files say something else of %s than what is in force: see 'throng policy apply'", whom)
