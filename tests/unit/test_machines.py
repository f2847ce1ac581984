"""The list of machines: what it may hold, and what a wrong one says."""

from pathlib import Path

import numpy as np
import pytest

from streams.core.events.machines import MachineTable, pack_tac, read_machines
from streams.errors import ThrongError
from streams.stores.machines import load_machines


def test_a_line_begins_with_a_tac_and_may_go_on_with_remarks() -> None:
    table = read_machines("# meters\n35000001\n35000002,a tracker\n 35000003 # a modem\n\n35000002\n")
    assert table.size == 3
    asked = np.array([0, *(pack_tac(f"3500000{n}") for n in range(5))], np.uint32)
    assert table.has(asked).tolist() == [False, False, True, True, True, False]


def test_an_event_without_a_tac_is_no_machines() -> None:
    assert not MachineTable([pack_tac("00000000")]).has(np.zeros(1, np.uint32)).any()
    assert MachineTable([pack_tac("00000000")]).has(np.array([pack_tac("00000000")], np.uint32)).all()


@pytest.mark.parametrize("line", ["3500000", "350000011", "35O00001", "٣٥٠٠٠٠٠١"])
def test_another_line_is_refused_with_its_number(line: str, tmp_path: Path) -> None:
    path = tmp_path / "machines.txt"
    path.write_text(f"35000001\n{line}\n", "utf-8")
    with pytest.raises(ThrongError, match="line 2: TAC") as raised:
        load_machines(str(path))
    assert raised.value.code == "machines"


def test_a_list_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ThrongError, match="No such file"):
        load_machines(str(tmp_path / "none.txt"))
    assert load_machines("").size == 0
