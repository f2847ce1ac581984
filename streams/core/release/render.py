"""From estimates to released records: the threshold stands here, once, for all measures.

In: a measure's estimates for all keys of a pane. Out: the records to publish. A number is told only if the estimate
less the confidence's quantile of standard errors is at least k; else its zone speaks through its parent, if that is
told.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from statistics import NormalDist
from typing import Any, NamedTuple, NotRequired, TypedDict

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.cohorts import COHORTS, cohort_name
from schemas.epochs import Epoch
from schemas.ledger import Publication
from schemas.lengths import TRAVEL_TIMES, UNKNOWN, Bucket
from schemas.measures import PAIRED, Level, Measure
from schemas.plan import Places, Plan
from schemas.released import FLOWS_SCHEMA, FOOTFALL_SCHEMA, Flow, FlowSummary, Footfall, Released
from schemas.topics import FLOWS, FOOTFALL
from streams.core.estimates.factors import Corrected, DayFactors, Factors, factors_of, hour_of
from streams.core.estimates.rollup import added
from streams.core.estimates.view import View, Views, of_plan
from streams.core.estimates.weights import TripWeights, Weights, weights_of
from streams.core.times import rfc3339

TWO_SIDED_95 = NormalDist().inv_cdf(0.975)


class Estimates(NamedTuple):
    """One value a key: what was drawn (i64), the estimate and its standard error (f64). `weighted`: see `weights`;
    `corrected`: see `factors`."""

    noisy: NDArray[np.int64]
    mean: NDArray[np.float64]
    se: NDArray[np.float64]
    weighted: bool = False
    corrected: Corrected | None = None

    def each(self, change: Callable[[NDArray[Any]], NDArray[Any]]) -> "Estimates":
        """With every array changed alike."""
        corrected = None if self.corrected is None else self.corrected.each(change)
        return Estimates(change(self.noisy), change(self.mean), change(self.se), self.weighted, corrected)

    def summed(self, add: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> "Estimates":
        """Sums of them: what was drawn apart adds up in squares."""
        corrected = None if self.corrected is None else self.corrected.summed(add)
        noisy = add(self.noisy.astype(np.float64)).astype(np.int64)
        return Estimates(noisy, add(self.mean), np.sqrt(add(self.se**2)), self.weighted, corrected)


class Pane(NamedTuple):
    """What the records say of themselves. `rho`: cost of the measure; `window_ms`: the pane's length; `covered`: share
    of the network."""

    epoch: Epoch
    end_ms: int
    window_ms: int
    rho: float
    covered: float = 1.0


class Numbers(TypedDict):
    """An estimate as records say it."""

    weighted: bool
    calibrated: bool
    noisy: int
    estimate: float
    se: float
    low: float
    high: float
    view_se: NotRequired[float]


class Common(TypedDict):
    """What every record says of itself."""

    start: str
    end: str
    window_s: int
    epsilon: float
    rho: float
    k: int
    covered: float
    complete: bool
    plan: str
    policy: str
    purpose: str


class Page:
    """Renders the records of one deployment: its places, the confidence of being at least k, the network's view by
    measure, where it is known, and the plan's weights. `excluded`: kinds of zones where nobody is counted."""

    def __init__(
        self, plan: Plan, confidence: float, views: Views | None = None, excluded: Collection[str] = ()
    ) -> None:
        self.weights = weights_of(plan, excluded)
        self.views = of_plan(views or {}, self.weights is not None)
        self.zones = [zone.id for zone in plan.zones]
        self.parents = [parent.id for parent in plan.parents]
        self.parent_of = np.array(plan.zone_parents(), np.int64)
        # How much the noise of a district's sum is beyond that of one zone.
        self.district_norms = (
            np.sqrt(self.added(np.ones(len(self.zones))))
            if self.weights is None
            else self.weights.people.norms_of(self.parent_of, len(self.parents))
        )
        self._quantile = NormalDist().inv_cdf(confidence)
        self._plan = plan
        self._closed = frozenset(zone.id for zone in plan.zones if zone.kind in excluded)
        self._nobody_in = np.array([zone.id in self._closed for zone in plan.zones])
        self._factors: dict[Measure, DayFactors | None] = {}

    def without_closed(self, said: Iterable[Publication]) -> Iterator[Publication]:
        """What may be said: nothing of zones where nobody is counted, of which all that was drawn is noise."""
        shut = {zone.encode() for zone in self._closed}
        return (publication for publication in said if publication.key not in shut)

    def nobody_of(self, measure: Measure) -> NDArray[np.bool_]:
        """Of which of the measure's public keys nobody is counted, bool[keys]."""
        nobody, parents = self._nobody_in, len(self._plan.parents)
        if measure.level == "parent":
            return np.zeros(measure.keys(len(nobody), parents), np.bool_)
        if measure.statistic in PAIRED:
            nobody = (nobody[:, None] | nobody).reshape(-1)
        return np.repeat(nobody, measure.parts(parents))

    def factors_for(self, measure: Measure, end_ms: int) -> Factors | None:
        """The plan's factors of the measure's pane that ends then, if it has any."""
        if measure not in self._factors:
            self._factors[measure] = factors_of(self._plan, measure)
        of = self._factors[measure]
        return None if of is None else of.at(hour_of(measure.pane_ms, end_ms, self._plan.timezone))

    def weights_for(self, measure: Measure) -> Weights | TripWeights | None:
        """The plan's weights, if the measure's counts are weighted."""
        return None if self.weights is None else self.weights.of(measure)

    def added(self, zones: NDArray[np.float64]) -> NDArray[np.float64]:
        """The districts' sums of what the zones have along the first axis."""
        return added(zones, self.parent_of, len(self.parents))

    def places(
        self, measure: str, pane: Pane, zones: Estimates, parents: Estimates | None = None
    ) -> Iterator[Publication]:
        """A record for every zone, told or suppressed, and for every district if there are estimates of them."""
        said, k = common(pane), pane.epoch.k
        told = self.numbers(zones, k, measure)
        parents_told = {} if parents is None else self.numbers(parents, k, measure)
        for number, parent in enumerate(self.parent_of.tolist()):
            through = {"speaks_through": self.parents[parent]} if parent in parents_told else {}
            more = {"suppressed": False, **told[number]} if number in told else {"suppressed": True, **through}
            yield _place(measure, "zone", self.zones[number], said, more)
        for number, district in enumerate(self.parents if parents is not None else ()):
            more = {"suppressed": number not in parents_told, **parents_told.get(number, {})}
            yield _place(measure, "parent", district, said, more)

    def cohorts(self, measure: str, pane: Pane, keys: Estimates) -> Iterator[Publication]:
        """A record for every zone, age band and gender that can be told."""
        said = common(pane)
        for key, found in self.numbers(keys, pane.epoch.k, measure).items():
            band, gender = cohort_name(key % COHORTS)
            more = {"suppressed": False, "age_band": band, "gender": gender, **found}
            yield _place(measure, "zone", self.zones[key // COHORTS], said, more)

    def flows(
        self, measure: Measure, pane: Pane, keys: Estimates, pairs: NDArray[np.uint32] | None = None
    ) -> Iterator[Publication]:
        """A record for every pair that can be told, and a summary. `pairs`: which the keys are, unless all in order."""
        places = self.zones if measure.level == "zone" else self.parents
        said, published, parts = common(pane), 0, measure.parts(len(self.parents))
        for key, found in self.numbers(keys, pane.epoch.k, measure.name).items():
            pair, part = divmod(key if pairs is None else int(pairs[key]), parts)
            origin, destination = places[pair // len(places)], places[pair % len(places)]
            if measure.level == "zone" and (origin in self._closed or destination in self._closed):
                continue
            published += 1
            flow = Flow(
                schema=FLOWS_SCHEMA,
                measure=measure.name,
                level=measure.level,
                origin=origin,
                destination=destination,
                **(length("band", TRAVEL_TIMES[part], part == UNKNOWN) if parts > 1 else {}),
                **found,
                **said,
            )
            yield publication(FLOWS, flow.origin, flow)
        summary = FlowSummary(
            schema=FLOWS_SCHEMA,
            measure=measure.name,
            level=measure.level,
            published_pairs=published,
            suppressed_pairs=measure.keys(len(self.zones), len(self.parents)) - published,
            **said,
        )
        yield publication(FLOWS, measure.name, summary)

    def shut(self, measure: Measure, pane: Pane) -> Iterator[Publication]:
        """What is said of a pane that can't be counted whole because state was lost: all is suppressed."""
        if measure.statistic in PAIRED:
            yield self._no_flows(measure, pane)
            return
        yield from self._untold(measure.name, "zone", self.zones, pane)
        if measure.statistic == "present":
            yield from self._untold(measure.name, "parent", self.parents, pane)
        if measure.statistic == "arrivals":
            yield from self.untold("footfall", pane, lost=True)
            yield from self.untold("departures", pane, lost=True)

    def untold(self, measure: str, pane: Pane, lost: bool) -> Iterator[Publication]:
        """The windows' footfall and departures where arrivals, or who was present, can't be told. `lost`: because state
        was, and not because the rules forbade it."""
        yield from self._untold(measure, "zone", self.zones, pane, lost)

    def _untold(
        self, measure: str, level: Level, places: Sequence[str], pane: Pane, lost: bool = True
    ) -> Iterator[Publication]:
        said = incomplete(pane)
        for place in places:
            yield _place(measure, level, place, said, {"suppressed": True, "state_lost": lost})

    def _no_flows(self, measure: Measure, pane: Pane) -> Publication:
        summary = FlowSummary(
            schema=FLOWS_SCHEMA,
            measure=measure.name,
            level=measure.level,
            published_pairs=0,
            suppressed_pairs=measure.keys(pane.epoch.zones, pane.epoch.parents),
            state_lost=True,
            **incomplete(pane),
        )
        return publication(FLOWS, measure.name, summary)

    def told(self, estimates: Estimates, k: int) -> NDArray[np.bool_]:
        """Which of them are surely at least k people, as told and as counted."""
        surely = estimates.mean - self._quantile * estimates.se >= k
        if estimates.corrected is not None:
            surely &= estimates.corrected.mean - self._quantile * estimates.corrected.se >= k
        return np.asarray(surely)

    def numbers(self, estimates: Estimates, k: int, measure: str | None = None) -> dict[int, Numbers]:
        """What records say of those that are told, by key, with the view of the measure if one is named."""
        view = None if measure is None else self.views.get(measure)
        return _numbers(estimates, np.flatnonzero(self.told(estimates, k)), view)


class Pages:
    """The page of each epoch: its plan's, with the rules' zones. `plan_of` may raise where it isn't at hand."""

    def __init__(self, plan_of: Callable[[Epoch], Plan], confidence: float, views: Views | None = None) -> None:
        self._plan_of = plan_of
        self._confidence = confidence
        self._views = views
        self._pages: dict[tuple[str, frozenset[str]], Page] = {}

    def check(self, epoch: Epoch) -> None:
        """Raise what `plan_of` does where the epoch's plan isn't at hand."""
        self._plan_of(epoch)

    def places(self, epoch: Epoch) -> Places:
        """What consumers may know of the places that an epoch's records tell of."""
        return self._plan_of(epoch).places()

    def of(self, epoch: Epoch, excluded: frozenset[str] = frozenset()) -> Page:
        """The page of an epoch's plan, where nobody is counted in zones of these kinds."""
        if (epoch.plan, excluded) not in self._pages:
            made = Page(self._plan_of(epoch), self._confidence, self._views, excluded)
            self._pages[epoch.plan, excluded] = made
        return self._pages[epoch.plan, excluded]


def _numbers(estimates: Estimates, keys: NDArray[np.intp], view: View | None) -> dict[int, Numbers]:
    """Of each of these keys. A pane has tens of thousands: all is worked out by the column."""
    mean, se = estimates.mean[keys], estimates.se[keys]
    corrected = None if estimates.corrected is None else estimates.corrected.each(itemgetter(keys))
    reach = TWO_SIDED_95 * se
    columns = [_rounded(np.maximum(column, 0.0)) for column in (mean, mean - reach, mean + reach)]
    calibrated = [False] * len(keys) if corrected is None else (corrected.times > 0).tolist()
    noisy, weighted = estimates.noisy[keys].tolist(), estimates.weighted
    found: dict[int, Numbers] = {
        key: {
            "weighted": weighted,
            "calibrated": by_factor,
            "noisy": drawn,
            "estimate": estimate,
            "se": error,
            "low": low,
            "high": high,
        }
        for key, by_factor, drawn, error, estimate, low, high in zip(
            keys.tolist(), calibrated, noisy, _rounded(se), *columns, strict=True
        )
    }
    if view is not None:
        of_view = view.se(mean) if corrected is None else view.corrected_se(mean, corrected)
        for said, error in zip(found.values(), _rounded(of_view), strict=True):
            said["view_se"] = error
    return found


def _rounded(column: NDArray[np.float64]) -> list[float]:
    return [round(number, 1) for number in column.tolist()]


def _place(measure: str, level: Level, zone: str, said: Common, more: Mapping[str, Any]) -> Publication:
    """A record of people in a place. `more`: what it says beside what all of the pane do."""
    record = Footfall(schema=FOOTFALL_SCHEMA, measure=measure, level=level, zone=zone, **more, **said)
    return publication(FOOTFALL, zone, record)


def length(field: str, length: Bucket, endless: bool) -> dict[str, Any]:
    """A length of time as records say it. `endless`: it has a name alone."""
    name, from_min, to_min = length
    return {field: name} if endless else {field: name, "from_min": from_min, "to_min": to_min}


def common(pane: Pane) -> Common:
    """What every record of the pane says."""
    epoch = pane.epoch
    return {
        "start": rfc3339(pane.end_ms - pane.window_ms),
        "end": rfc3339(pane.end_ms),
        "window_s": pane.window_ms // 1000,
        "epsilon": epoch.epsilon,
        "rho": round(pane.rho, 9),
        "k": epoch.k,
        "covered": pane.covered,
        "complete": pane.end_ms >= epoch.opens_ms + epoch.silence_ms,
        "plan": epoch.plan,
        "policy": epoch.policy,
        "purpose": epoch.purpose,
    }


def incomplete(pane: Pane) -> Common:
    """The same of a pane that can't be counted whole."""
    return {**common(pane), "complete": False}


def publication(topic: str, key: str, record: Released) -> Publication:
    """A record as the ledger keeps it."""
    return Publication(topic, key.encode(), msgspec.json.encode(record))
