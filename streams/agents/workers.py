"""Puts a role together from the settings and runs it in this process until it is told to stop.

Everything a role needs is made here, started in order, and stopped in the reverse order: readers of control topics,
producers, Redis, the HTTP server; then the Faust app with the role's services beside it (`app.run`).
"""

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from schemas.epochs import Epoch
from schemas.measures import DEFAULT_MEASURES, Measure
from schemas.sightings import REGISTRY_SOURCE
from schemas.topics import (
    ATTACH,
    AUDIT,
    EPOCHS,
    FOOTFALL,
    LEDGER,
    PANES,
    PUBLISHED,
    REGISTRY,
    REJECTS,
    RELEASED,
    SALTS,
    SIGHTINGS,
    TOPICS,
)
from streams.agents.app import RoleApp, make_app, run
from streams.agents.crowd import CrowdAgent, Stores
from streams.agents.gateway import Commits, Gateway, Limits, Topics
from streams.agents.gateway_rules import GatewayRules
from streams.agents.gateway_services import Group, alignment_of, services_of
from streams.agents.health import HealthServer, Readiness
from streams.agents.heap import keep_freed
from streams.agents.learning import Learning
from streams.agents.life import LAST_RESORT, Service, started
from streams.agents.producing import Producer
from streams.agents.providing import Provider, Salts
from streams.agents.reach import Reach
from streams.agents.registrar import Registrar
from streams.agents.release import Releaser
from streams.agents.roles import Role, TransportSettings, Turn, standing_by
from streams.agents.rules import ReleaseRules, cut, log_differences, log_other_settings, rules_of
from streams.agents.single import FRAME_LEVEL, ZSTD_LEVEL
from streams.core.crowd.crowd import Crowd
from streams.core.crowd.population import countable
from streams.core.crowd.rehearsal import rehearse
from streams.core.derived.following import Following
from streams.core.epochs import Terms, make_epoch
from streams.core.gateway.framing import Framer, rows_at_once
from streams.core.gateway.future import MOST_AHEAD_MS
from streams.core.gateway.gateway import Context
from streams.core.gateway.policy import PolicyTable
from streams.core.gateway.rehearsal import rehearse as rehearse_gateway
from streams.core.gateway.zones import CellTable
from streams.core.release.render import Pages
from streams.core.rules.rules import limits
from streams.core.rules.soundness import sound
from streams.metrics import CrowdMetrics, ForeignMetrics, GatewayMetrics, KafkaMetrics, PolicyMetrics, ReleaseMetrics
from streams.settings import Settings
from streams.stores import durability
from streams.stores.admin import open_admin
from streams.stores.audit import AuditReader, adopt, system_user
from streams.stores.counts import CountStore
from streams.stores.epochs import EpochKeeper, EpochReader
from streams.stores.ledger import Ledger
from streams.stores.ledger_history import History
from streams.stores.log import TailReader
from streams.stores.machines import load_machines
from streams.stores.noise_ahead import Ahead
from streams.stores.plans import configured_plans
from streams.stores.policies import configured_rules
from streams.stores.providers import key_provider
from streams.stores.published import Published
from streams.stores.redis_client import connect, redis_prefix
from streams.stores.registry import RegistryLog, RegistryReader
from streams.stores.released import Publisher
from streams.stores.salts import Vault
from streams.stores.snapshots import SnapshotStore
from streams.stores.terms import terms_of
from streams.stores.topics import (
    cluster_id,
    ever_written,
    live_registry,
    partition_counts,
    stamped_by_broker,
)
from streams.stores.views import configured_views

log = logging.getLogger("throng.topics")


