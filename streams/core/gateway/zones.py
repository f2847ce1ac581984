"""Cells to zones: which place a network cell stands for, by the zone plan of the event's epoch."""

from collections.abc import Collection, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.attach import pack_cell
from schemas.plan import NO_ZONE, NOWHERE, Plan
from streams.core.compiled.lookup import Lookup, joined

EXCLUDED = NO_ZONE - 1


class CellTable:
    """The cells of plans. Zones of an `excluded` kind, and NOWHERE, read as EXCLUDED: nobody is ever counted there.

    Attributes:
        lines: for compiled loops, a `Lookup`'s lines for each plan, one after the other; see `span`.
    """

    def __init__(self, plans: Plan | Sequence[Plan], excluded: Collection[str] = ()) -> None:
        several = (plans,) if isinstance(plans, Plan) else plans
        self._tables = {plan.hash(): _table(plan, excluded) for plan in several}
        self.lines: NDArray[np.uint64] = joined(list(self._tables.values()))
        self._spans = dict(zip(self._tables, _spans(self._tables.values()), strict=True))

    def span(self, plan: str) -> tuple[int, int] | None:
        """Where in `lines` the cells of the plan of that hash are, or None if it isn't known."""
        return self._spans.get(plan)

    def zones(self, cells: NDArray[np.uint64], plan: str) -> NDArray[np.uint16]:
        """The zone of each packed cell u64[n]: u16[n], NO_ZONE where the plan doesn't know it, or isn't known."""
        if plan not in self._tables:
            return np.full(len(cells), NO_ZONE, np.uint16)
        return self._tables[plan].get(cells).astype(np.uint16)


def _table(plan: Plan, excluded: Collection[str]) -> Lookup:
    numbers = {zone.id: EXCLUDED if zone.kind in excluded else number for number, zone in enumerate(plan.zones)}
    numbers[NOWHERE] = EXCLUDED
    table = Lookup(NO_ZONE, len(plan.cells))
    table.put(
        np.array([pack_cell(cell.cell) for cell in plan.cells], np.uint64),
        np.array([numbers[cell.zone] for cell in plan.cells], np.uint32),
    )
    return table


def _spans(tables: Collection[Lookup]) -> Iterator[tuple[int, int]]:
    begin = 0
    for table in tables:
        yield begin, begin + len(table.lines)
        begin += len(table.lines)
