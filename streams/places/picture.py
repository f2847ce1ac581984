"""A zone plan as a picture: zones coloured by the share of their crowd that is surely inside, cells as dots."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from streams.places.build import Built
from streams.places.shares import NONE

WIDTH: Final = 1000.0
LEGEND: Final = 40.0
# From nobody to everybody surely inside; grey where no cell hears anyone.
COLOURS: Final = ("#d1495b", "#e07a4f", "#edae49", "#a9c07a", "#66a182")
UNHEARD: Final = "#dddddd"
# Coverage is drawn for as many cells, and outlines are smoothed to half a pixel: a country's plan stays a small file.
MOST_OUTLINES: Final = 2_000
MOST_DOTS: Final = 20_000


def draw(built: Built, path: Path) -> None:
    """Write the picture, SVG."""
    west, south, east, north = shapely.total_bounds(built.zones)
    margin = 0.03 * max(east - west, north - south)
    scale = WIDTH / (east - west + 2 * margin)
    height = (north - south + 2 * margin) * scale
    frame = (west - margin, north + margin, scale)
    size = f"0 0 {WIDTH:.0f} {height + LEGEND:.0f}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{size}" font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH:.0f}" height="{height + LEGEND:.0f}" fill="white"/>',
        *_zones(built, frame),
        *_coverage(built, frame),
        *_dots(built, frame, height),
        *_legend(height),
        "</svg>",
    ]
    path.write_text("\n".join(parts) + "\n", encoding="utf-8")


def _zones(built: Built, frame: tuple[float, float, float]) -> Iterator[str]:
    for zone, outline in zip(built.plan.zones, built.zones, strict=True):
        colour = UNHEARD if zone.inside is None else COLOURS[min(int(zone.inside * len(COLOURS)), len(COLOURS) - 1)]
        inside = "no cell" if zone.inside is None else f"{zone.inside:.0%} inside, {zone.radius_m:.0f} m"
        title = f"<title>{_escaped(zone.name)}: {inside}</title>"
        yield f'<path d="{_path(outline, frame)}" fill="{colour}" stroke="white" stroke-width="0.6">{title}</path>'


def _coverage(built: Built, frame: tuple[float, float, float]) -> Iterator[str]:
    there = built.coverage[~shapely.is_missing(built.coverage)]
    if len(there) <= MOST_OUTLINES:
        lines = "".join(_path(outline, frame) for outline in there)
        yield f'<path d="{lines}" fill="none" stroke="#2e4057" stroke-width="0.4" stroke-opacity="0.5"/>'


def _dots(built: Built, frame: tuple[float, float, float], height: float) -> Iterator[str]:
    there = ~shapely.is_missing(built.coverage)
    points = shapely.get_coordinates(shapely.centroid(built.coverage[there]))
    spots = _pixels(points, frame)
    placed = built.zone_of[there] != NONE
    seen = (spots >= 0).all(axis=1) & (spots[:, 0] <= WIDTH) & (spots[:, 1] <= height)
    every = max(1, int(seen.sum()) // MOST_DOTS)
    for (x, y), inside in list(zip(spots[seen].tolist(), placed[seen].tolist(), strict=True))[::every]:
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.6" fill="{"#2e4057" if inside else "#8d96a3"}"/>'


def _legend(height: float) -> Iterator[str]:
    y = height + LEGEND / 2
    step = 1 / len(COLOURS)
    boxes = [(colour, f"{n * step:.0%} to {(n + 1) * step:.0%}") for n, colour in enumerate(COLOURS)]
    yield f'<rect y="{height:.0f}" width="{WIDTH:.0f}" height="{LEGEND:.0f}" fill="white"/>'
    yield f'<text x="10" y="{y + 5:.0f}">of those counted surely inside:</text>'
    for n, (colour, text) in enumerate([*boxes, (UNHEARD, "no cell")]):
        x = 215 + 118 * n
        yield f'<rect x="{x}" y="{y - 8:.0f}" width="16" height="16" fill="{colour}"/>'
        yield f'<text x="{x + 22}" y="{y + 5:.0f}">{text}</text>'


def _path(outline: Any, frame: tuple[float, float, float]) -> str:
    simple = shapely.simplify(outline, 0.5 / frame[2])
    rings = [ring for part in shapely.get_parts(simple) for ring in (part.exterior, *part.interiors)]
    lines = (_pixels(shapely.get_coordinates(ring), frame)[:-1].tolist() for ring in rings)
    return "".join("M" + " ".join(f"{x:.1f},{y:.1f}" for x, y in line) + "Z" for line in lines)


def _pixels(points: NDArray[np.float64], frame: tuple[float, float, float]) -> NDArray[np.float64]:
    west, north, scale = frame
    return np.column_stack([(points[:, 0] - west) * scale, (north - points[:, 1]) * scale])


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
