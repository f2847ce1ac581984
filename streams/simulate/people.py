"""The people of a town: who they are, their habits, and what the loop keeps of each while time goes on.

Each property of a subscriber is a draw named by (seed, property, number): nothing depends on how many others there are.
IMSIs are 001 01 and ten digits by a seeded permutation, so that neighbours in the table aren't neighbours in number.
MSISDNs begin with 999, which ITU-T E.164 assigns to nobody, and TACs with 001, kept for test phones.
"""

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from streams.simulate.compiled import Rows
from streams.simulate.draws import (
    BIRTH,
    DEVICE,
    GENDER,
    HOME,
    MSISDN,
    RHYTHM,
    THING,
    TOWN,
    U64,
    WORK,
    below,
    bounded,
    hashed,
    mixed,
    named,
    pick,
    picks,
)
from streams.simulate.town import Town

YEAR: Final = 2026  # ages are as of this year
NOWHERE: Final = 0xFFFF
PLACES: Final = 16  # the most places that a subscriber remembers
NEVER: Final = np.int64(1) << 62

# What a subscriber does: the phone is off, they stay, or they are on the way.
OFF, STAYING, MOVING = 0, 1, 2

PERSON: Final = np.dtype(
    [
        ("rng", np.uint64),  # their own draws' state
        ("last_event", np.int64),  # the periodic timer counts from here
        ("activity", np.int64),  # next service request, or next look at the rate if `look`
        ("check", np.int64),  # next look at the radio within a session
        ("active_until", np.int64),  # end of the session
        ("until", np.int64),  # end of the stay
        ("since", np.int64),  # start of what the truth will tell next
        ("beats_at", np.int64),  # the next service request by the clock, or NEVER
        ("departed", np.int64),
        ("duration", np.int64),  # of the whole way, ms
        ("x", np.int32),
        ("y", np.int32),
        ("from_x", np.int32),
        ("from_y", np.int32),
        ("to_x", np.int32),
        ("to_y", np.int32),
        ("step", np.int32),
        ("steps", np.int32),
        ("seq", np.uint32),  # events so far
        ("beat_s", np.uint32),  # how long after a service request the next one comes by the clock; 0 never
        ("home", np.uint16),
        ("work", np.uint16),  # NOWHERE if none
        ("zone", np.uint16),  # where they truly are
        ("goal", np.uint16),  # where they are going
        ("cell", np.uint16),  # that serves them
        ("wake", np.uint16),  # minutes after 04:00, as all minutes here
        ("bed", np.uint16),
        ("starts", np.uint16),  # work or school
        ("ends", np.uint16),
        ("busy", np.uint16),  # how much they use the phone; 256 is usual, 0 a machine
        ("known", np.uint8),  # places in their memory
        ("mode", np.uint8),
        ("area", np.uint8),  # tracking areas that they are registered in
        ("area_2", np.uint8),
        ("look", np.uint8),
        ("sleeps", np.uint8),  # the stay ahead is the night's
        ("switches_off", np.uint8),  # at night
        ("fixed", np.uint8),  # never leaves home
    ],
    align=True,
)

AGE_BANDS: Final = ((12, 17, 7), (18, 24, 11), (25, 34, 18), (35, 44, 17), (45, 54, 17), (55, 64, 16), (65, 88, 14))
GENDERS: Final = ("female", "male", "other", None)
# Sixteenths of the population by use of the phone: about log-normal, deviation 0.6 in the logarithm.
_BUSY: Final = np.array([77, 100, 121, 141, 159, 178, 197, 217, 238, 262, 290, 323, 366, 424, 515, 720], np.uint16)


# How often machines report, and phones that are left alone keep their connection alive.
MACHINE_BEATS_S: Final = np.array([300, 900, 3600, 21_600], np.uint32)
KEPT_ALIVE_S: Final = 1680


