"""Which rules hold in an epoch after later entries of the audit log, and which changes are a loosening."""

from dataclasses import dataclass, field
from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from schemas.audit import Entry
from schemas.epochs import Epoch
from schemas.measures import DEFAULT_MEASURES
from schemas.policy import Policy, Rulebook
from streams.core.gateway.policy import OPT_OUT_BASIS, ROAMERS, SUSPENDED, PolicyTable
from streams.core.release.budget import rho_for, rho_within
from streams.core.rules.audit import Taken
from streams.core.rules.changes import Way, changes
from streams.core.rules.rules import Told, by_code, in_force, limits, told, usable
from tests.support.world import POLICIES, epochs_at

NOON = 1_772_449_200_000
TEST, GERMANY = POLICIES
ROAMING = replace(TEST, country="Freedonia", mccs=("299",), home=(), k=3)
BOOK = Rulebook((TEST, GERMANY), DEFAULT_MEASURES, "marketing")
MINUTE = 60_000


def test_policy(**changed: object) -> Policy:
    return replace(TEST, **changed)


test_policy.__test__ = False  # type: ignore[attr-defined]


def book(*policies: Policy, **changed: object) -> Rulebook:
    return replace(BOOK, policies=policies or BOOK.policies, **changed)


def taken(*books: Rulebook, time_ms: int = NOON) -> list[Taken]:
    return [Taken(Entry("", "", "apply", "", "", each, ""), time_ms) for each in books]


def epoch() -> Epoch:
    return epochs_at(NOON)[0]


LOOSER_TIGHTER = [
    # setting, a value, a stricter one
    ("state", "active", "suspended"),
    ("basis", "opt_out", "opt_in"),
    ("purposes", ("marketing", "traffic"), ("marketing",)),
    ("minimum_age", 16, 18),
    ("inbound_roamers", True, False),
    ("excluded_zones", ("hospital",), ("church", "hospital")),
    ("k", 5, 20),
    ("epsilon", 2.0, 1.0),
    ("delta", 2e-9, 1e-9),
    ("home", (), ("001-01",)),
    ("home", ("001-01", "001-02"), ("001-01",)),
]


@pytest.mark.parametrize(("setting", "loose", "tight"), LOOSER_TIGHTER)
def test_each_setting_of_a_policy_has_a_stricter_side_that_counts_at_once(
    setting: str, loose: object, tight: object
) -> None:
    one, other = book(test_policy(**{setting: loose})), book(test_policy(**{setting: tight}))
    assert [(c.setting, c.way) for c in changes(one, other)] == [(setting, Way.TIGHTER)]
    assert [(c.setting, c.way) for c in changes(other, one)] == [(setting, Way.LOOSER)]
    for books in ([one, other], [other, one], [one, other, one]):
        assert getattr(by_code(in_force(books))["001"], setting) == tight


@pytest.mark.parametrize(
    ("setting", "loose", "tight"),
    [("share", 0.4, 0.2), ("pane_ms", 300_000, 900_000), ("level", "zone", "parent")],
)
def test_each_setting_of_a_measure_has_a_stricter_side(setting: str, loose: object, tight: object) -> None:
    present = DEFAULT_MEASURES[0]
    one, other = (book(measures=(replace(present, **{setting: value}),)) for value in (loose, tight))
    assert [(c.setting, c.way) for c in changes(one, other)] == [(setting, Way.TIGHTER)]
    assert [(c.setting, c.way) for c in changes(other, one)] == [(setting, Way.LOOSER)]
    # What is counted in an epoch can't become another measure within it: a coarser one withdraws the finer.
    assert in_force([one, other]).measures == ((replace(present, share=0.2),) if setting == "share" else ())
    # Nor does a finer one begin within it.
    assert in_force([other, one]).measures == other.measures


def test_a_measure_of_the_same_name_that_counts_something_else_withdraws_it() -> None:
    stays = replace(DEFAULT_MEASURES[5], name="stays")
    one, other = book(measures=(stays,)), book(measures=(replace(stays, statistic="visits"),))
    assert in_force([one, other]).measures == in_force([other, one]).measures == ()


