"""The zone plan: places, the districts they belong to, and the zone of each network cell.

`Places` is what of it may be told: all but the cells. Released records name the plan by its hash, and so does it.
What a plan knows of its cells' coverage (`Zone.inside`, `radius_m`, `spill`, `counted`, `Cell.share`), of outlines
(`Zone.area_m2`), and of counts on site (`calibration`), is optional: a plan without it is as good as ever, and has the
same hash as before there was any.
"""

import hashlib
from typing import Final

import msgspec
import orjson

NO_ZONE: Final = 0xFFFF
HOURS: Final = 24
# Of a cell: the network's own, but most of it lies in no zone. Whoever is there is counted nowhere.
NOWHERE: Final = ""


class Parent(msgspec.Struct, frozen=True):
    """A district."""

    id: str
    name: str


class Spill(msgspec.Struct, frozen=True):
    """A share of a zone's crowd, and the zone that it is likely in, or counted in, as cells reach over the border."""

    zone: str
    share: float


class Zone(msgspec.Struct, frozen=True):
    """A place that people ask about. Its position in the plan is its number.

    What the network can't know, from the coverage of the zone's cells, each cell counting the same and people spread
    over a cell evenly, or as a grid has them:

    Attributes:
        inside: share of those counted here that is inside the zone. radius_m: location uncertainty: the root mean
            square distance of a phone from the middle of its cell's coverage. spill: where else those counted here
            are; what is missing to 1 is in no zone.
        counted: the other way round, by the signal of cells: where those in the zone are counted, itself included; what
            is missing to 1 is counted nowhere. With it the estimates of people are weighted. Nothing: not known.
        step: how far they are, of the whole way. None: half, as people are taken to be spread evenly over the zone; 1
            where a grid says where they are.
        area_m2: of the outline, less what smaller zones have of it.
    """

    id: str
    name: str
    parent: str
    kind: str = ""
    lat: float | None = None
    lon: float | None = None
    inside: float | None = None
    radius_m: float | None = None
    spill: tuple[Spill, ...] = ()
    counted: tuple[Spill, ...] = ()
    step: float | None = None
    area_m2: float | None = None


class Cell(msgspec.Struct, frozen=True):
    """A network cell and the zone that it stands for, or NOWHERE. `share`: of its coverage that lies in the zone."""

    cell: str
    zone: str
    lat: float | None = None
    lon: float | None = None
    share: float | None = None


class Hours(msgspec.Struct, frozen=True):
    """A correction's factor and standard error in some hours: local ones from `from_hour` on until before `to_hour`,
    past midnight if that one is not the later. Of a pane its middle counts."""

    from_hour: int
    to_hour: int
    factor: float
    se: float

    def each(self) -> list[int]:
        """The hours, 0 to 23."""
        often = (self.to_hour - self.from_hour) % HOURS or HOURS
        return [hour % HOURS for hour in range(self.from_hour, self.from_hour + often)]


class Correction(msgspec.Struct, frozen=True):
    """People who were truly there to each one counted, as counts on site have shown (`throng calibrate`).

    Attributes:
        measure: by its name. place: a zone or a district, as the measure counts them; of a flow its origin.
        destination: of a flow. part: of dwell the bucket, of visits the number. se: the factor's standard error.
        foretold: nobody has counted there; counts of other places, and what the plan knows of it, say so.
        hours: where it is another one at some hours. At all others, and as far as a factor of the whole day is asked
            for, it is `factor`.
    """

    measure: str
    place: str
    factor: float
    se: float
    destination: str = ""
    part: str = ""
    foretold: bool = False
    hours: tuple[Hours, ...] = ()


# Left out of the hash where they say nothing: plans of before there were such fields keep theirs.
_ZONE_ADDED: Final = ("inside", "radius_m", "spill", "counted", "step", "area_m2")
_CELL_ADDED: Final = ("share",)
_CORRECTION_ADDED: Final = ("foretold", "hours")


class Places(msgspec.Struct, frozen=True):
    """A plan without its cells: what may be published of it. `plan`: the hash by which released records name it."""

    plan: str
    version: int
    name: str
    timezone: str
    parents: tuple[Parent, ...]
    zones: tuple[Zone, ...]

    @property
    def ids(self) -> frozenset[str]:
        """Of all zones and districts."""
        return frozenset({zone.id for zone in self.zones} | {parent.id for parent in self.parents})


class Plan(msgspec.Struct, frozen=True):
    """A plan as read, with what is worked out from it left to `zone_numbers` and `zone_parents`."""

    version: int
    name: str
    timezone: str
    parents: tuple[Parent, ...]
    zones: tuple[Zone, ...]
    cells: tuple[Cell, ...]
    calibration: tuple[Correction, ...] = ()

    @property
    def weighted(self) -> bool:
        """Whether it knows of any zone where those in it are counted."""
        return any(zone.counted for zone in self.zones)

    def zone_numbers(self) -> dict[str, int]:
        """Zone id to number."""
        return {zone.id: number for number, zone in enumerate(self.zones)}

    def zone_parents(self) -> list[int]:
        """For each zone the number of its parent."""
        numbers = {parent.id: number for number, parent in enumerate(self.parents)}
        return [numbers[zone.parent] for zone in self.zones]

    def hash(self) -> str:
        """32 hex digits over all that the plan says, whatever the file's layout."""
        said = msgspec.to_builtins(self)
        for entries, added in (
            (said["zones"], _ZONE_ADDED),
            (said["cells"], _CELL_ADDED),
            (said["calibration"], _CORRECTION_ADDED),
        ):
            for entry in entries:
                for name in added:
                    if entry[name] is False or entry[name] in (None, (), []):
                        del entry[name]
        if not self.calibration:
            del said["calibration"]
        return hashlib.blake2b(orjson.dumps(said, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()

    def places(self) -> Places:
        """What may be published of it."""
        return Places(self.hash(), self.version, self.name, self.timezone, self.parents, self.zones)