async def run_gateway(settings: Settings, stop: asyncio.Event) -> None:
    """The gateway, until `stop` is set.

    Raises:
        ThrongError: it can't begin or can't go on; the process must exit non-zero.
    """
    keep_freed()
    plans = configured_plans(settings)
    files = configured_rules(settings)
    keys = key_provider(settings)
    machines = load_machines(settings.gateway.machines)
    counts = await _partitions(settings)
    readiness = Readiness()
    async with (
        _served("gateway", settings, readiness),
        _producer(settings, FRAME_LEVEL) as producer,
        started(RegistryReader(settings.kafka, settings.topic(REGISTRY))) as registry,
        started(EpochReader(TailReader(settings.kafka, settings.topic(EPOCHS)))) as epochs,
        started(TailReader(settings.kafka, settings.topic(SALTS))) as salts_log,
        started(AuditReader(TailReader(settings.kafka, settings.topic(AUDIT)))) as audit,
        started(RegistryLog(settings.kafka, settings.topic(REGISTRY))) as registry_log,
    ):
        plans.refuse_unknown(epochs.records, _now_ms())
        await asyncio.to_thread(rehearse_gateway)
        await adopt(audit, producer, settings.topic(AUDIT), files, f"the first gateway, run by {system_user()}")
        log_differences(audit.chain, files)
        cut(epochs.table, audit.chain)
        targets = _targets(epochs.records, counts[SIGHTINGS])
        metrics = GatewayMetrics()
        metrics.registry_entries.set_function(lambda: registry.table.subscribers)
        metrics.registry_unreadable.set_function(lambda: registry.table.unreadable)
        salts = Salts({}, set(), keys)
        context = Context(
            epochs.table,
            salts.states,
            PolicyTable(files.policies, files.purpose),
            registry.table,
            CellTable(plans.all, limits(files).excluded),
            targets,
            settings.epoch.lateness_ms,
            salts.gone,
            machines,
        )
        registry_sources, stamped = await _registry_and_stamps(settings, counts[REGISTRY])
        rules = GatewayRules(audit, context, plans.all, PolicyMetrics())

        def terms_now() -> Terms:
            now, _ = rules_of(audit.chain, None)
            ours = targets, counts[ATTACH], registry_sources
            return terms_of(settings, plans.current, now, *ours, audit.chain.head)

        def propose(ts_ms: int) -> Epoch:
            terms = terms_now()
            log_other_settings(epochs.records, terms)
            return countable(sound(make_epoch(ts_ms, terms, epochs.table)))

        log_other_settings(epochs.records, terms_now())

        app: list[RoleApp] = []
        group = Group(lambda: app[0].group_offsets, registry_sources)
        vault = Vault(salts_log, producer, settings.topic(SALTS), keys, group.heard)
        keeper = EpochKeeper(epochs, vault, producer, settings.topic(EPOCHS), propose, group.heard)
        foreign = ForeignMetrics()
        foreign.of(EPOCHS, lambda: epochs.own.passed_over)
        foreign.of(SALTS, lambda: vault.log.own.passed_over)

        provide = Provider(keeper, vault, salts, targets, registry.look_again).provide
        framer = Framer(targets, context.watermark_ms)
        registrar = Registrar(
            *(registry_log, framer, context, counts[REGISTRY], provide, epochs.refresh, metrics, rules.table),
            live=stamped and bool(registry_sources),
        )
        gateway = Gateway(
            Topics(settings.topic(ATTACH), settings.topic(SIGHTINGS), settings.topic(REJECTS)),
            Limits(
                settings.gateway.flush_ms,
                rows_at_once(settings.gateway.flush_rows, targets),
                settings.gateway.max_record_bytes,
                MOST_AHEAD_MS if stamped else None,
            ),
            framer,
            context,
            provide,
            producer,
            Commits(
                lambda: app[0].group_offsets.read(),
                lambda marks: app[0].group_offsets.commit(marks),
                group.sources,
            ),
            registry.fresh,
            metrics,
            readiness,
            rules,
            Turn.of(lambda: app[0].tenure),
            registrar,
        )
        alignment = alignment_of(settings, group, gateway, lambda held: app[0].hold(held), metrics)
        role = Role(
            "gateway",
            settings.topic(ATTACH),
            gateway.handle,
            gateway.positions,
            lambda _: alignment.look(),
            on_revoked=gateway.revoked,
            on_lost=gateway.lost,
            beside={REGISTRY_SOURCE + r: (settings.topic(REGISTRY), r) for r in range(counts[REGISTRY])},
        )
        reach = Reach(producer, readiness, KafkaMetrics(), settings.worker.stall_s)
        app.append(_app(role, settings, readiness, reach))

        services = services_of(
            settings,
            group,
            gateway,
            registrar,
            alignment,
            stamped,
            epochs.table,
            salts,
            producer,
            metrics,
            readiness,
        )
        services += [registry.follow, audit.follow, rules.keep_looking]
        await _run(app[0], services, producer, reach, stop)


