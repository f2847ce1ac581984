"""How often things go wrong or aside, as shares; the defaults are those of an ordinary day."""

from collections.abc import Iterable
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Rates:
    """Shares from 0 to 1.

    Attributes:
        duplicates: events that are sent twice, the second within 4 s.
        reorder: events that take 2 to 8 s to be recorded (others take 40 to 440 ms).
        late: events that are recorded 12 s to 5 min after they happened.
        clock_error: events whose time is wrong: half of them 75 s to a day ahead, half 5 min to a day behind.
        malformed: records that break the raw contract, all kinds of `render.FAULTS` alike.
        ping_pong: handovers that go back and forth once more within seconds.
        rfc3339: events whose time is text instead of milliseconds.
        consent: subscribers who may be counted; the others refused, revoked, opted out, or have no record at all.
        roamers: subscribers from another network (001 02).
        machines: subscribers that are no people: fixed devices that report by the clock, with TACs of telephones.
        homebound: people who don't leave their home; half of their phones keep a connection alive every 28 minutes.
    """

    duplicates: float = 1e-3
    reorder: float = 0.02
    late: float = 2e-4
    clock_error: float = 1e-4
    malformed: float = 5e-4
    ping_pong: float = 0.05
    rfc3339: float = 0.0
    consent: float = 0.95
    roamers: float = 0.0
    machines: float = 0.0
    homebound: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is no share, and fates of one event that add up to more than all.

        Raises:
            ValueError: naming the rate.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value <= 1:
                raise ValueError(f"the rate {field.name} is {value}, not a share from 0 to 1")
        if self.duplicates + self.late + self.clock_error + self.malformed > 1:
            raise ValueError("the rates duplicates, late, clock_error and malformed add up to more than 1")


def parse_rates(assignments: Iterable[str]) -> Rates:
    """Rates from `name=value` words; what isn't named keeps its default.

    Raises:
        ValueError: naming the word that isn't understood.
    """
    names = [field.name for field in fields(Rates)]
    values: dict[str, float] = {}
    for word in assignments:
        name, _, text = word.partition("=")
        if name not in names:
            raise ValueError(f"no rate is called {name!r}; there are {', '.join(names)}")
        try:
            values[name] = float(text)
        except ValueError:
            raise ValueError(f"the rate {name} is {text!r}, not a number") from None
    return Rates(**values)
