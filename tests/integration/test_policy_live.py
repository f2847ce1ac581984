"""A suspension while all runs, on a real Kafka and Redis: by the command, on every worker, into the audit log."""

import asyncio
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import orjson
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from msgspec.structs import replace

from schemas.ledger import LedgerRecord
from schemas.policy import Rulebook
from schemas.sightings import REGISTRY_SOURCE
from schemas.topics import AUDIT, EPOCHS, LEDGER, RELEASED
from streams.core.rules.decisions import suspended
from streams.local.ports import free_ports
from streams.settings import Settings
from streams.simulate import make_town, plan
from streams.stores.audit import Decision, decide, read_audit
from streams.stores.policies import configured_rules
from streams.stores.topics import create
from tests.integration.test_opt_out_live import NOON, PEOPLE, Deployment
from tests.support import processes
from tests.support.deployment import fetch, read_topic, total
from tests.support.processes import begin_worker, on_port
from tests.support.small import small
from tests.support.world import epochs_at

pytestmark = pytest.mark.integration

GATEWAYS = ("gateway-0", "gateway-1")
HOME = "Test network"


class Suspending(Deployment):
    """Two gateways, a crowd and a release; and what is typed beside them."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.ports: dict[str, int] = {}

    async def begin(self, name: str, folder: Path) -> None:
        port = self.ports[name] = free_ports(1)[0]
        self.workers[name] = await begin_worker(
            name.split("-")[0], self.settings, folder / f"{name}.log", on_port(port)
        )

    async def placed(self) -> None:
        """Until each gateway has a raw partition of its own: new records are read by one each."""
        async with asyncio.timeout(120):
            before = await self.read()
            while True:
                await self.reach(1)
                await asyncio.sleep(2)
                after = await self.read()
                new = [set(now - then) for then, now in zip(before, after, strict=True)]
                if all(new) and not set.intersection(*new):
                    return
                before = after

    async def read(self) -> list[Counter]:
        """How many records each gateway has read, by partition."""
        try:
            return [total(await self.metrics(name), name, "throng_gateway_records_total") for name in GATEWAYS]
        except OSError:
            return [Counter(), Counter()]  # one does not answer yet

    async def metrics(self, name: str) -> dict[str, str]:
        return {name: await asyncio.to_thread(fetch, self.ports[name])}

    async def drops(self) -> list[int]:
        return [total(await self.metrics(n), n, "throng_gateway_drops_total")["suspended"] for n in GATEWAYS]

    async def everywhere(self, minute: float) -> None:
        """An event of each person in each raw partition."""
        for partition in (0, 1):
            for n, imsi in enumerate(PEOPLE):
                at = NOON + round((minute + n / 100) * 60_000)
                event = {"event_id": "e", "imsi": imsi, "ts": at, "cell": self.cell}
                await self._raw(orjson.dumps(event), at, partition)

    async def rows_seen(self) -> int:
        return sum(len(s.ts) for s in await self.sections() if s.source < REGISTRY_SOURCE)

    async def drawn(self, number: int) -> dict[tuple[str, int], tuple[str, str]]:
        async with asyncio.timeout(90):
            while True:
                records = [
                    msgspec.msgpack.decode(r.value, type=LedgerRecord) for r in await read_topic(self.settings, LEDGER)
                ]
                if sum(record.measure == "present" for record in records) >= number:
                    return {(r.measure, r.end_ms): (r.kind, r.reason) for r in records}
                await asyncio.sleep(0.3)


async def throng(settings: Settings, *arguments: str) -> tuple[int, str, str]:
    done = await processes.throng(settings, *arguments)
    return done.returncode, done.stdout, done.stderr


def configured(stack: object, namespace: str, folder: Path) -> Settings:
    others = {
        "kafka.keep_forever": True,
        "kafka.raw_partitions": 2,
        "kafka.partitions": 3,
        "gateway.align_ms": 3_600_000,
    }
    return small(stack, namespace, folder, plan(make_town(1, 100, 20)), **others)


@asynccontextmanager
async def deployment(stack: object, namespace: str, folder: Path) -> AsyncIterator[Suspending]:
    zones = plan(make_town(1, 100, 20))
    settings = configured(stack, namespace, folder)
    await create(settings)
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap) as producer:
        running = Suspending(settings, producer, zones)
        for name in (*GATEWAYS, "crowd-0", "release-0"):
            await running.begin(name, folder)
        try:
            yield running
        finally:
            for process in running.workers.values():
                if process.returncode is None:
                    process.terminate()
                    await process.wait()


async def test_a_suspension_is_on_every_worker_within_5_seconds_and_in_the_audit_log(
    stack: object, namespace: str, tmp_path: Path
) -> None:
    async with deployment(stack, namespace, tmp_path) as running:
        for imsi in PEOPLE:
            await running.register(imsi, -120)
        await running.placed()
        await asyncio.sleep(5)
        await running.everywhere(2)
        await running.reach(5)
        before = await running.drawn(1)
        rows = await running.rows_seen()
        assert rows == 2 * len(PEOPLE) and await running.drops() == [0, 0]
        told = {name: len(await read_topic(running.settings, name)) for name in RELEASED}
        code, said, _ = await throng(
            running.settings, "policy", "suspend", HOME, "--by", "the ministry", "--reason", "an order"
        )
        await asyncio.sleep(5)
        assert (code, said.splitlines()[0]) == (0, f"{HOME} is suspended; every worker follows within 5 s")
        head = said.split()[-1]
        await running.everywhere(7)
        await running.reach(10)
        after = await running.drawn(2)
        assert await running.drops() == [len(PEOPLE), len(PEOPLE)]
        # Whoever begins now knows of it before it takes a source.
        running.workers["gateway-0"].terminate()
        await running.workers["gateway-0"].wait()
        await running.begin("gateway-0", tmp_path)
        await running.everywhere(12)
        await running.reach(15)
        await running.drawn(3)
        assert await running.rows_seen() == rows
        assert {name: len(await read_topic(running.settings, name)) for name in RELEASED} == told
        assert set(before.values()) == {("release", "")}
        assert {after[key] for key in after.keys() - before.keys()} == {("void", "policy")}
        ready = await asyncio.to_thread(unready, running.ports["release-0"])
        assert ready == [f"{HOME} may not be counted: nothing is released"]
        await the_log_says_so(running.settings, head)
    logs = b"".join(path.read_bytes() for path in tmp_path.glob("*.log"))  # noqa: ASYNC240
    assert head.encode() in logs and not any(imsi.encode() in logs for imsi in PEOPLE)


def unready(port: int) -> list[str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
            return list(orjson.loads(answer.read())["reasons"])
    except urllib.error.HTTPError as error:
        return list(orjson.loads(error.read())["reasons"])


async def the_log_says_so(settings: Settings, head: str) -> None:
    code, said, _ = await throng(settings, "audit", "verify", "--head", head)
    assert (code, said) == (0, f"the audit log is whole: 2 entries; hash {head}\n")
    assert (await throng(settings, "policy", "suspend", HOME))[1] == f"{HOME} is suspended already\n"
    code, _, wrong = await throng(settings, "policy", "resume", HOME)
    assert (code, "state suspended -> active" in wrong, "--reason" in wrong) == (2, True, True)
    code, said, _ = await throng(settings, "policy", "resume", HOME, "--reason", "the order was lifted", "--by", "x")
    assert code == 0
    assert said.startswith(f"{HOME} is active from the next epoch on, which begins 2026-03-03T03:00:00Z")
    _, said, _ = await throng(settings, "audit", "show")
    assert f"the ministry: suspend {HOME}: an order" in said
    assert f"x: resume {HOME}: the order was lifted" in said
    code, _, wrong = await throng(settings, "audit", "verify", "--head", "f" * 64)
    assert (code, wrong) == (1, f"throng: the audit log lacks its end: it never had the hash {'f' * 64}\n")
    _, said, _ = await throng(settings, "policy", "show")
    assert f"{HOME} (001): active" in said and "Germany (262): suspended" in said


async def test_who_decides_at_once_is_all_in_the_log_and_what_is_not_of_it_is_found(
    stack: object, namespace: str, tmp_path: Path
) -> None:
    settings = configured(stack, namespace, tmp_path)
    await create(settings)

    async def decided(country: str) -> None:
        def work_out(rules: Rulebook) -> Decision | None:
            return "suspend", country, "", suspended(rules, country)

        await decide(settings, work_out, country, lambda: configured_rules(settings))

    countries = ["208", "299", "310", HOME]
    await asyncio.gather(*map(decided, countries))
    chain = (await read_audit(settings)).chain
    assert {e.entry.country for e in chain.taken[1:]} == set(countries) and chain.taken[0].entry.action == "adopt"
    states = {p.country: p.state for p in chain.taken[-1].entry.rules.policies}
    assert states == {"Germany": "suspended", HOME: "suspended", "MCC 208": "suspended"} | {
        f"MCC {mcc}": "suspended" for mcc in ("299", "310")
    }
    code, said, _ = await throng(settings, "audit", "verify", "--json")
    assert (code, orjson.loads(said)["whole"], orjson.loads(said)["entries"]) == (0, True, 5)

    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap) as producer:
        for audit in (chain.head, "f" * 64):
            epoch = replace(epochs_at(NOON)[0], audit=audit, epoch=20260302 + (audit != chain.head))
            epoch = replace(epoch, start_ms=epoch.end_ms, end_ms=2 * epoch.end_ms) if audit != chain.head else epoch
            await producer.send_and_wait(settings.topic(EPOCHS), msgspec.json.encode(epoch), partition=0)
            code, _, wrong = await throng(settings, "audit", "verify")
            assert code == (0 if audit == chain.head else 1)
    assert wrong.startswith("throng: the audit log lacks its end: epoch 20260303 was made by rules of the hash ffff")

    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap)
    await admin.start()
    try:
        topic = TopicPartition(settings.topic(AUDIT), 0)
        await admin.delete_records({topic: RecordsToDelete(before_offset=1)})
    finally:
        await admin.close()
    code, said, wrong = await throng(settings, "audit", "verify", "--json")
    assert (code, orjson.loads(said)["whole"]) == (1, False)
    assert wrong == "throng: record 0 of the audit log is missing\n"
    for arguments in (["policy", "show"], ["policy", "suspend", "208"]):
        code, _, wrong = await throng(settings, *arguments)
        assert code == 1 and "see 'throng audit verify'" in wrong
