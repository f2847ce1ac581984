"""The chain under repeats, zombies and crashes: every row is taken once, and no watermark runs ahead.

A seeded model of gateways: owners send consecutive sections, crash after sending and before committing, are
paused and go on sending, or lose a send. What the plain rule "the highest offset seen" would do is checked to be
wrong, so that the model is known to be hard enough.
"""

import random

import pytest

from streams.core.crowd.chain import Link, link

OFFSETS = 60


class Owner:
    """A gateway that reads one source from a commit on; `log` is where its sections arrive, perhaps late."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.failed = False  # a send was lost: it commits nothing more, but what it has in flight may still arrive


def schedule(rng: random.Random) -> list[tuple[int, int]]:
    """Sections as they arrive in one target partition."""
    arrived: list[tuple[int, int]] = []
    committed, owner, zombies = 0, Owner(0), []
    while committed < OFFSETS:
        draw = rng.random()
        if draw < 0.2:  # crash or pause: a new owner begins at the commit, the old one may still send
            zombies.append(owner)
            owner = Owner(committed)
        elif draw < 0.35 and zombies:
            zombie = rng.choice(zombies)
            to = min(OFFSETS, zombie.at + rng.randint(1, 6))
            if to > zombie.at:
                arrived.append((zombie.at, to))
                zombie.at = to
        elif draw < 0.45:  # seen: a producer that loses a batch and has the next accepted
            owner.at = min(OFFSETS, owner.at + rng.randint(1, 6))
            owner.failed = True
        else:
            to = min(OFFSETS, owner.at + rng.randint(1, 6))
            if to > owner.at:
                arrived.append((owner.at, to))
                owner.at = to
            if rng.random() < 0.5 and not owner.failed:
                committed = max(committed, owner.at)
    return arrived


@pytest.mark.parametrize("block", range(10))
def test_every_offset_is_taken_once_whatever_arrives(block: int) -> None:
    for seed in range(block * 500, (block + 1) * 500):
        following: dict[int, int] = {}
        taken: list[int] = []
        for from_, to in schedule(random.Random(seed)):
            what, first = link(following, 7, from_, to, genesis=False)
            if what is Link.TAKEN:
                taken += range(max(first, from_), to)  # what it has: nothing before it, whatever it is taken for
                following[7] = to
        assert taken == list(range(OFFSETS)), seed


def test_the_highest_offset_seen_would_lose_rows() -> None:
    wrong = 0
    for seed in range(5000):
        highest, taken = 0, []
        for from_, to in schedule(random.Random(seed)):
            if to > highest:
                taken += range(max(from_, highest), to)
                highest = to
        wrong += taken != list(range(OFFSETS))
    assert wrong > 500


def test_a_gap_is_ignored_and_a_genesis_begins_anywhere() -> None:
    assert link({}, 1, 5, 9, genesis=False) == (Link.GAP, 0)
    assert [link({1: 4}, 1, from_, 9, genesis=False)[0] for from_ in (4, 5)] == [Link.TAKEN, Link.GAP]
    assert link({}, 1, 5, 9, genesis=True) == (Link.TAKEN, 5)
    assert link({1: 7}, 1, 5, 9, genesis=True) == (Link.TAKEN, 7)
    assert link({1: 9}, 1, 5, 9, genesis=False) == (Link.REPEAT, 9)
