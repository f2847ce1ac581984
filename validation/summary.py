"""The results as JSON: tables, curves, and the last line with its goals."""

import math
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Final

import numpy as np

from attacks.verdict import Json
from validation import errors, medians
from validation.by_grid import ByGrid
from validation.calibrated import DAYS, Calibrated
from validation.errors import Error, Pairs
from validation.foretold import Foretold
from validation.judge import Judged
from validation.reference import Agreement
from validation.towns import Day

BEFORE_AT: Final = 500
WITH_FACTORS: Final = ("calibrated", "with_both")
GOALS: Final[Json] = {
    "before_noise": {"footfall": 0.05, "flows": 0.10, "dwell": 0.10, "visits": 0.10},
    "released": {
        **{"present_50": 0.30, "present_500": 0.06, "present_5000": 0.012},
        **{"footfall_500": 0.10, "flows_500": 0.10, "coverage_95": [0.93, 0.97]},
    },
}
COVERED: Final = ("present", "footfall", "flows")
EDGES: Final = np.geomspace(10, 10_240, 21)


def results(
    towns: list[Day],
    every: Sequence[Judged],
    agreed: dict[str, Agreement] | None,
    factors: Sequence[Calibrated] = (),
    grids: Sequence[ByGrid] = (),
    both: Sequence[Calibrated] = (),
    others: Sequence[Foretold] = (),
    first_days: Sequence[Judged] = (),
    by_town: Sequence[Sequence[Judged]] = (),
) -> dict[str, Json]:
    """All that is kept of a run, of draws of noise together. `factors`: the same with those that counts on site have
    found; `grids`: the same by plans with a density grid; `both`: the same with both; `others`: of zones without
    counts, with factors by those that have some; `first_days`: as released without a yesterday. Each by draw, none if
    it wasn't asked for; `by_town`: the draws of each town."""
    stays = medians.joined([each.stays for each in every])
    middles = {str(size): medians.error(stays, size, len(every)) for size in errors.SIZES}
    curves = {
        side: {
            kind: [[round(people, 1), round(share, 5)] for people, share in errors.by_size(pairs, EDGES, of)]
            for kind, pairs in found.items()
        }
        for side, found, of in (
            ("before", every[0].before, 1),
            ("released", _one([each.released for each in every]), len(every)),
        )
    }
    return {
        "towns": {day.shape.name: {**day.shape._asdict(), "events": day.events} for day in towns},
        "rules": {
            f"{name}_s": getattr(towns[0].epoch, f"{name}_ms") // 1000
            for name in ("ping_pong", "seen", "stay", "silence", "lateness")
        },
        "draws": {
            "number": len(every),
            "single": [
                _lines(_errors(every[one], factors[one], grids[one], both[one]))
                for one in (slice(n, n + 1) for n in range(len(every)))
            ],
        },
        **_errors(every, factors, grids, both),
        "curves": curves,
        "median_stay": {size: each._asdict() for size, each in middles.items() if each is not None},
        "reference": {name: each._asdict() for name, each in agreed.items()} if agreed is not None else {},
        **({"foretold": _foretold(others)} if others else {}),
        **({"first_day": _first_day(first_days)} if first_days else {}),
        **({"by_town": _by_town(by_town)} if by_town else {}),
    }


def _errors(
    every: Sequence[Judged], factors: Sequence[Calibrated], grids: Sequence[ByGrid], both: Sequence[Calibrated]
) -> dict[str, Json]:
    """All tables that numbers with goals are taken from."""
    first = every[0]
    sides = [{"released": each.released, "alone": each.alone, "noise": each.noise} for each in every]
    intervals = {"truth": "released", "truth_alone": "alone", "counted": "noise"}
    by_side = {side: [each[of] for each in sides] for side, of in intervals.items()}
    return {
        "errors": {
            **_tables([{"before": first.before, "unweighted": first.unweighted, "words": first.words}]),
            **_tables(sides),
        },
        "coverage": {
            side: {str(size): coverage(found, size) for size in errors.SIZES} | {"all": coverage(found, None)}
            for side, found in by_side.items()
        },
        **({"calibrated": _calibrated(factors)} if factors else {}),
        **({"by_grid": _by_grid(grids)} if grids else {}),
        **({"with_both": _calibrated(both)} if both else {}),
    }


def _lines(found: dict[str, Json]) -> Json:
    """The numbers that have goals."""
    return {
        **last_line(found),
        "against_what_was_counted": noise_alone(found),
        **({"by_grid": by_grid_line(found)} if "by_grid" in found else {}),
    }


def apart(found: dict[str, Json], *path: str) -> tuple[float, float] | None:
    """The lowest and the highest of single draws of a number, by where it is in their lines; None: too few to tell."""
    lines: list[Json] = found["draws"]["single"]
    *parts, name = path
    values: list[float | None] = [reduce(lambda line, part: line[part], parts, line)[name] for line in lines]
    told = [value for value in values if value is not None]
    return (min(told), max(told)) if len(told) == len(values) else None


def _foretold(others: Sequence[Foretold]) -> Json:
    sides = [{side: found for side, found in each._asdict().items() if side != "places"} for each in others]
    places = {
        part: {
            "places": round(float(np.median([each.places.get(part, (0, False))[0] for each in others]))),
            "foretold": sum(each.places.get(part, (0, False))[1] for each in others),
        }
        for part in dict.fromkeys(part for each in others for part in each.places)
    }
    return {**_tables(sides), "places": places}


def _first_day(judged: Sequence[Judged]) -> Json:
    released = [each.released for each in judged]
    return {**_tables([{"released": each} for each in released]), "coverage": coverage(released, None)}


