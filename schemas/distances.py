"""Released flows by distance: what `throng distances` and `/v1/distances` make of records of the topic `flows`."""

from typing import Final, Literal

import msgspec

DISTANCES_SCHEMA: Final = "distances/1"


class Distance(msgspec.Struct, frozen=True, omit_defaults=True):
    """Flows between places `from_km` to less than `to_km` apart; no end: any further; neither: nobody knows how far.

    Attributes:
        estimate, se: of them, and the standard error. share: of all that are told. pairs: of places, how many they are.
        view_se: standard error of the network's view, as in released records, where all of these have one.
    """

    estimate: float
    se: float
    share: float
    pairs: int
    from_km: float | None = None
    to_km: float | None = None
    view_se: float | None = None


class Distances(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A measure's flows that were told, by distance.

    Attributes:
        origin, destination: the place that they are from or to; none: from and to any.
        start, end: of the first and of the last of the panes that they were told in. flows: how many records they are.
        covered: the smallest share of the network that any of the records is from.
    """

    schema: Literal["distances/1"]
    measure: str
    level: Literal["zone", "parent"]
    start: str
    end: str
    flows: int
    covered: float
    bands: tuple[Distance, ...]
    plan: str
    origin: str = ""
    destination: str = ""
    purpose: str = ""
