"""The rules in a gateway and in a release: which table judges a chunk, what is told, and what waits."""

import asyncio
import random

import msgspec
import numpy as np
import orjson
import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from schemas.attach import AHEAD_MS, pack_cell
from schemas.audit import Action, Entry
from schemas.epochs import Epoch
from schemas.ledger import BROUGHT, LedgerRecord
from schemas.measures import DEFAULT_MEASURES
from schemas.policy import Policy, Rulebook
from schemas.topics import FOOTFALL, LEDGER, RELEASED
from streams.agents.gateway_rules import SHOWN_EVERY_S, GatewayRules
from streams.agents.roles import LogRange
from streams.agents.rules import ReleaseRules, log_other_settings
from streams.core.events.decode import decode
from streams.core.gateway.gateway import NEVER_MS, Context, screen
from streams.core.gateway.policy import SUSPENDED
from streams.core.gateway.zones import EXCLUDED
from streams.core.release.budget import rho_for
from streams.core.rules.audit import Chain, canonical, sealed
from streams.core.rules.rules import EFFECT_MS, told
from streams.errors import ThrongError
from streams.metrics import PolicyMetrics
from tests.oracle.counting import Sighting
from tests.property.test_crowd_against_oracle import EPOCHS, counted, frames_of, run
from tests.support.raw import records_of
from tests.support.world import PLAN, POLICIES, TERMS, context_of, epochs_at
from tests.unit.test_registrar import World
from tests.unit.test_registrar import chunk as raw
from tests.unit.test_release_role import EPOCH, Logs, both, chunk, releaser

NOON = 1_772_449_200_000
DAY = 86_400_000
TEST, GERMANY = POLICIES
BOOK = Rulebook((TEST, GERMANY), DEFAULT_MEASURES, "marketing")
GONE = replace(BOOK, policies=(replace(TEST, state="suspended"), GERMANY))


class Audit:
    """An audit log in memory."""

    def __init__(self, first: Rulebook = BOOK) -> None:
        self.chain = Chain()
        self.is_fresh = True
        self.add(first, "adopt")

    def add(self, rules: Rulebook, action: Action = "apply", time_ms: int = NOON) -> str:
        entry = Entry("2026-03-02T12:00:00Z", "someone", action, "", "", rules, self.chain.head)
        self.chain.take(canonical(sealed(entry)), time_ms)
        return self.chain.head

    def fresh(self) -> bool:
        return self.is_fresh

    def age_s(self) -> float:
        return 0.0 if self.is_fresh else 10.0

    async def read(self) -> None: ...


def gateway_rules(audit: Audit, epochs: list[Epoch], registry: CollectorRegistry | None = None) -> GatewayRules:
    return GatewayRules(audit, context_of(epochs, {}), [PLAN], PolicyMetrics(registry or CollectorRegistry()))


def suspended(context: Context, mcc: int = 1) -> bool:
    return bool(context.policies.rules.by_mcc[mcc] & SUSPENDED)


def test_a_suspension_is_at_once_and_a_resumption_with_the_next_epoch_that_is_written() -> None:
    audit, registry = Audit(), CollectorRegistry()
    today, tomorrow, after = (replace(epoch, audit="") for epoch in epochs_at(NOON, NOON + DAY, NOON + 2 * DAY))
    today = replace(today, audit=audit.chain.head)
    known = [today, tomorrow]
    rules = gateway_rules(audit, known, registry)
    assert not suspended(rules.at(NOON)) and suspended(rules.at(NOON), 262)
    rules._context.epochs.epochs[1] = tomorrow = replace(tomorrow, audit=audit.add(GONE, "suspend"))
    assert suspended(rules.at(NOON)) and suspended(rules.at(NOON + DAY))
    assert registry.get_sample_value("throng_policy_suspended", {"country": "Test"}) == 1
    audit.add(BOOK, "resume")
    # Neither in this epoch nor in the next, whose terms were written before. Sources never heard go by the first.
    assert suspended(rules.at(NOON)) and suspended(rules.at(NOON + DAY)) and suspended(rules.at(NEVER_MS))
    rules._context.epochs.add(replace(after, audit=audit.chain.head))
    lateness = rules._context.lateness_ms
    assert suspended(rules.at(after.start_ms + lateness - 1))
    assert not suspended(rules.at(after.start_ms + lateness))
    assert registry.get_sample_value("throng_policy_suspended", {"country": "Test"}) == 0
    assert registry.get_sample_value("throng_policy_entries") == 3


