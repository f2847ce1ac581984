"""What a new epoch is to hold, from the settings, the policies and the zone plan."""

from collections.abc import Collection, Sequence

from schemas.measures import DEFAULT_MEASURES
from schemas.plan import Plan
from schemas.policy import Policy
from streams.core.budget import rho_for
from streams.core.epochs import Terms
from streams.errors import ThrongError
from streams.settings import Settings


def terms_of(
    settings: Settings,
    plan: Plan,
    policies: Sequence[Policy],
    targets: int,
    sources: int,
    registry: Collection[int] = (),
) -> Terms:
    """What the next epochs hold. Of several active policies the strictest k and budget count for all.

    Args:
        targets: partitions of `sightings`. sources: partitions of `attach`. registry: sources of the registry
            that hold the watermark.

    Raises:
        ThrongError: `policy` if all are suspended.
    """
    active = [policy for policy in policies if policy.state == "active"]
    if not active:
        raise ThrongError("policy", "every policy is suspended: there is nothing that may be counted")
    epsilon, delta = min(p.epsilon for p in active), min(p.delta for p in active)
    return Terms(
        timezone=settings.epoch.timezone or plan.timezone,
        change_hour=settings.epoch.change_hour,
        partitions=targets,
        plan=plan.hash(),
        zones=len(plan.zones),
        parents=len(plan.parents),
        measures=DEFAULT_MEASURES,
        epsilon=epsilon,
        delta=delta,
        rho=rho_for(epsilon, delta),
        k=max(policy.k for policy in active),
        policy=",".join(policy.country for policy in active),
        sources=(*range(sources), *sorted(registry)),
        lateness_ms=settings.epoch.lateness_ms,
        tick_ms=settings.epoch.tick_ms,
    )
