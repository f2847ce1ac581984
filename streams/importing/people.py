"""The registry of imported subscribers: that they consent to a purpose, as whoever imports them says.

Without a record nobody is counted. Where the data hold no year of birth a stand-in is written, or a minimum age would
drop everyone: age bands of such subscribers mean nothing.
"""

from collections.abc import Iterator
from typing import Final

import orjson

from streams.importing.drafts import Draft

STAND_IN: Final = 1970


class People:
    """Collects them: some 100 bytes each, whatever the number of events. With no `purposes` nobody is kept."""

    def __init__(self, purposes: tuple[str, ...]) -> None:
        self._consent = dict.fromkeys(purposes, "granted")
        self._known: dict[int, tuple[int, str]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def add(self, imsi: str, draft: Draft) -> None:
        """Take up an event's subscriber; what is first told of them stays."""
        if self._consent:
            self._known.setdefault(int(imsi) * 10 + len(imsi) % 10, (draft.birth_year, draft.gender))

    def records(self) -> Iterator[tuple[bytes, bytes]]:
        """The registry's records: key and value."""
        for packed, (born, gender) in self._known.items():
            number, digits = divmod(packed, 10)
            imsi = f"{number:0{10 + digits}d}"
            person = {"imsi": imsi, "birth_year": born or STAND_IN, "gender": gender or None, "consent": self._consent}
            yield imsi.encode(), orjson.dumps(person | {"opted_out": False})
