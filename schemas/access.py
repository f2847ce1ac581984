"""What a purpose allows: which statistics, which topics, which scopes of an API. The one place that says so.

A deployment runs for one purpose: its consent, its measures and its released topics are that purpose's, every released
record names it, and only that purpose's consumers may read them. Several purposes are several deployments (namespaces),
each with consent of its own, so no number is ever used for another purpose than the one it was counted for.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from schemas.measures import Measure, Statistic
from schemas.policy import Purpose
from schemas.topics import (
    AREAS,
    ATTACH,
    AUDIT,
    DWELL,
    EPOCHS,
    FLOWS,
    FOOTFALL,
    LEDGER,
    OUTLOOK,
    PANES,
    PUBLISHED,
    REGISTRY,
    REJECTS,
    RELEASED,
    SALTS,
    SIGHTINGS,
    VISITS,
)

COUNTS: Final[tuple[Statistic, ...]] = (
    *("present", "arrivals", "trips", "dwell"),
    *("travel_times", "travel_times_by_pair", "passes"),
)
OF_PERSONS: Final[tuple[Statistic, ...]] = ("present_cohort", "visits", "home", "work")
STATISTICS: Final[Mapping[Purpose, tuple[Statistic, ...]]] = {
    "market_research": (*COUNTS, *OF_PERSONS),
    "marketing": (*COUNTS, *OF_PERSONS),
    # Who steers traffic or informs the public needs no one's age and gender, nor how often somebody came, nor from what
    # home or work.
    "traffic": COUNTS,
    "public": COUNTS,
}
RELEASED_BY: Final[Mapping[Statistic, str]] = {
    "present": FOOTFALL,
    "arrivals": FOOTFALL,
    "present_cohort": FOOTFALL,
    "trips": FLOWS,
    "dwell": DWELL,
    "visits": VISITS,
    "travel_times": FLOWS,
    "travel_times_by_pair": FLOWS,
    "passes": FLOWS,
    "home": AREAS,
    "work": AREAS,
}
SCOPE_OF: Final[Mapping[Statistic, str]] = {
    "present": "footfall:read",
    "arrivals": "footfall:read",
    "present_cohort": "cohorts:read",
    "trips": "flows:read",
    "dwell": "dwell:read",
    "visits": "visits:read",
    "travel_times": "flows:read",
    "travel_times_by_pair": "flows:read",
    "passes": "flows:read",
    "home": "areas:read",
    "work": "areas:read",
}


def measures_for(purpose: Purpose, measures: Sequence[Measure]) -> tuple[Measure, ...]:
    """Those that the purpose allows."""
    return tuple(measure for measure in measures if measure.statistic in STATISTICS[purpose])


def topics_for(purpose: Purpose) -> tuple[str, ...]:
    """The released topics that the purpose's consumers read, and what follows from those that they may read."""
    released = tuple(dict.fromkeys(RELEASED_BY[statistic] for statistic in STATISTICS[purpose]))
    return (*released, OUTLOOK) if "present" in STATISTICS[purpose] else released


def scopes_for(purpose: Purpose) -> tuple[str, ...]:
    """The scopes that a token of the purpose's consumers may hold, each for this purpose alone."""
    return tuple(dict.fromkeys(f"{purpose}:{SCOPE_OF[statistic]}" for statistic in STATISTICS[purpose]))


class Rights(NamedTuple):
    """What a role does with topics, by name."""

    reads: tuple[str, ...]
    writes: tuple[str, ...]
    deletes: tuple[str, ...] = ()


# The network's collectors and the operator's consent system are producers; `operator` runs policy, topics and audit.
# `trimmer` shortens the ledger. It is not the operator's: Kafka's Delete lets delete a whole topic too, and who may do
# that and create it again could have all drawn anew.
ROLES: Final[Mapping[str, Rights]] = {
    "network": Rights((), (ATTACH,)),
    "consent": Rights((), (REGISTRY,)),
    "gateway": Rights(
        (ATTACH, REGISTRY, EPOCHS, SALTS, AUDIT), (ATTACH, REGISTRY, SIGHTINGS, REJECTS, EPOCHS, SALTS, AUDIT)
    ),
    "crowd": Rights((SIGHTINGS, EPOCHS), (PANES,)),
    # What was told it reads to see that its ledger is as new.
    "release": Rights((PANES, EPOCHS, LEDGER, AUDIT, *RELEASED), (LEDGER, *PUBLISHED)),
    # And the released topics of the purpose (`topics_for`).
    "api": Rights((EPOCHS, AUDIT), ()),
    "operator": Rights((AUDIT, EPOCHS), (AUDIT, SIGHTINGS)),
    "trimmer": Rights((LEDGER,), (), (LEDGER,)),
}
# Groups of their workers; others read without one.
GROUPED: Final = ("gateway", "crowd", "release")
OPERATOR: Final = "operator"
API: Final = "api"