def test_measures_and_countries_that_come_or_go_and_another_purpose() -> None:
    fewer = book(measures=DEFAULT_MEASURES[1:])
    assert [(c.whom, c.way) for c in changes(BOOK, fewer)] == [("measure present", Way.TIGHTER)]
    assert [(c.whom, c.way) for c in changes(fewer, BOOK)] == [("measure present", Way.LOOSER)]
    more = book(TEST, GERMANY, ROAMING)
    assert [(c.whom, c.way) for c in changes(BOOK, more)] == [("Freedonia (299)", Way.LOOSER)]
    assert [(c.whom, c.way) for c in changes(more, BOOK)] == [("Freedonia (299)", Way.TIGHTER)]
    # A suspended country's events are dropped unread; without a policy its subscribers are merely not counted.
    assert [c.way for c in changes(BOOK, book(TEST))] == [Way.LOOSER]
    assert [c.way for c in changes(book(TEST), BOOK)] == [Way.TIGHTER]
    assert [c.way for c in changes(BOOK, book(purpose="traffic"))] == [Way.LOOSER]
    assert [c.way for c in changes(BOOK, book(test_policy(note="x"), GERMANY))] == [Way.NEITHER]
    assert changes(BOOK, BOOK) == []


def test_the_strictest_country_that_is_active_sets_what_holds_for_all() -> None:
    """Each of the four by another country; one that is suspended sets nothing, unless all are."""
    strict_k, strict_epsilon = test_policy(k=7), replace(ROAMING, epsilon=1.5, excluded_zones=("church",))
    strict_delta = replace(ROAMING, country="Sylvania", mccs=("298",), delta=1e-9)
    assert GERMANY.state == "suspended" and GERMANY.k > 7
    for policies in permutations((strict_k, strict_epsilon, strict_delta, replace(GERMANY, epsilon=0.5, delta=1e-12))):
        assert limits(book(*policies)) == (7, 1.5, 1e-9, {"hospital", "church"})
    assert limits(book(replace(TEST, state="suspended"), GERMANY)).k == GERMANY.k


def test_a_purpose_that_is_changed_waits() -> None:
    assert in_force([BOOK, book(purpose="traffic")]).purpose == "marketing"


def test_networks_that_both_rules_know_are_counted_and_none_if_they_share_none() -> None:
    one, other = book(test_policy(home=("001-01", "001-02"))), book(test_policy(home=("001-02", "001-03")))
    assert by_code(in_force([one, other]))["001"].home == ("001-02",)
    apart = in_force([one, book(test_policy(home=("001-09",)))])
    assert PolicyTable(apart.policies, "marketing").rules.by_mcc[1] & SUSPENDED


def test_a_network_that_another_country_s_policy_named_is_at_home_only_if_all_rules_name_it() -> None:
    """Home networks are those of all policies together: 001-02 is none by the second rules."""
    one = book(TEST, replace(ROAMING, inbound_roamers=False, home=("001-02",)))
    other = book(TEST, replace(ROAMING, inbound_roamers=False, home=()))
    for books in ([one, other], [other, one]):
        assert PolicyTable(in_force(books).policies, "marketing").home == ["00101"]


SETTINGS = st.fixed_dictionaries(
    {
        "state": st.sampled_from(["active", "suspended"]),
        "basis": st.sampled_from(["opt_in", "opt_out"]),
        "purposes": st.sets(st.sampled_from(["marketing", "traffic"])).map(lambda some: tuple(sorted(some))),
        "minimum_age": st.integers(0, 30),
        "inbound_roamers": st.booleans(),
        "excluded_zones": st.sets(st.sampled_from(["hospital", "church"])).map(lambda some: tuple(sorted(some))),
        "k": st.integers(1, 30),
        "epsilon": st.sampled_from([0.5, 1.0, 2.0]),
        "home": st.sets(st.sampled_from(["001-01", "001-02"])).map(lambda some: tuple(sorted(some))),
    }
)
BOOKS = st.lists(
    st.builds(lambda one, other, both: book(*([test_policy(**one), replace(ROAMING, **other)][: 1 + both])),
              SETTINGS, SETTINGS, st.booleans()), min_size=1, max_size=4)  # fmt: skip


