"""What suspending, resuming and applying files make of the rules."""

import pytest
from msgspec.structs import replace

from schemas.measures import DEFAULT_MEASURES
from schemas.policy import Rulebook
from streams.core.gateway.policy import SUSPENDED, PolicyTable
from streams.core.rules.decisions import applied, resumed, suspended
from streams.errors import ThrongError
from tests.support.world import POLICIES

TEST, GERMANY = POLICIES
BOOK = Rulebook((TEST, GERMANY), DEFAULT_MEASURES, "marketing")


def states(rules: Rulebook) -> dict[str, str]:
    return {policy.country: policy.state for policy in rules.policies}


@pytest.mark.parametrize("named", ["Test", "test", "001"])
def test_a_country_is_known_by_its_name_or_code(named: str) -> None:
    stopped = suspended(BOOK, named)
    assert states(stopped) == {"Test": "suspended", "Germany": "suspended"}
    assert suspended(stopped, named) == stopped
    assert resumed(stopped, named) == BOOK


def test_a_country_without_a_policy_can_be_suspended_by_its_code_alone() -> None:
    stopped = suspended(BOOK, "208")
    assert states(stopped)["MCC 208"] == "suspended"
    assert PolicyTable(stopped.policies, "marketing").rules.by_mcc[208] & SUSPENDED
    # Resumed it allows nothing: it has no purposes.
    again = resumed(stopped, "208")
    assert PolicyTable(again.policies, "marketing").rules.by_mcc[208] & SUSPENDED
    # And it is as strict as the strictest of the others, for once it is active it counts for all.
    strict = replace(BOOK, policies=(replace(TEST, epsilon=1.0), replace(GERMANY, delta=1e-9)))
    made = suspended(strict, "208").policies[-1]
    assert (made.k, made.epsilon, made.delta) == (GERMANY.k, 1.0, 1e-9)
    for wrong in ("France", "20", "100", "999", ""):
        with pytest.raises(ThrongError, match="name one of Test, Germany, or a mobile country code"):
            suspended(BOOK, wrong)
    with pytest.raises(ThrongError, match="there is no policy for '208': name one of Test, Germany, or its code"):
        resumed(BOOK, "208")


def test_files_may_suspend_a_country_but_never_resume_one_nor_forget_it() -> None:
    files = replace(BOOK, policies=(replace(TEST, k=50), replace(GERMANY, state="active")))
    after = applied(suspended(suspended(BOOK, "Test"), "208"), files)
    assert states(after) == {"Test": "suspended", "Germany": "suspended", "MCC 208": "suspended"}
    assert after.policies[0].k == 50
    assert states(applied(BOOK, replace(files, policies=(TEST,)))) == {"Test": "active", "Germany": "suspended"}
    closing = replace(BOOK, policies=(replace(TEST, state="suspended"), GERMANY), purpose="traffic")
    assert applied(BOOK, closing) == closing