async def run_crowd(settings: Settings, stop: asyncio.Event) -> None:
    """The crowd, until `stop` is set.

    Raises:
        ThrongError: it can't begin or can't go on; the process must exit non-zero.
    """
    keep_freed()
    plans = configured_plans(settings)
    await _partitions(settings)
    of = await cluster_id(settings)
    readiness = Readiness()
    async with (
        _served("crowd", settings, readiness),
        _producer(settings) as producer,
        started(EpochReader(TailReader(settings.kafka, settings.topic(EPOCHS)))) as epochs,
        connect(settings) as redis,
    ):
        plans.refuse_unknown(epochs.records, _now_ms())
        for measures, zones in forms(epochs.records, len(plans.current.zones)):
            await asyncio.to_thread(rehearse, measures, zones)
        ForeignMetrics().of(EPOCHS, lambda: epochs.own.passed_over)
        prefix = redis_prefix(settings)
        agent = CrowdAgent(
            settings.topic(PANES),
            lambda partition: Crowd(partition, plans.parents, plans.positions),
            epochs,
            Stores(SnapshotStore(redis, prefix, of), CountStore(redis, prefix)),
            producer,
            CrowdMetrics(),
            readiness,
        )
        role = Role(
            "crowd",
            settings.topic(SIGHTINGS),
            agent.handle,
            agent.positions,
            agent.assigned,
            on_revoked=agent.revoked,
            on_leaving=agent.leaving,
            on_lost=agent.lost,
        )
        reach = Reach(producer, readiness, KafkaMetrics(), settings.worker.stall_s)
        app = _app(role, settings, readiness, reach)

        async def keep_storing() -> None:
            await agent.keep_storing(settings.crowd.snapshot_ms)

        await _run(app, [keep_storing, agent.keep_showing, agent.keep_telling_gaps], producer, reach, stop)


def forms(epochs: Sequence[Epoch], zones: int) -> list[tuple[tuple[Measure, ...], int]]:
    """What a crowd is going to count, by how many zones: as the epochs have it that may still run, and as a deployment
    begins whose plan has so many."""
    known = [(epoch.measures, epoch.zones) for epoch in epochs[-2:]]
    return [(DEFAULT_MEASURES, zones), *known]


