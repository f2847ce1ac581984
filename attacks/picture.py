"""Pictures of results, as SVG: the same results give the same bytes."""

from pathlib import Path
from typing import Final, NamedTuple

from attacks.verdict import Json

BARE, HIDDEN, SAFE, BASE = "#d1495b", "#edae49", "#00798c", "#8d96a3"
COLOURS: Final = {"raw": BARE, "k=15": HIDDEN, "k=30": HIDDEN, "released": SAFE}


class Bar(NamedTuple):
    """A bar from 0 to 1; `error`: standard error; `mark`: where the bar would be that means nothing was learnt."""

    name: str
    value: float
    error: float
    colour: str
    mark: float | None = None


def draw(results: dict[str, Json], folder: Path) -> None:
    """All pictures, each to a file of its own."""
    member = results["membership"]
    names = ("raw", *(name for name in member if name.startswith("k=")), "logistic, raw")
    names = (*names, "mechanism", "released", "logistic, released")
    bars = [Bar(n, member[n][0], member[n][1], _colour(n), 0.5) for n in names]
    bound = float(member["bound"])
    title = f"In or out? Area under the curve (0.5: guessing); dashed: the bound {bound:.3f}"
    (folder / "membership.svg").write_text(_chart(title, bars, bound))
    for place in ("village", "town"):
        ways = results[f"trajectories, {place}"]
        bars = [
            Bar(n, ways[n]["counted"][0], ways[n]["counted"][1], _colour(n), ways[n]["others"][0])
            for n in ("raw", "k=15", "k=30", "released", "by lot", "crowded")
        ]
        title = f"Recovered ways that fit people of the {place}; line: people who weren't counted"
        (folder / f"trajectories-{place}.svg").write_text(_chart(title, bars))
    found = results["differencing, town"]
    bars = []
    for name in ("k=15", "k=30", "released"):
        tried, exact, guess = (found[name]["all"][k] for k in ("tried", "exact", "guess"))
        bars.append(Bar(name, exact / max(tried, 1), 0.0, _colour(name), guess / max(tried, 1)))
    title = "Withheld small counts found exactly by differences; line: by always the same guess"
    (folder / "differencing.svg").write_text(_chart(title, bars))


def _colour(name: str) -> str:
    if name in ("mechanism", "released", "logistic, released"):
        return SAFE
    return BARE if name.endswith("raw") else COLOURS.get(name, BASE)


def _chart(title: str, bars: list[Bar], bound: float | None = None) -> str:
    height = 44 + 26 * len(bars)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="720" height="{height}" fill="white"/>',
        f'<text x="10" y="20" font-weight="bold">{title}</text>',
    ]
    for row, bar in enumerate(bars):
        y = 34 + 26 * row
        parts.append(f'<text x="140" y="{y + 14}" text-anchor="end">{bar.name}</text>')
        parts.append(f'<rect x="150" y="{y}" width="{500 * bar.value:.1f}" height="18" fill="{bar.colour}"/>')
        if bar.error > 0:
            low, high = (150 + 500 * (bar.value + side * 1.96 * bar.error) for side in (-1, 1))
            parts.append(f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y + 9}" y2="{y + 9}" stroke="#222"/>')
        if bar.mark is not None:
            x = 150 + 500 * bar.mark
            parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y - 2}" y2="{y + 20}" stroke="#222" stroke-width="2"/>')
        parts.append(f'<text x="{660}" y="{y + 14}">{bar.value:.3f}</text>')
    if bound is not None:
        x = 150 + 500 * bound
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="28" y2="{height - 6}" stroke="#222" stroke-dasharray="4 3"/>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"
