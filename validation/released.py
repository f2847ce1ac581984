"""What is released of exact counts: noise from OpenDP and the filter over time, as RELEASE makes them.

Taken are all estimates, whether they would be told or withheld as too small: so small crowds' errors aren't flattered
by leaving out those that came out low.
"""

from collections.abc import Callable
from itertools import repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.epochs import Epoch
from schemas.measures import Measure
from streams.core.estimates.models import models_of
from streams.core.estimates.weights import PlanWeights
from streams.core.estimates.yesterday import Profile, followed
from streams.core.release.budget import rho_of, sensitivity, sigma

# As `streams.stores.noise.draw`: counts, sensitivity, scale, rho.
Noise = Callable[[NDArray[np.int64], float, float, float], NDArray[np.int64]]


class Estimates(NamedTuple):
    """f64[panes, keys] each; `noisy`: i64, what was drawn, weighted if it was."""

    mean: NDArray[np.float64]
    se: NDArray[np.float64]
    noisy: NDArray[np.int64] | None = None


def noisy(counts: NDArray[np.int64], measure: Measure, epoch: Epoch, noise: Noise) -> NDArray[np.int64]:
    """A measure's counts with noise, i64[panes, keys] as these: that of all panes at once, as none knows of another."""
    drawn = noise(counts.reshape(-1), sensitivity(measure, epoch), sigma(measure, epoch), rho_of(measure, epoch))
    return drawn.reshape(counts.shape)


def estimated(
    noisy: NDArray[np.int64],
    measure: Measure,
    epoch: Epoch,
    plan: PlanWeights | None = None,
    yesterday: Profile | None = None,
) -> Estimates:
    """What the filter makes of them, pane by pane; of a first day without `yesterday`."""
    weights = None if plan is None else plan.of(measure)
    models = models_of(measure)
    scale = sigma(measure, epoch)
    seen = scale if weights is None else scale * weights.grown(measure, noisy.shape[1])
    mean, se = np.empty(noisy.shape), np.empty(noisy.shape)
    drawn = noisy if weights is None else np.stack([weights.applied(pane) for pane in noisy])
    for pane, belief in enumerate(followed(drawn, repeat(seen), models, yesterday)):
        level = belief.level
        mean[pane], se[pane] = np.maximum(level.mean, 0), np.sqrt(level.variance)
    return Estimates(mean, se, drawn)


def footfall(present: NDArray[np.generic], arrivals: NDArray[np.generic]) -> NDArray[np.generic]:
    """Footfall of the arrivals' panes: present at a pane's start, and arrivals in it; of the first 0 were present."""
    return np.asarray(np.add(there_at_bounds(present, len(arrivals))[0], arrivals))


def movements(footfall: NDArray[np.generic], present: NDArray[np.generic]) -> dict[str, NDArray[np.generic]]:
    """Who arrived in each pane of footfall and who left: footfall but those there at its start, or at its end."""
    start, end = there_at_bounds(present, len(footfall))
    return {"arrivals": np.subtract(footfall, start), "departures": np.subtract(footfall, end)}


def there_at_bounds(present: NDArray[np.generic], panes: int) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """Who is there at the start of each of so many panes, of the first nobody, and at its end."""
    end = present[len(present) // panes - 1 :: len(present) // panes]
    return np.concatenate([np.zeros_like(end[:1]), end[:-1]]), end