async def test_an_idle_gateway_tells_of_a_suspension_too() -> None:
    audit, registry = Audit(), CollectorRegistry()
    looking = asyncio.create_task(gateway_rules(audit, epochs_at(NOON), registry).keep_looking())

    async def told() -> list[float | None]:
        await asyncio.sleep(1.2 * SHOWN_EVERY_S)
        names = ("throng_policy_suspended", {"country": "Test"}), ("throng_policy_entries", {})
        return [registry.get_sample_value(name, labels) for name, labels in names]

    assert await told() == [0, 1]
    audit.add(GONE, "suspend")
    assert await told() == [1, 2]
    looking.cancel()


def test_another_minimum_age_and_another_excluded_kind_of_zone_are_at_once_if_stricter() -> None:
    audit = Audit()
    rules = gateway_rules(audit, [replace(epochs_at(NOON)[0], audit=audit.chain.head)])
    before = rules.at(NOON)

    def put(**changed: object) -> Context:
        audit.add(replace(BOOK, policies=(replace(TEST, **changed), GERMANY)))
        return rules.at(NOON)

    assert put(minimum_age=16).policies.rules.minimum_age[1] == 18
    assert put(minimum_age=21).policies.rules.minimum_age[1] == 21
    cells = put(excluded_zones=("hospital", "shops")).cells
    asked = np.array([pack_cell(PLAN.cells[0].cell)], np.uint64)
    assert cells.zones(asked, PLAN.hash())[0] == EXCLUDED != before.cells.zones(asked, PLAN.hash())[0]
    assert rules.at(NOON) is rules.at(NOON + 1)
    assert rules.at(NOON).registry is before.registry and rules.at(NOON).epochs is before.epochs


def test_nobody_is_counted_for_the_next_epochs_purpose_by_a_consent_to_another() -> None:
    """A chunk that reaches over the change is judged by the rules before it, which ask for another consent."""
    audit, who = Audit(), "001010000000001"
    today = replace(epochs_at(NOON)[0], audit=audit.chain.head)
    policies = (replace(TEST, purposes=("marketing", "public")), GERMANY)
    head = audit.add(replace(BOOK, policies=policies, purpose="public"))
    tomorrow = replace(epochs_at(NOON + DAY)[0], audit=head, purpose="public")
    change, lateness = tomorrow.start_ms, 10_000
    event = {"event_id": "e", "imsi": who, "cell": PLAN.cells[0].cell}
    values = [orjson.dumps({**event, "ts": ts}) for ts in (change - 1, change)]
    records = records_of(values, [change, change])

    def counted(consent: dict[str, str], running_max: int) -> tuple[list[int], dict[str, int]]:
        person = {"imsi": who, "birth_year": 1980, "consent": consent}
        context = context_of([today, tomorrow], {who: person}, lateness)
        rules = GatewayRules(audit, context, [PLAN], PolicyMetrics(CollectorRegistry()))
        screened = screen(records, decode(records, 1 << 20), running_max, rules.at(running_max))
        return screened.ts.tolist(), screened.dropped

    once = {"marketing": "granted", "public": "denied"}
    assert counted(once, change) == ([change - 1], {"no_consent": 1})
    # Nor is who has agreed to both: the rules before the change don't know whom those after it allow.
    both = {"marketing": "granted", "public": "granted"}
    assert counted(both, change) == ([change - 1], {"no_consent": 1})
    assert counted(once, change + lateness) == ([], {"no_consent": 1})
    assert counted(both, change + lateness) == ([change], {})


def test_the_contexts_of_past_epochs_are_not_kept() -> None:
    audit = Audit()
    rules = gateway_rules(audit, [replace(e, audit="") for e in epochs_at(*(NOON + n * DAY for n in range(10)))])
    for n in range(10):
        assert rules.at(NOON + n * DAY) is rules.at(NOON + n * DAY)
        assert len(rules._contexts) <= 4


