"""The API as a process of its own, on a real Kafka and Redis, asked by a real HTTP client."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import msgspec
import orjson
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewPartitions
from redis.asyncio import Redis

from schemas.outlook import OUTLOOK_SCHEMA, Outlook
from schemas.policy import Rulebook
from schemas.released import DWELL_SCHEMA, FLOWS_SCHEMA, FOOTFALL_SCHEMA, Dwell, Flow, Footfall, Visits
from schemas.topics import DWELL, EPOCHS, FLOWS, FOOTFALL, OUTLOOK, PANES, VISITS
from streams.api import tokens
from streams.core.rules.decisions import suspended
from streams.core.times import milliseconds, rfc3339
from streams.local.ports import free_ports
from streams.local.stack import start
from streams.settings import Settings, load_settings
from streams.simulate import make_town, plan
from streams.stores.audit import Decision, decide
from streams.stores.policies import configured_rules
from streams.stores.topics import create
from tests.support.outages import Server
from tests.support.processes import Process, begin_worker
from tests.support.reading import admin
from tests.support.secured import Certificate
from tests.support.world import epochs_at

pytestmark = pytest.mark.integration

NOON = 1_772_449_200_000
HOME = "Test network"
PANE_MS = 300_000
HOUR_MS = 3_600_000


def about(number: int, purpose: str, pane_ms: int = PANE_MS) -> dict[str, object]:
    start_ms = NOON + number * pane_ms
    return {
        "start": rfc3339(start_ms),
        "end": rfc3339(start_ms + pane_ms),
        "window_s": pane_ms // 1000,
        "epsilon": 2.0,
        "rho": 0.02,
        "k": 20,
        "covered": 1.0,
        "complete": True,
        "plan": "abc",
        "policy": "Test network",
        "purpose": purpose,
    }


def numbers(value: int) -> dict[str, object]:
    return {"noisy": value, "estimate": value + 0.5, "se": 1.0, "low": value - 1.5, "high": value + 2.5}


def place(
    number: int, zone: str = "z1", measure: str = "present", purpose: str = "traffic", **more: object
) -> Footfall:
    said = about(number, purpose) | numbers(100 + number) | more
    return Footfall(schema=FOOTFALL_SCHEMA, measure=measure, level="zone", zone=zone, suppressed=False, **said)


def hour(purpose: str = "traffic") -> dict[str, object]:
    """The hour before noon."""
    return about(-1, purpose, HOUR_MS)


def outlook(end_ms: int, zone: str = "z1") -> Outlook:
    said = {"se": 3.0, "usual_se": 9.0, "weeks": 2.0, "ratio": 1.1, "deviation": 0.9, "congestion": "usual"}
    return Outlook(
        schema=OUTLOOK_SCHEMA,
        end=rfc3339(end_ms),
        level="zone",
        zone=zone,
        estimate=88.0,
        usual=80.0,
        forecasts=(),
        plan="abc",
        purpose="traffic",
        **said,  # type: ignore[arg-type]
    )


class Running:
    """The API's process and what is sent to it."""

    def __init__(self, settings: Settings, producer: AIOKafkaProducer) -> None:
        self.settings, self.producer = settings, producer
        self.process: Process | None = None
        scheme = "https" if settings.api.tls_key else "http"
        self.url = f"{scheme}://127.0.0.1:{settings.api.port}/v1"
        self.inside = f"http://127.0.0.1:{settings.worker.http_port}"

    async def tell(self, topic: str, *records: object) -> None:
        for record in records:
            await self.send(topic, msgspec.json.encode(record), getattr(record, "end", None))

    async def send(self, topic: str, value: bytes | None, end: str | None = None) -> None:
        """A record of the time at which its pane ended, as releases publish them."""
        time_ms = None if end is None else milliseconds(end)
        await self.producer.send_and_wait(
            self.settings.topic(topic), value, key=b"key", partition=0, timestamp_ms=time_ms
        )

    def token(self, name: str, purpose: str = "traffic") -> str:
        until_ms = round(time.time() * 1000) + 3_600_000
        return tokens.make(Path(self.settings.api.tokens), name, purpose, until_ms)  # type: ignore[arg-type]

    async def get(self, path: str, token: str = "") -> tuple[int, dict[str, object]]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with aiohttp.ClientSession() as client, client.get(f"{self.url}/{path}", headers=headers) as answer:
            return answer.status, orjson.loads(await answer.read())

    async def until(self, path: str, token: str, status: int, records: int | None = None) -> dict[str, object]:
        async with asyncio.timeout(20):
            while True:
                got, said = await self.get(path, token)
                if got == status and records in (None, len(said.get("records", []))):  # type: ignore[arg-type]
                    return said
                await asyncio.sleep(0.1)

    async def metrics(self) -> str:
        async with aiohttp.ClientSession() as client, client.get(f"{self.inside}/metrics") as answer:
            return await answer.text()

    async def suspend(self) -> None:
        def work_out(rules: Rulebook) -> Decision | None:
            return "suspend", HOME, "a test", suspended(rules, HOME)

        await decide(self.settings, work_out, "a test", lambda: configured_rules(self.settings))


