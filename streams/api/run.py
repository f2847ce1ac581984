"""The role `api`: follows the released topics of its purpose, the epochs and the audit log, and serves what it may.

It reads no other topic, and of Redis the released places alone. What can fail: an audit log that is not what was
written (the process ends), Kafka away (after 4 s nothing is told: a suspension would not be known) or back at other
addresses (the process ends, and the next one finds them), Redis away (places are answered with 503).
"""

import asyncio
import logging
import signal
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import cast

from aiohttp import web
from aiokafka.errors import KafkaError
from redis.asyncio import Redis, RedisCluster

from schemas.access import topics_for
from schemas.policy import Purpose
from schemas.topics import AUDIT, EPOCHS, HOUR_MS
from streams.agents.health import HealthServer, Readiness, cannot_listen
from streams.agents.life import Service, started, told, until
from streams.agents.rules import ReleaseRules
from streams.api.answers import Refused
from streams.api.edge import Edge
from streams.api.http import Runner
from streams.api.intake import Intake
from streams.api.rules import why_not
from streams.api.server import Api, Limits
from streams.api.shelf import Item, Shelf
from streams.api.tls import Certificate
from streams.api.tokens import Tokens
from streams.errors import ThrongError
from streams.metrics import ApiMetrics, ForeignMetrics, PolicyMetrics
from streams.settings import Settings
from streams.stores.admin import open_admin
from streams.stores.audit import AuditReader
from streams.stores.connection import elsewhere
from streams.stores.epochs import EpochReader
from streams.stores.log import TailReader
from streams.stores.plans import configured_plans
from streams.stores.redis_client import connect, redis_prefix
from streams.stores.trouble import TROUBLE

log = logging.getLogger("throng.api")

POLL_S = 0.2
# How often brokers that are away are looked for where others may be.
ASK_S = 1.0
# How soon partitions are noticed that somebody adds.
GROWN_MS = 5_000
RENEW_S = 10.0
HERE = ("127.0.0.1", "::1", "localhost")


class Told:
    """The source that the server asks: rules and places."""

    def __init__(
        self, audit: AuditReader, epochs: EpochReader, rules: ReleaseRules, redis: Redis | RedisCluster, prefix: str
    ) -> None:
        self._audit, self._epochs, self._rules, self._redis, self._prefix = audit, epochs, rules, redis, prefix

    def known(self) -> bool:
        """Is the audit log known as it is now?"""
        return self._audit.fresh()

    def why_not(self, item: Item) -> str:
        """Why a record may not be told; empty if it may."""
        return why_not(item, self._epochs.table, self._rules)

    async def places(self, plan: str) -> bytes | None:
        """What Redis shows of a plan's places."""
        try:
            found = await self._redis.get(f"{self._prefix}released:places:{plan}")
        except TROUBLE as error:
            raise Refused(503, "redis", "the places can't be read at the moment: try again") from error
        return cast("bytes | None", found)


async def run_api(settings: Settings, stop: asyncio.Event) -> None:
    """The API, until `stop` is set or a signal comes.

    Raises:
        ThrongError: it can't begin or can't go on; the process must exit non-zero.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await _run(settings, stop)
    except (KafkaError, OSError) as error:
        raise told(error) from error


async def _run(settings: Settings, stop: asyncio.Event) -> None:
    purpose = cast(Purpose, settings.gateway.purpose)
    tls = Certificate(settings.api.tls_certificate, settings.api.tls_key) if settings.api.tls_key else None
    plans, readiness, metrics = configured_plans(settings), Readiness(), ApiMetrics()
    await (await open_admin(settings)).close()
    shelf = Shelf(settings.api.history_hours * HOUR_MS)
    async with AsyncExitStack() as stack:
        health = HealthServer("api", settings.worker.http_host, settings.worker.http_port, readiness)
        stack.push_async_callback(health.stop)
        await health.start()

        def log_of(name: str) -> TailReader:
            return TailReader(settings.kafka, settings.topic(name), metadata_ms=GROWN_MS)

        audit = await stack.enter_async_context(started(AuditReader(log_of(AUDIT))))
        epochs = await stack.enter_async_context(started(EpochReader(log_of(EPOCHS))))
        logs = {topic: await stack.enter_async_context(started(log_of(topic))) for topic in topics_for(purpose)}
        ForeignMetrics().of(EPOCHS, lambda: epochs.own.passed_over)
        redis = await stack.enter_async_context(connect(settings))
        rules = ReleaseRules(audit, plans.all, PolicyMetrics())
        source = Told(audit, epochs, rules, redis, redis_prefix(settings))
        limits = Limits(settings.api.feeds, settings.api.feed_records, settings.api.requests_s, settings.api.burst)
        api = Api(purpose, shelf, Tokens(Path(settings.api.tokens)), source, limits, metrics)

        intake = Intake(Edge(purpose, epochs.table, plans.all), shelf, epochs, metrics)

        async def take(topic: str, *, live: bool) -> None:
            async for records in logs[topic].read_to_end():
                for item in await intake.take(topic, records):
                    if live:
                        api.told(item)

        async def follow(topic: str) -> None:
            while True:
                await take(topic, live=True)
                if logs[topic].grown:
                    raise ThrongError(
                        "topic_grown", f"{settings.topic(topic)} has got more partitions: a new start reads all of them"
                    )
                await asyncio.sleep(POLL_S)

        for topic in logs:
            await take(topic, live=False)
        api.begun()
        runner = Runner(api.app(), shutdown_timeout=1)
        stack.push_async_callback(runner.cleanup)
        await runner.setup()
        try:
            context = tls.context if tls else None
            await web.TCPSite(runner, settings.api.host, settings.api.port, ssl_context=context).start()
        except OSError as error:
            raise cannot_listen(settings.api.host, settings.api.port, "THRONG_API_PORT", error) from error
        scheme = "https" if tls else "http"
        log.info("the API for %s is on %s://%s:%d", purpose, scheme, settings.api.host, runner.addresses[0][1])
        if tls is None and settings.api.host not in HERE:
            log.warning("tokens cross the network unencrypted: set api.tls_certificate, or put TLS before the API")
        readiness.over("starting")
        services: list[Service] = [audit.follow, partial(_say, audit, rules, readiness)]
        services.append(partial(_refuse_moved, audit, settings.worker.stall_s))
        services += [partial(follow, topic) for topic in logs]
        if tls is not None:
            services.append(partial(_renew, tls))
        await until(stop, services)


async def _say(audit: AuditReader, rules: ReleaseRules, readiness: Readiness) -> None:
    while True:
        rules.look()
        if audit.fresh():
            readiness.over("rules")
        else:
            readiness.waiting("rules", "what may be told is not known: Kafka does not answer")
        await asyncio.sleep(POLL_S)


async def _refuse_moved(audit: AuditReader, stall_s: float) -> None:
    while True:
        await asyncio.sleep(ASK_S)
        if audit.age_s() >= stall_s and await audit.moved() and audit.age_s() >= stall_s:
            raise elsewhere()


async def _renew(tls: Certificate) -> None:
    while True:
        tls.renew()
        await asyncio.sleep(RENEW_S)
