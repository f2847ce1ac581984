"""What is in force: tightening is at once, loosening waits for the next epoch.

An epoch's record names the audit log's hash that its terms were made by. In the epoch hold the rules of then, and of
every later entry only what is stricter: by country code for people, by measure for what is told. So a loosening never
acts within an epoch, nor is a suspension undone within it, and who reads the same log holds the same rules.

In: rulebooks in the order of the audit log. Out: the strictest of them, as one rulebook. Nothing can fail.
"""

from collections.abc import Sequence
from functools import reduce
from itertools import pairwise
from typing import NamedTuple

from msgspec import UNSET
from msgspec.structs import replace

from schemas.attach import AHEAD_MS
from schemas.epochs import Epoch
from schemas.measures import Measure
from schemas.plan import Plan
from schemas.policy import Policy, Rulebook
from streams.core.release.budget import rho_within
from streams.core.rules.audit import Taken

# A command's effect reaches every gateway within this time.
EFFECT_MS = 5000


class Limits(NamedTuple):
    """What holds for all numbers, whoever they are of. `excluded`: kinds of zones where nobody is counted."""

    k: int
    epsilon: float
    delta: float
    excluded: frozenset[str]


def active(book: Rulebook) -> list[Policy]:
    """The policies that aren't suspended."""
    return [policy for policy in book.policies if policy.state == "active"]


def limits(book: Rulebook) -> Limits:
    """The strictest over the active policies; over all if every one is suspended."""
    policies = active(book) or book.policies
    return Limits(
        max(policy.k for policy in policies),
        min(policy.epsilon for policy in policies),
        min(policy.delta for policy in policies),
        frozenset(kind for policy in policies for kind in policy.excluded_zones),
    )


def by_code(book: Rulebook) -> dict[str, Policy]:
    """The policy of each country code."""
    return {mcc: policy for policy in book.policies for mcc in policy.mccs}


def usable(policy: Policy | None, purpose: str) -> bool:
    """May anybody of the country be counted for the purpose?"""
    return policy is not None and policy.state == "active" and purpose in policy.purposes


def in_force(books: Sequence[Rulebook]) -> Rulebook:
    """The strictest of the rules, with a policy for each country code; the purpose is the first one's."""
    merged = reduce(_stricter, books)
    # Whoever is of a network that any policy of a book names is at home in it, whichever country's policy that is.
    named = [own for book in books if (own := {network for policy in book.policies for network in policy.home})]
    policies = tuple(_named_by_all(policy, named) for policy in merged.policies)
    return replace(merged, policies=policies, purpose=books[0].purpose)


def _named_by_all(policy: Policy, named: Sequence[set[str]]) -> Policy:
    home = tuple(network for network in policy.home if all(network in own for own in named))
    return replace(policy, home=home, state=policy.state if home or not policy.home else "suspended")


def _stricter(one: Rulebook, other: Rulebook) -> Rulebook:
    ones, others = by_code(one), by_code(other)
    both = _stricter_limits(limits(one), limits(other))
    policies = [_stricter_policy(ones.get(mcc), others.get(mcc), mcc) for mcc in sorted(ones.keys() | others.keys())]
    bound = [
        replace(policy, k=both.k, epsilon=both.epsilon, delta=both.delta, excluded_zones=tuple(sorted(both.excluded)))
        for policy in policies
    ]
    return Rulebook(tuple(bound), _stricter_measures(one.measures, other.measures), one.purpose)


def _stricter_limits(one: Limits, other: Limits) -> Limits:
    epsilon, delta = min(one.epsilon, other.epsilon), min(one.delta, other.delta)
    return Limits(max(one.k, other.k), epsilon, delta, one.excluded | other.excluded)


def _stricter_policy(one: Policy | None, other: Policy | None, mcc: str) -> Policy:
    """What both allow of a country; where one has no policy, nothing is allowed."""
    if one is None or other is None:
        there = one or other
        assert there is not None
        return replace(there, mccs=(mcc,), purposes=())
    merged = replace(
        one,
        mccs=(mcc,),
        state="active" if one.state == other.state == "active" else "suspended",
        basis="opt_out" if one.basis == other.basis == "opt_out" else "opt_in",
        purposes=tuple(purpose for purpose in one.purposes if purpose in other.purposes),
        minimum_age=max(one.minimum_age, other.minimum_age),
    )
    return _stricter_networks(merged, one, other)


def _all_networks(policy: Policy) -> bool:
    return policy.inbound_roamers or not policy.home


def _stricter_networks(merged: Policy, one: Policy, other: Policy) -> Policy:
    if _all_networks(one) and _all_networks(other):
        return merged
    if _all_networks(one) or _all_networks(other):
        return replace(merged, inbound_roamers=False, home=other.home if _all_networks(one) else one.home)
    home = tuple(network for network in one.home if network in other.home)
    # No network at all can't be said by `home`, where nothing stands for all.
    return replace(merged, inbound_roamers=False, home=home, state=merged.state if home else "suspended")


