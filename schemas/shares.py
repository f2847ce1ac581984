"""How subscribers that are counted stand for people: a TOML file of whoever makes people of them, and what is made.

Nothing of it is part of a deployment: without such a file there is no figure of people anywhere.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

PEOPLE_SCHEMA: Literal["people/1"] = "people/1"


class Factor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A factor and its standard error. Errors of over 30 % of it are too wide for what is worked out with them."""

    mean: Annotated[float, Meta(gt=0)]
    se: Annotated[float, Meta(ge=0)]


class Shares(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the numbers rest on.

    Attributes:
        source: where they are from, and of when.
        areas: by zone or district: of the people there who are of age and carry a phone on any network, the share that
            has one on this network. A zone without its own takes its district's; `everywhere` is for all others.
        devices: phones on this network that each of them carries, on average; second SIMs are counted twice.
        of_age: share of all people that has the minimum age; those below are never counted.
        counted: share of the network's subscribers of age that is counted, by consent and with a record.
        carries: share of people of age that carries a phone at all.
    """

    source: str
    areas: dict[str, Factor] = {}
    everywhere: Factor | None = None
    devices: Factor = Factor(1.0, 0.0)
    of_age: Factor = Factor(1.0, 0.0)
    counted: Factor = Factor(1.0, 0.0)
    carries: Factor = Factor(1.0, 0.0)


class People(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A released number of phones, and the people that it stands for.

    Attributes:
        start, end, measure, level, zone, estimate, se, covered, plan, purpose: as in the record of `footfall`.
        people, people_se, low, high: with the errors of the shares; 95 % from `low` to `high`.
        source: of the shares. area: whose share it is, or `everywhere`.
    """

    schema: Literal["people/1"]
    start: str
    end: str
    measure: str
    level: Literal["zone", "parent"]
    zone: str
    estimate: float
    se: float
    covered: float
    people: float
    people_se: float
    low: float
    high: float
    source: str
    area: str
    plan: str
    purpose: str = ""
