"""The errors by size of crowd as an SVG: the same results give the same bytes."""

import math
from pathlib import Path
from typing import Final

from attacks.verdict import Json

PANELS: Final = ("present", "footfall", "flows", "dwell", "visits")
COLOURS: Final = {"before": "#00798c", "released": "#d1495b"}
MEANS: Final = {"before": "before noise, against what happened", "released": "released, against what happened"}
WIDTH, HEIGHT, LEFT, TOP = 250, 190, 52, 58
PEOPLE: Final = (10, 100, 1000, 10_000)
ERRORS: Final = (0.001, 0.01, 0.1, 1.0)


def draw(results: dict[str, Json], path: Path) -> None:
    """All panels, to a file."""
    columns = 3
    rows = -(-len(PANELS) // columns)
    width, height = columns * (WIDTH + LEFT) + 20, TOP + rows * (HEIGHT + 62)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        '<text x="10" y="20" font-size="13" font-weight="bold">Median relative error by size of crowd</text>',
    ]
    for number, (side, colour) in enumerate(COLOURS.items()):
        x = 10 + 240 * number
        parts.append(f'<rect x="{x}" y="30" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{x + 15}" y="39">{MEANS[side]}</text>')
    for number, kind in enumerate(PANELS):
        x = LEFT + number % columns * (WIDTH + LEFT)
        y = TOP + 14 + number // columns * (HEIGHT + 62)
        parts += _panel(kind, {side: results["curves"][side].get(kind, []) for side in COLOURS}, x, y)
    path.write_text("\n".join([*parts, "</svg>"]) + "\n", encoding="utf-8")


def _panel(kind: str, curves: dict[str, list[list[float]]], left: int, top: int) -> list[str]:
    bottom = top + HEIGHT
    parts = [f'<text x="{left}" y="{top - 5}" font-weight="bold">{kind}</text>']
    for people in PEOPLE:
        x = left + _place(people, PEOPLE) * WIDTH
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 15}" text-anchor="middle">{people:,}</text>')
    for share in ERRORS:
        y = bottom - _place(share, ERRORS) * HEIGHT
        parts.append(f'<line x1="{left}" x2="{left + WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 5}" y="{y + 4:.1f}" text-anchor="end">{100 * share:g} %</text>')
    for side, points in curves.items():
        spots = [
            (left + _place(people, PEOPLE) * WIDTH, bottom - _place(max(share, ERRORS[0]), ERRORS) * HEIGHT)
            for people, share in points
        ]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{COLOURS[side]}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{COLOURS[side]}"/>' for x, y in spots]
    return parts


def _place(value: float, scale: tuple[float, ...]) -> float:
    """Where on a logarithmic scale, 0 to 1."""
    low, high = math.log(scale[0]), math.log(scale[-1])
    return min(max((math.log(value) - low) / (high - low), 0.0), 1.0)
