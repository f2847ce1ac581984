"""Calibration: from counts on site, and what was released of the same time, to a factor for each place. It is free.

What is told of a place is off in a way of its own all day (docs/explanation/validation.md), so who has counted there
can take most of that off. Of those truly there a share `r` is counted; of a pane with `n` people the noisy number is
normal around `r n` if it was told, and if it was withheld it was below what can be told: a censored regression through
the origin (Tobin 1958, Econometrica 26, 24-36). A pane is taken by what was counted on site alone, never by whether it
was told: taking those told takes those that noise had made large (factors come out 30 % too small at 50 people).

Places differ, and evidence is thin: each share is drawn to 1, which is no correction, by as much as the shares of its
group vary (empirical Bayes; Fay and Herriot 1979, JASA 74, 269-277; Morris 1983, JASA 78, 47-55), a variance found by
expectation maximisation (Dempster, Laird and Rubin 1977). The logarithm of what is so believed of `r` is concave, and
Newton's steps find its top; its curvature there is the stated error. The factor is `1 / r`.

A place's share is not quite the same all day: by night a phone is heard less often, and who is about by day stands
elsewhere in the place. So each part of the day has a share too, that of the day times what it departs from it. What it
departs is drawn to none by the same rule, by as much as the parts of all places do: a third of the evidence is worth
what it says, and no more.

In: public counts on site and released numbers; never what was counted before noise. Out: factors with their errors.
"""

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.plan import HOURS, Hours

# What is believed of how far shares vary before any is seen, and how many places that is worth.
SPREAD: Final = 0.25
SPREAD_WORTH: Final = 2.0
# The same of how far a part of the day departs from the whole; and the parts, [from, to) in local hours, chosen in
# simulated towns (docs/explanation/accuracy-steps.md).
SPREAD_OF_DAY: Final = 0.05
PARTS_OF_DAY: Final = ((4, 9), (9, 18), (18, 4))
# Nobody's factor is beyond.
LEAST, MOST = 0.25, 4.0
# A place that was told less often has no factor.
FEWEST_TOLD: Final = 2
# A factor, or a pane, so many standard deviations off is told; among fewer places nobody can say.
ODD: Final = 4.0
FEWEST_ALIKE: Final = 5
ROUNDS: Final = 30
FAR: Final = 12.0

Floats = NDArray[np.float64]


class Erring(NamedTuple):
    """How what was told of a pane errs, beside the count on site, whose error is its own: by its `se`, and by `a_head`,
    a variance for each of its people, as a place's borders are seen. `worth`: so much of a pane that errs so by itself
    it is; less than 1 if successive panes err alike."""

    worth: float
    a_head: float


BY_ITSELF: Final = Erring(1.0, 0.0)
ALIKE: Final = Erring(0.05, 4.0)  # estimates go on from pane to pane, and so does who is where in a place


class Evidence(NamedTuple):
    """Panes of one measure in which people were counted on site, n of them.

    Attributes:
        key: i64[n], which number it is. on_site: f64[n], people. told: bool[n], or else withheld. noisy, se: f64[n],
            what was told as counted, before any factor; of those withheld anything. An estimate, where what was drawn
            is of something else (`factors.of_estimates`): these err `ALIKE`. hour: i64[n], the local one of the pane's
            middle.
    """

    key: NDArray[np.int64]
    on_site: Floats
    told: NDArray[np.bool_]
    noisy: Floats
    se: Floats
    hour: NDArray[np.int64]

    def rows(self, keep: NDArray[np.bool_]) -> "Evidence":
        """Some of them."""
        key, on_site, told = self.key[keep], self.on_site[keep], self.told[keep]
        return Evidence(key, on_site, told, self.noisy[keep], self.se[keep], self.hour[keep])


class Told(NamedTuple):
    """When a number of the measure is told: from `least` people on, give or take `se`."""

    least: float
    se: float