def test_an_epoch_that_was_made_by_another_log_is_refused() -> None:
    rules = gateway_rules(Audit(), [replace(epochs_at(NOON)[0], audit="f" * 64)])
    with pytest.raises(ThrongError, match="the audit log was cut or made anew: epoch 20260302"):
        rules.at(NOON)


class Release:
    """A release on logs in memory, by an audit log."""

    def __init__(self, *policies: Policy, of: Epoch = EPOCH) -> None:
        self.audit = Audit(replace(BOOK, policies=policies or BOOK.policies))
        self.logs = Logs()
        self.of = of
        self.begin()

    def begin(self) -> None:
        rules = ReleaseRules(self.audit, [PLAN], PolicyMetrics(CollectorRegistry()))
        self.role = releaser(self.logs, rules=rules)

    async def panes(self, *numbers: int) -> None:
        await self.role.handle(chunk(both(*numbers), 2 * numbers[0] - 2))

    def drawn(self) -> list[tuple[int, str, str]]:
        return [(r.number, r.kind, r.reason) for r in self.logs.ledger() if r.measure == "present"]

    def published(self) -> int:
        return sum(len(self.logs.values[name]) for name in RELEASED)


async def test_nothing_of_a_suspended_country_is_released_nor_published_again() -> None:
    release = Release()
    await release.role.positions({0: LogRange(0, 0)})
    await release.panes(1)
    before = release.published()
    assert before > 0
    release.audit.add(GONE, "suspend")
    await release.panes(2)
    release.audit.add(BOOK, "resume")
    await release.panes(3)
    assert release.drawn() == [(1, "release", ""), (2, "void", "policy"), (3, "void", "policy")]
    assert all(entry.publish == release.logs.ledger()[-1].publish for entry in release.logs.ledger()[-2:])
    # A worker that begins while it is suspended publishes the last word of before no more.
    release.logs.values[LEDGER] = release.logs.values[LEDGER][:1]
    release.begin()
    await release.role.positions({0: LogRange(0, 6)})
    assert release.published() == before
    release.role._tell_rules()
    assert release.role._readiness.reasons == ["Test may not be counted: nothing is released"]


async def test_nothing_of_a_suspended_country_is_published_that_a_replay_has_brought_of_days_not_opened_here() -> None:
    before = Release()
    await before.role.positions({0: LogRange(0, 0)})
    await before.panes(1)
    known = before.logs.ledger()
    for book, published in ((GONE, False), (BOOK, True)):
        release = Release(*book.policies)
        release.logs.values[LEDGER] = [
            msgspec.msgpack.encode(replace(record, epoch=record.epoch + 1, panes_offset=BROUGHT, begins=None))
            for record in known
        ]
        await release.role.positions({0: LogRange(0, 0)})
        assert (release.published() > 0) == published


async def test_panes_are_withheld_while_somebody_who_is_shut_out_may_be_in_them() -> None:
    roaming = replace(TEST, country="Freedonia", mccs=("299",), home=())
    release = Release(TEST, GERMANY, roaming)
    await release.role.positions({0: LogRange(0, 0)})
    await release.panes(1)
    # 65 s until the last of their rows, 65 min until they are no longer present: pane 17 is the first without them.
    first = EPOCH.start_ms + 3 * EPOCH.pane_ms
    release.audit.add(replace(BOOK, policies=(TEST, GERMANY)), time_ms=first)
    for number in range(2, 19):
        await release.panes(number)
    kinds = [kind for _, kind, _ in release.drawn()]
    assert kinds == ["release", *["void"] * 15, "release", "release"]
    # A stay that the last row began may end by silence as late: of events no pane is told that begins before.
    for number in range(19, 37):
        await release.panes(number)
    were = {(r.measure, r.number) for r in release.logs.ledger() if r.kind == "release"}
    hourly = {m.name for m in EPOCH.measures if m.pane_ms == 3_600_000}
    assert {number for name, number in were if name == "arrivals"} == {21, 24, 27, 30, 33, 36}
    assert {(name, n) for name, n in were if name in hourly and n < 36} == {("present_cohort", 24)}
    assert {name for name, n in were if n == 36} >= hourly


