"""A simulated town as an operator would have it: polygons of its zones, and a CSV of its cells."""

import math
from pathlib import Path

import orjson

from streams.simulate.town import Town, plan

RADIOS = {4: "GSM", 7: "LTE", 9: "NR"}
METRES_A_DEGREE = 111_195.0
CORNERS = 12


def write_polygons(path: Path, town: Town, prefix: str = "") -> None:
    """Each zone's disc as a polygon. With a `prefix` ids of zones and districts have it, and the order is reversed."""
    features = []
    for zone, place in zip(plan(town)["zones"], town.layout.zones, strict=True):  # type: ignore[call-overload]
        east = METRES_A_DEGREE * math.cos(math.radians(zone["lat"]))
        ring = [
            [
                zone["lon"] + place.radius * math.cos(math.tau * k / CORNERS) / east,
                zone["lat"] + place.radius * math.sin(math.tau * k / CORNERS) / METRES_A_DEGREE,
            ]
            for k in range(CORNERS)
        ]
        properties = {"id": prefix + zone["id"], "name": zone["name"], "kind": zone["kind"]}
        properties["parent"] = prefix + zone["parent"]
        geometry = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
        features.append({"type": "Feature", "properties": properties, "geometry": geometry})
    if prefix:
        features.reverse()
    path.write_bytes(orjson.dumps({"type": "FeatureCollection", "features": features}))


def write_cells(path: Path, town: Town) -> None:
    """OpenCellID's columns, as far as the town has them."""
    lines = ["radio,mcc,net,area,cell,lon,lat,range"]
    for cell in plan(town)["cells"]:  # type: ignore[attr-defined]
        mcc, net, *identity = cell["cell"].split("-")
        area = int(identity[0], 16) if len(identity) == 2 else 0
        radio = RADIOS[len(identity[-1])]
        lines.append(f"{radio},{mcc},{net},{area},{int(identity[-1], 16)},{cell['lon']},{cell['lat']},")
    path.write_text("\n".join(lines) + "\n")
