"""All attacks, one after the other, on a village and a town.

The village is so small that its bare counts are almost people, and next to nothing of it can be released; the town is
large enough for most of its zones to be told.
"""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attacks import areas, differencing, enumeration, linkage, membership, trajectories, uniqueness
from attacks.chance import Estimate, auc_bound, difference, tight_epsilon
from attacks.leaving import Noise, Published, bare, metrics, read, release, strange_fields, suppressed
from attacks.town import Size, World, live, whereabouts
from attacks.verdict import Json, Part, bites, clear, told
from schemas.ledger import Publication
from streams.core.release.budget import epsilon_for
from streams.core.release.release import publications

Tell = Callable[[str], None]

KS: Final = membership.KS
WEEK: Final = 7
MONTH: Final = 30
WORKING_DAYS: Final = 5  # the first day is a Monday
CORRELATED: Final = 12  # estimates of the panes of an hour err alike: so many tries are worth one
RANKED: Final = 12  # pairs alike by rank: one is expected, and so many happen once in 10 billion runs


class Scale(NamedTuple):
    """How much is tried. `releases`: of each day of the town. `people`: of whom whereabouts are compared, and whose
    numbers are tried."""

    village: Size
    town: Size
    releases: int
    targets: int
    people: int


QUICK: Final = Scale(Size(1, 80, 60, 2, 0.5), Size(1, 4_000, 20, 2, 0.7), 12, 40, 250)
FULL: Final = Scale(Size(1, 80, 60, 5, 0.5), Size(1, 4_000, 20, 4, 0.7), 26, 100, 800)