async def run_release(settings: Settings, stop: asyncio.Event) -> None:
    """The release, until `stop` is set.

    Raises:
        ThrongError: it can't begin or can't go on; the process must exit non-zero.
    """
    plans = configured_plans(settings)
    counts = await _partitions(settings)
    readiness = Readiness()
    async with (
        _served("release", settings, readiness),
        _producer(settings) as producer,
        started(EpochReader(TailReader(settings.kafka, settings.topic(EPOCHS)))) as epochs,
        started(TailReader(settings.kafka, settings.topic(LEDGER))) as ledger_log,
        started(TailReader(settings.kafka, settings.topic(LEDGER))) as past_log,
        started(AuditReader(TailReader(settings.kafka, settings.topic(AUDIT)))) as audit,
        started(Published(settings.kafka, [settings.topic(name) for name in RELEASED])) as published,
        connect(settings) as redis,
    ):
        plans.refuse_unknown(epochs.records, _now_ms())
        names = {name: settings.topic(name) for name in PUBLISHED}
        timezone = settings.epoch.timezone or plans.current.timezone
        following = Following(timezone) if settings.release.outlook else None
        learning = Learning(following, History(past_log), lambda: ledger.began_at) if following else None
        follow, learn = (learning.take, learning.learn) if learning else (None, None)
        ledger = Ledger(ledger_log, producer, settings.topic(LEDGER), follow, partial(ever_written, settings, FOOTFALL))
        foreign = ForeignMetrics()
        foreign.of(EPOCHS, lambda: epochs.own.passed_over)
        foreign.of(LEDGER, lambda: ledger.own.passed_over)
        releaser = Releaser(
            Pages(plans.of, settings.release.confidence, configured_views(settings)),
            epochs,
            ledger,
            Publisher(producer, redis, names, counts, redis_prefix(settings)),
            Ahead(),
            ReleaseMetrics(),
            readiness,
            ReleaseRules(audit, plans.all, PolicyMetrics()),
            Turn.of(lambda: app.tenure),
            following,
            learn,
            published.later_than,
        )
        role = Role(
            "release",
            settings.topic(PANES),
            releaser.handle,
            releaser.positions,
            on_revoked=releaser.revoked,
            on_lost=releaser.lost,
        )
        services = [releaser.keep_showing, releaser.showing.keep_giving_ends]
        services += [releaser.following_up.keep_following, audit.follow]
        reach = Reach(producer, readiness, KafkaMetrics(), settings.worker.stall_s)
        app = _app(role, settings, readiness, reach)
        await _run(app, services, producer, reach, stop)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _app(role: Role, settings: Settings, readiness: Readiness, reach: Reach) -> RoleApp:
    def away() -> list[str]:
        return (["kafka"] if reach.away() else []) + [name for name in readiness.names if name == "redis"]

    transport = TransportSettings(session_s=settings.kafka.session_ms / 1000, stall_s=settings.worker.stall_s)
    return make_app(
        standing_by(role, readiness), settings.kafka, settings.kafka.namespace, transport, away, reach.reads
    )


async def _run(
    app: RoleApp, services: Sequence[Service], producer: Producer, reach: Reach, stop: asyncio.Event
) -> None:
    """Run the app, its services, and an eye on Kafka and on what was sent."""
    # What is there now stays. Left in, each full collection looks at all of it, a third of a crowd worker's CPU.
    gc.collect()
    gc.freeze()
    await run(app, [*services, producer.watch, reach.keep_asking], stop)


async def _partitions(settings: Settings) -> dict[str, int]:
    """How many partitions the topics have; all must exist, and keep what they must."""
    admin = await open_admin(settings)
    try:
        counts = await partition_counts(admin, settings, [topic.name for topic in TOPICS])
        await durability.check(admin, settings)
    finally:
        await admin.close()
    return counts


def _targets(epochs: Sequence[Epoch], partitions: int) -> int:
    """Over how many partitions of `sightings` subscribers are spread: as the first epoch has it, for ever.

    Who adds partitions to the topic gives nobody another target: the rest of a way would be counted as somebody else's.
    """
    targets = epochs[-1].partitions if epochs else partitions
    if targets != partitions:
        log.warning(
            "sightings has %d partitions, the deployment was begun with %d: it goes on with these", partitions, targets
        )
    return targets


async def _registry_and_stamps(settings: Settings, partitions: int) -> tuple[list[int], bool]:
    """The registry's sources that hold the watermark, and whether the raw log's record times are the broker's."""
    admin = await open_admin(settings)
    try:
        return await live_registry(admin, settings, partitions), await stamped_by_broker(admin, settings, ATTACH)
    finally:
        await admin.close()


@asynccontextmanager
async def _served(role: str, settings: Settings, readiness: Readiness) -> AsyncIterator[None]:
    server = HealthServer(role, settings.worker.http_host, settings.worker.http_port, readiness)
    await server.start()
    try:
        yield
    finally:
        LAST_RESORT.begin()
        await server.stop()


@asynccontextmanager
async def _producer(settings: Settings, level: int = ZSTD_LEVEL) -> AsyncIterator[Producer]:
    metadata_ms = round(TransportSettings.metadata_s * 1000)
    async with started(Producer(settings.kafka, settings.kafka.request_ms, metadata_ms, level)) as producer:
        yield producer
