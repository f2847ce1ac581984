"""A bar for each peer's better configuration, both shapes, from the results' file. An SVG by hand: it needs no package.

python -m benchmarks.peers.chart [benchmarks/results/peers.json] [docs/explanation/peers.svg]
"""

import json
import sys
from html import escape
from pathlib import Path
from typing import Any, Final

from benchmarks.peers.job import SHAPES
from benchmarks.peers.peers import BY_NAME, RESULTS, THRONG

OUT: Final = Path(__file__).parent.parent.parent / "docs" / "explanation" / "peers.svg"
WIDTH: Final = 760
LABELS: Final = 240  # the longest name in the widest of the usual fonts
BAR: Final = 16
GAP: Final = 14
TOP: Final = 46
NUMBERS: Final = 90
COLOURS: Final = {"single": "#3b6ea5", "batched": "#9dbfe0"}
MEANS: Final = {"single": "one event a record", "batched": "100 events a record"}


def bars(summary: dict[str, Any]) -> list[tuple[str, dict[str, float | None]]]:
    """Names with their figures by shape, the fastest first; who has none is left out."""
    names = [name for name in summary["single"] if any(summary[shape].get(name) for shape in SHAPES)]
    rows = [(name, {shape: summary[shape].get(name) for shape in SHAPES}) for name in names]
    return sorted(rows, key=lambda row: -(row[1]["single"] or 0))


def svg(summary: dict[str, Any]) -> str:
    """The chart."""
    rows = bars(summary)
    most = max((rate for _, rates in rows for rate in rates.values() if rate), default=1)
    height = TOP + len(rows) * (len(SHAPES) * BAR + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        '<text x="8" y="18" font-size="14">Events per CPU-second, the whole job</text>',
    ]
    for number, shape in enumerate(SHAPES):
        left = LABELS + 200 * number
        parts.append(f'<rect x="{left}" y="26" width="10" height="10" fill="{COLOURS[shape]}"/>')
        parts.append(f'<text x="{left + 14}" y="35">{MEANS[shape]}</text>')
    top = TOP
    for name, rates in rows:
        title = "throng" if name == THRONG else BY_NAME[name].title if name in BY_NAME else name
        parts.append(f'<text x="{LABELS - 8}" y="{top + BAR + 4}" text-anchor="end">{escape(title)}</text>')
        for number, shape in enumerate(SHAPES):
            rate, y = rates[shape], top + number * BAR
            if rate:
                width = max(1.0, rate / most * (WIDTH - LABELS - NUMBERS))
                parts.append(
                    f'<rect x="{LABELS}" y="{y + 1}" width="{width:.1f}" height="{BAR - 2}" fill="{COLOURS[shape]}"/>'
                )
                parts.append(f'<text x="{LABELS + width + 5:.1f}" y="{y + 12}">{rate:,.0f}</text>')
        top += len(SHAPES) * BAR + GAP
    return "\n".join([*parts, "</svg>"]) + "\n"


def draw(results: Path, out: Path) -> None:
    """Draw the results' file."""
    out.write_text(svg(json.loads(results.read_text())["summary"]), encoding="utf-8")


if __name__ == "__main__":
    paths = [Path(word) for word in sys.argv[1:]]
    draw(paths[0] if paths else RESULTS / "peers.json", paths[1] if len(paths) > 1 else OUT)