def _by_town(by_town: Sequence[Sequence[Judged]]) -> Json:
    """By kind and size, of towns that have enough such crowds: how many they are, and the lowest and the highest."""
    towns = [
        {**_tables([{"before": of[0].before}]), **_tables([{"released": one.released} for one in of])} for of in by_town
    ]
    found: Json = {}
    for kind in towns[0]["before"]:
        for size in map(str, errors.SIZES):
            have = [town for town in towns if all(size in town[side].get(kind, {}) for side in ("before", "released"))]
            if have:
                of = {
                    "before": [town["before"][kind][size]["median"] for town in have],
                    "released": [town["released"][kind][size]["median"] for town in have],
                    "covered": [town["released"][kind][size]["covered"] for town in have],
                }
                line = {name: [min(values), max(values)] for name, values in of.items()}
                found.setdefault(kind, {})[size] = {"towns": len(have), **line}
    return found


def _by_grid(grids: Sequence[ByGrid]) -> Json:
    return {
        **_tables([{"before": each.before, "released": each.released} for each in grids]),
        "believed": [round(share, 3) for share in grids[0].believed],
    }


def _calibrated(factors: Sequence[Calibrated]) -> Json:
    tables = _tables([each._asdict() for each in factors])
    return {**tables, "coverage": coverage([each.released for each in factors], None)}


def last_line(found: dict[str, Json]) -> Json:
    """The summary: medians against what truly happened; before noise of crowds of about 500. None: too few to tell."""
    before = found["errors"]["before"]
    line = {
        "before_noise": {kind: _median(before, kind, BEFORE_AT) for kind in GOALS["before_noise"]},
        "released": _released(found["errors"]["released"], found["coverage"]["truth"]),
    }
    if "first_day" in found:
        line["first_day"] = _released(found["first_day"]["released"], {"all": found["first_day"]["coverage"]})
    return line | {part: calibrated_line(found[part]) for part in WITH_FACTORS if part in found}


def calibrated_line(found: Json) -> Json:
    """What is left with factors."""
    return {
        "days": DAYS,
        "before_noise": {kind: _median(found["before"], kind, BEFORE_AT) for kind in GOALS["before_noise"]},
        "released": _released(found["released"], {"all": found["coverage"]})
        | {f"{kind}_500": _median(found["released"], kind, 500) for kind in ("dwell", "visits")},
    }


def by_grid_line(found: dict[str, Json]) -> Json:
    """What is left by plans with a density grid, of the numbers that it changes."""
    table = found["by_grid"]
    return {
        "before_noise": {kind: _median(table["before"], kind, BEFORE_AT) for kind in ("footfall", "visits")},
        "released": {
            **{f"present_{size}": _median(table["released"], "present", size) for size in errors.SIZES},
            "footfall_500": _median(table["released"], "footfall", 500),
        },
    }


def noise_alone(found: dict[str, Json]) -> Json:
    """The same of what is released against what was counted: what the stated errors are about."""
    return _released(found["errors"]["noise"], found["coverage"]["counted"])


def _released(table: Json, covered: Json) -> Json:
    return {
        **{f"present_{size}": _median(table, "present", size) for size in errors.SIZES},
        "footfall_500": _median(table, "footfall", 500),
        "flows_500": _median(table, "flows", 500),
        "coverage_95": covered["all"],
    }


def _median(table: Json, kind: str, size: int) -> float | None:
    line = table.get(kind, {}).get(str(size))
    return None if line is None else float(line["median"])


def town_range(found: dict[str, Json], side: str, name: str) -> tuple[float, float] | None:
    """The lowest and the highest town of a number of the last line; None: not told by town."""
    kind, _, size = name.partition("_")
    line = found.get("by_town", {}).get(kind, {}).get(size or str(BEFORE_AT))
    if not line:
        return None
    low, high = line["released" if side == "released" else "before"]
    return low, high


def met(value: float | None, goal: float | list[float]) -> bool:
    """Is the goal met? A range is met within it, a bound at or below it."""
    if value is None:
        return False
    return goal[0] <= value <= goal[1] if isinstance(goal, list) else value <= goal


def coverage(draws: Sequence[dict[str, Pairs]], size: int | None) -> float | None:
    """The share of 95 % intervals that hold the truth, of people present, footfall and flows, each alike in weight, and
    so each size."""
    found, sizes = _one(draws), errors.SIZES if size is None else (size,)
    lines = [errors.error(found[kind], each, len(draws)) for kind in COVERED if kind in found for each in sizes]
    shares = [line.covered for line in lines if line is not None and not math.isnan(line.covered)]
    return round(float(np.mean(shares)), 4) if shares else None


def _one(draws: Sequence[dict[str, Pairs]]) -> dict[str, Pairs]:
    """Pairs by kind of all draws."""
    return {kind: errors.joined([each[kind] for each in draws]) for kind in draws[0]}


def _tables(draws: Sequence[Mapping[str, dict[str, Pairs]]]) -> Json:
    return {
        side: {kind: _sizes(pairs, len(draws)) for kind, pairs in _one([each[side] for each in draws]).items()}
        for side in draws[0]
    }


def _sizes(pairs: Pairs, draws: int) -> Json:
    lines = {str(size): errors.error(pairs, size, draws) for size in errors.SIZES}
    return {size: _told(line) for size, line in lines.items() if line is not None}


def _told(line: Error) -> Json:
    told = {"counts": line.counts} | {name: round(getattr(line, name), 4) for name in ("median", "most", "bias")}
    return told if math.isnan(line.covered) else {**told, "covered": round(line.covered, 4)}
