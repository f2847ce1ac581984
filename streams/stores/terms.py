"""What a new epoch is to hold, from the settings, the rules in force and the zone plan."""

from collections.abc import Collection

from schemas.access import measures_for
from schemas.plan import Plan
from schemas.policy import Rulebook
from streams.core.epochs import Terms
from streams.core.release.budget import rho_within
from streams.core.rules.rules import active, limits
from streams.errors import ThrongError
from streams.settings import Settings


def terms_of(
    settings: Settings,
    plan: Plan,
    rules: Rulebook,
    targets: int,
    sources: int,
    registry: Collection[int] = (),
    audit: str = "",
) -> Terms:
    """What the next epochs hold. Of several active policies the strictest k and budget count for all.

    Args:
        targets: partitions of `sightings`. sources: partitions of `attach`. registry: sources of the registry
            that hold the watermark. audit: hash of the audit log that the rules are from.
    """
    strictest = limits(rules)
    measures = measures_for(rules.purpose, rules.measures)
    keyed = any(measure.keys_from_data(len(plan.zones), len(plan.parents)) for measure in measures)
    return Terms(
        timezone=settings.epoch.timezone or plan.timezone,
        change_hour=settings.epoch.change_hour,
        partitions=targets,
        plan=plan.hash(),
        zones=len(plan.zones),
        parents=len(plan.parents),
        measures=measures,
        epsilon=strictest.epsilon,
        delta=strictest.delta,
        rho=rho_within(strictest.epsilon, strictest.delta, keyed),
        k=strictest.k,
        policy=",".join(policy.country for policy in active(rules)),
        sources=(*range(sources), *sorted(registry)),
        lateness_ms=settings.epoch.lateness_ms,
        tick_ms=settings.epoch.tick_ms,
        purpose=rules.purpose,
        audit=audit,
        stay_ms=settings.epoch.stay_ms,
        seen_ms=settings.epoch.seen_ms,
        ping_pong_ms=settings.epoch.ping_pong_ms,
        jump_m_s=settings.epoch.jump_m_s,
        jump_m=settings.epoch.jump_m,
    )


def refuse_nothing(rules: Rulebook) -> None:
    """Refuse rules by which nobody may be counted: a replay of a recording would be of nothing.

    Raises:
        ThrongError: `policy`.
    """
    if not active(rules):
        raise ThrongError("policy", "every policy is suspended: there is nothing that may be counted")
