"""What a configuration gives, in plain words: for whoever answers for it, and need not know the mathematics."""

from collections.abc import Iterator

from schemas.measures import AREAS, MOST_PAIRS, PAIRED
from schemas.plan import Plan
from schemas.policy import Rulebook
from streams.core.rules.accuracy import LEVELS, Explanation, Gives, Guarantee, explain

WHAT = {
    "present": "people present at the pane's end",
    "present_cohort": "people present, by age band and gender",
    "arrivals": "people who arrive",
    "trips": "trips from one place to another",
    "dwell": "how long people were there who have left, by length",
    "visits": "first, second and later visits of the day",
    "travel_times": "trips that ended there, by the minutes that they took",
    "travel_times_by_pair": "trips from one place to another, by the minutes that they took",
    "passes": "people who passed a place, by where they were next",
    "home": "people who came for the first time of the day, after the morning, by the district where they live",
    "work": "people who came for the first time of the day, in the evening, by the district where they work",
}


def explanation(rules: Rulebook, plan: Plan | None, confidence: float) -> Explanation:
    """What the rules give, with the plan's sizes if there is one."""
    zones, parents = (None, None) if plan is None else (len(plan.zones), len(plan.parents))
    return explain(rules, zones, parents, confidence)


def words(found: Explanation) -> Iterator[str]:
    """Line by line."""
    who = ", ".join(found.countries)
    yield f"purpose {found.purpose}: " + (f"counted are subscribers of {who}" if who else "nobody may be counted")
    yield f"a number is told if it stands for at least {found.k} people, with {found.confidence:.0%} confidence"
    for gives in found.measures:
        yield ""
        yield from _measure(gives)
    yield ""
    if found.left_out:
        yield f"not told for {found.purpose}: {', '.join(found.left_out)}"
    if found.kept_back > 0:
        yield f"{found.kept_back:.0%} of the day's budget (epsilon {found.epsilon:g}) is kept back"
    yield from _guarantee(found.day, "one person's day, over all these numbers together")
    yield from _guarantee(found.week, "a week of someone who does the same each day")
    yield f"topics {', '.join(found.topics)}; scopes {', '.join(found.scopes)}"


def _measure(gives: Gives) -> Iterator[str]:
    places = "district" if gives.level == "parent" else "zone"
    where = f"by pair of {places}s" if gives.statistic in PAIRED else f"by {places}"
    keys = f", {gives.keys:,} numbers each time" if gives.keys is not None else ""
    yield f"{gives.measure}: {WHAT[gives.statistic]}, {where}, every {gives.pane_min} min{keys}"
    yield f"  one person adds at most {gives.at_most} a day; {gives.share:.0%} of the budget, rho {gives.rho:.5f}"
    yield f"  noise: standard error {gives.noise:.1f} on {_noised(gives)}"
    yield f"  told from about {gives.told_from:,.0f} people on"
    shown = ", ".join(f"{_percent(gives.error[people])} at {people:,}" for people in LEVELS)
    alone = ", ".join(f"{_percent(gives.error_of_noisy[people])}" for people in LEVELS)
    yield f"  expected error of the estimate (median): {shown} people; of a single noisy number {alone}"


def _noised(gives: Gives) -> str:
    """Which numbers get noise. Without a plan it isn't known how many pairs of places there are."""
    if gives.threshold is not None:
        return f"every pair that occurs; of these, those below {gives.threshold:,} are left out, as are all others"
    if gives.statistic in (*PAIRED, *AREAS) and gives.keys is None:
        return f"every number, zeros too (beyond {MOST_PAIRS:,} pairs: on those that occur, and small numbers left out)"
    return "every number, zeros too"


def _guarantee(given: Guarantee, what: str) -> Iterator[str]:
    yield f"{what}: epsilon {given.epsilon:.2f} at delta {given.delta:g} (rho {given.rho:.4f})"
    yield (
        f"  whoever tests whether a person was in the data: AUC at most {given.auc_bound:.3f} (0.5 is a guess), "
        f"advantage at most {given.advantage_bound:.1%}"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"
