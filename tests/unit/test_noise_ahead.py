"""Noise that is drawn before its pane ends: the same mechanism, used once, and ready when it is asked for."""

import os
import sys
import threading

import numpy as np
import pytest
from numpy.typing import NDArray

from streams.errors import ThrongError
from streams.stores.noise_ahead import BLOCK, MOST_DRAWN, Ahead

PATIENCE_S = 60
SCALE = (1.0, 10.0, 0.005)


class Draws:
    """Gives the numbers of its calls as noise; `drawn[n]` is set once so many calls are over."""

    def __init__(self) -> None:
        self.asked: list[tuple[bool, int, float]] = []
        self.drawn = [threading.Event() for _ in range(1000)]
        self.error: Exception | None = None
        self._numbered = threading.Lock()

    def __call__(self, counts: NDArray[np.int64], sensitivity: float, scale: float, rho: float) -> NDArray[np.int64]:
        if self.error:
            raise self.error
        with self._numbered:
            self.asked.append((not counts.any(), len(counts), scale))
            number = len(self.asked)
        self.drawn[number].set()
        return counts + number


def test_noise_is_of_no_counts_and_each_is_used_once() -> None:
    draws = Draws()
    ahead = Ahead(draws)
    counts = np.array([5, 0, 7])
    found = []
    for number in range(1, 9):
        found.append(int(ahead.of_all(counts, *SCALE)[1]))
        assert draws.drawn[number + 1].wait(PATIENCE_S), "the next is drawn before it is asked for"
    assert len(set(found)) == len(found)
    assert all(of_zeros for of_zeros, _, _ in draws.asked)
    assert len(draws.asked) == 9, "one more than was asked for, and no other"


def test_counts_come_with_the_noise_added() -> None:
    draws = Draws()
    ahead = Ahead(draws)
    for _ in range(3):
        noisy = ahead.of_all(np.array([5, 0, 7]), *SCALE)
        assert (noisy - noisy[1]).tolist() == [5, 0, 7]


def test_noise_is_for_its_own_scale_and_size() -> None:
    draws = Draws()
    ahead = Ahead(draws)
    for keys, scale in ((3, 1.0), (3, 2.0), (4, 1.0)) * 3:
        assert len(ahead.of_all(np.zeros(keys, np.int64), 1.0, scale, 1.0)) == keys
    assert draws.drawn[12].wait(PATIENCE_S)
    assert sorted(draws.asked) == sorted([(True, 3, 1.0), (True, 3, 2.0), (True, 4, 1.0)] * 4)


def test_what_fails_while_drawing_ahead_is_told_when_the_noise_is_asked_for() -> None:
    draws = Draws()
    ahead = Ahead(draws)
    draws.error = ThrongError("noise", "it would cost more")
    for _ in range(2):
        with pytest.raises(ThrongError, match="would cost more"):
            ahead.of_all(np.zeros(2, np.int64), *SCALE)


def test_what_epochs_that_are_over_left_is_forgotten() -> None:
    ahead = Ahead(Draws())
    for number in range(MOST_DRAWN * 2):
        ahead.of_all(np.zeros(1, np.int64), 1.0, float(number), 1.0)
    assert len(ahead._drawn) == MOST_DRAWN


def test_what_was_drawn_is_not_used_once_it_is_to_be_forgotten() -> None:
    draws = Draws()
    ahead = Ahead(draws)
    zeros = np.zeros(1, np.int64)
    ahead.of_all(zeros, *SCALE)
    assert draws.drawn[2].wait(PATIENCE_S)
    ahead.forget()
    assert ahead.of_all(zeros, *SCALE) > 2


def nice() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


