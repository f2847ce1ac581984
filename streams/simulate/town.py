"""A town with its network and the tables that its people move by: all that is the same for every subscriber.

`make_town` draws it from a seed; `plan` is its network plan as the workers load it.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.simulate.draws import RADIO, bounded, cumulative, hashed
from streams.simulate.layout import DAYPARTS, Layout, attractions, homes, jobs, lay_out
from streams.simulate.radio import Radio, survey

HOME_PLMN: Final = "001-01"  # the test network of ITU-T E.212
TIMEZONE: Final = "Europe/Berlin"
LATITUDE: Final = 51.0
LONGITUDE: Final = 10.0
METRES_A_DEGREE: Final = 111_320.0
METRES_A_DEGREE_EAST: Final = 70_055.0  # at LATITUDE

GSM, LTE, NR = 0, 1, 2
RAT_NAMES: Final = ("gsm", "lte", "nr")
CELLS_A_ZONE: Final = 5
RADIOS: Final = ("simple", "real")


class Town(NamedTuple):
    """A town as arrays.

    Attributes:
        seed: all further draws are named by it.
        subscribers: how many live here or visit.
        consent: the share of them that may be counted; roamers: the share from another network (001 02).
        machines, homebound: the shares that are fixed devices, and of the others that stay at home (`of_its_own`).
        cell_text: each cell's identity as in 3GPP TS 29.571, its `cell_rat` (0 gsm, 1 lte, 2 nr), its zone in the plan,
            position (cells, 2) and range in metres, and tracking area.
        explore: (DAYPARTS, zones, zones) cumulative thresholds of the next new zone, by the radiation law.
        commute: (zones, zones) the same for home to work.
        settle: (zones,) the same for a home.
        discs: (zones, 3) x, y, radius in metres.
    """

    seed: int
    subscribers: int
    consent: float
    roamers: float
    machines: float
    homebound: float
    layout: Layout
    cell_text: tuple[str, ...]
    cell_rat: NDArray[np.uint8]
    cell_zone: NDArray[np.uint16]
    cell_xy: NDArray[np.int64]
    cell_range_m: NDArray[np.int64]
    cell_area: NDArray[np.uint8]
    radio: Radio
    explore: NDArray[np.int64]
    commute: NDArray[np.int64]
    settle: NDArray[np.int64]
    discs: NDArray[np.int64]

    @property
    def stadium(self) -> int:
        """The zone where events take place."""
        return next(i for i, z in enumerate(self.layout.zones) if z.kind == "stadium")


def make_town(
    seed: int = 1,
    subscribers: int = 10_000,
    zones: int = 60,
    cells: int | None = None,
    *,
    consent: float = 0.95,
    roamers: float = 0.0,
    machines: float = 0.0,
    homebound: float = 0.0,
    radio: str = "simple",
) -> Town:
    """A town drawn from its seed: the same for the same arguments, whatever machine it is drawn on.

    Args:
        cells: five a zone if not given.
        radio: one of RADIOS, how phones come to their cells: see `radio` and `heard`.

    Raises:
        ValueError: subscribers outside 1 to 2**26, zones outside 20 to 1,000, fewer cells than zones, or
            an unknown radio.
    """
    if radio not in RADIOS:
        raise ValueError(f"a radio is {' or '.join(RADIOS)}, not {radio}")
    if not 1 <= subscribers <= 1 << 26:
        raise ValueError(f"a town has 1 to {1 << 26} subscribers, not {subscribers}")
    layout = lay_out(seed, zones)
    count = CELLS_A_ZONE * zones if cells is None else cells
    if not zones <= count < 0xFFFF:
        raise ValueError(f"{zones} zones need {zones} to 65534 cells, not {count}")
    zone, xy, reach = _stand(seed, layout, count)
    rat = _rats(seed, count)
    discs = np.array([(z.x, z.y, z.radius) for z in layout.zones], np.int64)
    pull = attractions(layout)
    return Town(
        seed=seed,
        subscribers=subscribers,
        consent=consent,
        roamers=roamers,
        machines=machines,
        homebound=homebound,
        layout=layout,
        cell_text=tuple(cell_name(int(rat[c]), c) for c in range(count)),
        cell_rat=rat,
        cell_zone=zone,
        cell_xy=xy,
        cell_range_m=reach,
        cell_area=_areas(xy),
        radio=survey(seed, layout, xy, reach, radio == "real"),
        explore=np.stack([radiation(discs, pull[part], pull[part]) for part in range(DAYPARTS)]),
        commute=radiation(discs, np.maximum(homes(layout), 1), jobs(layout)),
        settle=cumulative(homes(layout).astype(np.float64)),
        discs=discs,
    )


def radiation(
    discs: NDArray[np.int64], masses: NDArray[np.int64], opportunities: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Where one goes from each zone, by the radiation law (Simini et al. 2012, equation 2), as `cumulative` rows.

    p(i to j) ~ m_i n_j / ((m_i + s_ij) (m_i + n_j + s_ij)), s_ij being the opportunities nearer to i than j is.
    """
    count = discs.shape[0]
    weights = np.zeros((count, count))
    for i in range(count):
        squared = (discs[:, 0] - discs[i, 0]) ** 2 + (discs[:, 1] - discs[i, 1]) ** 2
        order = np.lexsort((np.arange(count), squared))
        nearer = np.empty(count, np.int64)
        nearer[order] = np.cumsum(opportunities[order]) - opportunities[order] - opportunities[i]
        m, n, s = float(masses[i]), opportunities.astype(np.float64), np.maximum(nearer, 0).astype(np.float64)
        weights[i] = m * n / ((m + s) * (m + n + s))
        weights[i, i] = 0.0
    return cumulative(weights)


