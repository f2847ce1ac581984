"""What the operator's registry says of the simulated subscribers, and so who of them may be counted."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.simulate.draws import CONSENT, bounded, hashed
from streams.simulate.people import GENDERS, YEAR, birth_years, genders, imsis, machines
from streams.simulate.town import Town

GRANTED, DENIED, REVOKED, OPTED_OUT, NO_RECORD = range(5)
PURPOSES: Final = ("market_research", "marketing", "traffic", "public")
ADULT: Final = 18
_MILLION: Final = 1_000_000


def standings(town: Town) -> NDArray[np.uint8]:
    """Each subscriber's standing: granted, or of the others two fifths denied, a fifth each of the further ones."""
    granted = round(town.consent * _MILLION)
    fifths = (_MILLION - granted) / 5
    edges = [granted, granted + 2 * fifths, granted + 3 * fifths, granted + 4 * fifths]
    draws = bounded(hashed(town.seed, CONSENT, town.subscribers), _MILLION)
    return np.searchsorted(np.rint(edges).astype(np.int64), draws, side="right").astype(np.uint8)


def counted(town: Town) -> NDArray[np.bool_]:
    """Who may be counted: granted, of age, of the home network, and people."""
    home = imsis(town) < np.uint64(102 * 10**10)
    result: NDArray[np.bool_] = (standings(town) == GRANTED) & (YEAR - birth_years(town) >= ADULT) & home
    result &= ~machines(town)
    return result


def registry(town: Town) -> Iterator[tuple[bytes, bytes]]:
    """The registry's records: (IMSI, JSON in the form of `schemas.registry`), those without a record left out."""
    consents = {
        state: ",".join(f'"{purpose}":"{word}"' for purpose in PURPOSES)
        for state, word in ((GRANTED, "granted"), (DENIED, "denied"), (REVOKED, "revoked"), (OPTED_OUT, "granted"))
    }
    words = [f'"{g}"' if g else "null" for g in GENDERS]
    columns = zip(
        imsis(town).tolist(), birth_years(town).tolist(), genders(town).tolist(), standings(town).tolist(), strict=True
    )
    for imsi, born, gender, standing in columns:
        if standing == NO_RECORD:
            continue
        key = f"{imsi:015d}"
        value = (
            f'{{"imsi":"{key}","birth_year":{born},"gender":{words[gender]},"consent":{{{consents[standing]}}},'
            f'"opted_out":{"true" if standing == OPTED_OUT else "false"}}}'
        )
        yield key.encode(), value.encode()
