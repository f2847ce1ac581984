"""From subscribers to people: by market share, consent, second phones and age, with the error of all of it.

Who is counted is a share of who is there:

    phones = people x of_age x carries x share x counted x devices

so people are phones by that product. Each factor has an error, and so has the number of phones. They are independent of
each other, so to the first order the squares of relative errors add up (the delta method; Oehlert 1992, The American
Statistician 46, 27-29). That an uncertain factor's inverse is too large on average is taken off. Second phones and an
operator's coverage of the population are what estimates of people present hinge on (Ricciato, Lanzieri, Wirthmann and
Seynaeve 2020, Pervasive and Mobile Computing 68, 101263).

Several places together share the factors, and their errors with them: `together` adds those up, not their squares.
"""

import math
from collections.abc import Iterable, Mapping
from statistics import NormalDist
from typing import Final, NamedTuple

from schemas.released import Footfall
from schemas.shares import PEOPLE_SCHEMA, Factor, People, Shares

EVERYWHERE: Final = "everywhere"
WIDEST: Final = 0.3
TWO_SIDED_95: Final = NormalDist().inv_cdf(0.975)


class Number(NamedTuple):
    """A number of people, and its standard error."""

    estimate: float
    se: float


class Share(NamedTuple):
    """A place's market share, and the area that it is of."""

    area: str
    factor: Factor


def problems(shares: Shares) -> list[str]:
    """What is wrong with shares, in sentences."""
    named = {"devices": shares.devices} | dict(zip(("of_age", "counted", "carries"), _of_people(shares), strict=True))
    named |= {f"areas.{area}": factor for area, factor in shares.areas.items()}
    if shares.everywhere is not None:
        named[EVERYWHERE] = shares.everywhere
    found = [
        f"{name}: an error of {factor.se:g} is more than {WIDEST:.0%} of {factor.mean:g}"
        for name, factor in named.items()
        if factor.se > WIDEST * factor.mean
    ]
    found += [
        f"{name}: {each.mean:g} is no share" for name, each in named.items() if name != "devices" and each.mean > 1
    ]
    if shares.devices.mean < 1:
        found.append(f"devices: nobody who is counted carries {shares.devices.mean:g} of them")
    return found


def share_of(shares: Shares, place: str, parent_of: Mapping[str, str]) -> Share | None:
    """The share of a place: its own, or its district's, or that of everywhere; None if there is none."""
    for area in (place, parent_of.get(place, place)):
        if area in shares.areas:
            return Share(area, shares.areas[area])
    return None if shares.everywhere is None else Share(EVERYWHERE, shares.everywhere)


def people(record: Footfall, shares: Shares, parent_of: Mapping[str, str]) -> People | None:
    """The people that a released number stands for.

    None where it is not told, where there is no share, and for an age band: that one has shares of its own.
    """
    share = share_of(shares, record.zone, parent_of)
    if record.estimate is None or record.se is None or share is None or record.age_band is not None:
        return None
    found = _number(Number(record.estimate, record.se), (share.factor, *_common(shares)))
    return People(
        schema=PEOPLE_SCHEMA,
        start=record.start,
        end=record.end,
        measure=record.measure,
        level=record.level,
        zone=record.zone,
        estimate=record.estimate,
        se=record.se,
        covered=record.covered,
        people=round(found.estimate, 1),
        people_se=round(found.se, 1),
        low=round(max(found.estimate - TWO_SIDED_95 * found.se, 0.0), 1),
        high=round(found.estimate + TWO_SIDED_95 * found.se, 1),
        source=shares.source,
        area=share.area,
        plan=record.plan,
        purpose=record.purpose,
    )


def together(records: Iterable[Footfall], shares: Shares, parent_of: Mapping[str, str]) -> Number | None:
    """People in different places of one instant as one number; None if any of them has none."""
    weight = _weight(_common(shares))
    total, variance = 0.0, 0.0
    of_area: dict[str, tuple[Factor, float]] = {}
    for record in records:
        share = share_of(shares, record.zone, parent_of)
        if record.estimate is None or record.se is None or share is None or record.age_band is not None:
            return None
        own = weight * _weight((share.factor,))
        total += own * record.estimate
        variance += (own * record.se) ** 2
        of_area[share.area] = (share.factor, of_area.get(share.area, (share.factor, 0.0))[1] + own * record.estimate)
    variance += sum(_relative(factor) * each**2 for factor, each in of_area.values())
    variance += sum(map(_relative, _common(shares))) * total**2
    return Number(total, math.sqrt(variance))


def _of_people(shares: Shares) -> tuple[Factor, Factor, Factor]:
    return shares.of_age, shares.counted, shares.carries


def _common(shares: Shares) -> tuple[Factor, ...]:
    return (shares.devices, *_of_people(shares))


def _number(phones: Number, factors: tuple[Factor, ...]) -> Number:
    weight = _weight(factors)
    variance = (weight * phones.se) ** 2 + sum(map(_relative, factors)) * (weight * phones.estimate) ** 2
    return Number(weight * phones.estimate, math.sqrt(variance))


def _weight(factors: Iterable[Factor]) -> float:
    """The inverse of the factors' product, less what the inverse of an uncertain factor is too large by."""
    return math.prod(1 / (factor.mean * (1 + _relative(factor))) for factor in factors)


def _relative(factor: Factor) -> float:
    """The relative error, squared."""
    return (factor.se / factor.mean) ** 2
