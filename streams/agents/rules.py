"""The rules in force as a worker has them: what may still be told of an epoch, for the release and the API.

In: the audit log as it is followed, the epochs, the zone plans. What a gateway judges by is in `gateway_rules`. What
can fail: an epoch that was made by an audit log that is not this one (`audit`).
"""

import logging
from collections.abc import Sequence
from typing import Final, Protocol

from msgspec import UNSET

from schemas.epochs import Epoch
from schemas.plan import Plan
from schemas.policy import Rulebook
from streams.core.epochs import EpochTable, Terms, epoch_bounds
from streams.core.rules.audit import Chain, Taken
from streams.core.rules.rules import Told, by_code, closed, home_codes, told, usable
from streams.errors import ThrongError
from streams.metrics import PolicyMetrics

log = logging.getLogger("throng.rules")

# What an epoch has from the settings of the gateway that wrote it, by their names there.
OF_SETTINGS: Final = {
    "timezone": "epoch.timezone",
    "plan": "gateway.plan",
    **{name: f"epoch.{name}" for name in ("lateness_ms", "tick_ms", "stay_ms", "seen_ms", "ping_pong_ms")},
    **{name: f"epoch.{name}" for name in ("jump_m_s", "jump_m")},
}


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


def log_other_settings(epochs: Sequence[Epoch], terms: Terms) -> None:
    """Say if this gateway's settings are not what the newest epoch has: of two gateways that differ whoever writes an
    epoch decides, day by day."""
    newest = max(epochs, key=lambda epoch: epoch.start_ms, default=None)
    if newest is None:
        return
    said = [
        f"{setting} is {getattr(terms, name)} here and {getattr(newest, name)} there"
        for name, setting in OF_SETTINGS.items()
        if getattr(terms, name) != getattr(newest, name)
    ]
    own_end_ms = epoch_bounds(newest.end_ms - 1, newest.timezone, terms.change_hour).end_ms
    if own_end_ms != newest.end_ms:
        said.append(f"epoch.change_hour is {terms.change_hour} here and another there")
    if said:
        log.warning(
            "the settings are not those of epoch %d: %s. They are taken up by the next epoch that this gateway writes: "
            "all gateways must have the same",
            *(newest.epoch, ", ".join(said)),
        )