def birth_years(town: Town) -> NDArray[np.int64]:
    """The year of birth of each subscriber; about one in 14 is under 18."""
    draws = hashed(town.seed, BIRTH, town.subscribers)
    weights = np.cumsum([w for _, _, w in AGE_BANDS])
    band = np.searchsorted(weights, bounded(draws, 100), side="right")
    low = np.array([a for a, _, _ in AGE_BANDS])[band]
    span = np.array([b - a + 1 for a, b, _ in AGE_BANDS])[band]
    return YEAR - low - bounded(draws << np.uint64(32), span)


def genders(town: Town) -> NDArray[np.int64]:
    """Each subscriber's place in GENDERS."""
    draws = bounded(hashed(town.seed, GENDER, town.subscribers), 1000)
    return np.searchsorted(np.array([495, 985, 993]), draws, side="right")


def imsis(town: Town) -> U64:
    """Each subscriber's IMSI as a number of 15 digits (two leading zeros not kept)."""
    msin = permuted(town.seed, np.arange(town.subscribers, dtype=np.uint64))
    foreign = bounded(hashed(town.seed, TOWN ^ 0x40, town.subscribers), 1 << 20) < round(town.roamers * (1 << 20))
    return np.uint64(1_01) * np.uint64(10**10) + msin + foreign.astype(np.uint64) * np.uint64(10**10)


def msisdns(town: Town) -> U64:
    """Each subscriber's number: 999 and ten digits, by another permutation than the IMSI's."""
    numbers = permuted(town.seed ^ MSISDN << 40, np.arange(town.subscribers, dtype=np.uint64))
    return np.uint64(999 * 10**10) + numbers


def tacs(town: Town) -> NDArray[np.int64]:
    """Each subscriber's type of phone, eight digits as a number (leading zeros not kept), a few being common."""
    draws = hashed(town.seed, DEVICE, town.subscribers)
    model = np.minimum(bounded(draws, 240), bounded(draws << np.uint64(32), 240))
    return 100_000 + 97 * model


def of_its_own(town: Town) -> NDArray[np.uint8]:
    """What each subscriber is: 0 one of the people who go about, 1 one who stays at home, 2 the same with a phone that
    keeps its connection alive, 3 and more a machine, which reports every MACHINE_BEATS_S[kind - 3]."""
    draws = hashed(town.seed, THING, town.subscribers)
    share = bounded(draws, 1 << 30) / (1 << 30)
    machine = share < town.machines
    home = ~machine & (share < town.machines + (1 - town.machines) * town.homebound)
    lower = draws << np.uint64(32)
    kind = np.where(machine, 3 + bounded(lower, len(MACHINE_BEATS_S)), np.where(home, 1 + bounded(lower, 2), 0))
    return kind.astype(np.uint8)


def machines(town: Town) -> NDArray[np.bool_]:
    """Which subscribers are machines."""
    result: NDArray[np.bool_] = of_its_own(town) >= 3
    return result


def permuted(seed: int, numbers: U64) -> U64:
    """A seeded permutation of [0, 10**10): four Feistel rounds on 34 bits, walked until within (cycle walking)."""
    half, mask = np.uint64(17), np.uint64((1 << 17) - 1)
    out, waiting = numbers.copy(), np.ones(numbers.size, bool)
    while waiting.any():
        left, right = out[waiting] >> half, out[waiting] & mask
        for turn in range(4):
            left, right = right, left ^ (hashed(seed, TOWN + 64 * (turn + 1), right) & mask)
        out[waiting] = left << half | right
        waiting = out >= np.uint64(10**10)
    return out