def _stricter_measures(ones: Sequence[Measure], others: Sequence[Measure]) -> tuple[Measure, ...]:
    """The first's measures as far as the second has them as fine; a measure is counted as its epoch began it."""
    there = {measure.name: measure for measure in others}
    return tuple(
        replace(measure, share=min(measure.share, other.share))
        for measure in ones
        if (other := there.get(measure.name)) is not None and not _coarser(other, measure)
    )


def _coarser(one: Measure, other: Measure) -> bool:
    """Does the first tell less, or something else, than the second?"""
    if one.statistic != other.statistic:
        return True
    return one.pane_ms > other.pane_ms or (one.level == "parent" and other.level == "zone")


def home_codes(plan: Plan) -> frozenset[str]:
    """The deployment's own country codes: those of the cells in its plan."""
    return frozenset(cell.cell[:3] for cell in plan.cells)


class Told(NamedTuple):
    """What a release may tell in an epoch.

    Attributes:
        epoch: with the budget, k and measures that hold now: a measure that isn't in it any more is withdrawn.
        withheld: why nothing may be told at all; empty if something may.
        quiet_ms: until then (ms) people may be counted whom the rules no longer allow: see `quiet`.
        excluded: kinds of zones where nobody is counted now.
    """

    epoch: Epoch
    withheld: str
    quiet_ms: int
    excluded: frozenset[str] = frozenset()

    def quiet(self, measure: Measure, end_ms: int) -> bool:
        """Is the measure's pane to `end_ms` withheld, since people may be in it whom the rules no longer allow?

        Who is present is so at its end; what happens, such as a stay that ends by silence, is of all of it.
        """
        return end_ms <= self.quiet_ms or (not measure.of_presence and end_ms - measure.pane_ms < self.quiet_ms)


def closed(rules: Rulebook, home: frozenset[str]) -> str:
    """Why nothing may be told of a deployment with these country codes; empty if something may."""
    policies = by_code(rules)
    shut = {mcc: policies.get(mcc) for mcc in sorted(home) if not usable(policies.get(mcc), rules.purpose)}
    names = dict.fromkeys(policy.country if policy else mcc for mcc, policy in shut.items())
    return f"{', '.join(names)} may not be counted" if shut else ""


def told(epoch: Epoch, base: Rulebook, since: Sequence[Taken], home: frozenset[str]) -> Told:
    """What holds of an epoch that was made by the rules `base`, after the entries since."""
    books = [base, *(taken.entry.rules for taken in since)]
    merged = in_force(books)
    withheld = closed(merged, home)
    # Until a fresh salt holds nobody has a pseudonym: people would seem to leave. From then on the crowd shuts.
    fresh_ms = [
        epoch.end_ms if taken.entry.from_ms is UNSET else taken.entry.from_ms
        for taken in since
        if taken.entry.action == "rotate" and epoch.start_ms <= taken.time_ms < epoch.end_ms
    ]
    if max(fresh_ms, default=0) >= epoch.end_ms:
        withheld = withheld or "the epoch's salt was destroyed"
    tightened = _tightened(epoch, merged) if since else epoch
    return Told(tightened, withheld, max([_quiet_ms(epoch, books, since), *fresh_ms]), limits(merged).excluded)


def _tightened(epoch: Epoch, merged: Rulebook) -> Epoch:
    bound = limits(merged)
    names = {measure.name: measure for measure in merged.measures}
    measures = tuple(
        replace(measure, share=min(measure.share, names[measure.name].share))
        for measure in epoch.measures
        if measure.name in names
    )
    epsilon, delta = min(bound.epsilon, epoch.epsilon), min(bound.delta, epoch.delta)
    changed = (epsilon, delta) != (epoch.epsilon, epoch.delta)
    rho = min(epoch.rho, rho_within(epsilon, delta, bool(epoch.keyed))) if changed else epoch.rho
    return replace(epoch, epsilon=epsilon, delta=delta, rho=rho, k=max(bound.k, epoch.k), measures=measures)


def _quiet_ms(epoch: Epoch, books: Sequence[Rulebook], since: Sequence[Taken]) -> int:
    """Until when somebody may still be present who was counted before an entry that shuts them out.

    The last row of them is of a record from before the entry took effect, at most `AHEAD_MS` ahead of it, and is
    present for the silence after that.
    """
    states = [in_force(books[: number + 1]) for number in range(len(books))]
    times = [
        taken.time_ms
        for (before, after), taken in zip(pairwise(states), since, strict=True)
        if _shuts_out(before, after)
    ]
    return max(times) + EFFECT_MS + AHEAD_MS + epoch.silence_ms if times else 0


def _shuts_out(before: Rulebook, after: Rulebook) -> bool:
    policies, purpose = by_code(after), before.purpose
    counted = {mcc: policy for mcc, policy in by_code(before).items() if usable(policy, purpose)}
    if not counted:
        return False
    if not limits(after).excluded <= limits(before).excluded and active(after):
        return True
    return any(
        not usable(policies.get(mcc), purpose) or _admits(policies[mcc]) != _admits(policy)
        for mcc, policy in counted.items()
    )


def _admits(policy: Policy) -> tuple[object, ...]:
    return policy.basis, policy.minimum_age, _all_networks(policy), frozenset(policy.home)