def test_whoever_is_shut_out_is_in_no_pane_that_is_told() -> None:
    """Of what a crowd counts of them by the rules of before: the longest is a stay that ends by silence."""
    epoch = replace(EPOCHS[0], measures=DEFAULT_MEASURES, jump_m_s=0)
    start, change = epoch.start_ms, epoch.start_ms + 15 * 60_000
    times = [start, change, change + EFFECT_MS + AHEAD_MS]
    theirs = [Sighting(ts, 0, number, 0, 1, 2, 0, 0) for number, ts in enumerate(times)]
    _, panes = run(frames_of(theirs, epoch.end_ms, random.Random(0), 1), [epoch])
    counted_in = {(name, number) for (_, name, number), counts in counted(panes).items() if counts}
    roaming = replace(TEST, country="Freedonia", mccs=("299",), home=())
    audit = Audit(replace(BOOK, policies=(TEST, GERMANY, roaming)))
    audit.add(BOOK, time_ms=change)
    found = told(epoch, audit.chain.taken[0].entry.rules, audit.chain.taken[1:], frozenset({"001"}))
    assert ("dwell", 24) in counted_in
    measures = {measure.name: measure for measure in epoch.measures}
    ends = [(measures[name], start + number * epoch.pane_ms) for name, number in counted_in]
    assert all(found.quiet(measure, end_ms) for measure, end_ms in ends if end_ms > change)


async def test_a_stricter_k_and_budget_and_a_withdrawn_measure_hold_from_the_next_pane_on() -> None:
    release = Release(replace(TEST, k=5))
    await release.role.positions({0: LogRange(0, 0)})
    await release.panes(1)
    stricter = replace(TEST, k=500, epsilon=1.0)
    fewer = tuple(measure for measure in DEFAULT_MEASURES if measure.name != "arrivals")
    release.audit.add(replace(BOOK, policies=(stricter,), measures=fewer))
    await release.panes(2, 3)
    present = [r for r in release.logs.ledger() if r.measure == "present"]
    assert present[1].rho == pytest.approx(0.4 * rho_for(1.0, 2e-9))
    assert present[1].sigma == pytest.approx(present[0].sigma * (present[0].rho / present[1].rho) ** 0.5)
    told = [msgspec.json.decode(value) for value in release.logs.values[FOOTFALL]]
    assert {(each["epsilon"], each["k"]) for each in told if each["end"] > told[0]["end"]} == {(1.0, 500)}
    arrivals: list[LedgerRecord] = [r for r in release.logs.ledger() if r.measure == "arrivals"]
    assert [(r.number, r.kind, r.reason) for r in arrivals] == [(3, "void", "policy")]


async def test_a_gateway_that_cannot_read_the_rules_waits_and_says_so() -> None:
    world, audit = World({}), Audit()
    audit.is_fresh = False
    rules = GatewayRules(audit, world.context, [PLAN], PolicyMetrics(CollectorRegistry()))
    world.gateway._rules, world.gateway._registrar = rules, None
    await world.gateway.positions({0: LogRange(0, 1)})
    handling = asyncio.create_task(world.gateway.handle(raw()))
    await asyncio.sleep(0.3)
    mark = world.framer.mark(0)
    assert mark is not None and mark.next_offset == 0
    assert world.gateway._readiness.reasons == ["the audit log has not been read for 4 s: nothing is sent meanwhile"]
    audit.is_fresh = True
    await asyncio.wait_for(handling, 30)
    assert world.gateway._readiness.reasons == []
    mark = world.framer.mark(0)
    assert mark is not None and mark.next_offset == 1


def test_a_gateway_says_that_its_settings_are_not_those_of_the_newest_epoch(caplog: pytest.LogCaptureFixture) -> None:
    """Of two gateways that differ whoever was first wrote each epoch, and nobody was told."""
    epochs = epochs_at(NOON, NOON + 86_400_000)
    log_other_settings([], TERMS)
    log_other_settings(epochs, TERMS)
    assert not caplog.records
    log_other_settings(epochs, TERMS._replace(timezone="Asia/Kolkata", tick_ms=20_000))
    log_other_settings(epochs, TERMS._replace(change_hour=3))
    first, second = (record.getMessage() for record in caplog.records)
    assert f"not those of epoch {epochs[1].epoch}: epoch.timezone is Asia/Kolkata here and Europe/Berlin there" in first
    assert "epoch.tick_ms is 20000 here and 10000 there. They are taken up" in first
    assert "epoch.change_hour is 3 here and another there" in second