def populate(town: Town) -> tuple[Rows, NDArray[np.uint16], NDArray[np.uint32]]:
    """The people before time begins: (PERSON[n], their places u16[n, PLACES], how often they were there u32)."""
    count, seed = town.subscribers, town.seed
    people = np.zeros(count, PERSON)
    age = YEAR - birth_years(town)
    zero = np.zeros(count, np.int64)
    home = picks(hashed(seed, HOME, count), town.settle[None, :], zero)
    draws = hashed(seed, WORK, count)
    percent = bounded(draws, 100)
    learns = np.where(age < 18, percent < 97, (age < 26) & (percent < 40))
    works = ~learns & (age >= 18) & (age < 67) & (percent < 82)
    schools = np.array([z.kind == "education" for z in town.layout.zones])
    weights = np.diff(town.commute, axis=1, prepend=0) * np.where(schools, 1.0, 0.0)
    school_of = np.rint(np.cumsum(weights, 1) / weights.sum(1, keepdims=True) * (1 << 32)).astype(np.int64)
    again = hashed(seed, WORK ^ 0x40, count)
    work = np.where(works, picks(again, town.commute, home), NOWHERE)
    work = np.where(learns, picks(again, school_of, home), work)
    people["home"], people["work"] = home, work
    _habits(seed, people, learns)
    _stay(town, people)
    places = np.zeros((count, PLACES), np.uint16)
    visits = np.zeros((count, PLACES), np.uint32)
    _remember(seed, people, town.explore[2], places, visits)
    return people, places, visits


def _habits(seed: int, people: Rows, learns: NDArray[np.bool_]) -> None:
    """Hours of waking, work and sleep, use of the phone, and who switches off at night."""
    draws = hashed(seed, RHYTHM, people.size * 4).reshape(people.size, 4)
    # Minutes after 04:00: work begins 06:30-09:30, one in ten has the late shift; school 07:40-08:30.
    late = (bounded(draws[:, 0] << np.uint64(32), 10) == 0) & ~learns
    starts = np.where(learns, 220 + bounded(draws[:, 0], 50), 150 + bounded(draws[:, 0], 180)) + 330 * late
    employed = people["work"] != NOWHERE
    people["starts"] = starts
    people["ends"] = starts + np.where(learns, 280, 430) + bounded(draws[:, 1], 120)
    usual = 120 + bounded(draws[:, 2], 180)
    people["wake"] = np.where(employed & ~late, np.minimum(usual, starts - 35), usual)
    people["bed"] = np.maximum(1050 + bounded(draws[:, 1] << np.uint64(32), 210), people["ends"] + 40 * employed)
    people["busy"] = _BUSY[bounded(draws[:, 3], 16)]
    people["switches_off"] = bounded(draws[:, 3] << np.uint64(32), 100) < 14


def _stay(town: Town, people: Rows) -> None:
    """Those who never leave, and what reports by the clock."""
    kind = of_its_own(town)
    people["fixed"] = kind > 0
    people["beat_s"] = np.array([0, 0, KEPT_ALIVE_S, *MACHINE_BEATS_S], np.uint32)[kind]
    people["busy"][kind >= 3] = 0
    people["switches_off"][kind > 0] = 0


@njit(cache=True, nogil=True)
def _remember(
    seed: int,
    people: Rows,
    explore: NDArray[np.int64],
    places: NDArray[np.uint16],
    visits: NDArray[np.uint32],
) -> None:
    """What each knows already: home, work, and one to six places once explored from home."""
    for i in range(people.shape[0]):
        p = people[i]
        p.rng = mixed(named(seed, RHYTHM + 64, i))
        places[i, 0], visits[i, 0] = p.home, 30
        known = 1
        if p.work != NOWHERE and p.work != p.home:
            places[i, 1], visits[i, 1] = p.work, 18
            known = 2
        more = 1 + below(named(seed, RHYTHM + 65, i), 6)
        for k in range(more):
            zone = pick(named(seed, RHYTHM + 66, (i << 4) + k), explore[p.home])
            new = True
            for j in range(known):
                new = new and places[i, j] != zone
            if new:
                places[i, known], visits[i, known] = zone, 9 // (k + 1) + 1
                known += 1
        p.known = known
