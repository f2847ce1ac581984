"""The map of the town: districts (parents), zones in them, and how attractive each kind of zone is when.

A zone is a disc. Where discs meet, a spot belongs to the zone with the least power distance (d^2 - r^2), so that the
zones share the town out without overlap. The first zones are the same in each town (a high street, a station, a
stadium ...), moved a little by the seed; what a larger town has more of is residential districts around them, with
their shops, schools and parks.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.simulate.draws import TOWN, bounded, hashed

FEWEST_ZONES: Final = 20
MOST_ZONES: Final = 1_000

# Parts of a day by when they begin: morning 04:00, midday 11:00, afternoon 14:00, evening 18:00 and weekend's daytime.
DAYPARTS: Final = 5

# How many opportunities (in thousands) a kind of zone offers in each part of the day, its homes, and its jobs.
KINDS: Final[dict[str, tuple[tuple[int, int, int, int, int], int, int]]] = {
    "shopping": ((4, 10, 12, 5, 14), 1, 6),
    "station": ((8, 6, 9, 7, 6), 0, 3),
    "leisure": ((2, 7, 7, 14, 10), 2, 3),
    "park": ((2, 4, 5, 3, 9), 0, 0),
    "office": ((3, 3, 3, 1, 1), 0, 14),
    "industry": ((2, 2, 2, 1, 1), 0, 12),
    "education": ((3, 4, 3, 2, 1), 0, 4),
    "hospital": ((4, 3, 4, 2, 3), 0, 8),
    "church": ((1, 1, 1, 1, 3), 0, 0),
    "stadium": ((1, 1, 1, 2, 2), 0, 1),
    "residential": ((2, 2, 3, 4, 3), 12, 1),
}


class Zone(NamedTuple):
    """A zone: its kind, its parent's index, centre and radius in metres from the middle of the town."""

    name: str
    kind: str
    parent: int
    x: int
    y: int
    radius: int


class Layout(NamedTuple):
    """The districts' names, the zones, and half the side of the square that all of them lie in, in metres."""

    parents: tuple[str, ...]
    zones: tuple[Zone, ...]
    half_side: int


_DISTRICTS: Final = ("Old town", "Station quarter", "University", "Stadium", "Business park", "Docks", "Riverside")

# In the order in which a small town leaves them out last.
_CORE: Final[tuple[Zone, ...]] = (
    Zone("Central station", "station", 1, 900, 700, 220),
    Zone("High street west", "shopping", 0, -260, 60, 130),
    Zone("High street east", "shopping", 0, 240, 100, 130),
    Zone("Market square", "leisure", 0, 0, 0, 110),
    Zone("Stadium", "stadium", 3, -2900, 1900, 260),
    Zone("Campus", "education", 2, -900, -1500, 330),
    Zone("University hospital", "hospital", 2, -1700, -1300, 260),
    Zone("Cathedral", "church", 0, -60, 240, 80),
    Zone("City park", "park", 6, 450, -900, 380),
    Zone("Business park north", "office", 4, 2300, 1900, 330),
    Zone("Docks", "industry", 5, 2600, -1500, 480),
    Zone("Station offices", "office", 1, 1250, 350, 200),
    Zone("Northern homes", "residential", 1, 700, 1500, 380),
    Zone("Riverside homes", "residential", 6, 1100, -1500, 380),
    Zone("High street south", "shopping", 0, 30, -260, 130),
    Zone("Arcades", "shopping", 1, 560, 380, 120),
    Zone("Old town lanes", "leisure", 0, -230, -210, 130),
    Zone("Business park south", "office", 4, 2700, 1200, 330),
    Zone("Freight yard", "industry", 5, 3200, -2200, 480),
    Zone("Student homes", "residential", 2, -450, -2200, 300),
    Zone("Sports park", "park", 3, -2300, 2300, 330),
    Zone("River promenade", "park", 6, 50, -620, 160),
    Zone("Grammar school", "education", 6, 900, -650, 160),
    Zone("Theatre", "leisure", 1, 620, 90, 120),
    Zone("City offices", "office", 0, -560, 330, 170),
    Zone("Stadium homes", "residential", 3, -2200, 1400, 380),
    Zone("Harbour homes", "residential", 5, 2000, -800, 330),
    Zone("Bus station", "station", 1, 1300, 900, 160),
    Zone("Canteens", "leisure", 4, 2350, 1450, 150),
    Zone("Shopping centre", "shopping", 4, 3100, 2000, 230),
)