@asynccontextmanager
async def serving(
    stack: object, namespace: str, folder: Path, overrides: dict[str, object] | None = None
) -> AsyncIterator[Running]:
    (folder / "plan.json").write_bytes(orjson.dumps(plan(make_town(1, 100, 20))))
    ports = free_ports(2)
    settings = load_settings(
        None,
        {
            "kafka.bootstrap": stack.kafka,  # type: ignore[attr-defined]
            "redis.url": stack.redis,  # type: ignore[attr-defined]
            "kafka.namespace": namespace,
            "kafka.keep_forever": True,
            "gateway.plan": str(folder / "plan.json"),
            "gateway.purpose": "traffic",
            "worker.http_port": ports[0],
            "api.port": ports[1],
            "api.tokens": str(folder / "tokens"),
            **(overrides or {}),
        },
        {},
    )
    await create(settings)
    await decide(settings, lambda _: None, "a test", lambda: configured_rules(settings))
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap) as producer:
        running = Running(settings, producer)
        epoch = msgspec.structs.replace(epochs_at(NOON)[0], purpose="traffic", plan="abc")
        await running.tell(EPOCHS, epoch)
        running.process = process = await begin_worker("api", settings, folder / "api.log")
        try:
            await ready(running, process, folder)
            yield running
            if process.returncode is not None:
                return
            process.terminate()
            assert await asyncio.wait_for(process.wait(), 30) == 0, (folder / "api.log").read_text()[-3000:]
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def ready(running: Running, process: Process, folder: Path) -> None:
    async with asyncio.timeout(180):
        while True:
            assert process.returncode is None, (folder / "api.log").read_text()[-3000:]
            try:
                async with aiohttp.ClientSession() as client, client.get(f"{running.inside}/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)


async def test_what_is_released_is_told_to_its_purpose_and_to_no_other(
    stack: object, namespace: str, tmp_path: Path
) -> None:
    async with serving(stack, namespace, tmp_path) as api:
        token, foreign = api.token("lights"), api.token("shops", "marketing")
        assert (await api.get("footfall?zone=z1"))[0] == 401
        status, said = await api.get("footfall?zone=z1", "throng_wrong")
        assert (status, said["error"]) == (401, "token")
        status, said = await api.get("footfall?zone=z1", foreign)
        assert (status, said["error"]) == (403, "purpose")
        status, said = await api.get("visits?zone=z1", token)
        assert (status, said["message"]) == (403, "the token has no scope traffic:visits:read")
        assert (await api.get("footfall?zone=z1", token))[0] == 404
        assert (await api.get("footfall?zones=z1", token))[0] == 400
        assert (await api.get("footfall", token))[0] == 400
        assert (await api.get("nothing", token))[1]["error"] == "not_found"

        await api.tell(FOOTFALL, *(place(number) for number in range(3)), place(2), place(0, "z2"))
        await api.tell(FOOTFALL, place(3, purpose="marketing"), place(2, age_band="18_29", gender="f"))
        trips = {"measure": "trips_zone", "level": "zone", "origin": "z1", **hour(), **numbers(60)}
        await api.tell(FLOWS, *(Flow(schema=FLOWS_SCHEMA, destination=to, **trips) for to in ("z2", "z3")))
        stays = {"measure": "dwell", "level": "zone", "zone": "z1", "suppressed": False, **hour()}
        await api.tell(DWELL, Dwell(schema=DWELL_SCHEMA, **stays, **numbers(70)))
        await api.tell(PANES, place(5))
        await api.tell(VISITS, Visits(schema="visits/1", **stays | {"measure": "visits"}, **numbers(80)))

        early, late = rfc3339(NOON + PANE_MS), rfc3339(NOON + 2 * PANE_MS)
        ahead = outlook(NOON + 3 * PANE_MS)
        await api.tell(OUTLOOK, ahead)
        found = await api.until("outlook?zone=z1", token, 200, 1)
        assert found["records"] == [orjson.loads(msgspec.json.encode(ahead))]
        # All of it has come, in whichever order the topics were read.
        await api.until("dwell?zone=z1", token, 200, 1)
        await api.until("flows?origin=z1", token, 200, 2)
        await api.until(f"footfall?zone=z1&from={late}", token, 200, 1)
        now = (await api.get("footfall?zone=z1", token))[1]
        assert now["records"] == [orjson.loads(msgspec.json.encode(place(2)))]
        history = (await api.get(f"footfall?zone=z1&to={late}", token))[1]["records"]
        assert [record["noisy"] for record in history] == [100, 101]  # type: ignore[index]
        history = (await api.get(f"footfall?zone=z1&from={early}&measure=present", token))[1]["records"]
        assert [record["noisy"] for record in history] == [101, 102]  # type: ignore[index]
        assert (await api.get("footfall?zone=z1&from=noon", token))[0] == 400
        assert len((await api.get("flows?origin=z1", token))[1]["records"]) == 2  # type: ignore[arg-type]
        assert len((await api.get("flows?origin=z1&destination=z3", token))[1]["records"]) == 1  # type: ignore[arg-type]

        assert (await api.get("places", token))[0] == 404
        async with Redis.from_url(stack.redis) as redis:  # type: ignore[attr-defined]
            await redis.set(f"{namespace}:released:places:abc", b'{"plan":"abc"}')
        assert (await api.get("places", token)) == (200, {"plan": "abc"})

        tokens.revoke(Path(api.settings.api.tokens), "lights")
        assert (await api.get("footfall?zone=z1", token))[0] == 401
        metrics = await api.metrics()
        assert 'throng_api_refused_total{reason="wrong"} 2.0' in metrics
        assert 'throng_api_refused_total{reason="none"} 1.0' in metrics
        assert 'throng_api_requests_total{route="/v1/visits",status="403"} 1.0' in metrics
    for file in ("api.log", "tokens"):
        assert token not in (tmp_path / file).read_text()


async def test_what_no_release_wrote_is_passed_over_at_the_start_and_later(
    stack: object, namespace: str, tmp_path: Path
) -> None:
    for number in range(2):
        async with serving(stack, namespace, tmp_path) as api:
            token = api.token(f"lights{number}")
            undated = b'{"end": "soon", "plan": "abc", "purpose": "traffic"}'
            for value in (b"a trial", b"", None, b'{"imsi": "001010000000001"}', undated):
                for topic in (FOOTFALL, OUTLOOK):
                    await api.send(topic, value)
            await api.tell(FOOTFALL, place(number))
            history = f"footfall?zone=z1&from={rfc3339(NOON)}"
            await api.until(history, token, 200, number + 1)
            passed_over = 5 * (number + 1)
            assert f'throng_api_foreign_records_total{{topic="footfall"}} {passed_over}.0' in await api.metrics()
    said = (tmp_path / "api.log").read_text()
    assert f"{namespace}.footfall, partition 0, offset 0: passed over" in said and "Traceback" not in said
    assert "a trial" not in said and "001010000000001" not in said


async def test_a_forged_record_ends_nothing_and_takes_nobodys_place(
    stack: object, namespace: str, tmp_path: Path
) -> None:
    async with serving(stack, namespace, tmp_path) as api:
        token = api.token("lights")
        async with Redis.from_url(stack.redis) as redis:  # type: ignore[attr-defined]
            places = {"version": 1, "plan": "abc", "name": "a", "timezone": "UTC", "parents": [], "zones": []}
            await redis.set(f"{namespace}:released:places:abc", orjson.dumps(places))
        trips = {"measure": "trips_zone", "level": "zone", "origin": "z1", "destination": "z2", **hour(), **numbers(60)}
        genuine = Flow(schema=FLOWS_SCHEMA, **trips)
        await api.tell(FLOWS, genuine)
        await api.tell(FOOTFALL, place(0), place(1))
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            aiohttp.ClientSession(headers=headers) as client,
            client.get(f"{api.url}/feed?topic=footfall") as feed,
        ):
            await api.until(f"footfall?zone=z1&from={rfc3339(NOON)}", token, 200, 2)
            without = {name: said for name, said in msgspec.to_builtins(genuine).items() if name != "estimate"}
            await api.send(FLOWS, orjson.dumps(without | {"destination": "z3"}), genuine.end)
            whole = msgspec.json.encode(place(2, "z9"))
            for value in (
                whole.replace(b',"k"', b',\n\n"k"'),
                whole.replace(b',"k"', b',"x":"\xff","k"'),
                whole.replace(b'"estimate":102.5', b'"estimate":1e300'),
                msgspec.json.encode(place(4, "z9")),  # of a time that it hadn't come to
                msgspec.json.encode(place(1, noisy=7)),  # what was released stands
            ):
                await api.send(FOOTFALL, value, rfc3339(NOON + 3 * PANE_MS))
            far = msgspec.structs.replace(place(2, "z9"), **about(10**6, "traffic"))
            await api.tell(FOOTFALL, far)
            await api.tell(FOOTFALL, place(2))
            await api.until(f"footfall?zone=z1&from={rfc3339(NOON)}", token, 200, 3)
            said = [orjson.loads(line[6:]) for line in await lines_of(feed, 3 * 3) if line.startswith(b"data: ")]
        assert [record["noisy"] for record in said] == [100, 101, 102]
        assert (await api.get("footfall?zone=z9", token))[0] == 404
        (told,) = (await api.get("distances?origin=z1", token))[1]["records"]  # type: ignore[misc]
        assert told["flows"] == 1  # type: ignore[index]
        metrics = await api.metrics()
        assert 'throng_api_foreign_records_total{topic="footfall"} 6.0' in metrics
        assert 'throng_api_foreign_records_total{topic="flows"} 1.0' in metrics
    assert f"{namespace}.footfall, partition 0, offset" in (tmp_path / "api.log").read_text()