class Found(NamedTuple):
    """Of each key, f64[keys] each: the factor, its standard error, how many panes it rests on (0: it has none, and is
    1) and how many of these were told; `apart`, how far its told panes are from each other, as the mean square of
    what is left in standard errors: 1 is as it should be."""

    factor: Floats
    se: Floats
    panes: Floats
    told: Floats
    apart: Floats


class OfDay(NamedTuple):
    """Of each part of the day and each key, f64[parts, keys] each: the factor and its standard error."""

    factor: Floats
    se: Floats

    def hours(self, key: int) -> tuple[Hours, ...]:
        """What a plan says of a key."""
        columns = self.factor[:, key].tolist(), self.se[:, key].tolist()
        return tuple(Hours(*part, *of) for part, *of in zip(PARTS_OF_DAY, *columns, strict=True))


def told_from(k: int, estimates: Floats, se: Floats) -> Told:
    """What told numbers, as counted, say of when one is told: their least distance from `k` in standard errors is the
    confidence's quantile.

    Raises:
        ValueError: there are none.
    """
    if not len(estimates):
        raise ValueError("nothing of the measure was told")
    usual = float(np.median(se))
    return Told(k + float(((estimates - k) / se).min()) * usual, usual)


def found(
    evidence: Evidence, group: NDArray[np.int64], told: Told, counter_error: float, erring: Erring = BY_ITSELF
) -> Found:
    """The factors.

    Args:
        group: i64[keys]: keys of one group (a length of dwell, say) vary alike. counter_error: the relative standard
            error of each count on site.
    """
    keys = len(group)
    rows = _taken(evidence, told, keys)
    panes = np.bincount(rows.key, minlength=keys).astype(np.float64)
    has = panes > 0
    share, variance = _shares(rows, group, told, counter_error, erring, SPREAD)
    left = np.where(rows.told, (rows.noisy - share[rows.key] * rows.on_site) ** 2, 0.0)
    left /= _variance(rows, share, told, counter_error, erring.a_head)
    of_told = np.bincount(rows.key[rows.told], minlength=keys).astype(np.float64)
    apart = np.bincount(rows.key, left, keys) / np.maximum(of_told - 1, 1)
    return Found(np.where(has, 1 / share, 1.0), np.where(has, np.sqrt(variance) / share**2, 0.0), panes, of_told, apart)


def by_part_of_day(evidence: Evidence, of: Found, told: Told, counter_error: float, erring: Erring) -> OfDay:
    """The factors of the parts of the day, of the same evidence as those of the whole."""
    parts, keys, share = len(PARTS_OF_DAY), len(of.factor), 1 / of.factor
    rows = _taken(evidence, told, keys)
    part_of = np.empty(HOURS, np.int64)
    for part, (begin, end) in enumerate(PARTS_OF_DAY):
        part_of[Hours(begin, end, 1.0, 0.0).each()] = part
    at_its_share = rows._replace(key=part_of[rows.hour] * keys + rows.key, on_site=rows.on_site * share[rows.key])
    alike = np.zeros(parts * keys, np.int64)
    departs, variance = _shares(at_its_share, alike, told, counter_error, erring, SPREAD_OF_DAY)
    departs, variance = departs.reshape(parts, keys), variance.reshape(parts, keys)
    off = np.hypot(of.se / of.factor, np.sqrt(variance) / departs)
    factor = np.clip(of.factor / departs, LEAST, MOST)
    return OfDay(factor, factor * off)


