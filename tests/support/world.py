"""A small deployment in memory: plan, registry, policy and epochs that the core and the oracle both get."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.epochs import Epoch
from schemas.measures import DEFAULT_MEASURES
from schemas.plan import NOWHERE, Cell, Parent, Plan, Zone
from schemas.policy import Policy
from streams.core.epochs import EpochTable, Terms, make_epoch
from streams.core.gateway.gateway import Context
from streams.core.gateway.policy import PolicyTable
from streams.core.gateway.pseudonyms import key_state
from streams.core.gateway.registry import RegistryTable
from streams.core.gateway.zones import CellTable

PLAN = Plan(
    1,
    "village",
    "Europe/Berlin",
    (Parent("north", "North"), Parent("south", "South")),
    tuple(
        Zone(f"z{n}", f"Zone {n}", "north" if n < 3 else "south", "hospital" if n == 2 else "shops") for n in range(6)
    ),
    (*(Cell(f"001-01-000{n:04X}", f"z{n % 6}") for n in range(12)), Cell("001-01-000000C", NOWHERE)),
)
POLICIES = [
    Policy("Test", ("001",), "active", "opt_in", ("marketing",), 18, False, ("hospital",), 5, 2.0, 2e-9, ("001-01",)),
    Policy("Germany", ("262",), "suspended", "opt_in", ("traffic",), 18, False, (), 30, 2.0, 2e-9),
]
ORACLE_POLICY = {
    "mcc": "001",
    "home": "00101",
    "minimum_age": 18,
    "purpose": "marketing",
    "excluded": {"hospital"},
    "suspended": {"262"},
}
TERMS = Terms(
    timezone="Europe/Berlin",
    change_hour=4,
    partitions=4,
    plan=PLAN.hash(),
    zones=6,
    parents=2,
    measures=DEFAULT_MEASURES,
    epsilon=2.0,
    delta=2e-9,
    rho=0.058278,
    k=5,
    policy="Test",
    sources=(0, 1),
    purpose="marketing",
)


def epochs_at(*times: int) -> list[Epoch]:
    """The epochs of these event times, the first of them opening a deployment."""
    table = EpochTable()
    for ts in times:
        if table.find(ts) is None:
            table.add(make_epoch(ts, TERMS, table))
    return table.epochs


def salt_of(epoch: int) -> bytes:
    """A salt for tests, different in each epoch."""
    return epoch.to_bytes(32, "big")


def context_of(
    epochs: list[Epoch],
    registry: dict[str, dict[str, object]],
    lateness_ms: int = 10_000,
    partitions: int = TERMS.partitions,
) -> Context:
    """What the gateway decides by."""
    table = RegistryTable()
    table.take((imsi.encode(), msgspec.json.encode(person)) for imsi, person in registry.items())
    salts: dict[int, NDArray[np.uint64]] = {epoch.epoch: key_state(salt_of(epoch.epoch)) for epoch in epochs}
    return Context(
        EpochTable(epochs),
        salts,
        PolicyTable(POLICIES, "marketing"),
        table,
        CellTable(PLAN, {"hospital"}),
        partitions,
        lateness_ms,
    )
