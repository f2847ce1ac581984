"""How many machines without a telling TAC their behaviour gives away, and which people are taken for some.

Simulated towns in which a share of the SIMs are fixed devices that report every 5, 15, 60 or 360 minutes, and a share
of the people never leaves home; half of these have phones that keep a connection alive every 28 minutes, besides being
used. Of each kind, how many there are, and by whole days of events the share that `core.behaviour` proposes.

    python -m benchmarks.machines [--seeds 51,52] [--subscribers 5000] [--days 3] [--radio real]
"""

import argparse

import numpy as np
from numpy.typing import NDArray

from schemas.rejects import Reason
from streams.core.events.behaviour import DAY_MS, Evidence
from streams.core.events.decode import decode
from streams.core.events.records import Records
from streams.simulate import generate, make_town
from streams.simulate.people import MACHINE_BEATS_S, imsis, of_its_own

START_MS = 1_772_420_400_000  # Monday 2 March 2026, 04:00
OFFSET_MS = 3_600_000
SLICE_MS = 600_000
MACHINES = tuple(f"machine, {beat // 60} min" for beat in MACHINE_BEATS_S.tolist())
KINDS = ("people", "at home", "at home, kept alive", *MACHINES)
RATES = {"machines": 0.04, "homebound": 0.04}


def proposed(seed: int, subscribers: int, days: int, radio: str) -> list[tuple[NDArray[np.uint8], NDArray[np.bool_]]]:
    """By number of whole days: of each subscriber the kind, and whether it is proposed."""
    town = make_town(seed, subscribers, radio=radio, **RATES)
    told = [Evidence(START_MS, number + 1, OFFSET_MS) for number in range(days)]
    for piece in generate(town, START_MS, START_MS + days * DAY_MS, 1, batch=100, slice_ms=SLICE_MS):
        records = Records(np.arange(len(piece.time)), piece.time, piece.begin, piece.end, piece.payload)
        events = decode(records, 1 << 20)
        good = events.status == Reason.OK
        for evidence in told:
            evidence.add(events.imsi[good], events.ts[good], events.kind[good])
    kinds, numbers = of_its_own(town), imsis(town)
    found = [np.array([one.imsi & ((1 << 60) - 1) for one in evidence.found()], np.uint64) for evidence in told]
    return [(kinds, np.isin(numbers, each)) for each in found]


def main() -> None:
    """Print the table, over all towns together."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", default="51,52")
    parser.add_argument("--subscribers", type=int, default=5000)
    parser.add_argument("--days", type=int, default=3)
    parser.add_argument("--radio", default="real")
    asked = parser.parse_args()
    towns = [proposed(int(seed), asked.subscribers, asked.days, asked.radio) for seed in asked.seeds.split(",")]
    print("| of | subscribers | " + " | ".join(f"{day + 1} d" for day in range(asked.days)) + " |")
    print("|---|---|" + "---|" * asked.days)
    for kind, name in enumerate(KINDS):
        shares = []
        for day in range(asked.days):
            those = [found[kinds == kind] for kinds, found in (town[day] for town in towns)]
            shares.append(np.concatenate(those))
        print(f"| {name} | {len(shares[0])} | " + " | ".join(f"{share.mean():.1%}" for share in shares) + " |")


if __name__ == "__main__":
    main()