def odd(of: Found, group: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which factors are at the bounds, or far from those of their group (by the median absolute deviation, Hampel 1974,
    JASA 69, 383-393), and which rest on panes that are far from each other; bool[keys] each."""
    has = of.panes > 0
    beyond = has & ((of.factor <= LEAST) | (of.factor >= MOST))
    for one in np.unique(group[has]):
        at = has & (group == one)
        if at.sum() >= FEWEST_ALIKE:
            logarithm = np.log(of.factor[at])
            off = np.abs(logarithm - np.median(logarithm))
            beyond[at] |= off > ODD * max(1.4826 * float(np.median(off)), 0.05)
    return beyond, has & (of.apart > ODD**2)


def _taken(evidence: Evidence, told: Told, keys: int) -> Evidence:
    """The panes of which enough were counted on site for them to be told, of places that were told often enough."""
    taken = evidence.on_site >= told.least
    often = np.bincount(evidence.key[taken & evidence.told], minlength=keys) >= FEWEST_TOLD
    return evidence.rows(taken & often[evidence.key])


def _shares(
    rows: Evidence, group: NDArray[np.int64], told: Told, counter_error: float, erring: Erring, spread_before: float
) -> tuple[Floats, Floats]:
    """Of each key the share of those on site who are counted, drawn to 1, and its variance, f64[keys] each."""
    keys = len(group)
    has = np.bincount(rows.key, minlength=keys) > 0
    share, spread = np.ones(keys), np.full(keys, spread_before**2)
    variance = spread
    groups = int(group.max()) + 1 if keys else 0
    for _ in range(ROUNDS):
        slope, curve = _likelihood(rows, share, told, counter_error, erring)
        share = share + (slope - (share - 1) / spread) / (curve + 1 / spread)
        share = np.clip(share, 1 / MOST, 1 / LEAST)
        variance = 1 / (curve + 1 / spread)
        off = np.bincount(group[has], ((share - 1) ** 2 + variance)[has], groups)
        within = np.bincount(group[has], minlength=groups)
        spread = ((off + SPREAD_WORTH * spread_before**2) / (within + SPREAD_WORTH))[group]
    return share, variance


def _variance(
    rows: Evidence, share: Floats, told: Told, counter_error: float, a_head: float, worth: Floats | float = 1.0
) -> Floats:
    """Of what was told of each pane: its noise and how its borders are seen, and the count's own error."""
    expected = share[rows.key] * rows.on_site
    noise = np.where(rows.told, rows.se, told.se)
    return np.asarray((noise**2 + a_head * expected) / worth + (counter_error * expected) ** 2)


def _likelihood(
    rows: Evidence, share: Floats, told: Told, counter_error: float, erring: Erring
) -> tuple[Floats, Floats]:
    """The slope of the logarithm of each key's likelihood at its share, and its curvature, f64[keys] each. Panes told
    that err alike have the larger errors, but for the counters' own; of those withheld each says so much less."""
    expected = share[rows.key] * rows.on_site
    variance = _variance(rows, share, told, counter_error, erring.a_head, np.where(rows.told, erring.worth, 1.0))
    scale = np.sqrt(variance)
    short = (told.least - expected) / scale
    hazard = np.zeros(len(short))
    hazard[~rows.told] = _hazard(short[~rows.told])
    slope = np.where(rows.told, (rows.noisy - expected) / variance, -erring.worth * hazard / scale) * rows.on_site
    curve = np.where(rows.told, 1.0, erring.worth * hazard * (hazard + short)) * rows.on_site**2 / variance
    keys = len(share)
    return _sums(rows.key, slope, keys), _sums(rows.key, curve, keys)


def _sums(key: NDArray[np.int64], values: Floats, keys: int) -> Floats:
    return np.bincount(key, values, keys).astype(np.float64)


def _hazard(z: Floats) -> Floats:
    """The normal density over its distribution function; far below by the asymptotic series (Abramowitz and Stegun
    1964, 26.2.12)."""
    near = np.maximum(z, -FAR)
    below = np.array([math.erfc(-each / math.sqrt(2)) for each in near.tolist()]) / 2
    exact = np.exp(-(near**2) / 2) / math.sqrt(2 * math.pi) / below
    square = np.maximum(z**2, FAR**2)
    return np.where(z >= -FAR, exact, np.abs(z) / (1 - 1 / square + 3 / square**2 - 15 / square**3))
