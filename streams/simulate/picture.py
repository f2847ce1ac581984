"""The picture in docs/explanation/simulator.md, from a real run: `python -m streams.simulate.picture PATH`.

Left the town: zones as discs by kind, cells as dots. Right a weekday: events a subscriber and hour by kind, and where
people truly are on the full hour.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from streams.simulate.generate import KINDS, generate
from streams.simulate.people import MOVING, populate
from streams.simulate.rates import Rates
from streams.simulate.town import Town, make_town

SEED, SUBSCRIBERS = 1, 5_000
START_MS: Final = 1_772_420_400_000  # Monday 2026-03-02 04:00 in the town
HOUR_MS: Final = 3_600_000
COLOURS: Final = {
    "shopping": "#d1495b",
    "station": "#2e4057",
    "leisure": "#edae49",
    "park": "#66a182",
    "office": "#4f8fc0",
    "industry": "#8d96a3",
    "education": "#9b72aa",
    "hospital": "#e88fa2",
    "church": "#b08968",
    "stadium": "#00798c",
    "residential": "#d9d4c7",
}
KIND_COLOURS: Final = ("#4f8fc0", "#66a182", "#edae49", "#d1495b", "#2e4057")


def draw(path: Path) -> None:
    """Run a day and write the picture."""
    town = make_town(SEED, SUBSCRIBERS)
    events, where = _day(town)
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1000 500" font-family="sans-serif" font-size="12">',
        '<rect width="1000" height="500" fill="white"/>',
        *_map(town),
        *_events(events),
        *_where(where),
        "</svg>",
    ]
    path.write_text("\n".join(parts) + "\n")


def _day(town: Town) -> tuple[np.ndarray, np.ndarray]:
    """Events a subscriber by hour and kind (24, 5); shares (24, 3) at home, at work or school, on the way."""
    people = populate(town)[0]
    events = np.zeros((24, len(KINDS)))
    truths = []
    for piece in generate(town, START_MS, START_MS + 24 * HOUR_MS, 1, rates=Rates(malformed=0), slice_ms=HOUR_MS):
        values = piece.payload.tobytes()
        hour = (piece.start_ms - START_MS) // HOUR_MS
        events[hour] = [values.count(b'"kind":"%s"' % kind.encode()) / town.subscribers for kind in KINDS]
        truths.append(piece.truth)
    truth = np.concatenate(truths)
    where = np.zeros((24, 3))
    for hour in range(24):
        at = START_MS + hour * HOUR_MS
        now = truth[(truth["begin"] <= at) & (truth["end"] > at)]
        moving = now["mode"] == MOVING
        home, work = people["home"][now["who"]], people["work"][now["who"]]
        where[hour] = (
            ((now["zone"] == home) & ~moving).mean(),
            ((now["zone"] == work) & (work != home) & ~moving).mean(),
            moving.mean(),
        )
    return events, where


def _map(town: Town) -> list[str]:
    scale = 230 / town.layout.half_side

    def xy(x: float, y: float) -> str:
        return f'cx="{250 + x * scale:.1f}" cy="{235 - y * scale:.1f}"'

    discs = [
        f'<circle {xy(z.x, z.y)} r="{z.radius * scale:.1f}" fill="{COLOURS[z.kind]}" fill-opacity="0.85"/>'
        for z in town.layout.zones
    ]
    cells = [f'<circle {xy(x, y)} r="1.4" fill="#222"/>' for x, y in town.cell_xy.tolist()]
    legend = []
    for k, (kind, colour) in enumerate(COLOURS.items()):
        x, y = 20 + 84 * (k % 6), 478 + 16 * (k // 6)
        legend.append(f'<circle cx="{x}" cy="{y - 4}" r="5" fill="{colour}"/><text x="{x + 9}" y="{y}">{kind}</text>')
    return discs + cells + legend


def _events(events: np.ndarray) -> list[str]:
    top = 8.0
    parts = [_title(560, 30, "events a subscriber, hour"), *_axes(40, 230, lambda v: f"{v * top:.0f}")]
    for hour in range(24):
        base = 0.0
        for kind in range(len(KINDS)):
            height = events[hour, kind] / top * 180
            x, y = 561 + hour * 17, 220 - base - height
            size = f'width="15" height="{height:.1f}"'
            parts.append(f'<rect x="{x}" y="{y:.1f}" {size} fill="{KIND_COLOURS[kind]}"/>')
            base += height
    for k, name in enumerate(KINDS):
        parts.append(f'<text x="{750 + 44 * k}" y="30" fill="{KIND_COLOURS[k]}" font-size="9.5">{name}</text>')
    return parts


def _where(where: np.ndarray) -> list[str]:
    parts = [_title(560, 270, "where they truly are"), *_axes(280, 470, lambda v: f"{v * 100:.0f} %")]
    names = (("at home", "#b08968"), ("at work, school", "#4f8fc0"), ("on the way", "#d1495b"))
    for k, (name, colour) in enumerate(names):
        line = " ".join(f"{568 + hour * 17},{460 - where[hour, k] * 180:.1f}" for hour in range(24))
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        parts.append(f'<text x="{(712, 778, 886)[k]}" y="270" fill="{colour}" font-size="11">{name}</text>')
    return parts


def _title(x: int, y: int, text: str) -> str:
    return f'<text x="{x}" y="{y}" font-weight="bold">{text}</text>'


def _axes(top: int, bottom: int, label: Callable[[float], str]) -> list[str]:
    parts = []
    for share in (0.0, 0.5, 1.0):
        y = bottom - 10 - share * (bottom - top - 10)
        parts.append(f'<line x1="556" x2="970" y1="{y}" y2="{y}" stroke="#ddd"/>')
        parts.append(f'<text x="550" y="{y + 4}" text-anchor="end" fill="#666">{label(share)}</text>')
    for hour in range(0, 24, 4):
        text = f"{(hour + 4) % 24:02d}:00"
        parts.append(f'<text x="{561 + hour * 17}" y="{bottom + 6}" fill="#666" font-size="10">{text}</text>')
    return parts


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
