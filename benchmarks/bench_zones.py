"""How long `throng zones build` takes for a country's plan: 10,000 zones and 100,000 cells, half of them sectors.

    python -m benchmarks.bench_zones [zones] [cells]

Zones are a jittered grid of quadrangles that share their corners; sites are drawn evenly over it, three sectors a site
in one half of the cells, single cells without an azimuth in the other. The density grid has a million rows. Tells the
seconds of each step, wall and CPU.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
import orjson

from streams.places.build import build
from streams.places.density import read_density
from streams.places.findings import Findings
from streams.places.picture import draw
from streams.places.polygons import read_places
from streams.places.sites import read_sites

SIDE = 4.0  # degrees of longitude and latitude
WEST, SOUTH = 8.0, 49.0


def write_zones(path: Path, zones: int, rng: np.random.Generator) -> None:
    """A grid of about that many quadrangles, 100 of them a district."""
    side = round(zones**0.5)
    step = SIDE / side
    corners = np.stack(np.meshgrid(np.arange(side + 1), np.arange(side + 1), indexing="ij"), axis=-1) * step
    corners = corners + [WEST, SOUTH] + rng.uniform(-0.3, 0.3, corners.shape) * step
    features = []
    for i in range(side):
        for j in range(side):
            ring = [corners[i, j], corners[i + 1, j], corners[i + 1, j + 1], corners[i, j + 1], corners[i, j]]
            properties = {"id": f"z{i}-{j}", "parent": f"d{i // 10}-{j // 10}"}
            geometry = {"type": "Polygon", "coordinates": [[point.tolist() for point in ring]]}
            features.append({"type": "Feature", "properties": properties, "geometry": geometry})
    path.write_bytes(orjson.dumps({"type": "FeatureCollection", "features": features}))


def write_cells(path: Path, cells: int, rng: np.random.Generator) -> None:
    """OpenCellID's columns and the azimuth, beam and range of every other site."""
    lines = ["radio,mcc,net,area,cell,lon,lat,range,azimuth,beam"]
    number = 0
    while number < cells:
        lon, lat = WEST + rng.uniform(0, SIDE), SOUTH + rng.uniform(0, SIDE)
        for azimuth in (0, 120, 240) if rng.random() < 0.25 else ("",):
            reach, beam = (f"{rng.uniform(500, 5000):.0f}", 120) if azimuth != "" else ("", "")
            lines.append(f"LTE,1,1,1,{number + 1},{lon:.6f},{lat:.6f},{reach},{azimuth},{beam}")
            number += 1
    path.write_text("\n".join(lines) + "\n")


def write_density(path: Path, side: int, rng: np.random.Generator) -> None:
    """A grid of that many rows a side, with people here and there."""
    at = (np.arange(side) + 0.5) * SIDE / side
    lon, lat = (axis.ravel() for axis in np.meshgrid(WEST + at, SOUTH + at))
    rows = np.column_stack([lon, lat, np.rint(rng.exponential(30, lon.size))])
    np.savetxt(path, rows, ("%.6f", "%.6f", "%d"), ",", header="lon,lat,weight", comments="")


@contextmanager
def timed(what: str, seconds: dict[str, list[float]]) -> Iterator[None]:
    began = time.perf_counter(), time.process_time()
    yield
    seconds[what] = [round(time.perf_counter() - began[0], 2), round(time.process_time() - began[1], 2)]


def main(arguments: list[str]) -> None:
    zones, cells = (int(arguments[n]) if len(arguments) > n else default for n, default in ((0, 10_000), (1, 100_000)))
    rng = np.random.default_rng(1)
    seconds: dict[str, list[float]] = {}
    with TemporaryDirectory() as folder:
        polygons, sites_file = Path(folder) / "zones.geojson", Path(folder) / "cells.csv"
        write_zones(polygons, zones, rng)
        write_cells(sites_file, cells, rng)
        grid = Path(folder) / "people.csv"
        write_density(grid, 1000, rng)
        findings = Findings()
        with timed("all", seconds):
            with timed("read", seconds):
                places, sites = read_places(polygons, findings), read_sites(sites_file, findings)
            with timed("build", seconds):
                built = build(places, [], sites, (1, "bench", "Europe/Berlin"), findings)
            with timed("build weighted", seconds):
                build(places, [], sites, (1, "bench", "Europe/Berlin"), Findings(), weighted=True)
            with timed("read density", seconds):
                density = read_density(grid)
            with timed("build weighted by density", seconds):
                build(places, [], sites, (1, "bench", "Europe/Berlin"), Findings(), weighted=True, density=density)
            with timed("write", seconds):
                (Path(folder) / "plan.json").write_bytes(msgspec.json.encode(built.plan))
            with timed("picture", seconds):
                draw(built, Path(folder) / "plan.svg")
        sizes = {name: (Path(folder) / name).stat().st_size for name in ("plan.json", "plan.svg")}
    print(
        orjson.dumps(
            {"zones": len(places), "cells": len(sites.name), "wall_and_cpu_s": seconds, "bytes": sizes}
        ).decode()
    )
    for line in findings.lines():
        print(line)


if __name__ == "__main__":
    main(sys.argv[1:])
