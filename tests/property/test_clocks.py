"""What time it is for certain: no clock that is ahead makes it early, and none that is right lets it wait."""

from hypothesis import given
from hypothesis import strategies as st

from streams.core.clocks import RECENT_MS, Clocks, KafkaTime, Stamp

HOUR = 3_600_000
NOW = 1_772_449_200_000
OFF = st.integers(-50 * HOUR, 50 * HOUR)
AGE = st.integers(0, RECENT_MS)


@given(OFF, st.lists(st.tuples(OFF, AGE), min_size=1, max_size=5), st.integers(0, 1 << 40))
def test_no_clock_makes_it_earlier_than_any_other_says(own: int, brokers: list[tuple[int, int]], mono: int) -> None:
    """In truth it is NOW; each clock is off by as much, and was heard so long ago."""
    stamps = [Stamp(NOW + off - age, mono - age) for off, age in brokers]
    clocks = Clocks(NOW + own, mono, stamps)
    offs = [own, *(off for off, _ in brokers)]
    assert KafkaTime().reached_ms(clocks) == NOW + min(offs)
    apart = clocks.apart_ms()
    assert apart is not None and abs(apart) == max(abs(own - off) for off, _ in brokers)


@given(st.lists(st.tuples(st.integers(0, 40 * HOUR), st.integers(0, 5 * HOUR)), min_size=1), OFF)
def test_record_times_alone_never_say_more_than_kafkas_time(heard: list[tuple[int, int]], own: int) -> None:
    """At each look, so long after the one before, the newest committed record is so old."""
    known, mono = KafkaTime(), 0
    for passed, old in heard:
        mono += passed
        known.heard({0: NOW + mono - old, 1: 0}, mono)
    reached = known.reached_ms(Clocks(NOW + mono + own, mono))
    least = min(old for _, old in heard)
    assert reached == NOW + mono + min(own, -least)


def test_silence_stops_no_time() -> None:
    known = KafkaTime()
    known.heard({0: NOW}, 0)
    assert known.reached_ms(Clocks(NOW + 9 * HOUR, 8 * HOUR)) == NOW + 8 * HOUR
    assert known.reached_ms(Clocks(NOW + 7 * HOUR, 8 * HOUR)) == NOW + 7 * HOUR


def test_nothing_is_certain_before_anything_of_kafkas_was_heard() -> None:
    known = KafkaTime()
    known.heard({}, 5)
    assert known.reached_ms(Clocks(NOW, 5)) is None
    assert Clocks(NOW, 5).apart_ms() is None


def test_a_broker_that_has_gone_holds_nothing_up() -> None:
    stamps = [Stamp(NOW - 9 * HOUR, 0), Stamp(NOW, RECENT_MS + 1)]
    assert KafkaTime().reached_ms(Clocks(NOW + 1, RECENT_MS + 2, stamps)) == NOW + 1