async def lines_of(answer: aiohttp.ClientResponse, number: int) -> list[bytes]:
    """The next lines that say something."""
    found: list[bytes] = []
    async with asyncio.timeout(30):
        while len(found) < number:
            line = (await answer.content.readline()).strip()
            if line and not line.startswith(b":"):
                found.append(line)
    return found


async def test_a_feed_tells_what_comes_and_a_suspension_silences_all(
    stack: object, namespace: str, tmp_path: Path
) -> None:
    async with serving(stack, namespace, tmp_path, {"api.feeds": 1}) as api:
        token = api.token("lights")
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            aiohttp.ClientSession(headers=headers) as client,
            client.get(f"{api.url}/feed?topic=footfall&place=z1") as feed,
        ):
            assert feed.status == 200 and feed.content_type == "text/event-stream"
            assert (await api.get("feed", token))[1]["error"] == "too_many_feeds"
            await api.tell(FOOTFALL, place(0, "z2"), place(0), place(0))
            event, data, number = await lines_of(feed, 3)
            assert event == b"event: footfall" and number.startswith(b"id: ")
            assert orjson.loads(data.removeprefix(b"data: ")) == orjson.loads(msgspec.json.encode(place(0)))
            await api.suspend()
            said = await api.until("footfall?zone=z1", token, 403)
            assert said == {"error": "withheld", "message": f"withheld: {HOME} may not be counted"}
            await api.tell(FOOTFALL, place(1))
            await asyncio.sleep(1)
            tokens.revoke(Path(api.settings.api.tokens), "lights")
            # Nothing of the suspended country in between: the next that is said is the end.
            assert (await lines_of(feed, 1))[0] == b"event: ended"
            assert await feed.content.read() != b""
        async with asyncio.timeout(20):
            while "throng_api_open_feeds 0.0" not in await api.metrics():  # noqa: ASYNC110 - another process's
                await asyncio.sleep(0.1)


