"""The zone plan: places, the districts they belong to, and the zone of each network cell."""

import hashlib
from typing import Final

import msgspec
import orjson

NO_ZONE: Final = 0xFFFF


class Parent(msgspec.Struct, frozen=True):
    """A district."""

    id: str
    name: str


class Zone(msgspec.Struct, frozen=True):
    """A place that people ask about. Its position in the plan is its number."""

    id: str
    name: str
    parent: str
    kind: str = ""
    lat: float | None = None
    lon: float | None = None


class Cell(msgspec.Struct, frozen=True):
    """A network cell and the zone that it stands for."""

    cell: str
    zone: str
    lat: float | None = None
    lon: float | None = None


class Plan(msgspec.Struct, frozen=True):
    """A plan as read, with what is worked out from it left to `zone_numbers` and `zone_parents`."""

    version: int
    name: str
    timezone: str
    parents: tuple[Parent, ...]
    zones: tuple[Zone, ...]
    cells: tuple[Cell, ...]

    def zone_numbers(self) -> dict[str, int]:
        """Zone id to number."""
        return {zone.id: number for number, zone in enumerate(self.zones)}

    def zone_parents(self) -> list[int]:
        """For each zone the number of its parent."""
        numbers = {parent.id: number for number, parent in enumerate(self.parents)}
        return [numbers[zone.parent] for zone in self.zones]

    def hash(self) -> str:
        """32 hex digits over all that the plan says, whatever the file's layout."""
        canonical = orjson.dumps(msgspec.to_builtins(self), option=orjson.OPT_SORT_KEYS)
        return hashlib.blake2b(canonical, digest_size=16).hexdigest()
