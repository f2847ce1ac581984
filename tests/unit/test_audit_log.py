"""The audit log's chain: no record of it can be changed, taken out or moved without being found."""

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.audit import GENESIS, Entry
from schemas.measures import DEFAULT_MEASURES
from schemas.policy import Rulebook
from streams.core.rules.audit import Broken, Chain, Foreign, canonical, sealed
from tests.support.world import POLICIES

BOOK = Rulebook(tuple(POLICIES), DEFAULT_MEASURES, "marketing")


def entry(previous: str, reason: str, rules: Rulebook = BOOK) -> bytes:
    found = Entry("2026-03-02T12:00:00Z", "someone", "apply", "", reason, rules, previous)
    return canonical(sealed(found))


def read(log: list[bytes]) -> Chain:
    chain = Chain()
    for value in log:
        chain.take(value)
    return chain


@st.composite
def logs(draw: st.DrawFn) -> list[bytes]:
    """A log with some who decided at once, each of whom came again."""
    log: list[bytes] = []
    chain = Chain()
    for number in range(draw(st.integers(1, 6))):
        stale = chain.head
        log.append(entry(chain.head, f"{number}"))
        assert chain.take(log[-1])
        if draw(st.booleans()):
            log.append(entry(stale, f"{number} at once"))
            assert not chain.take(log[-1])
            log.append(entry(chain.head, f"{number} again"))
            assert chain.take(log[-1])
    return log


def is_found(tampered: list[bytes], head: str) -> bool:
    """By the chain alone, or by a hash that was kept elsewhere."""
    try:
        chain = read(tampered)
    except Broken:
        return True
    return chain.head != head


@given(logs(), st.data())
def test_any_changed_byte_is_found_by_the_chain_alone(log: list[bytes], data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(log) - 1))
    at = data.draw(st.integers(0, len(log[number]) - 1))
    changed = bytearray(log[number])
    changed[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != changed[at]))
    with pytest.raises(Broken):
        read([*log[:number], bytes(changed), *log[number + 1 :]])


@given(logs(), st.data())
def test_an_entry_written_anew_is_found_by_the_next(log: list[bytes], data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(log) - 1))
    old = msgspec.json.decode(log[number], type=Entry)
    forged = canonical(sealed(replace(old, reason=old.reason + "!")))
    assert is_found([*log[:number], forged, *log[number + 1 :]], read(log).head)
    if number + 1 < len(log):
        with pytest.raises(Broken):
            read([*log[:number], forged, *log[number + 1 :]])


@given(logs(), st.data())
def test_any_deletion_is_found_and_all_but_that_of_the_end_by_the_chain_alone(
    log: list[bytes], data: st.DataObject
) -> None:
    begin = data.draw(st.integers(0, len(log) - 1))
    end = data.draw(st.integers(begin + 1, len(log)))
    left = [*log[:begin], *log[end:]]
    assert is_found(left, read(log).head)
    if end < len(log):
        with pytest.raises(Broken):
            read(left)


@given(logs(), st.data())
def test_any_exchange_of_two_records_is_found(log: list[bytes], data: st.DataObject) -> None:
    one, other = (data.draw(st.integers(0, len(log) - 1)) for _ in range(2))
    swapped = list(log)
    swapped[one], swapped[other] = swapped[other], swapped[one]
    if one != other:
        with pytest.raises(Broken):
            read(swapped)
    else:
        assert read(swapped).head == read(log).head


@given(logs(), st.data())
def test_a_record_that_is_put_in_or_repeated_is_found(log: list[bytes], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(log)))
    number = data.draw(st.integers(0, len(log) - 1))
    assert is_found([*log[:at], log[number], *log[at:]], read(log).head)


def test_a_hash_that_was_kept_finds_what_is_missing_at_the_end() -> None:
    log = [entry(GENESIS, "one")]
    log.append(entry(read(log).head, "two"))
    kept = read(log).head
    assert read(log).knows(kept) and read(log[:1]).head != kept
    assert not read(log[:1]).knows(kept)


def test_a_first_record_that_is_missing_is_found_by_its_place_even_if_what_is_left_would_be_a_chain() -> None:
    chain = Chain()
    with pytest.raises(Broken, match="record 0 of the audit log is missing"):
        chain.take(entry(GENESIS, "came second"), offset=1)
    assert chain.take(entry(GENESIS, "came first"), offset=0)


def test_who_comes_second_is_void_and_the_next_takes_both_up() -> None:
    one = entry(GENESIS, "one")
    other = entry(GENESIS, "other")
    chain = read([one, other])
    assert (len(chain.taken), chain.void, chain.records) == (1, 1, 2)
    heads = [msgspec.json.decode(value, type=Entry).hash for value in (one, other)]
    assert chain.head == hashlib.sha256("".join(heads).encode()).hexdigest()
    assert chain.take(entry(chain.head, "next"))


def test_an_epoch_finds_the_rules_that_it_was_made_by_and_what_came_since() -> None:
    books = [replace(BOOK, purpose=purpose) for purpose in ("marketing", "traffic", "public")]
    chain, heads = Chain(), []
    for number, book in enumerate(books):
        chain.take(entry(chain.head, f"{number}", book), number)
        heads.append(chain.head)
    for number, head in enumerate(heads):
        base, since = chain.since(head)
        assert (base, [taken.time_ms for taken in since]) == (books[number], list(range(number + 1, 3)))
    # An epoch of before there was an audit log goes by the first entry.
    assert chain.since("")[0] == books[0]
    assert chain.rules == books[2]
    with pytest.raises(LookupError):
        chain.since("f" * 64)
    with pytest.raises(LookupError):
        Chain().since("")


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (None, "record 0 of the audit log can't be read"),
        (b"{}", "record 0 of the audit log can't be read"),
        (entry(GENESIS, "x").replace(b'"x"', b'"y"'), "record 0 of the audit log is not what its hash says"),
        (entry(GENESIS, "x").replace(b":", b": ", 1), "record 0 of the audit log is not what its hash says"),
        (entry("a" * 64, "x"), "record 0 of the audit log does not follow on the one before"),
    ],
)
def test_what_is_wrong_is_said_by_record(value: bytes | None, sentence: str) -> None:
    with pytest.raises(Broken, match=sentence):
        read([value])  # type: ignore[list-item]


@given(logs(), st.data())
def test_a_record_that_is_none_of_throngs_can_be_passed_over_and_stands_for_no_entry(
    log: list[bytes], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(log)))
    foreign = data.draw(st.sampled_from([None, b"", b"a trial", b"{}", b'{"imsi": "001010000000001"}', b"[" * 100_000]))
    chain = read(log[:at])
    with pytest.raises(Foreign):
        chain.take(foreign, offset=at)
    assert chain.head == read(log[:at]).head
    chain.pass_over()
    for number, value in enumerate(log[at:], at + 1):
        chain.take(value, offset=number)
    assert (chain.head, chain.taken) == (read(log).head, read(log).taken) and chain.records == len(log) + 1
    # In place of an entry it is found by the next.
    if at + 1 < len(log):
        chain = read(log[:at])
        chain.pass_over()
        with pytest.raises(Broken, match="does not follow"):
            for value in log[at + 1 :]:
                chain.take(value)


NEWER = entry(GENESIS, "x")[:-1] + b',"form":2}'


@pytest.mark.parametrize("value", [b'{"previous": 1}', b'{"hash": "", "form": 2}', NEWER])
def test_what_may_be_another_releases_entry_is_not_passed_over(value: bytes) -> None:
    with pytest.raises(Broken) as raised:
        read([value])
    assert not isinstance(raised.value, Foreign)