class Place(NamedTuple):
    """A world, its days as released and as bare counts, and the first day's records by measure."""

    name: str
    world: World
    released: list[Published]
    raw: list[Published]
    records: dict[str, list[Publication]]

    def views(self, day: int) -> dict[str, Published]:
        """A day as the attackers see it."""
        hidden = {f"k={k}": suppressed(self.raw[day], k) for k in KS}
        return {"raw": self.raw[day], **hidden, "released": self.released[day]}

    def groups(self, most: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """As many people who were counted as people who weren't, drawn by the world's seed."""
        world = self.world
        rng = np.random.default_rng(world.size.seed)
        number = min(most, int(world.counted.sum()), int(world.control.sum()))
        one, other = (rng.permutation(np.flatnonzero(group))[:number] for group in (world.counted, world.control))
        return one, other


def attack(scale: Scale, noise: Noise, tell: Tell) -> Part:
    """Everything, on a release with such noise."""
    village = _place("village", scale.village, noise, tell)
    town = _place("town", scale.town, noise, tell)
    results: dict[str, Json] = {
        "size": {
            "village": village.world.size._asdict() | {"counted": int(village.world.counted.sum())},
            "town": town.world.size._asdict() | {"counted": int(town.world.counted.sum())},
            "releases": scale.releases,
            "targets": scale.targets,
            "people": scale.people,
        }
    }
    verdicts = []
    for part in _parts(village, town, scale, noise, tell):
        results |= part.results
        verdicts += part.verdicts
    return Part(results, verdicts)


def _place(name: str, size: Size, noise: Noise, tell: Tell) -> Place:
    world = live(size, tell)
    place = Place(name, world, [], [], {})
    for number, day in enumerate(world.days):
        tell(f"releasing day {number + 1} of the {name}")
        ledger, published = release(day.epoch, world.plan, day.counts, noise)
        place.released.append(read(day.epoch, world.plan, published))
        place.raw.append(bare(day.epoch, world.parents, day.counts))
        for record in ledger if number == 0 else []:
            place.records.setdefault(record.measure, []).extend(publications(record))
    return place


def _parts(village: Place, town: Place, scale: Scale, noise: Noise, tell: Tell) -> Iterator[Part]:
    for place in (village, town):
        tell(f"recovering trajectories of the {place.name}")
        yield recover(place, scale.people)
        tell(f"guessing places of work in the {place.name}")
        yield guess(place)
        tell(f"guessing districts of homes and works in the {place.name}")
        yield guess_areas(place)
    tell("differencing the town")
    yield subtract(town)
    tell("singling out in the internal state")
    yield single_out(village, town)
    tell("linking two days")
    yield link(town, scale.people)
    yield enumerate_numbers(town, scale.people, tell)
    yield infer_membership(town, scale, noise, tell)


def recover(place: Place, most: int) -> Part:
    """Trajectory recovery: of the village all days, linked; of the town, too large for that, the first."""
    world = place.world
    zones, people = world.size.zones, int(world.counted.sum())
    days = range(len(world.days) if place.name == "village" else 1)
    truths = [
        np.concatenate([trajectories.true_ways(world.days[d].truth[:, who], zones) for d in days], axis=1)
        for who in place.groups(most)
    ]
    slots = [trajectories.fill(place.raw[d], world.parents, people) for d in days]
    guesses = {
        "by lot": np.concatenate([trajectories.drawn_by_lot(slots[d], d) for d in days], axis=1),
        "crowded": np.concatenate([trajectories.most_crowded(slots[d]) for d in days], axis=1),
    }
    for name in place.views(0):
        ways = [trajectories.recover(place.views(d)[name], world.parents, world.centres, people) for d in days]
        guesses[name] = trajectories.linked(ways, zones + 1)
    accuracy = {name: trajectories.accuracy(ways, truths[0], truths[1]) for name, ways in guesses.items()}
    raw, lot = accuracy["raw"], accuracy["by lot"]
    verdicts = [
        clear(f"ways of the {place.name} as released: those counted beyond others", accuracy["released"].gain, 0.0),
        bites(f"ways of the {place.name} from bare counts, against by lot", raw.counted.value, 2 * lot.counted.value),
    ]
    if place.name == "village":
        gain = raw.gain
        verdicts.append(bites("ways of the village, bare: those counted beyond others", gain.value, 2 * gain.se))
    told_all = {name: told({"counted": a.counted, "others": a.control, "gain": a.gain}) for name, a in accuracy.items()}
    return Part({f"trajectories, {place.name}": dict(told_all)}, verdicts)


def subtract(place: Place) -> Part:
    """Differencing, on the first day."""
    world, epoch = place.world, place.world.days[0].epoch
    results: Json = {}
    verdicts = []
    for name, view in place.views(0).items():
        if name == "raw":
            continue  # nothing is withheld
        by_kind = differencing.attack(epoch, world.parents, view, place.raw[0])
        found = differencing.together(by_kind)
        results[name] = {
            kind: {"tried": one.tried, "exact": one.exact, "guess": one.guess}
            for kind, one in {**by_kind, "all": found}.items()
        }
        if name == "released":
            beyond = difference(found.share, found.guessed)
            wide = Estimate(beyond.value, beyond.se * CORRELATED**0.5)
            verdicts.append(clear(f"withheld counts of the {place.name} by differences, beyond guessing", wide, 0.0))
        else:
            verdicts.append(bites(f"withheld counts of the town at {name} by differences", found.share.value, 0.95))
    return Part({f"differencing, {place.name}": results}, verdicts)


def single_out(village: Place, town: Place) -> Part:
    """Unicity and top two zones, within the internal state of a day."""
    results: dict[str, Json] = {}
    verdicts = []
    for place in (village, town):
        world, day = place.world, place.world.days[0]
        where = whereabouts(day, world.imsis[world.counted])
        unicity = uniqueness.unicity(where, world.size.seed)
        sets = uniqueness.anonymity_sets(uniqueness.top_two(where, world.size.zones))
        results[f"internal, {place.name}"] = {
            "unicity": {str(points): round(share, 4) for points, share in unicity.items()},
            "alone in their two top zones": round(float((sets == 1).mean()), 4),
            "median set of the two top zones": float(np.median(sets)),
        }
        if place.name == "village":
            verdicts.append(bites("4 points single out in the village's internal state", unicity[4], 0.5))
    return Part(results, verdicts)


def guess(place: Place) -> Part:
    """Work from home, by the released flows and by the bare ones, of everybody who has a work."""
    world = place.world
    who = np.flatnonzero((world.counted | world.control) & (world.work != world.home) & (world.work >= 0))
    working = range(min(len(world.days), WORKING_DAYS))
    guessed = {
        name: uniqueness.guess_work(
            [place.views(d)[name] for d in working], world.home[who], world.work[who], world.counted[who]
        )
        for name in place.views(0)
    }
    results: Json = {
        name: told({"counted": g.counted, "others": g.control, "always the same": g.prior})
        for name, g in guessed.items()
    }
    verdicts = [clear(f"works in the {place.name} as released: counted beyond others", guessed["released"].gain, 0.0)]
    if place.name == "village":
        raw = guessed["raw"].gain
        verdicts.append(bites("works in the village, bare: counted beyond others", raw.value, 2 * raw.se))
    return Part({f"work from home, {place.name}": results}, verdicts)


def guess_areas(place: Place) -> Part:
    """The district of home and of work by the company that people keep, as `areas.by_company`, over all days."""
    world = place.world
    results: dict[str, Json] = {}
    verdicts = []
    for kind, true in zip(areas.KINDS, (world.home, world.work), strict=True):
        who = np.flatnonzero((world.counted | world.control) & (true >= 0) & (true < world.size.zones))
        days = [day.truth[:, who] for day in world.days]
        guessed = {
            name: areas.by_company(
                [place.views(d)[name] for d in range(len(days))],
                kind,
                days,
                world.parents[true[who]].astype(np.int64),
                world.counted[who],
            )
            for name in place.views(0)
        }
        results[f"{kind} by company, {place.name}"] = {
            name: told({"counted": g.counted, "others": g.control, "always the same": g.prior})
            for name, g in guessed.items()
        }
        what = f"districts of {kind} in the {place.name}"
        verdicts.append(clear(f"{what} as released: counted beyond others", guessed["released"].gain, 0.0))
        if (place.name, kind) == ("village", "home"):  # works are known in the evening alone: too few visits bite
            raw = guessed["raw"].gain
            verdicts.append(bites(f"{what}, bare: counted beyond others", raw.value, 2 * raw.se))
    return Part(results, verdicts)


def link(town: Place, most: int) -> Part:
    """Two days under two salts."""
    world = town.world
    inside = linkage.inside(world, most)
    groups = town.groups(most)
    ways = [[trajectories.true_ways(d.truth[:, g], world.size.zones) for g in groups] for d in world.days[:2]]
    people = int(world.counted.sum())
    outside = {
        name: linkage.outside(
            trajectories.recover(view, world.parents, world.centres, people),
            (ways[0][0], ways[0][1]),
            (ways[1][0], ways[1][1]),
        )
        for name, view in town.views(1).items()
    }
    results: Json = {
        "inside": {name: round(value, 6) for name, value in inside._asdict().items()} | {"chance": 1 / inside.people},
        **{n: told({"counted": a.counted, "others": a.control, "gain": a.gain}) for n, a in outside.items()},
    }
    by_rank = inside.by_rank * inside.people
    return Part(
        {"linkage": results},
        [
            clear("pseudonyms that come back under the next salt", Estimate(inside.same_name, 0.0), 0.0),
            clear("pseudonyms linked by rank, against what chance does", Estimate(by_rank, 0.0), RANKED),
            clear("second days by the first, as released: those counted beyond others", outside["released"].gain, 0.0),
            bites("days linked by behaviour in the internal state", inside.by_way, 10 / inside.people),
        ],
    )


def enumerate_numbers(town: Place, most: int, tell: Tell) -> Part:
    """Every number against what left, and against the internal state with and without its salt."""
    world, day = town.world, town.world.days[0]
    numbers = enumeration.candidates(world, most)
    shown = world.metrics + metrics(town.records, day.epoch)
    words = enumeration.Words(enumeration.leaving_bytes(town.records, shown))
    out = enumeration.outside(words, numbers, day.epoch, tell)
    strange = len(strange_fields(item for items in town.records.values() for item in items))
    guessed = enumeration.inside(world, day, enumeration.salts_guessed(day.epoch))
    known = enumeration.inside(world, day, [day.salt])
    results: Json = {
        "numbers": len(numbers),
        "hashes": len(enumeration.HASHES),
        "salts": len(enumeration.salts_guessed(day.epoch)),
        "words": len(words.binary),
        "minutes of a core for all numbers, salt known": round(enumeration.minutes_for_all(day), 1),
        "recovered from what left": out,
        "recovered inside, salt destroyed": round(guessed, 6),
        "recovered inside, salt known": round(known, 6),
    }
    return Part(
        {"enumeration": results},
        [
            clear("numbers found in anything that leaves", Estimate(out, 0.0), 0.0),
            clear("fields of released records that aren't in their contract", Estimate(strange, 0.0), 0.0),
            clear("pseudonyms opened by guessed salts", Estimate(guessed, 0.0), 0.0),
            bites("pseudonyms opened by the salt", known, 1.0),
        ],
    )


def infer_membership(town: Place, scale: Scale, noise: Noise, tell: Tell) -> Part:
    """In or out, over many releases of each day."""
    epoch = town.world.days[0].epoch
    all_else = areas.AllElse(town.world)
    found = membership.over_days(town.world, scale.targets, scale.releases, noise, tell, all_else)
    bound = auc_bound(epoch.rho)
    over = {"a day": 1, "a week": WEEK, "30 days": MONTH}
    results: Json = {
        **told(found.areas),
        "bound": round(bound, 4),
        "bound of the rho that targets used": round(auc_bound(found.used_rho), 4),
        "days add up": {
            name: {
                "epsilon": round(tight_epsilon(days * epoch.rho, epoch.delta), 2),
                "epsilon by the account": round(epsilon_for(days * epoch.rho, epoch.delta), 2),
                "auc_bound": round(auc_bound(days * epoch.rho), 4),
            }
            for name, days in over.items()
        },
    }
    released = ("mechanism", "released", "logistic, released")
    verdicts = [clear(f"membership, {name}", found.areas[name], bound) for name in released]
    verdicts += [bites(f"membership, {name}", f.value, 0.95) for name, f in found.areas.items() if name not in released]
    tellings: dict[str, Json] = {"membership": results}
    for kind in areas.KINDS:
        of_two = all_else.found(kind)
        tellings[f"{kind} by all else"] = {**told(of_two.right), "bound": round(of_two.bound, 4)}
        what = f"district of {kind} by all else"
        verdicts += [clear(f"{what}, {name}", of_two.right[name], of_two.bound) for name in ("mechanism", "released")]
        verdicts.append(bites(f"{what}, raw", of_two.right["raw"].value, 0.95))
    return Part(tellings, verdicts)


def last_line(results: dict[str, Json]) -> Json:
    """The summary of all that was released."""
    member, ways = results["membership"], results["trajectories, town"]
    subtracted = results["differencing, town"]["released"]["all"]
    return {
        "membership_auc": member["mechanism"][0],
        "auc_bound": member["bound"],
        "raw_auc": member["raw"][0],
        "trajectory_accuracy": ways["released"]["counted"][0],
        "trajectory_baseline": ways["released"]["others"][0],
        "differencing_recovered": round(subtracted["exact"] / max(subtracted["tried"], 1), 4),
        "enumeration_recovered": results["enumeration"]["recovered from what left"],
    }