def _stand(seed: int, layout: Layout, count: int) -> tuple[NDArray[np.uint16], NDArray[np.int64], NDArray[np.int64]]:
    """Each cell's zone, position and range: one in the middle of each zone, the others where most goes on."""
    zones = len(layout.zones)
    busy = attractions(layout).sum(axis=0) + 2 * homes(layout)
    share = np.cumsum(busy) / busy.sum() * (count - zones)
    extra = np.diff(np.rint(share).astype(np.int64), prepend=0)
    zone = np.concatenate([np.arange(zones), np.repeat(np.arange(zones), extra)])
    radius = np.array([z.radius for z in layout.zones])[zone]
    centre = np.array([(z.x, z.y) for z in layout.zones])[zone]
    offset = bounded(hashed(seed, RADIO, 2 * count).reshape(count, 2), 1601) - 800
    offset[:zones] //= 8
    xy = centre + offset * radius[:, None] // 1000
    crowd = 1 + extra[zone]
    reach = np.maximum(80, (2.2 * radius / np.sqrt(crowd)).astype(np.int64))
    return zone.astype(np.uint16), xy.astype(np.int64), reach


def _rats(seed: int, count: int) -> NDArray[np.uint8]:
    draws = bounded(hashed(seed ^ 0x5A5A, RADIO, count), 100)
    return np.where(draws < 8, GSM, np.where(draws < 80, LTE, NR)).astype(np.uint8)


def _areas(xy: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Tracking areas: the centre, and four quarters around it."""
    quarter = 1 + (xy[:, 0] > 0) + 2 * (xy[:, 1] > 0)
    return np.where((xy**2).sum(axis=1) < 1300**2, 0, quarter).astype(np.uint8)


def cell_name(rat: int, number: int) -> str:
    """The text of a cell: CGI (location area and cell), ECGI (eNodeB and cell) or NCGI (gNodeB and cell)."""
    if rat == GSM:
        return f"{HOME_PLMN}-{0x1000 + number // 64:04x}-{0x2000 + number:04x}"
    if rat == LTE:
        return f"{HOME_PLMN}-{((0x01000 + number // 3) << 8) | (number % 3 + 1):07x}"
    return f"{HOME_PLMN}-{((0x004000 + number // 3) << 12) | (number % 3 + 1):09x}"


def plan(town: Town) -> dict[str, object]:
    """The town's network plan, in the form of `schemas.plan`."""
    layout = town.layout
    return {
        "version": 1,
        "name": f"Simulated town {town.seed}",
        "timezone": TIMEZONE,
        "parents": [{"id": f"d{i:03d}", "name": name} for i, name in enumerate(layout.parents)],
        "zones": [
            {"id": f"z{i:04d}", "name": z.name, "parent": f"d{z.parent:03d}", "kind": z.kind, **_where(z.x, z.y)}
            for i, z in enumerate(layout.zones)
        ],
        "cells": [
            {"cell": text, "zone": f"z{town.cell_zone[i]:04d}", **_where(*town.cell_xy[i])}
            for i, text in enumerate(town.cell_text)
        ],
    }


def _where(x: int, y: int) -> dict[str, float]:
    lat, lon = LATITUDE + int(y) / METRES_A_DEGREE, LONGITUDE + int(x) / METRES_A_DEGREE_EAST
    return {"lat": round(lat, 6), "lon": round(lon, 6)}
