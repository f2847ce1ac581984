"""The results as the tables of docs/explanation/validation.md, between its two marks."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from attacks.verdict import Json
from validation.errors import SIZES
from validation.summary import (
    BEFORE_AT,
    GOALS,
    WITH_FACTORS,
    apart,
    by_grid_line,
    last_line,
    met,
    noise_alone,
    town_range,
)

BEGIN, END = "<!-- results: python -m validation --write -->\n", "<!-- end of results -->\n"


def write(page: Path, results: dict[str, Json], again: dict[str, Json] | None = None) -> None:
    """Fill the page's file. `again`: results of other towns.

    Raises:
        ValueError: it has no marks.
    """
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"the page has no {BEGIN.strip()} followed by {END.strip()}")
    page.write_text(before + BEGIN + tables(results, again) + END + after, encoding="utf-8")


def tables(results: dict[str, Json], again: dict[str, Json] | None = None) -> str:
    """All tables. `again`: results of other towns, which stand beside the goals."""
    parts: list[Callable[[dict[str, Json]], str]] = [_errors, _coverage, _medians, _reference, _towns]
    for part in reversed(WITH_FACTORS):
        if part in results:
            parts.insert(parts.index(_medians) + 1, partial(_calibrated, part=part))
    if "foretold" in results:
        parts.insert(parts.index(_reference), _foretold)
    if "by_grid" in results:
        parts.insert(parts.index(_medians) + 1, _by_grid)
    for part, told in (("first_day", _first_day), ("by_town", _by_town)):
        if part in results:
            parts.insert(parts.index(_errors) + 1, told)
    if {"by_grid", *WITH_FACTORS} <= set(results):
        parts.insert(0, partial(_with_both, again=again))
    return "\n".join([goals(results, again), *(part(results) for part in parts)])


def goals(results: dict[str, Json], again: dict[str, Json] | None = None) -> str:
    """The last line against its goals, how far single draws of noise and towns are apart, and the same of other towns:
    a goal is met if it is in both."""
    line, alone = last_line(results), noise_alone(results)
    repeated = None if again is None else last_line(again)
    rows = []
    for side, wanted in GOALS.items():
        drawn = side == "released"
        for name, goal in wanted.items():
            value, other = line[side][name], None if repeated is None else repeated[side][name]
            held = met(value, goal) and (repeated is None or met(other, goal))
            columns = (
                *(side.replace("_", " "), name if drawn else f"{name}_{BEFORE_AT}", _told(value)),
                *(_range(results, side, name) if drawn else "", _span(town_range(results, side, name))),
                *(
                    "" if repeated is None else _told(other),
                    _bar(goal) if isinstance(goal, list) else f"at most {goal}",
                ),
                "yes" if held else "no",
                *([_told(alone[name]), _range(results, "against_what_was_counted", name)] if drawn else ["", ""]),
            )
            rows.append(f"| {' | '.join(columns)} |")
    head = (
        "| | number | against what truly happened | single draws | single towns | other towns | goal | met | "
        "against what was counted | single draws |\n"
    )
    number = results["draws"]["number"]
    told = f"\nWhat is released is told of {number} draw{'s' if number > 1 else ''} of noise together; *single draws* "
    told += "and *single towns*: the lowest and the highest of them."
    if again is not None:
        seeds = ", ".join(str(town["seed"]) for town in again["towns"].values())
        told += f" *Other towns*: of the same shapes and of seeds {seeds}. A goal is met if it is in both."
    return head + "|---" * 10 + "|\n" + "\n".join(rows) + "\n" + told + "\n"


def _span(found: tuple[float, float] | None, digits: int = 3) -> str:
    return "" if found is None else f"{found[0]:.{digits}f} to {found[1]:.{digits}f}"


def _range(results: dict[str, Json], *path: str, digits: int = 3) -> str:
    return _span(apart(results, *path), digits)


def _bar(goal: float | list[float]) -> str:
    return f"{goal[0]} to {goal[1]}" if isinstance(goal, list) else f"{goal:g}"


def _held(name: str, value: float | None, goal: float | list[float]) -> str:
    return f"{name} {_told(value)} of {_bar(goal)} ({'met' if met(value, goal) else 'missed'})"


def _told(value: float | None, digits: int = 3) -> str:
    return "too few" if value is None else f"{value:.{digits}f}"


def _errors(results: dict[str, Json]) -> str:
    sides: Final = ("before", "unweighted", "words", "released", "noise")
    head = (
        "| measure | people | counts | before noise | their sum | as counted | by the words | released | "
        "nine in ten within | against counted |\n"
    )
    rows = []
    for kind in results["errors"]["before"]:
        for size in map(str, SIZES):
            lines = [results["errors"][side].get(kind, {}).get(size) for side in sides]
            if lines[0] is None:
                continue
            medians = ["" if line is None else f"{100 * line['median']:.1f} %" for line in lines]
            people = f"{int(size):,}"
            columns = (
                kind,
                people,
                f"{lines[0]['counts']:,}",
                medians[0],
                f"{100 * lines[0]['bias']:+.1f} %",
                *medians[1:4],
                "" if lines[3] is None else f"{100 * lines[3]['most']:.1f} %",
                medians[4],
            )
            rows.append(f"| {' | '.join(columns)} |")
    return head + "|---" * 10 + "|\n" + "\n".join(rows) + "\n"


def _by_town(results: dict[str, Json]) -> str:
    rows = []
    for kind, sizes in results["by_town"].items():
        for size, line in sizes.items():
            spans = [
                f"{100 * line[of][0]:.1f} to {100 * line[of][1]:.1f} %" for of in ("before", "released", "covered")
            ]
            rows.append(f"| {kind} | {int(size):,} | {line['towns']} | {' | '.join(spans)} |")
    head = "| single towns | people | have such crowds | before noise | released | intervals hold |\n"
    return f"{head}|---|---|---|---|---|---|\n" + "\n".join(rows) + "\n"


def _first_day(results: dict[str, Json]) -> str:
    found, later = results["first_day"]["released"], results["errors"]["released"]
    rows = _compared((found, later), (found, later))
    head = "| released | people | on a first day | later | intervals hold on a first day | later |\n"
    line = last_line(results)["first_day"]
    told = ", ".join(_held(name, line[name], goal) for name, goal in GOALS["released"].items())
    return f"{head}|---|---|---|---|---|---|\n{rows}\nOn a first day, against the goals: {told}.\n"


def _coverage(results: dict[str, Json]) -> str:
    rows = []
    named = (
        ("counted", "what was counted, by `se`"),
        ("truth_alone", "what truly happened, by `se` alone"),
        ("truth", "what truly happened, by `se` and `view_se`"),
    )
    for side, name in named:
        shares = results["coverage"][side]
        told = ["" if shares[key] is None else f"{100 * shares[key]:.1f} %" for key in (*map(str, SIZES), "all")]
        rows.append(f"| {name} | {' | '.join(told)} |")
    sizes = " | ".join(f"{size:,}" for size in SIZES)
    return f"| 95 % intervals hold | {sizes} | all |\n|---|---|---|---|---|\n" + "\n".join(rows) + "\n"


def _medians(results: dict[str, Json]) -> str:
    rows = []
    for size, line in results["median_stay"].items():
        told = [f"{100 * line[name]:.1f} %" for name in ("before", "released", "covered", "covered_counted")]
        rows.append(f"| {int(size):,} | {line['counts']:,} | {' | '.join(told)} |")
    head = "| median stay, of stays | counts | before noise | released | intervals hold the truth | what was counted |"
    return head + "\n|---|---|---|---|---|---|\n" + "\n".join(rows) + "\n"


def _compared(sides: Sequence[Json], holding: Sequence[Json]) -> str:
    """Rows of the kinds and sizes that all sides have: their medians, and how many intervals of some of them hold."""
    rows = []
    for kind in sides[0]:
        for size in map(str, SIZES):
            if any(side.get(kind, {}).get(size) is None for side in sides):
                continue
            shares = [side[kind][size]["median"] for side in sides] + [side[kind][size]["covered"] for side in holding]
            rows.append(f"| {kind} | {int(size):,} | {' | '.join(f'{100 * share:.1f} %' for share in shares)} |")
    return "\n".join(rows) + "\n"


def _calibrated(results: dict[str, Json], part: str) -> str:
    found, before, released = results[part], results["errors"]["before"], results["errors"]["released"]
    sides = (before, found["one_day"], found["before"], released, found["released"])
    name = part.replace("_", " ")
    head = f"| {name} | people | before noise | by one day | by two days | released | by two days | intervals hold |\n"
    return head + "|---|---|---|---|---|---|---|---|\n" + _compared(sides, [found["released"]])


def _by_grid(results: dict[str, Json]) -> str:
    found, before, released = results["by_grid"], results["errors"]["before"], results["errors"]["released"]
    rows = _compared((before, found["before"], released, found["released"]), [found["released"]])
    head = "| with a density grid | people | before noise | by the grid | released | by the grid | intervals hold |\n"
    believed = ", ".join(f"{share:.0%}" for share in found["believed"])
    zones = f"\nZones of which the grid is believed, by town: {believed}.\n"
    return head + "|---|---|---|---|---|---|---|\n" + rows + zones


def _foretold(results: dict[str, Json]) -> str:
    found = results["foretold"]
    sides = [found[side] for side in ("alone", "before", "released_alone", "released")]
    head = (
        "| zones that nobody counted | people | before noise | by others' counts | released | by others' counts | "
        "intervals hold | by others' counts |\n"
    )
    parts = ", ".join(
        f"{part} {each['places']} (foretold by {each['foretold']} of {results['draws']['number']})"
        for part, each in found["places"].items()
    )
    places = (
        "\nOf the third that was counted, drawn anew each time, zones with a factor that others could learn from, by "
        f"length, in the median draw: {parts or 'none'}.\n"
    )
    return head + "|---|---|---|---|---|---|---|---|\n" + _compared(sides, sides[2:]) + places


def _with_both(results: dict[str, Json], again: dict[str, Json] | None) -> str:
    """The goals with what an operator may bring: a density grid, counts on site, and both, which other towns have."""
    line = last_line(results)
    sides = {"by_grid": by_grid_line(results), **{part: line[part] for part in WITH_FACTORS}}
    elsewhere = None if again is None else last_line(again).get("with_both")
    rows = []
    for side, wanted in GOALS.items():
        for name, goal in wanted.items():
            both, other = line["with_both"][side][name], None if elsewhere is None else elsewhere[side][name]
            held = met(both, goal) and (elsewhere is None or met(other, goal))
            told = [
                ", ".join(filter(None, (_told(of[side][name], 4), _range(results, part, side, name, digits=4))))
                if name in of[side]
                else ""
                for part, of in sides.items()
            ]
            columns = (
                *(side.replace("_", " "), name if side == "released" else f"{name}_{BEFORE_AT}"),
                *(_told(line[side][name], 4), *told, "" if elsewhere is None else _told(other, 4)),
                *(_bar(goal) if isinstance(goal, list) else f"at most {goal}", "yes" if held else "no"),
            )
            rows.append(f"| {' | '.join(columns)} |")
    head = (
        "| | number | without | with a density grid | with counts on site | with both | other towns, with both | "
        "goal | met with both |\n"
    )
    ranges = "\nBehind each number: the lowest and the highest of single draws of noise.\n"
    return head + "|---" * 9 + "|\n" + "\n".join(rows) + "\n" + ranges


def _reference(results: dict[str, Json]) -> str:
    if not results["reference"]:
        return "The reference could not be installed.\n"
    rows = [
        f"| {name} | {one['ours']:,} | {one['theirs']:,} | {one['apart']} |"
        for name, one in results["reference"].items()
    ]
    return "| same sightings | throng | trackintel | counts apart |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"


def _towns(results: dict[str, Json]) -> str:
    rows = [
        f"| {name} | {t['seed']} | {t['people']:,} | {t['zones']} | {t['cells']} | {t['radio']} | "
        f"{'-'.join(f'{part:02d}' for part in t['date'])} | {t['events']:,} |"
        for name, t in results["towns"].items()
    ]
    rules = ", ".join(f"`{name}` {seconds}" for name, seconds in results["rules"].items())
    head = "| town | seed | subscribers | zones | cells | radio | day | events |\n|---|---|---|---|---|---|---|---|\n"
    return head + "\n".join(rows) + f"\n\nThe rules of counting in that run: {rules}.\n"
