"""Each planted mistake is seen by the schedules; without it they are clean (test_schedules.py)."""

import pytest

from tests.simulation.faults import faults_of, forgetting, killed_unacknowledged, lost_together
from tests.simulation.mutants import MUTANTS, planted
from tests.simulation.schedule import run

MOST = 150
# What shows only, or sooner, when certain things happen together.
PLANNED = {
    "highest offset seen in place of the chain": forgetting,
    "a gap section's watermark is taken": forgetting,
    "a pane is released before the one before it": lost_together,
    "a salt is destroyed by an uncommitted watermark": killed_unacknowledged,
}
# The first schedule that sees it, where there are many before: tried first. As the code changes another may see it.
KNOWN = {
    "the ledger's last record counts": 62,
    "the snapshot's pointer moves backwards": 59,
    "a salt is destroyed by an uncommitted watermark": 37,
    "the ledger begins at its epoch's last record": 13,
}


@pytest.mark.parametrize("name", MUTANTS)
def test_the_schedules_catch(name: str) -> None:
    happens = PLANNED.get(name, faults_of)
    with planted(MUTANTS[name]):
        for seed in (KNOWN.get(name, 0), *range(MOST)):
            if run(seed, happens(seed)).wrong:
                return
    pytest.fail(f"{MOST} schedules saw nothing of it")


def test_a_mutant_that_the_code_has_outgrown_is_refused() -> None:
    change = MUTANTS["sources are not aligned"][0]
    with pytest.raises(LookupError, match="must follow it"), planted([change._replace(old="gone")]):
        pass


def test_a_mutant_is_taken_out_again() -> None:
    with planted(MUTANTS["the ledger's last record counts"]):
        pass
    assert run(62).wrong == []