class Starved(Draws):
    """On a machine so busy that a thread of low priority gets nothing of it: it stays in its first block."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()
        self.stuck, self.goes_on = threading.Event(), threading.Event()
        self.by: list[tuple[str, int]] = []

    def __call__(self, counts: NDArray[np.int64], sensitivity: float, scale: float, rho: float) -> NDArray[np.int64]:
        if threading.current_thread().name == "noise":
            self.stuck.set()
            assert self.goes_on.wait(PATIENCE_S)
        with self.lock:
            self.by.append((threading.current_thread().name, nice()))
            return super().__call__(counts, sensitivity, scale, rho)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
def test_what_is_waited_for_is_not_left_to_a_thread_of_low_priority() -> None:
    draws = Starved()
    ahead = Ahead(draws)
    keys = 40 * BLOCK
    ahead.expect(keys, *SCALE)
    assert draws.stuck.wait(PATIENCE_S)
    found: list[NDArray[np.int64]] = []
    counts = np.zeros(keys, np.int64)
    waiting = threading.Thread(target=lambda: found.append(ahead.of_all(counts, *SCALE)), name="waiting")
    waiting.start()
    assert draws.drawn[39].wait(PATIENCE_S), "all but the block that the starved thread has in hand"
    assert not found, "which nobody draws a second time"
    drawn = list(draws.by)
    assert len(drawn) == 39
    assert {name for name, _ in drawn} <= {"waiting", "noise helper"}
    assert {priority for _, priority in drawn} == {nice()}
    draws.goes_on.set()
    waiting.join(PATIENCE_S)
    assert len(found[0]) == keys
    assert {len(found[0][at : at + BLOCK]) for at in range(0, keys, BLOCK)} == {BLOCK}
    assert set(np.unique(found[0], return_counts=True)[1]) == {BLOCK}, "each block was drawn by itself, once"


def test_who_waits_has_a_helper() -> None:
    together = threading.Barrier(2)

    def draw(counts: NDArray[np.int64], *_: float) -> NDArray[np.int64]:
        if threading.current_thread().name != "noise":
            together.wait(PATIENCE_S)
        return counts

    assert len(Ahead(draw).of_all(np.zeros(8 * BLOCK, np.int64), *SCALE)) == 8 * BLOCK


def test_what_is_expected_is_drawn_before_anybody_asks_and_the_shortest_first() -> None:
    draws = Starved()
    ahead = Ahead(draws)
    for keys in (3, 8, 5):
        ahead.expect(keys, *SCALE)
        ahead.expect(keys, *SCALE)
    assert draws.stuck.wait(PATIENCE_S)
    draws.goes_on.set()
    assert draws.drawn[3].wait(PATIENCE_S)
    assert [keys for _, keys, _ in draws.asked] == [3, 5, 8]
    assert ahead.of_all(np.zeros(8, np.int64), *SCALE).tolist() == [3] * 8


def test_while_a_pane_is_released_nothing_is_drawn_ahead_and_who_waits_draws() -> None:
    draws = Draws()
    ahead = Ahead(draws)
    with ahead.resting():
        for number in range(1, 4):
            assert ahead.of_all(np.zeros(1, np.int64), *SCALE) == number
        assert len(draws.asked) == 3, "by who asked, for who asked"
    assert draws.drawn[4].wait(PATIENCE_S), "what was put off is drawn now"
    with ahead.resting():
        assert ahead.of_all(np.zeros(1, np.int64), *SCALE) == 4


def test_noise_of_no_keys_is_of_no_keys() -> None:
    ahead = Ahead(Draws())
    for _ in range(2):
        assert ahead.of_all(np.zeros(0, np.int64), *SCALE).tolist() == []


def test_what_was_to_be_forgotten_is_drawn_anew_before_anybody_asks() -> None:
    draws = Draws()
    ahead = Ahead(draws)
    ahead.expect(1, *SCALE)
    assert draws.drawn[1].wait(PATIENCE_S)
    ahead.forget()
    assert draws.drawn[2].wait(PATIENCE_S)
    assert ahead.of_all(np.zeros(1, np.int64), *SCALE).tolist() == [2]


def test_of_keys_from_data_there_is_noise_for_half_as_many_again_as_last_time() -> None:
    draws = Draws()
    ahead = Ahead(draws)
    first = ahead.of_some(np.full(4 * BLOCK, 7), *SCALE) - 7
    assert draws.drawn[11].wait(PATIENCE_S), "six blocks more, before anybody asks"
    assert sum(keys for _, keys, _ in draws.asked) == (4 + 6) * BLOCK
    second = ahead.of_some(np.full(5 * BLOCK, 7), *SCALE) - 7
    assert second.max() <= 11, "what was drawn by then"
    assert not set(first.tolist()) & set(second.tolist())
    assert all(of_zeros for of_zeros, _, _ in draws.asked)


def test_more_keys_from_data_than_there_is_noise_for_get_more_and_none_is_used_twice() -> None:
    draws = Draws()
    ahead = Ahead(draws)
    found: list[int] = []
    for blocks in (1, 3, 0, 2, 9, 4):
        noisy = ahead.of_some(np.zeros(blocks * BLOCK, np.int64), *SCALE)
        assert len(noisy) == blocks * BLOCK
        assert set(np.unique(noisy, return_counts=True)[1].tolist()) <= {BLOCK}
        found += np.unique(noisy).tolist()
    assert len(set(found)) == len(found) == 19


def test_noise_for_keys_from_data_is_forgotten_too() -> None:
    draws = Draws()
    ahead = Ahead(draws)
    ahead.of_some(np.zeros(2, np.int64), *SCALE)
    assert draws.drawn[3].wait(PATIENCE_S)
    ahead.forget()
    assert ahead.of_some(np.zeros(2, np.int64), *SCALE).min() > 3


def test_the_real_mechanism_has_its_scale_drawn_ahead_or_not() -> None:
    ahead = Ahead()
    counts = np.arange(4_000)
    for _ in range(3):
        errors = ahead.of_all(counts, *SCALE) - counts
        assert abs(errors.std() - 10) < 0.6
        assert abs(errors.mean()) < 0.8


def test_a_cost_above_the_account_is_refused_ahead_as_well() -> None:
    ahead = Ahead()
    for _ in range(2):
        with pytest.raises(ThrongError, match="would cost rho"):
            ahead.of_all(np.zeros(5, np.int64), 1.0, 10.0, 0.004)
