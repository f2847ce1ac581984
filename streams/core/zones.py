"""Cells to zones: which place a network cell stands for, in a zone plan."""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from schemas.attach import pack_cell
from schemas.plan import NO_ZONE, NOWHERE, Plan
from streams.core.lookup import Lookup

EXCLUDED = NO_ZONE - 1


class CellTable:
    """The cells of a plan. Zones of an `excluded` kind, and NOWHERE, read as EXCLUDED: nobody is ever counted there."""

    def __init__(self, plan: Plan, excluded: Collection[str] = ()) -> None:
        numbers = {zone.id: EXCLUDED if zone.kind in excluded else number for number, zone in enumerate(plan.zones)}
        numbers[NOWHERE] = EXCLUDED
        self._table = Lookup(NO_ZONE, len(plan.cells))
        self._table.put(
            np.array([pack_cell(cell.cell) for cell in plan.cells], np.uint64),
            np.array([numbers[cell.zone] for cell in plan.cells], np.uint32),
        )

    @property
    def lines(self) -> NDArray[np.uint64]:
        """For compiled loops, as `Lookup` has it: a packed cell's zone."""
        return self._table.lines

    def zones(self, cells: NDArray[np.uint64]) -> NDArray[np.uint16]:
        """The zone of each packed cell u64[n]: u16[n], NO_ZONE where the plan doesn't know it."""
        return self._table.get(cells).astype(np.uint16)
