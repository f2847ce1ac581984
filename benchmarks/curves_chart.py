"""A small panel for each curve of benchmarks/results/curves.json: points at even distances, a zero at the bottom.

python -m benchmarks.curves_chart [benchmarks/results/curves.json] [docs/explanation/curves.svg]
"""

import json
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.peers.peers import RESULTS

OUT: Final = Path(__file__).parent.parent / "docs" / "explanation" / "curves.svg"
COLUMNS: Final = 4
WIDE: Final = 230
HIGH: Final = 170
LEFT: Final = 14
TOP: Final = 44
PLOT_W: Final = 200
PLOT_H: Final = 90
HEADROOM: Final = 1.25
LINE: Final = "#3b6ea5"
TITLES: Final = {
    "fetch": "taken at once, kB",
    "lateness": "lateness, s",
    "pane": "shortest pane, min",
    "partitions": "raw partitions",
    "zones": "zones",
    "subscribers": "subscribers",
}


class Panel(NamedTuple):
    """A curve: what it is of, and its points."""

    title: str
    points: Sequence[tuple[float, float]]
    numbers: str


def short(number: float) -> str:
    """A number in a few letters."""
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:g}"


def panels(found: dict[str, Any]) -> list[Panel]:
    """All curves that the results hold, and at the end the bytes of a subscriber's row."""
    curves = {**found["settings"], **found["sizes"]}
    drawn = [
        Panel(title, [(p["value"], p["events_per_cpu_s"]) for p in curves[name]], "events per CPU-second")
        for name, title in TITLES.items()
        if curves.get(name)
    ]
    by_size = found["sizes"].get("subscribers", [])
    if by_size:
        drawn.append(Panel("subscribers", [(p["value"], p["row_bytes"]) for p in by_size], "bytes a row"))
    return drawn


def svg(found: dict[str, Any]) -> str:
    """The chart."""
    drawn = panels(found)
    width, height = COLUMNS * WIDE, -(-len(drawn) // COLUMNS) * HIGH + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="10">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for number, panel in enumerate(drawn):
        parts += _panel(panel, number % COLUMNS * WIDE + LEFT, number // COLUMNS * HIGH + TOP)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(panel: Panel, left: float, top: float) -> list[str]:
    most = max(value for _, value in panel.points) * HEADROOM
    step = PLOT_W / len(panel.points)
    at = [
        (left + step * (number + 0.5), top + PLOT_H * (1 - value / most))
        for number, (_, value) in enumerate(panel.points)
    ]
    floor = top + PLOT_H
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
    parts = [
        f'<text x="{left}" y="{top - 22}" font-size="12">{escape(panel.title)}</text>',
        f'<text x="{left}" y="{top - 9}" fill="#666">{escape(panel.numbers)}</text>',
        f'<path d="M{left} {floor}h{PLOT_W}" stroke="#999"/>',
        f'<polyline points="{line}" fill="none" stroke="{LINE}" stroke-width="2"/>',
    ]
    for (x, y), (where, value) in zip(at, panel.points, strict=True):
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{LINE}"/>')
        parts.append(f'<text x="{x:.1f}" y="{y - 6:.1f}" text-anchor="middle">{short(value)}</text>')
        parts.append(f'<text x="{x:.1f}" y="{floor + 13}" text-anchor="middle" fill="#444">{short(where)}</text>')
    return parts


if __name__ == "__main__":
    paths = [Path(word) for word in sys.argv[1:]]
    source, out = (*paths, *(RESULTS / "curves.json", OUT)[len(paths) :])[:2]
    out.write_text(svg(json.loads(source.read_text())), encoding="utf-8")
