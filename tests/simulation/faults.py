"""What happens to whom, and when, in a schedule: drawn from its seed."""

import random
from typing import Final, NamedTuple

PLAY_S: Final = 20.0  # the raw logs grow over this time
NAMES: Final = ("gateway-0", "gateway-1", "crowd-0", "crowd-1", "release-0", "release-1")
KINDS: Final = ("kill", "kill", "pause", "pause", "pause", "leave", "lose", "lose", "broker", "redis")
# What replication, `min.insync.replicas` and no unclean election are for: never drawn, only planted.
FORGET: Final = "forget"
# `throng topics trim-ledger` from a timer, every `length` s from then on; the worker says at whose step, if at one.
TRIM: Final = "trim"
OF_REDIS: Final = ("flush", "copy", "older")
# Kill and pause come at once, or at the worker's next such moment (`broker.Node`).
MOMENTS: Final = ("now", "now", "send", "ack", "store")


class Fault(NamedTuple):
    """What happens at a time, s. `length` in s, where it lasts.

    `moment`: one of MOMENTS, or "step": after the worker has gone `steps` ways over the network.
    """

    at: float
    what: str
    worker: str
    length: float
    moment: str = "now"
    steps: int = 0


def faults_of(seed: int) -> list[Fault]:
    """The faults of a schedule, in the order of time."""
    rng = random.Random(f"faults {seed}")
    kinds = KINDS + OF_REDIS * (0, 1, 0, 2)[seed % 4]
    drawn = [
        Fault(
            rng.uniform(0.5, PLAY_S + 3),
            rng.choice(kinds),
            rng.choice(NAMES),
            rng.choice([0.3, 2.0, 5.0, 8.0, 11.0]),
            rng.choice(MOMENTS),
        )
        for _ in range(rng.randint(1, 10))
    ]
    return sorted([*drawn, *_trims_of(seed)])


def _trims_of(seed: int) -> list[Fault]:
    """Every other schedule shortens the ledger; drawn apart, so that the other faults are a seed's own."""
    rng = random.Random(f"trims {seed}")
    at, every, worker = rng.uniform(0.0, PLAY_S + 8), rng.choice([0.1, 1.0, 4.0]), rng.choice(NAMES[-2:])
    return [Fault(at, TRIM, worker, every, *rng.choice([("now", 0), ("step", rng.randint(1, 60))]))][: seed % 2]


def with_retention(seed: int) -> bool:
    """Whether retention follows the snapshots closely in this schedule. Then what Redis loses can't be rebuilt."""
    return seed % 4 != 1


def may_lose_state(seed: int) -> bool:
    """Whether Redis may lose what the log no longer holds.

    Opt-outs of before are lost with it (see the guarantees), and only the gateways' registries, which know nothing of
    them in a schedule, hold those people out: nobody opts out then.
    """
    return seed % 4 == 3


def forgetting(seed: int) -> list[Fault]:
    """Kafka loses a frame that it has acknowledged."""
    return [Fault(6.0 + seed % 8, FORGET, "gateway-0", float(seed))]


def lost_together(seed: int) -> list[Fault]:
    """Behind an outage, when the crowds have more than one pane to send, each loses the first of them."""
    at = 4.0 + 0.37 * (seed % 24)
    losses = [Fault(at + 4.9, "lose", worker, 0.0) for worker in ("crowd-0", "crowd-1")]
    return [Fault(at, "broker", "crowd-0", 5.0), *losses]


def killed_unacknowledged(seed: int) -> list[Fault]:
    """About when an epoch's salt goes, both gateways end with what they have sent and not committed."""
    at = 12.45 + 0.004 * (seed % 75)
    return [Fault(at, "kill", worker, 0.0, "ack") for worker in ("gateway-0", "gateway-1")]
