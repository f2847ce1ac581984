"""Noise that is drawn before its pane ends: the same mechanism, used once, and ready when it is asked for."""

import threading

import numpy as np
import pytest
from numpy.typing import NDArray

from streams.errors import ThrongError
from streams.stores import noise
from streams.stores.noise import Ahead

PATIENCE_S = 60
SCALE = (1.0, 10.0, 0.005)


class Draws:
    """Gives the numbers of its calls as noise; `drawn[n]` is set once so many calls are over."""

    def __init__(self) -> None:
        self.asked: list[tuple[bool, int, float]] = []
        self.drawn = [threading.Event() for _ in range(100)]
        self.error: Exception | None = None

    def __call__(self, counts: NDArray[np.int64], sensitivity: float, scale: float, rho: float) -> NDArray[np.int64]:
        if self.error:
            raise self.error
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
        found.append(int(ahead(counts, *SCALE)[1]))
        assert draws.drawn[number + 1].wait(PATIENCE_S), "the next is drawn before it is asked for"
    assert len(set(found)) == len(found)
    assert all(of_zeros for of_zeros, _, _ in draws.asked)
    assert len(draws.asked) == 9, "one more than was asked for, and no other"


def test_counts_come_with_the_noise_added() -> None:
    draws = Draws()
    ahead = Ahead(draws)
    for _ in range(3):
        noisy = ahead(np.array([5, 0, 7]), *SCALE)
        assert (noisy - noisy[1]).tolist() == [5, 0, 7]


def test_noise_is_for_its_own_scale_and_size() -> None:
    draws = Draws()
    ahead = Ahead(draws)
    for keys, scale in ((3, 1.0), (3, 2.0), (4, 1.0)) * 3:
        assert len(ahead(np.zeros(keys, np.int64), 1.0, scale, 1.0)) == keys
    assert draws.drawn[12].wait(PATIENCE_S)
    assert sorted(draws.asked) == sorted([(True, 3, 1.0), (True, 3, 2.0), (True, 4, 1.0)] * 4)


def test_what_fails_while_drawing_ahead_is_told_when_the_noise_is_asked_for() -> None:
    draws = Draws()
    ahead = Ahead(draws)
    draws.error = ThrongError("noise", "it would cost more")
    for _ in range(2):
        with pytest.raises(ThrongError, match="would cost more"):
            ahead(np.zeros(2, np.int64), *SCALE)


def test_what_epochs_that_are_over_left_is_forgotten() -> None:
    ahead = Ahead(Draws())
    for number in range(noise.MOST_DRAWN * 2):
        ahead(np.zeros(1, np.int64), 1.0, float(number), 1.0)
    assert len(ahead._drawn) == noise.MOST_DRAWN


def test_what_was_drawn_is_not_used_once_it_is_to_be_forgotten() -> None:
    draws = Draws()
    ahead = Ahead(draws)
    zeros = np.zeros(1, np.int64)
    ahead(zeros, *SCALE)
    assert draws.drawn[2].wait(PATIENCE_S)
    ahead.forget()
    assert ahead(zeros, *SCALE) > 2


def test_the_real_mechanism_has_its_scale_drawn_ahead_or_not() -> None:
    ahead = Ahead()
    counts = np.arange(4_000)
    for _ in range(3):
        errors = ahead(counts, *SCALE) - counts
        assert abs(errors.std() - 10) < 0.6
        assert abs(errors.mean()) < 0.8


def test_a_cost_above_the_account_is_refused_ahead_as_well() -> None:
    ahead = Ahead()
    for _ in range(2):
        with pytest.raises(ThrongError, match="would cost rho"):
            ahead(np.zeros(5, np.int64), 1.0, 10.0, 0.004)
