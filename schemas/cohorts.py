"""Cohorts: age band x gender, as one byte `band * 4 + gender`."""

from typing import Final

BANDS: Final = ("unknown", "18-24", "25-34", "35-44", "45-54", "55-64", "65+")
GENDERS: Final = ("unknown", "female", "male", "other")
COHORTS: Final = len(BANDS) * len(GENDERS)
BAND_FROM_AGE: Final = (18, 25, 35, 45, 55, 65)


def age_band(age: int | None) -> int:
    """The band of an age in whole years; 0 (unknown) for None and under 18."""
    return 0 if age is None else sum(age >= start for start in BAND_FROM_AGE)


def cohort(age: int | None, gender: str | None) -> int:
    """The cohort's code.

    Raises:
        ValueError: if the gender is none of `GENDERS`.
    """
    return age_band(age) * len(GENDERS) + GENDERS.index(gender or "unknown")


def cohort_name(code: int) -> tuple[str, str]:
    """(age band, gender) of a code."""
    return BANDS[code // len(GENDERS)], GENDERS[code % len(GENDERS)]
