"""Evidence: counts on site side by side with what was released of the same places and panes.

A pane of a place that was counted on site is told, or withheld, or not known: not known is what was released under
another plan, or when state was lost or not everyone had been heard, or what the records at hand are not about. Of pairs
that a pane's summary is there for, and of parts of a place that has its own record, those that are not there were
withheld.

In: counts on site, and released records in any order, repeats too. Out: each measure's evidence, in its keys.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from schemas.measures import Measure
from schemas.plan import Correction, Plan
from schemas.released import Dwell, Flow, FlowSummary, Footfall, Visits
from streams.core.calibration.calibration import ALIKE, BY_ITSELF, Erring, Evidence, Told, told_from
from streams.core.estimates.factors import factors_of, hour_of, key_of, of_estimates, part_names, place_numbers
from streams.core.estimates.weights import weights_of
from streams.core.times import milliseconds

Record = Flow | FlowSummary | Dwell | Visits | Footfall


class OnSite(NamedTuple):
    """People counted on site in a pane: of a flow who went from `place` to `destination`; `part` as in `Correction`."""

    measure: str
    place: str
    destination: str
    part: str
    start_ms: int
    end_ms: int
    people: float


class Paired(NamedTuple):
    """A measure's counts on site that were released, and how many were not. `erring`: how."""

    evidence: Evidence
    told: Told | None
    unknown: int
    erring: Erring = BY_ITSELF


class _Number(NamedTuple):
    noisy: float
    estimate: float
    se: float
    k: int


class Pairing:
    """Takes released records up, one by one, for counts on site of one measure."""

    def __init__(self, measure: Measure, plan: Plan, counts: Iterable[OnSite]) -> None:
        self._measure = measure
        self._plan, self._timezone = plan.hash(), plan.timezone
        self._places = place_numbers(plan, measure)
        self._parts = len(part_names(measure))
        self._factors = factors_of(plan, measure)
        weights = weights_of(plan)
        self._estimates = of_estimates(measure, weights is not None and weights.of(measure) is not None)
        self._counts = {(self._key(each), each.start_ms, each.end_ms): each.people for each in counts}
        self._known: set[tuple[int, int, int]] = set()
        self._numbers: dict[tuple[int, int, int], _Number] = {}
        self._told: dict[tuple[int, int, int], tuple[float, float]] = {}
        self._k = 0

    def _key(self, of: OnSite) -> int:
        key = key_of(self._measure, self._places, Correction(of.measure, of.place, 1.0, 0.0, of.destination, of.part))
        assert key is not None
        return key

    def take(self, record: Record) -> None:
        """Take a record up; one of another measure, level or plan says nothing."""
        ours = record.measure == self._measure.name and record.level == self._measure.level
        whole = record.complete and record.covered == 1 and not record.state_lost
        if not ours or record.plan != self._plan or not whole:
            return
        pane = milliseconds(record.start), milliseconds(record.end)
        if isinstance(record, FlowSummary):
            self._known.add((-1, *pane))
            return
        if isinstance(record, Flow):
            if record.band is None:
                pair = self._places[record.origin] * len(self._places) + self._places[record.destination]
                self._number(record, pair, pane)
            return
        place = self._places[record.zone]
        if isinstance(record, Footfall):
            self._known.add((place, *pane))
            self._number(record, place, pane)
            return
        part = record.bucket if isinstance(record, Dwell) else record.visit
        if part is None:
            self._known.add((place, *pane))
        else:
            self._number(record, place * self._parts + part_names(self._measure).index(part), pane)

    def _number(self, record: Flow | Dwell | Visits | Footfall, key: int, pane: tuple[int, int]) -> None:
        if record.noisy is None or record.estimate is None or record.se is None:
            return
        factor = 1.0
        if self._factors is not None:
            of = self._factors.at(self._hour(pane))
            factor = float(of.put_on(np.ones(1), np.ones(1), np.array([key]))[0][0])
        estimate = record.estimate / factor
        number = _Number(estimate if self._estimates else float(record.noisy), estimate, record.se / factor, record.k)
        self._k = max(self._k, record.k)
        self._told[(key, *pane)] = (number.estimate, number.se)
        if (key, *pane) in self._counts:
            self._numbers[(key, *pane)] = number

    def paired(self) -> Paired:
        """What has come together."""
        known = [at for at in self._counts if at in self._numbers or self._heard(at)]
        numbers = [self._numbers.get(at, _Number(0.0, 0.0, 1.0, 0)) for at in known]
        evidence = Evidence(
            np.array([at[0] for at in known], np.int64),
            np.array([self._counts[at] for at in known], np.float64),
            np.array([at in self._numbers for at in known], np.bool_),
            np.array([number.noisy for number in numbers], np.float64),
            np.array([number.se for number in numbers], np.float64),
            np.array([self._hour((start_ms, end_ms)) for _, start_ms, end_ms in known], np.int64),
        )
        told = None
        if self._told:
            estimates, se = np.array(list(self._told.values()), np.float64).T
            told = told_from(self._k, estimates, se)
        return Paired(evidence, told, len(self._counts) - len(known), ALIKE if self._estimates else BY_ITSELF)

    def _hour(self, pane: tuple[int, int]) -> int:
        start_ms, end_ms = pane
        return hour_of(end_ms - start_ms, end_ms, self._timezone)

    def _heard(self, at: tuple[int, int, int]) -> bool:
        """Was it withheld? Then the pane's summary, or the place's own record, is there."""
        key, *pane = at
        place = -1 if self._measure.statistic == "trips" else key // self._parts
        return (place, *pane) in self._known
