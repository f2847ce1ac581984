"""Foretelling: factors of places that nobody has counted, by those of places that were, and by how large each is.

A pass leaves the fewer events the smaller the place is that it goes through, so a plan that has its zones' areas knows
something of their factors; how much, the places that were counted say. Of each length of dwell the logarithms of their
factors are taken for a line over that of the area, places' own departures from it, and errors that are known: the model
of small areas of Fay and Herriot (1979, JASA 74, 269-277), whose estimate for an area without a sample is the line's.
Line and departures are drawn to none, by what `calibration` believes before any evidence, so that five places make no
steep line; how far places depart is found by expectation maximisation (Dempster, Laird and Rubin 1977). A foretold
factor's error is that of the line and the departures together.

The line is held against counts that it was not made of: each place in turn is foretold by the others (leave-one-out, in
closed form; Rasmussen and Williams 2006, section 5.4.2). If their logarithmic score (Gneiting and Raftery 2007, JASA
102, 359-378) is not better than that of no factor, by as much as a number more has to earn (Akaike 1974, IEEE TAC 19,
716-723), nothing is foretold.

In: a plan with factors of places that were counted. Out: factors of the others, and how well that goes.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.measures import Measure, Statistic
from schemas.plan import Correction, Plan
from streams.core.calibration.calibration import FEWEST_ALIKE, LEAST, MOST, SPREAD, SPREAD_WORTH
from streams.core.estimates.factors import correction_of, key_of, part_names, place_numbers

# What is foretold. Of people present, visits and trips the areas tell too little (docs/explanation/validation.md).
STATISTICS: Final[tuple[Statistic, ...]] = ("dwell",)
# So much better has the score to be, of all counted places together.
EARNED: Final = 1.0
# Twenty rounds are mostly enough for a spread to change by less than this part of it.
CLOSE: Final = 1e-12
ROUNDS: Final = 200

Floats = NDArray[np.float64]


class Line(NamedTuple):
    """Logarithms of factors over standardised numbers of places, p of them (`foretold` has one: the area's logarithm).

    Attributes:
        by: f64[1 + p], the logarithm where all are 0, and what is added for each 1 of one. error: its covariance.
        spread: standard deviation of places around it. alone, others: of the places it is made of the root mean square
            of the logarithm, and of what is left of it where the others foretell it, errors of both included.
        better: by how much the others' logarithmic score is above that of no factor, in all.
    """

    by: Floats
    error: Floats
    spread: float
    alone: float
    others: float
    better: float

    @property
    def holds(self) -> bool:
        """Are places foretold better by the others than by no factor?"""
        return self.better > EARNED

    def at(self, x: Floats) -> tuple[Floats, Floats]:
        """The logarithms at f64[n, p], and their standard errors."""
        columns = _columns(x)
        return columns @ self.by, np.sqrt(_leverage(columns, self.error) + self.spread**2)


class Foretold(NamedTuple):
    """Of one part: its name, the line (None: of too few places), how many places it is made of, and the factors."""

    part: str
    line: Line | None
    places: int
    factors: tuple[Correction, ...]


def foretold(plan: Plan, measure: Measure) -> list[Foretold]:
    """What the counted places of a plan say of the others, by part; of parts that nobody has counted nothing.

    Zones without an area, and such as no cell stands for, teach nothing and are told nothing.
    """
    counted = [each for each in plan.calibration if each.measure == measure.name and not each.foretold]
    x, known = sizes(plan)
    if measure.statistic not in STATISTICS or not known.any():
        return []
    places, names = place_numbers(plan, measure), part_names(measure)
    factors = {key: each for each in counted if (key := key_of(measure, places, each)) is not None}
    found = []
    for part, name in enumerate(names):
        keys = np.arange(len(plan.zones)) * len(names) + part
        has = np.isin(keys, list(factors)) & known
        of = [factors[key] for key in keys[has].tolist()]
        if not of:
            continue
        factor, se = np.array([(each.factor, each.se) for each in of]).T
        line = fitted(np.log(factor), se / factor, x[has, None]) if len(of) >= FEWEST_ALIKE else None
        others = np.flatnonzero(known & ~np.isin(keys, list(factors)))
        told = _told(plan, measure, keys[others], line, x[others, None]) if line is not None and line.holds else ()
        found.append(Foretold(name, line, len(of), told))
    return found


def sizes(plan: Plan) -> tuple[Floats, NDArray[np.bool_]]:
    """Of each zone the logarithm of its area, standardised over those that have one and a cell, and which these are."""
    heard = {cell.zone for cell in plan.cells}
    known = np.array([bool(zone.area_m2) and zone.id in heard for zone in plan.zones])
    area = np.log([zone.area_m2 or 1.0 for zone in plan.zones])
    if not known.any():
        return np.zeros(len(area)), known
    spread = float(area[known].std())
    return np.where(known, (area - area[known].mean()) / (spread or 1.0), 0.0), known


def fitted(logarithm: Floats, se: Floats, x: Floats) -> Line:
    """The line through logarithms with these standard errors, f64[n] each, at f64[n, p]."""
    columns = _columns(x)
    spread, error, by = _fit(logarithm, se, columns)
    variance = spread**2 + se**2
    rest = 1 - _leverage(columns, error) / variance
    left = (logarithm - columns @ by) / rest
    none = _fit(logarithm, se, columns[:, :0])[0] ** 2 + se**2
    worth = 1 / (SPREAD**2 + se**2)
    return Line(
        by,
        error,
        spread,
        float(np.sqrt(worth @ logarithm**2 / worth.sum())),
        float(np.sqrt(worth @ left**2 / worth.sum())),
        float((_score(left, variance / rest) - _score(logarithm, none)).sum()),
    )


def _fit(logarithm: Floats, se: Floats, columns: Floats) -> tuple[float, Floats, Floats]:
    """How far places depart from the line, the line's covariance, and the line."""
    spread = SPREAD**2
    for _ in range(ROUNDS):
        variance = spread + se**2
        weighted = columns / variance[:, None]
        precision = columns.T @ weighted + np.eye(columns.shape[1]) / SPREAD**2
        error: Floats = np.asarray(np.linalg.inv(precision), np.float64)
        by = error @ (weighted.T @ logarithm)
        # Of each place's departure what is expected of its square, the line's error included.
        share = spread / variance
        off = share**2 * ((logarithm - columns @ by) ** 2 + _leverage(columns, error)) + share * se**2
        before, spread = spread, (float(off.sum()) + SPREAD_WORTH * SPREAD**2) / (len(se) + SPREAD_WORTH)
        if abs(spread - before) <= CLOSE * before:
            break
    return float(np.sqrt(spread)), error, by


def _score(off: Floats, variance: Floats) -> Floats:
    return -(np.log(variance) + off**2 / variance) / 2


def _columns(x: Floats) -> Floats:
    return np.column_stack([np.ones(len(x)), x])


def _leverage(columns: Floats, error: Floats) -> Floats:
    return np.asarray(np.einsum("ij,jk,ik->i", columns, error, columns))


def _told(plan: Plan, measure: Measure, keys: NDArray[np.int64], line: Line, x: Floats) -> tuple[Correction, ...]:
    logarithm, error = line.at(x)
    factor = np.clip(np.exp(logarithm), LEAST, MOST)
    return tuple(
        correction_of(plan, measure, key, one, one * off, foretold=True)
        for key, one, off in zip(keys.tolist(), factor.tolist(), error.tolist(), strict=True)
    )