async def test_where_a_topic_got_more_partitions_a_new_start_reads_them(
    stack: object, namespace: str, tmp_path: Path
) -> None:
    async with serving(stack, namespace, tmp_path) as api:
        async with admin(api.settings.kafka.bootstrap) as client:
            await client.create_partitions({api.settings.topic(FOOTFALL): NewPartitions(5)})
        assert api.process is not None
        assert await asyncio.wait_for(api.process.wait(), 60) == 1
    assert "footfall has got more partitions" in (tmp_path / "api.log").read_text()


async def test_where_all_brokers_came_back_at_other_addresses_a_new_start_finds_them(
    namespace: str, tmp_path: Path
) -> None:
    (elsewhere,) = free_ports(1)
    with start(ephemeral=True) as own:
        both = replace(own, kafka=f"{own.kafka},127.0.0.1:{elsewhere}")
        kafka = Server(own, "kafka")
        try:
            async with serving(both, namespace, tmp_path, {"worker.stall_s": 10}) as api:
                await kafka.kill()
                await kafka.restart(elsewhere)
                assert api.process is not None
                assert await asyncio.wait_for(api.process.wait(), 90) == 1
        finally:
            kafka.end()
    assert "throng: brokers answer, but at other addresses than before" in (tmp_path / "api.log").read_text()


async def test_a_feed_over_tls_that_is_too_slow_is_told_so_and_dropped(
    stack: object, namespace: str, tmp_path: Path
) -> None:
    shown = Certificate(tmp_path)
    tls = {"api.tls_certificate": str(shown.certificate), "api.tls_key": str(shown.key)}
    async with serving(stack, namespace, tmp_path, {"api.feed_records": 5, **tls}) as api:
        headers = {"Authorization": f"Bearer {api.token('lights')}"}
        trusting = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=shown.certificate))
        async with (
            aiohttp.ClientSession(headers=headers, connector=trusting) as client,
            client.get(f"{api.url}/feed") as feed,
        ):
            sent = [msgspec.json.encode(place(0, f"z{number}")) for number in range(50)]
            batch = api.producer.create_batch()
            for record in sent:
                batch.append(key=None, value=record, timestamp=NOON + PANE_MS)
            await api.producer.send_batch(batch, api.settings.topic(FOOTFALL), partition=0)
            event, data = await lines_of(feed, 2)
            assert event == b"event: ended" and orjson.loads(data.removeprefix(b"data: "))["error"] == "slow"
            assert (await feed.content.read()).strip() == b""
        assert "throng_api_dropped_feeds_total 1.0" in await api.metrics()