# What the zones of an outer district are, one after another.
_OUTER: Final = (
    "residential",
    "residential",
    "shopping",
    "residential",
    "education",
    "residential",
    "park",
    "residential",
)
_OUTER_NAMES: Final = {"residential": "homes", "shopping": "shops", "education": "school", "park": "green"}
_SPACING: Final = 760


def lay_out(seed: int, zones: int) -> Layout:
    """A town of that many zones (FEWEST_ZONES to MOST_ZONES).

    Raises:
        ValueError: fewer or more zones.
    """
    if not FEWEST_ZONES <= zones <= MOST_ZONES:
        raise ValueError(f"a town has {FEWEST_ZONES} to {MOST_ZONES} zones, not {zones}")
    core = list(_CORE[: min(len(_CORE), zones - 6)])
    outer, districts = _outer(core, zones - len(core))
    moved = _jittered(seed, core + outer)
    reach = max(max(abs(z.x), abs(z.y)) + z.radius for z in moved)
    return Layout((*_DISTRICTS, *districts), tuple(moved), reach + 300)


def _outer(core: list[Zone], count: int) -> tuple[list[Zone], list[str]]:
    """Free spots of a hexagonal grid, nearest to the middle first, eight neighbouring ones a district by angle."""
    spots: list[tuple[int, int]] = []
    rings = 6
    while len(spots) < count:
        rings *= 2
        spots = [
            (x, y)
            for x, y in _hexagonal(rings)
            if all((x - z.x) ** 2 + (y - z.y) ** 2 > (z.radius + 330) ** 2 for z in core)
        ]
    near = sorted(spots, key=lambda s: (s[0] ** 2 + s[1] ** 2, s))[:count]
    zones, districts = [], []
    for number, (x, y) in enumerate(_by_angle(near)):
        district, place = divmod(number, len(_OUTER))
        if place == 0:
            districts.append(f"Suburb {district + 1}")
        kind = _OUTER[place]
        name = f"Suburb {district + 1} {_OUTER_NAMES[kind]}" + (f" {place + 1}" if kind == "residential" else "")
        zones.append(Zone(name, kind, len(_DISTRICTS) + district, x, y, 380 if kind == "residential" else 260))
    return zones, districts


def _hexagonal(rings: int) -> list[tuple[int, int]]:
    rise = _SPACING * 866 // 1000
    return [
        (x * _SPACING + (y % 2) * _SPACING // 2, y * rise)
        for y in range(-rings, rings + 1)
        for x in range(-rings, rings + 1)
    ]


def _by_angle(spots: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sorted ring by ring of about 24 spots, by angle within each, without trigonometry (half plane, then slope)."""

    def turn(spot: tuple[int, int]) -> tuple[int, float]:
        x, y = spot
        return (0 if y >= 0 else 1), -x / max((x * x + y * y) ** 0.5, 1.0) * (1 if y >= 0 else -1)

    ordered: list[tuple[int, int]] = []
    size, at = 24, 0
    while at < len(spots):
        ordered += sorted(spots[at : at + size], key=turn)
        at, size = at + size, size + 24
    return ordered


def _jittered(seed: int, zones: list[Zone]) -> list[Zone]:
    moves = bounded(hashed(seed, TOWN, 2 * len(zones)), 81) - 40
    return [z._replace(x=z.x + int(moves[2 * i]), y=z.y + int(moves[2 * i + 1])) for i, z in enumerate(zones)]


def attractions(layout: Layout) -> NDArray[np.int64]:
    """Opportunities by part of day and zone, (DAYPARTS, zones)."""
    return np.array([KINDS[z.kind][0] for z in layout.zones], np.int64).T.copy()


def homes(layout: Layout) -> NDArray[np.int64]:
    """The weight of each zone as a home."""
    return np.array([KINDS[z.kind][1] for z in layout.zones], np.int64)


def jobs(layout: Layout) -> NDArray[np.int64]:
    """The weight of each zone as a place of work or study."""
    return np.array([KINDS[z.kind][2] for z in layout.zones], np.int64)
