"""The ledger: whatever writers interleave, all who read it agree on one release a pane."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.ledger import BROUGHT, LedgerRecord
from streams.core.release.budget import rho_of, sigma
from streams.core.release.ledger import Account, Overspent
from tests.support.world import epochs_at

EPOCH = epochs_at(1_772_420_400_000)[0]


def entry(number: int, writer: str, measure: str = "present", rho: float = 0.01, offset: int = 0) -> LedgerRecord:
    return LedgerRecord(
        EPOCH.epoch, measure, number, 0, number, "release", b"", 1.0, b"", writer.encode(), offset, rho, writer
    )


@given(st.lists(st.tuples(st.integers(1, 6), st.sampled_from("abc")), min_size=8, max_size=40))
def test_the_first_record_of_a_pane_is_its_release(log: list[tuple[int, str]]) -> None:
    account, released = Account(), {}
    for number, writer in log:
        if account.take(entry(number, writer)):
            assert number not in released
            assert all(number > earlier for earlier in released)
            released[number] = writer
    for number, writer in released.items():
        assert next(w for n, w in log if n == number) == writer


@given(st.integers(0, 1 << 30), st.integers(2, 4))
def test_racing_writers_publish_the_same_bytes(seed: int, writers: int) -> None:
    """Each draws the next pane that its account knows, appends, reads back; publishes what is valid."""
    rng = random.Random(seed)
    log: list[LedgerRecord] = []
    accounts = {name: Account() for name in "abcd"[:writers]}
    read = dict.fromkeys(accounts, 0)
    published: dict[str, dict[int, bytes]] = {name: {} for name in accounts}

    def read_back(name: str) -> None:
        for record in log[read[name] :]:
            if accounts[name].take(record):
                published[name][record.number] = record.publish
        read[name] = len(log)

    for _ in range(60):
        name = rng.choice(list(accounts))
        if rng.random() < 0.3:
            read_back(name)  # a paused one may not
        log.append(entry(accounts[name].closed_through(EPOCH.epoch, "present") + 1, name))
        if rng.random() < 0.7:
            read_back(name)
    for name in accounts:
        read_back(name)
    first = next(iter(published.values()))
    assert all(seen == first for seen in published.values())
    assert sorted(first) == list(range(1, len(first) + 1))


def test_a_measure_is_paid_once_an_epoch() -> None:
    account = Account()
    account.take(entry(1, "a", rho=0.02))
    account.take(entry(2, "a", rho=0.02))
    assert account.spent(EPOCH.epoch) == 0.02
    account.check(EPOCH, "present", 0.02)


def test_an_overspent_epoch_is_refused() -> None:
    account = Account()
    account.take(entry(1, "a", rho=0.02))
    with pytest.raises(Overspent, match="would overspend"):
        account.check(EPOCH, "present", 0.03)
    with pytest.raises(Overspent):
        account.check(EPOCH, "arrivals", EPOCH.rho)


def test_a_void_costs_nothing_and_takes_nothing_back() -> None:
    account = Account()
    account.take(entry(1, "a", rho=0.0))
    account.check(EPOCH, "present", 0.02)
    account.take(entry(2, "a", rho=0.02))
    account.take(entry(3, "a", rho=0.0))
    assert account.spent(EPOCH.epoch) == 0.02
    account.check(EPOCH, "present", 0.02)


def test_a_base_pane_is_closed_once_every_measure_that_ended_by_it_is() -> None:
    account = Account()
    account.take(entry(3, "a"))
    assert account.closed(EPOCH, 2)
    assert not account.closed(EPOCH, 3)
    account.take(entry(3, "a", measure="arrivals"))
    account.take(entry(3, "a", measure="trips_parent"))
    assert account.closed(EPOCH, 3)
    assert not account.closed(EPOCH, 4)


def test_reading_begins_behind_what_is_wholly_released() -> None:
    account = Account()
    assert account.needed_offset() == 0
    account.take(entry(1, "a", measure="arrivals", offset=4))
    account.take(entry(1, "a", offset=4))
    account.take(entry(2, "a", offset=9))
    assert account.needed_offset() == 9


def test_what_a_replay_has_brought_along_ends_no_epoch_that_is_drawn_here() -> None:
    """It may be of any time: the day's panes go on being drawn."""
    account = Account()
    account.take(entry(1, "a"))
    for later in (1, 2, 3):
        account.take(replace(entry(1, "b", offset=BROUGHT), epoch=EPOCH.epoch + later))
    assert not account.over(EPOCH.epoch) and account.begins() is None
    account.check(EPOCH, "present", 0.01)
    assert account.take(entry(2, "a"))


def test_of_an_epoch_that_is_over_nothing_is_published_again() -> None:
    """Neither a measure's last word nor what was brought along: the measure may have been withdrawn since."""
    account = Account()
    account.take(entry(1, "a", measure="visits"))
    account.take(entry(2, "b", measure="trips_zone", offset=BROUGHT))
    for later in (0, 1, 2):
        account.take(replace(entry(3, "a"), epoch=EPOCH.epoch + later))
        assert ("visits" in account.last) == ("trips_zone" in account.last) == bool(account.brought) == (later < 2)
    assert account.over(EPOCH.epoch) and [*account.last] == ["present"]


@pytest.mark.parametrize(("times", "refused"), [(0.5, False), (1, False), (2, True)])
def test_a_cap_above_the_one_that_a_replay_has_brought_draws_for_is_refused(times: float, refused: bool) -> None:
    """A subscriber who has used up the brought one would add as many again, and only these were paid for."""
    measure = next(each for each in EPOCH.measures if each.name == "arrivals")
    own = replace(measure, cap=round(measure.cap * times))
    epoch = replace(EPOCH, measures=tuple(own if each is measure else each for each in EPOCH.measures))
    rho, account = rho_of(measure, EPOCH), Account()
    drawn = replace(entry(3, "a", "arrivals", rho, BROUGHT), sigma=sigma(measure, EPOCH))
    account.take(drawn)
    account.take(replace(drawn, number=6, kind="void", sigma=0.0, rho=0.0))
    if refused:
        with pytest.raises(Overspent, match=f"arrivals at {own.cap} counts of a subscriber .* drawn for {measure.cap}"):
            account.check(epoch, "arrivals", rho)
    else:
        account.check(epoch, "arrivals", rho)
    account.check(epoch, "present", 0.01)
