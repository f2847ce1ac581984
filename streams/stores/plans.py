"""Reads and checks the zone plan file. Nothing of it is used if anything in it is wrong."""

from pathlib import Path

import msgspec

from schemas.attach import pack_cell
from schemas.plan import NO_ZONE, NOWHERE, Plan
from streams.errors import ThrongError


def load_plan(path: Path) -> Plan:
    """Read and check a plan.

    Raises:
        ThrongError: `plan`, naming what is wrong with which entry.
    """
    try:
        plan = msgspec.json.decode(path.read_bytes(), type=Plan)
    except OSError as error:
        raise ThrongError("plan", f"cannot read the zone plan {path}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ThrongError("plan", f"the zone plan {path} is not as expected: {error}") from error
    for problem in _problems(plan):
        raise ThrongError("plan", f"the zone plan {path}: {problem}")
    return plan


def _problems(plan: Plan) -> list[str]:
    found = [_twice("parent", [p.id for p in plan.parents]), _twice("zone", [z.id for z in plan.zones])]
    found.append(_twice("cell", [c.cell.upper() for c in plan.cells]))
    parents, zones = {p.id for p in plan.parents}, {z.id for z in plan.zones}
    found += [f"zone {z.id!r} names the unknown parent {z.parent!r}" for z in plan.zones if z.parent not in parents]
    found += [
        f"cell {c.cell!r} names the unknown zone {c.zone!r}" for c in plan.cells if c.zone not in zones | {NOWHERE}
    ]
    for cell in plan.cells:
        try:
            pack_cell(cell.cell)
        except ValueError as error:
            found.append(str(error))
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