@dataclass
class Counted:
    """Whom a table lets through, of some made-up people: (country code, network, age, consent)."""

    table: PolicyTable
    people: list = field(default_factory=list)

    def allowed(self, mcc: int, own: bool, age: int, asked: bool) -> bool:
        rules = int(self.table.rules.by_mcc[mcc])
        return bool(
            rules & 1
            and not rules & SUSPENDED
            and (rules & ROAMERS or own)
            and age >= self.table.rules.minimum_age[mcc]
            and (asked or rules & OPT_OUT_BASIS)
        )


@given(BOOKS)
def test_nobody_is_counted_whom_any_of_the_rules_forbids(books: list[Rulebook]) -> None:
    merged = in_force(books)
    tables = [Counted(PolicyTable(each.policies, "marketing")) for each in books]
    all_in_one = Counted(PolicyTable(merged.policies, "marketing"))
    for mcc, network, age, asked in product((1, 299, 262), ("001-01", "001-02"), (10, 20, 40), (True, False)):
        own = [network in [n for p in each.policies for n in p.home] for each in books]
        in_all = all(table.allowed(mcc, mine, age, asked) for table, mine in zip(tables, own, strict=True))
        of_merged = network in [n for p in merged.policies for n in p.home]
        assert all_in_one.allowed(mcc, of_merged, age, asked) <= in_all
    assert all(limits(merged).k >= limits(each).k for each in books)
    assert all(limits(merged).excluded >= limits(each).excluded for each in books)


@given(BOOKS, st.integers(0, 3))
def test_an_earlier_epoch_is_never_looser_than_a_later_one(books: list[Rulebook], later: int) -> None:
    begin = min(later, len(books) - 1)
    early, late = (by_code(in_force(some)) for some in (books, books[begin:]))
    for mcc, policy in early.items():
        assert not usable(policy, "marketing") or usable(late.get(mcc), "marketing")


def test_a_suspension_of_the_home_country_withholds_the_epoch_and_a_resumption_within_it_changes_nothing() -> None:
    gone = book(test_policy(state="suspended"), GERMANY)
    home = frozenset({"001"})
    assert told(epoch(), BOOK, [], home).withheld == ""
    for since in (taken(gone), taken(gone, BOOK)):
        assert told(epoch(), BOOK, since, home).withheld == "Test may not be counted"
    # The next epoch is made by what holds then.
    assert told(epoch(), BOOK, [], home).withheld == ""
    assert told(epoch(), gone, taken(BOOK), home).withheld == "Test may not be counted"
    # Another purpose than the deployment's does not count for it.
    assert told(epoch(), book(test_policy(purposes=("traffic",))), [], home).withheld == "Test may not be counted"
    assert told(epoch(), BOOK, [], frozenset({"208"})).withheld == "208 may not be counted"


def test_who_is_shut_out_may_be_present_for_65_minutes_and_is_not_told_meanwhile() -> None:
    both = book(TEST, GERMANY, ROAMING)
    until = NOON + 5_000 + 60_000 + 65 * MINUTE
    home = frozenset({"001"})
    shutting = [
        book(TEST, GERMANY, replace(ROAMING, state="suspended")),
        book(TEST, GERMANY),
        book(TEST, GERMANY, replace(ROAMING, minimum_age=21)),
        book(TEST, GERMANY, replace(ROAMING, purposes=("traffic",))),
        book(TEST, GERMANY, replace(ROAMING, home=("299-01",))),
        book(test_policy(excluded_zones=("hospital", "church")), GERMANY, ROAMING),
    ]
    for after in shutting:
        found = told(epoch(), both, taken(after), home)
        assert (found.withheld, found.quiet_ms) == ("", until)
    for wider, narrower in (
        ({"home": ("299-01", "299-02")}, {"home": ("299-01",)}),
        ({"basis": "opt_out"}, {"basis": "opt_in"}),
    ):
        before, after = (book(TEST, GERMANY, replace(ROAMING, **changed)) for changed in (wider, narrower))
        assert told(epoch(), before, taken(after), home).quiet_ms == until
    # Of several it is the last that shuts anybody out.
    older, gone = book(TEST, GERMANY, replace(ROAMING, minimum_age=21)), book(TEST, GERMANY)
    for first, then, later in ((older, gone, MINUTE), (gone, older, 0)):
        since = [*taken(first), *taken(then, time_ms=NOON + MINUTE)]
        assert told(epoch(), both, since, home).quiet_ms == until + later
    harmless = [book(TEST, replace(GERMANY, k=50), ROAMING), both, replace(both, measures=())]
    for after in harmless:
        assert told(epoch(), both, taken(after), home).quiet_ms == 0
    # Nobody of a country that was suspended before can be present.
    assert told(epoch(), BOOK, taken(book(TEST, replace(GERMANY, minimum_age=60))), home).quiet_ms == 0


