"""What a country allows, one TOML file each (`policies/*.toml`), and all the rules of a deployment together."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from schemas.measures import Measure

Purpose = Literal["market_research", "marketing", "traffic", "public"]


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The rules for subscribers of a country's networks.

    Attributes:
        country: its name. mccs: its mobile country codes.
        state: suspended countries are dropped by their code, and nothing of them is released.
        basis: opt_in: only whoever granted a purpose is counted; opt_out: whoever did not refuse it.
        purposes: allowed at all.
        minimum_age: in whole years by the year of birth; an unknown year is under age.
        home: own networks as MCC-MNC; empty: all of the country's. inbound_roamers: count others' subscribers too.
        excluded_zones: kinds of zones where nobody is counted.
        k: least number of people that a published count stands for. epsilon, delta: budget of a subscriber-day.
    """

    country: str
    mccs: tuple[Annotated[str, Meta(pattern=r"^(001|[2-7][0-9]{2})$")], ...]
    state: Literal["active", "suspended"]
    basis: Literal["opt_in", "opt_out"]
    purposes: tuple[Purpose, ...]
    minimum_age: Annotated[int, Meta(ge=0, le=120)]
    inbound_roamers: bool
    excluded_zones: tuple[str, ...]
    k: Annotated[int, Meta(ge=1, le=1_000_000)]
    epsilon: Annotated[float, Meta(gt=0, le=20)]
    delta: Annotated[float, Meta(gt=0, lt=1e-4)]
    home: tuple[Annotated[str, Meta(pattern=r"^[0-9]{3}-[0-9]{2,3}$")], ...] = ()
    note: str = ""


class Rulebook(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a deployment may count and tell: the countries' policies, its measures, and the one purpose it runs for."""

    policies: tuple[Policy, ...]
    measures: tuple[Measure, ...]
    purpose: Purpose
