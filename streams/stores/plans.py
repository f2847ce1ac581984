"""Reads and checks zone plan files. Nothing of one is used if anything in it is wrong.

Epochs are opened with the newest plan, and keep it: those opened before it have theirs of the earlier ones.
"""

from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.attach import pack_cell
from schemas.epochs import Epoch
from schemas.plan import HOURS, NO_ZONE, NOWHERE, Plan
from streams.core.calibration.calibration import LEAST, MOST
from streams.core.distances import positions_of
from streams.core.times import is_timezone
from streams.errors import ThrongError
from streams.settings import Settings

# Shares are rounded, each to four digits.
MOST_COUNTED = 1.05


class Plans:
    """The plans at hand: `current`, by which epochs are opened, and all of them."""

    def __init__(self, current: Plan, *earlier: Plan) -> None:
        self.current = current
        self.all = (current, *earlier)
        self._by_hash = {plan.hash(): plan for plan in reversed(self.all)}

    def of(self, epoch: Epoch) -> Plan:
        """The plan that an epoch was opened with.

        Raises:
            ThrongError: `plan` if it isn't at hand.
        """
        if epoch.plan not in self._by_hash:
            raise unknown_plan(epoch.epoch)
        return self._by_hash[epoch.plan]

    def refuse_unknown(self, epochs: Iterable[Epoch], now_ms: int) -> None:
        """Refuse to begin without the plan of an epoch that runs now, or is to come: whoever stands by, or finds it out
        at the first record, takes partitions in the group, ends, and does so again.

        Of what is over, by whichever clock, nothing may be needed any more.

        Raises:
            ThrongError: as `of`.
        """
        for epoch in epochs:
            if epoch.end_ms > now_ms:
                self.of(epoch)

    def parents(self, epoch: Epoch) -> NDArray[np.uint16]:
        """The parent of each zone in an epoch, u16[zones]; raises as `of` does."""
        return np.array(self.of(epoch).zone_parents(), np.uint16)

    def positions(self, epoch: Epoch) -> NDArray[np.int64]:
        """Where an epoch's zones are, as in `distances`; raises as `of` does."""
        return positions_of(self.of(epoch))


def configured_plans(settings: Settings) -> Plans:
    """The plans that the settings name.

    Raises:
        ThrongError: `plan`, naming what is wrong with which.
    """
    earlier = [path.strip() for path in settings.gateway.earlier_plans.split(",")]
    return Plans(load_plan(Path(settings.gateway.plan)), *(load_plan(Path(path)) for path in earlier if path))


def unknown_plan(epoch: int) -> ThrongError:
    """What to say where an epoch's plan is not at hand."""
    return ThrongError(
        "plan",
        f"epoch {epoch} was opened with another zone plan: name its file in gateway.earlier_plans",
    )


def load_plan(path: Path) -> Plan:
    """Read and check a plan.

    Raises:
        ThrongError: `plan`, naming what is wrong with which entry.
    """
    try:
        plan = msgspec.json.decode(path.read_bytes(), type=Plan)
    except OSError as error:
        remedy = "name yours in gateway.plan, or make one ('throng zones build', 'throng simulate --plan-out')"
        raise ThrongError("plan", f"cannot read the zone plan {path}: {error.strerror}: {remedy}") from error
    except msgspec.DecodeError as error:
        raise ThrongError("plan", f"the zone plan {path} is not as expected: {error}") from error
    for problem in _problems(plan):
        raise ThrongError("plan", f"the zone plan {path}: {problem}")
    return plan


def _problems(plan: Plan) -> list[str]:
    found = [_twice("parent", [p.id for p in plan.parents]), _twice("zone", [z.id for z in plan.zones])]
    found.append(_twice("cell", [c.cell.upper() for c in plan.cells]))
    parents, zones = {p.id for p in plan.parents}, {NOWHERE, *(z.id for z in plan.zones)}
    # Redis, the API and the topics' keys know places by their ids alone.
    found += [f"{both!r} is the id of a zone and of a parent: give one of them another" for both in parents & zones]
    found += [f"zone {z.id!r} names the unknown parent {z.parent!r}" for z in plan.zones if z.parent not in parents]
    found += [f"cell {c.cell!r} names the unknown zone {c.zone!r}" for c in plan.cells if c.zone not in zones]
    for zone in plan.zones:
        unknown = [part.zone for part in zone.counted if part.zone == NOWHERE or part.zone not in zones]
        found += [f"zone {zone.id!r} is counted in the unknown zone {other!r}" for other in unknown]
        if sum(part.share for part in zone.counted) > MOST_COUNTED or any(part.share < 0 for part in zone.counted):
            found.append(f"zone {zone.id!r} has shares in 'counted' that are no shares: 0 to 1, and 1 at most together")
        if zone.step is not None and not 0 <= zone.step <= 1:
            found.append(f"zone {zone.id!r} has the step {zone.step:g}; 0 to 1 is possible")
    for cell in plan.cells:
        try:
            pack_cell(cell.cell)
        except ValueError as error:
            found.append(str(error))
    if not is_timezone(plan.timezone):
        found.append(f"its timezone {plan.timezone!r} is no IANA name such as Europe/Berlin")
    for each in plan.calibration:
        found += [
            f"the calibration of {each.measure!r} names the unknown place {end!r}"
            for end in (each.place, each.destination)
            if end and end not in zones | parents
        ]
        about = f"the calibration of {each.measure!r} at {each.place!r} has"
        for factor, se in ((each.factor, each.se), *((of.factor, of.se) for of in each.hours)):
            if not LEAST <= factor <= MOST or not 0 <= se < MOST:
                possible = f"{LEAST:g} to {MOST:g} are possible, with an error from 0"
                found.append(f"{about} the factor {factor:g} with the error {se:g}: {possible}")
        if any(not 0 <= turn < HOURS for of in each.hours for turn in (of.from_hour, of.to_hour)):
            found.append(f"{about} hours that a day has not: 0 to {HOURS - 1} are possible")
        elif len(by_hour := [hour for of in each.hours for hour in of.each()]) != len(set(by_hour)):
            found.append(f"{about} an hour twice")
    if not 0 < len(plan.zones) < NO_ZONE:
        found.append(f"it has {len(plan.zones)} zones; 1 to {NO_ZONE - 1} are possible")
    return [problem for problem in found if problem]


def _twice(kind: str, ids: list[str]) -> str:
    seen: set[str] = set()
    for one in ids:
        if one in seen:
            return f"the {kind} {one!r} is there twice"
        seen.add(one)
    return ""
