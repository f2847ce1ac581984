"""Membership inference: was this person's phone among those counted today?

Pyrgelis, Troncoso and De Cristofaro, "Knock Knock, Who's There?" (NDSS 2018). The game is theirs: many releases of a
day, in each of which every target is in or out by lot. The attackers know the target's way and those of all others:

    mechanism  reads the noisy counts before anything is withheld (the ledger, which never leaves); the likelihood
               ratio with one threshold, and no test is better (Neyman and Pearson)
    released   the same with what was published, districts less their told zones included
    logistic   has the same before it, in hours and measures, and learns from half of the releases what tells

All measures of the day are under attack at once, and so is all of its budget: the bound is `chance.auc_bound`. The same
attackers without noise (raw, and with counts below k withheld) show that they bite.
"""

import math
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attacks.chance import Estimate, auc
from attacks.leaving import DISTRICTS, Counts, Noise, Published, bare, read, release, stacked, suppressed
from attacks.town import Day, World, alone
from streams.core.release.budget import sigma

KS: Final = (15, 30)
BLOCKS: Final = 6  # of four hours: what the logistic attacker looks at apart
ROUNDS: Final = 400
RIDGE: Final = 1e-3


class Target(NamedTuple):
    """A person whose way is known: what they add, by (number, measure), and by measure as (panes, keys, counts)."""

    adds: dict[tuple[int, str], NDArray[np.int64]]
    cells: dict[str, tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int64]]]


class Seen(NamedTuple):
    """What an attacker has before them: by measure f64[panes, keys], NaN where nothing is told, and its noise's scale.

    `districts`: the people present in districts, if they see them.
    """

    tables: dict[str, NDArray[np.float64]]
    scales: dict[str, float]
    districts: NDArray[np.float64] | None


class Release(NamedTuple):
    """One release of the game.

    Attributes:
        inside: bool[targets], who is in. views: by attacker. truth: what was counted of all who are in, by measure.
    """

    day: Day
    targets: list[Target]
    inside: NDArray[np.bool_]
    views: dict[str, Seen]
    truth: dict[str, NDArray[np.int64]]


Watch = Callable[[Release], None]


class Result(NamedTuple):
    """Areas under the curve by attacker, and how much of the day's rho the targets' own days used, on average."""

    areas: dict[str, Estimate]
    used_rho: float


def targets_of(world: World, day: Day, number: int) -> list[Target]:
    """People who were counted, drawn by the world's seed."""
    rng = np.random.default_rng(world.size.seed)
    chosen = rng.permutation(world.imsis[world.counted])[:number]
    return [_target(day, alone(world, day, int(imsi))) for imsi in chosen]


def _target(day: Day, adds: dict[tuple[int, str], NDArray[np.int64]]) -> Target:
    cells = {}
    for name, matrix in stacked(day.epoch, adds).items():
        rows, keys = np.nonzero(matrix)
        cells[name] = (rows, keys, matrix[rows, keys])
    return Target(adds, cells)


