"""Devices that no person carries: which types of them are not counted.

A type allocation code (TAC, 3GPP TS 23.003, 6.2) names a model of device in the first eight digits of its IMEI. The
GSMA's TAC database says of each what it is; meters, trackers, modems and vending machines are no people, and a router
or a tablet is mostly somebody's second subscription. Which of them to leave out is the operator's list. An event
without a TAC says nothing of the device, and is not left out.
"""

import re
from collections.abc import Collection
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.attach import TAC_PATTERN
from streams.core.compiled.lookup import Lookup

_TAC: Final = re.compile(TAC_PATTERN, re.ASCII)


class MachineTable:
    """TACs, packed as in `decode.Events`: their number and 1, since 0 is none."""

    def __init__(self, packed: Collection[int] = ()) -> None:
        self.size = len(set(packed))
        self._table = Lookup(0, self.size)
        if self.size:  # who only imports this calls nothing that is compiled: loading that takes a quarter of a second
            self._table.put(np.array(sorted(packed), np.uint64), np.ones(len(packed), np.uint32))

    @property
    def lines(self) -> NDArray[np.uint64]:
        """For compiled loops, as `Lookup` has it: 1 for each TAC that is in the list."""
        return self._table.lines

    def has(self, tacs: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """Which of packed TACs u32[n] are in the list."""
        found: NDArray[np.bool_] = (tacs != 0) & (self._table.get(tacs.astype(np.uint64)) != 0)
        return found


NO_MACHINES: Final = MachineTable()


def pack_tac(text: str) -> int:
    """A TAC as u32, never 0.

    Raises:
        ValueError: it isn't one.
    """
    if not _TAC.fullmatch(text):
        raise ValueError(f"TAC {text!r}: expected eight digits")
    return int(text) + 1


def read_machines(lines: str) -> MachineTable:
    """The table of a list: a TAC a line; what follows it after a space, a comma or `#`, and empty lines, are remarks.

    Raises:
        ValueError: naming the line that isn't understood.
    """
    packed = set()
    for number, line in enumerate(lines.splitlines(), 1):
        first = re.split(r"[\s,;#]", line.strip(), maxsplit=1)[0]
        if not first:
            continue
        try:
            packed.add(pack_tac(first))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
    return MachineTable(packed)
