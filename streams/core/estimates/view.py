"""The network's view: how far those counted are likely from those truly there. Post-processing: it costs no budget.

A phone at a place's border is served by the neighbour's cell, and an idle one is seen late; no noise is to blame, and
no standard error of the filter knows it. What is told beside that one is a standard error of its own, by measure and
number of people: `share` of them, as whole places are seen too large or too small, and `apart`, a variance a head, as
people at a border are taken for the neighbour's each on their own. Both together are

    sqrt((share x people)^2 + apart x people)

In: an estimate. Out: that. Errors of this kind have long tails (most places are seen well, some at all times badly), so
it is what makes 95 % intervals cover, and more than the half of them err.
"""

from collections.abc import Mapping
from typing import Annotated, Final

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from streams.core.estimates.factors import Corrected


class View(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of one measure: `share` of the people, and `apart`, a variance for each of them; and those that are left where
    counts on site have found a factor, beside the factor's own error (None: the same)."""

    share: Annotated[float, Meta(ge=0, le=1)] = 0.0
    apart: Annotated[float, Meta(ge=0, le=1000)] = 0.0
    calibrated_share: Annotated[float, Meta(ge=0, le=1)] | None = None
    calibrated_apart: Annotated[float, Meta(ge=0, le=1000)] | None = None

    def se(self, people: NDArray[np.float64]) -> NDArray[np.float64]:
        """The standard errors of the view of so many people."""
        there = np.maximum(people, 0.0)
        return np.asarray(np.sqrt((self.share * there) ** 2 + self.apart * there))

    def corrected_se(self, people: NDArray[np.float64], by: Corrected) -> NDArray[np.float64]:
        """The same where some of them, or all, were corrected; these and the others are seen apart."""
        share = self.share if self.calibrated_share is None else self.calibrated_share
        apart = self.apart if self.calibrated_apart is None else self.calibrated_apart
        others = self.se(people - by.people)
        return np.asarray(np.sqrt(View(share, apart).se(by.people) ** 2 + by.off**2 + others**2))


Views = Mapping[str, View]


def of_plan(views: Views, weighted: bool) -> Views:
    """The same, or those shipped for plans with weights."""
    return SIMULATED_WEIGHTED if weighted and views is SIMULATED else views


# By measure, of simulated towns under the radio of docs/explanation/simulator.md: `python -m validation.view` measures
# them, in other towns than those that validation judges; with factors, `--calibrated`, where plans have weights (people
# present, footfall and trips of ten towns, `--seeds 30 40`). That of dwell is of factors of the whole day, as those
# that are foretold are.
SIMULATED: Final[Views] = {
    "present": View(apart=8.2),
    "present_cohort": View(apart=0.9),
    "footfall": View(apart=10.3),
    "arrivals": View(0.218, 6.61),
    "departures": View(0.218, 6.61),
    "trips_zone": View(0.19, 2.7, 0.186, 1.41),
    "trips_parent": View(0.13, 2.2),
    "dwell": View(0.42, 2.7, 0.218, 6.61),
    "visits": View(share=0.49),
}
# The same where the plan has weights (`throng zones build --weighted`).
SIMULATED_WEIGHTED: Final[Views] = {
    **SIMULATED,
    "present": View(0.0, 4.25, 0.0, 1.13),
    "present_cohort": View(0.01, 0.47, 0.026, 0.19),
    "footfall": View(0.0, 5.3, 0.0, 2.74),
    "arrivals": View(0.158, 8.24),
    "departures": View(0.257, 4.25),
    "trips_zone": View(0.19, 2.7, 0.134, 1.76),
    "trips_parent": View(0.11, 2.2, 0.051, 2.74),
    "visits": View(0.3, 0.47, 0.0, 6.61),
}