def play(
    world: World,
    day: Day,
    targets: list[Target],
    releases: int,
    noise: Noise,
    told: Callable[[str], None],
    watch: Watch = lambda _: None,
) -> Result:
    """Release the day again and again, an even number of times, and attack each release. `watch` sees them too."""
    rng = np.random.default_rng(world.size.seed + 1)
    first = rng.integers(2, size=(releases // 2, len(targets))) == 1
    inside = np.stack([first, ~first], axis=1).reshape(-1, len(targets))  # of each two releases in one, by lot
    scores: dict[str, list[list[float]]] = {}
    looks: dict[str, list[list[NDArray[np.float64]]]] = {}
    for number in range(releases):
        told(f"membership: release {number + 1} of {releases}")
        counts = _with_some(day, targets, inside[number])
        truth = stacked(day.epoch, counts)
        views = _views(world, day, counts, noise)
        watch(Release(day, targets, inside[number], views, truth))
        for name, seen in views.items():
            row = [
                _look(world, seen, truth, target, bool(i)) for target, i in zip(targets, inside[number], strict=True)
            ]
            scores.setdefault(name, []).append([float(look.sum()) for look in row])
            looks.setdefault(name, []).append(row)
    areas = {name: auc(np.array(rows), inside) for name, rows in scores.items()}
    areas |= {f"logistic, {name}": learnt(np.array(looks[name]), inside) for name in ("released", "raw")}
    scales = {measure.name: sigma(measure, day.epoch) for measure in day.epoch.measures}
    used = [sum(float((v**2).sum()) / (2 * scales[m] ** 2) for m, (_, _, v) in t.cells.items()) for t in targets]
    return Result(areas, float(np.mean(used)))


def over_days(
    world: World, targets: int, releases: int, noise: Noise, told: Callable[[str], None], watch: Watch
) -> Result:
    """Play with all days of the world, each released as often; the areas are means over the days."""
    found = []
    for number, day in enumerate(world.days):
        told(f"membership: day {number + 1} of {len(world.days)}")
        found.append(play(world, day, targets_of(world, day, targets), releases, noise, told, watch))
    areas = {}
    for name in found[0].areas:
        days = [one.areas[name] for one in found]
        error = math.sqrt(sum(one.se**2 for one in days)) / len(days)
        areas[name] = Estimate(sum(one.value for one in days) / len(days), error)
    return Result(areas, sum(one.used_rho for one in found) / len(found))


def _with_some(day: Day, targets: list[Target], inside: NDArray[np.bool_]) -> Counts:
    """The day's exact counts without the targets who are out."""
    counts = {key: vector.copy() for key, vector in day.counts.items()}
    for target, is_in in zip(targets, inside, strict=True):
        if not is_in:
            for key, vector in target.adds.items():
                counts[key] -= vector
    return counts


def _views(world: World, day: Day, counts: Counts, noise: Noise) -> dict[str, Seen]:
    """What the attackers of one release see."""
    ledger, records = release(day.epoch, world.plan, counts, noise)
    drawn = {(r.number, r.measure): np.frombuffer(r.noisy, "<i8") for r in ledger}
    scales = {measure.name: sigma(measure, day.epoch) for measure in day.epoch.measures}
    exact = bare(day.epoch, world.parents, counts)
    views = {
        "mechanism": Seen({n: v.astype(np.float64) for n, v in stacked(day.epoch, drawn).items()}, scales, None),
        "released": _seen(read(day.epoch, world.plan, records), scales),
        "raw": _seen(exact, dict.fromkeys(scales, 1.0)),
    }
    return views | {f"k={k}": _seen(suppressed(exact, k), dict.fromkeys(scales, 1.0)) for k in KS}


def _seen(published: Published, scales: dict[str, float]) -> Seen:
    return Seen({n: published.tables[n].noisy for n in scales}, scales, published.tables[DISTRICTS].noisy)


def _look(
    world: World, seen: Seen, truth: dict[str, NDArray[np.int64]], target: Target, is_in: bool
) -> NDArray[np.float64]:
    """The logarithm of the likelihood ratio of 'in' to 'out', f64[measures * BLOCKS]; its sum is the whole.

    A discrete Gaussian's ratio between neighbours is that of the continuous one: ((y - c) v - v^2 / 2) / sigma^2 for
    a count y that is c without the target, who adds v.
    """
    look = np.zeros((len(seen.tables), BLOCKS))
    for number, (name, table) in enumerate(seen.tables.items()):
        rows, keys, adds = target.cells[name]
        over = table[rows, keys] - (truth[name][rows, keys] - is_in * adds)
        ratio = np.nan_to_num((over * adds - adds**2 / 2) / seen.scales[name] ** 2)
        look[number] = np.bincount(rows * BLOCKS // len(table), ratio, BLOCKS)
        if name == "present" and seen.districts is not None:
            ratio = _through_districts(world, seen, truth[name], target, is_in)
            look[number] += np.bincount(rows * BLOCKS // len(table), ratio, BLOCKS)
    return look.ravel()


def _through_districts(
    world: World, seen: Seen, truth: NDArray[np.int64], target: Target, is_in: bool
) -> NDArray[np.float64]:
    """What a told district, less its told zones, says where the target's own zone isn't told: f64[cells]."""
    assert seen.districts is not None
    rows, keys, adds = target.cells["present"]
    table = seen.tables["present"][rows]
    mates = world.parents[None, :] == world.parents[keys][:, None]
    untold = np.isnan(table) & mates
    rest = seen.districts[rows, world.parents[keys]] - np.where(mates, np.nan_to_num(table), 0.0).sum(axis=1)
    without = np.where(untold, truth[rows], 0).sum(axis=1) - is_in * adds
    variance = np.maximum(untold.sum(axis=1), 1) * seen.scales["present"] ** 2
    ratio = ((rest - without) * adds - adds**2 / 2) / variance
    return np.where(np.isnan(table[np.arange(len(keys)), keys]), np.nan_to_num(ratio), 0.0)


def learnt(looks: NDArray[np.float64], inside: NDArray[np.bool_]) -> Estimate:
    """Logistic regression on half of the releases, f64[releases, targets, features]; the area on the other half."""
    half = len(looks) // 2
    scale = looks[:half].std(axis=(0, 1)) + 1e-12
    known = looks[:half].reshape(-1, looks.shape[2]) / scale
    known = np.hstack([known, np.ones((len(known), 1))])
    said = inside[:half].ravel().astype(np.float64)
    weights = np.zeros(known.shape[1])
    for _ in range(ROUNDS):
        chance = 1 / (1 + np.exp(-np.clip(known @ weights, -30, 30)))
        weights -= (known.T @ (chance - said) / len(said) + RIDGE * weights) / 2
    return auc(looks[half:] / scale @ weights[:-1], inside[half:])