def test_after_a_rotation_nothing_is_told_until_a_fresh_salt_holds() -> None:
    home, fresh_ms = frozenset({"001"}), NOON + 5 * MINUTE

    def rotated(at_ms: int, from_ms: int | UnsetType = UNSET) -> list[Taken]:
        return [Taken(replace(taken(BOOK)[0].entry, action="rotate", from_ms=from_ms), at_ms)]

    found = told(epoch(), BOOK, rotated(NOON, fresh_ms), home)
    assert (found.withheld, found.quiet_ms, found.epoch) == ("", fresh_ms, epoch())
    assert told(epoch(), BOOK, rotated(epoch().end_ms, fresh_ms), home).quiet_ms == 0
    again = [*rotated(NOON, fresh_ms), *rotated(NOON + 60 * MINUTE)]
    assert told(epoch(), BOOK, again, home).withheld == "the epoch's salt was destroyed"

    for at_ms, why in (
        (epoch().start_ms - 1, ""),
        (epoch().start_ms, "the epoch's salt was destroyed"),
        (epoch().end_ms - 1, "the epoch's salt was destroyed"),
        (epoch().end_ms, ""),
    ):
        found = told(epoch(), BOOK, rotated(at_ms), home)
        assert (found.withheld, found.epoch) == (why, epoch())


def test_a_smaller_budget_a_larger_k_and_fewer_measures_hold_for_what_is_still_to_be_told() -> None:
    after = book(test_policy(k=50, epsilon=1.0), GERMANY, measures=DEFAULT_MEASURES[1:])
    found = told(epoch(), BOOK, taken(after), frozenset({"001"})).epoch
    assert (found.k, found.epsilon, found.rho) == (50, 1.0, rho_for(1.0, 2e-9))
    assert found.measures == DEFAULT_MEASURES[1:]
    looser = book(test_policy(k=1, epsilon=8.0), GERMANY)
    assert told(epoch(), BOOK, taken(looser), frozenset({"001"})).epoch == epoch()


@pytest.mark.parametrize(("epsilon", "delta"), [(1.0, 2e-9), (2.0, 1e-12), (1.0, 1e-12)])
@pytest.mark.parametrize("zones", [6, 400])
def test_a_smaller_epsilon_and_a_smaller_delta_make_the_noise_larger(epsilon: float, delta: float, zones: int) -> None:
    """Each by itself; where there are measures whose keys come from data, their part of the delta is apart."""
    keyed = zones == 400
    begun = replace(epoch(), zones=zones, rho=rho_within(2.0, 2e-9, keyed))
    assert bool(begun.keyed) == keyed
    after = book(test_policy(epsilon=epsilon, delta=delta), GERMANY)
    found = told(begun, BOOK, taken(after), frozenset({"001"})).epoch
    assert (found.epsilon, found.delta, found.rho) == (epsilon, delta, rho_within(epsilon, delta, keyed))
    assert found.rho < begun.rho


def test_an_epoch_that_is_stricter_than_its_rules_stays_so() -> None:
    """Whatever has made it: within it nothing loosens."""
    present, *others = epoch().measures
    strict = replace(
        epoch(), k=60, epsilon=0.5, delta=1e-12, rho=0.001, measures=(replace(present, share=0.1), *others)
    )
    found = told(strict, BOOK, taken(book(test_policy(k=50, epsilon=1.0), GERMANY)), frozenset({"001"})).epoch
    assert found == strict


def test_a_pane_that_ends_as_the_quiet_does_is_withheld_and_what_happens_after_it_is_told() -> None:
    present, arrivals = DEFAULT_MEASURES[:2]
    found = Told(epoch(), "", NOON)
    assert [found.quiet(present, NOON + ms) for ms in (-1, 0, 1)] == [True, True, False]
    ends = (NOON, NOON + arrivals.pane_ms - 1, NOON + arrivals.pane_ms)
    assert [found.quiet(arrivals, end_ms) for end_ms in ends] == [True, True, False]
