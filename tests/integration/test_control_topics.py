"""Who is first on a control topic decides for all: salts, epochs and the ledger, raced for on a real broker."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import orjson
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewPartitions, NewTopic
from click.testing import CliRunner

from schemas.attach import pack_imsi
from schemas.ledger import LedgerRecord
from schemas.registry import PURPOSES
from schemas.topics import AUDIT, EPOCHS, FOOTFALL, HOUR_MS, LEDGER, PANES, REGISTRY, REJECTS, SALTS, SIGHTINGS
from streams.agents.life import started
from streams.agents.producing import Producer
from streams.agents.providing import Provider, Salts
from streams.cli.salts import salts
from streams.cli.topics import trim_ledger
from streams.core.epochs import epoch_bounds, make_epoch
from streams.core.gateway.registry import CONSENT_SHIFT, GRANTED, REFUSED
from streams.errors import ThrongError
from streams.settings import Settings, load_settings, to_environ
from streams.stores import durability
from streams.stores.admin import open_admin
from streams.stores.epochs import EpochKeeper, EpochReader
from streams.stores.keys import FileKeys
from streams.stores.ledger import Ledger
from streams.stores.ledger_trim import Cut, find_cut, trim
from streams.stores.log import TailReader
from streams.stores.registry import RegistryReader
from streams.stores.salts import SaltGone, Vault
from streams.stores.topics import create, ever_written
from tests.support.world import TERMS

pytestmark = pytest.mark.integration

NIGHT = 1_772_420_400_000


async def test_topics_that_keep_what_is_of_persons_for_longer_are_told_with_what_to_set(
    settings: Settings, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    old = NewTopic(f"{namespace}old.rejects", 1, 1, topic_configs={"retention.ms": "7200000"})  # as they were made
    before = msgspec.structs.replace(
        settings, kafka=msgspec.structs.replace(settings.kafka, namespace=f"{namespace}old")
    )
    admin = await open_admin(settings)
    await admin.create_topics([old])
    await create(before)
    await durability.check(admin, settings)
    assert "of persons" not in caplog.text
    await durability.check(admin, before)
    assert (
        f"{namespace}old.rejects keeps what is of persons longer than is said: set its segment.ms=900000" in caplog.text
    )
    assert caplog.text.count("of persons") == 1
    await admin.close()


async def test_topics_that_go_by_the_workers_clocks_are_told_once_with_what_to_set(
    settings: Settings, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    kafka = msgspec.structs.replace(settings.kafka, namespace=f"{namespace}old")
    before = msgspec.structs.replace(settings, kafka=kafka)
    admin = await open_admin(settings)
    await admin.create_topics(
        [NewTopic(before.topic(name), 1, 1, topic_configs={"retention.ms": "-1"}) for name in (EPOCHS, SALTS, LEDGER)]
    )  # as they were made
    await create(before)
    await durability.check(admin, settings)
    assert "clocks" not in caplog.text
    await durability.check(admin, before)
    told = [record.getMessage() for record in caplog.records if "clocks" in record.getMessage()]
    (line,) = told
    assert line.startswith(", ".join(before.topic(name) for name in (LEDGER, EPOCHS, SALTS)))
    assert "message.timestamp.type=LogAppendTime" in line
    caplog.clear()
    # Of a replay the times are those of its records.
    kept = msgspec.structs.replace(before, kafka=msgspec.structs.replace(kafka, keep_forever=True))
    await durability.check(admin, kept)
    assert "clocks" not in caplog.text
    await admin.close()


@pytest.mark.parametrize("name", [LEDGER, SALTS, EPOCHS])
async def test_a_log_that_decides_once_is_not_made_anew_under_a_deployment_at_work(
    settings: Settings, name: str
) -> None:
    await lose(settings, name)
    assert await create(settings) == [name]  # nothing was counted yet
    await write(settings, PANES)
    await lose(settings, name)
    with pytest.raises(ThrongError, match=rf"\.{name} is gone, and .*panes has counted by it"):
        await create(settings)


@pytest.mark.parametrize("name", [AUDIT, REGISTRY])
async def test_who_follows_a_topic_that_is_made_anew_is_not_left_deaf_to_it(settings: Settings, name: str) -> None:
    async with started(TailReader(settings.kafka, settings.topic(name))) as reader:
        await write(settings, name, 3)
        assert sum([len(records) async for records in reader.read_to_end()]) == 3
        await lose(settings, name)
        await create(settings)
        await write(settings, name)
        with pytest.raises(ThrongError, match=rf"\.{name}, .* and was read to offset 3: the topic was made anew"):
            async for _ in reader.read_to_end():
                pass


async def begun() -> bool:
    """Gateways have counted."""
    return True


async def test_an_epoch_by_whose_salt_was_counted_gets_no_second_one(settings: Settings, tmp_path: Path) -> None:
    async with gateway(settings, tmp_path) as one:
        written = await one.keeper.provide(NIGHT)
    async with gateway(settings, tmp_path, begun=begun) as other:
        await other.vault.ensure(written.epoch + 1)  # the next day's, of a topic that is whole
    await lose(settings, SALTS)
    await create(settings)
    async with gateway(settings, tmp_path, begun=begun) as later:
        salts = Salts({}, set(), FileKeys(tmp_path))
        provider = Provider(later.keeper, later.vault, salts, TERMS.partitions, lambda: None)
        for ts_ms in (NIGHT, NIGHT + 24 * HOUR_MS):  # nor does the next day's make it one that was written to
            with pytest.raises(ThrongError, match=r"\.salts is empty, but gateways have counted by it"):
                await provider.provide(ts_ms)
        assert not salts.states and not await ever_written(settings, SALTS)


async def test_epochs_that_a_replay_has_brought_get_salts(settings: Settings, tmp_path: Path) -> None:
    async with gateway(settings, tmp_path) as one:
        brought = await one.keeper.provide(NIGHT)
    await lose(settings, SALTS)  # as a replay leaves it: a recording has epochs, and no salts
    await create(settings)
    counted = []

    async def counts() -> bool:
        return bool(counted)

    async with gateway(settings, tmp_path, begun=counts) as here:
        salts = Salts({}, set(), FileKeys(tmp_path))
        provider = Provider(here.keeper, here.vault, salts, TERMS.partitions, lambda: None)
        await provider.provide(NIGHT)
        counted.append(brought.epoch)
        await provider.provide(NIGHT + 24 * HOUR_MS)
    assert len(salts.states) == 2


async def test_no_first_epoch_is_written_where_gateways_have_counted(settings: Settings, tmp_path: Path) -> None:
    async with gateway(settings, tmp_path) as one:

        async def another_begins() -> bool:
            return bool(await one.keeper.provide(NIGHT))

        async with gateway(settings, tmp_path, begun=another_begins) as other:
            assert await other.keeper.provide(NIGHT) == one.epochs.records[0]

    await lose(settings, EPOCHS)
    await create(settings)
    async with gateway(settings, tmp_path, begun=begun) as later:
        with pytest.raises(ThrongError, match=r"\.epochs is empty, but gateways have counted by it"):
            await later.keeper.provide(NIGHT)
    assert not await ever_written(settings, EPOCHS)


async def test_nothing_is_drawn_by_an_empty_ledger_where_something_was_released(settings: Settings) -> None:
    async with (
        started(Producer(settings.kafka, 10_000)) as producer,
        started(TailReader(settings.kafka, settings.topic(LEDGER))) as reader,
    ):
        ledger = Ledger(reader, producer, settings.topic(LEDGER), told=partial(ever_written, settings, FOOTFALL))
        assert await ledger.read() == []  # a new deployment
        await write(settings, FOOTFALL)
        with pytest.raises(ThrongError, match=r"\.ledger is empty, but was released by"):
            await ledger.reread()


async def lose(settings: Settings, name: str) -> None:
    admin = await open_admin(settings)
    await admin.delete_topics([settings.topic(name)])
    async with asyncio.timeout(20):
        while settings.topic(name) in await admin.list_topics():  # noqa: ASYNC110 - the broker tells nobody
            await asyncio.sleep(0.05)
    await admin.close()


async def write(settings: Settings, name: str, number: int = 1) -> None:
    async with started(AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap)) as producer:
        for _ in range(number):
            await producer.send_and_wait(settings.topic(name), b"a record", key=b"its key", partition=0)


class Gateway(NamedTuple):
    """What a gateway has of the control topics."""

    vault: Vault
    keeper: EpochKeeper
    ledger: Ledger
    epochs: EpochReader
    salts: TailReader


@pytest.fixture
async def settings(stack: object, namespace: str) -> Settings:
    found = load_settings(
        None,
        {
            "kafka.bootstrap": stack.kafka,  # type: ignore[attr-defined]
            "redis.url": stack.redis,  # type: ignore[attr-defined]
            "kafka.namespace": namespace,
        },
        {},
    )
    await create(found)
    return found


@asynccontextmanager
async def gateway(
    settings: Settings,
    keys: Path,
    timezone: str = "Europe/Berlin",
    begun: Callable[[], Awaitable[object]] | None = None,
) -> AsyncIterator[Gateway]:
    async with AsyncExitStack() as exits:
        servers = settings.kafka.bootstrap
        producer = AIOKafkaProducer(bootstrap_servers=servers, enable_idempotence=True)
        salts, drawn = TailReader(servers, settings.topic(SALTS)), TailReader(servers, settings.topic(LEDGER))
        epochs = EpochReader(TailReader(servers, settings.topic(EPOCHS)))
        for part in (producer, salts, drawn, epochs):
            await part.start()
            exits.push_async_callback(part.stop)
        vault = Vault(salts, producer, settings.topic(SALTS), FileKeys(keys), begun)
        terms = TERMS._replace(timezone=timezone)
        keeper = EpochKeeper(
            epochs, vault, producer, settings.topic(EPOCHS), lambda ts: make_epoch(ts, terms, epochs.table), begun
        )
        yield Gateway(vault, keeper, Ledger(drawn, producer, settings.topic(LEDGER)), epochs, salts)


async def test_gateways_that_race_for_a_salt_agree_and_a_later_one_reads_the_same(
    settings: Settings, tmp_path: Path
) -> None:
    async with gateway(settings, tmp_path) as one, gateway(settings, tmp_path) as other:
        rounds = [await asyncio.gather(one.vault.ensure(n), other.vault.ensure(n)) for n in range(20260301, 20260309)]
    assert all(first == second and len(first) == 32 for first, second in rounds)
    assert len({first for first, _ in rounds}) == len(rounds)
    async with gateway(settings, tmp_path) as later:
        assert [await later.vault.ensure(n) for n in range(20260301, 20260309)] == [first for first, _ in rounds]


async def test_a_ledger_is_read_from_its_last_two_epochs_on_and_cut_before_them_at_most(settings: Settings) -> None:
    topic, days, numbers = settings.topic(LEDGER), range(20260301, 20260306), range(1, 5)
    async with (
        started(Producer(settings.kafka, 10_000)) as producer,
        started(TailReader(settings.kafka, topic)) as reader,
        started(TailReader(settings.kafka, topic)) as later,
        started(TailReader(settings.kafka, topic)) as last,
        started(TailReader(settings.kafka, topic)) as idle,
    ):
        one = Ledger(reader, producer, topic)
        await one.read()
        for day in days:
            for number in numbers:
                await one.append(drawn(day, number))
            if day == days[0]:
                waited = Ledger(idle, producer, topic)
                assert len(await waited.read()) == 4
        other = Ledger(later, producer, topic)
        assert [record.epoch for record in await other.read()] == [20260304] * 4 + [20260305] * 4
        said = await asyncio.to_thread(throng, settings, "--keep-days", "1", "--dry-run")
        assert said == "0 of 20 records would go; a release reads the last 8\n"  # they are of today
        cut = await find_cut(settings, round(time.time() * 1000) + HOUR_MS)
        assert cut == (0, 12, 12, 20)
        await trim(settings, cut)
        after = Ledger(last, producer, topic)
        assert len(await after.read()) == 8 and after.began_at == 12
        with pytest.raises(ThrongError, match="shortened to offset 12 before offset 4 was read"):
            await waited.read()
        assert len(await waited.reread()) == 8 and waited.began_at == 12
        for day in days:  # of a crowd that fell back for days: released before, known no more or known to be
            assert await after.append(drawn(day, 4)) == [] and after.account.closed_through(day, "present") >= 4
        assert len(await one.read()) == 0  # who has read all of it says the same
        await trim(settings, Cut(12, 13, 12, 25))  # as retention by Kafka would
        with pytest.raises(ThrongError, match="begins at offset 13, and no record names a place"):
            async with started(TailReader(settings.kafka, topic)) as late:
                await Ledger(late, producer, topic).read()


def drawn(epoch: int, number: int) -> LedgerRecord:
    return LedgerRecord(epoch, "present", number, 0, 0, "release", b"", 1.0, b"", b"", 0, 0.01, "one")


def throng(settings: Settings, *arguments: str) -> str:
    done = CliRunner().invoke(trim_ledger, arguments, env=to_environ(settings), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


async def test_of_what_two_partitions_say_of_a_subscriber_the_later_counts_at_a_start_too(settings: Settings) -> None:
    """Clients share keys out differently (Java's by murmur2, librdkafka's by CRC-32), and partitions may be added."""
    imsis = [f"00101{number:010d}" for number in range(1, 401)]
    granted, refused = (
        [orjson.dumps({"imsi": imsi, "consent": {"marketing": word}}) for imsi in imsis]
        for word in ("granted", "revoked")
    )
    async with started(AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap)) as producer:
        for values, partition in ((granted, 3), (refused, 0), (granted[:100], 2), (refused[:50], 1)):
            for imsi, value in zip(imsis, values, strict=False):
                await producer.send(settings.topic(REGISTRY), value, key=imsi.encode(), partition=partition)
            await producer.flush()
            await asyncio.sleep(0.01)
    asked = np.array([pack_imsi(imsi) for imsi in imsis], np.uint64)
    async with started(RegistryReader(settings.kafka, settings.topic(REGISTRY))) as registry:
        consents = registry.table.get(asked) >> np.uint32(CONSENT_SHIFT + 2 * PURPOSES.index("marketing")) & 3
    assert consents.tolist() == [REFUSED] * 50 + [GRANTED] * 50 + [REFUSED] * 300


async def test_a_registry_that_got_more_partitions_is_not_read_in_part(settings: Settings) -> None:
    admin = await open_admin(settings)
    async with started(RegistryReader(settings.kafka, settings.topic(REGISTRY))) as registry:
        await admin.create_partitions({settings.topic(REGISTRY): NewPartitions(5)})
        await admin.close()
        with pytest.raises(ThrongError, match="has got more partitions"):
            async with asyncio.timeout(20):
                await registry.follow()


async def test_the_salts_topic_does_not_hold_a_salt(settings: Settings, tmp_path: Path) -> None:
    async with gateway(settings, tmp_path) as one:
        salt = await one.vault.ensure(20260301)
        again = TailReader(settings.kafka.bootstrap, settings.topic(SALTS))
        await again.start()
        stored = b"".join([r.value for chunk in [c async for c in again.read_to_end()] for r in chunk])
        await again.stop()
    assert stored and salt not in stored and salt.hex().encode() not in stored


async def test_without_its_key_a_salt_is_gone_and_never_made_anew(settings: Settings, tmp_path: Path) -> None:
    async with gateway(settings, tmp_path) as one:
        await one.vault.ensure(20260301)
        FileKeys(tmp_path).destroy(20260301)
        with pytest.raises(SaltGone):
            await one.vault.ensure(20260301)
    async with gateway(settings, tmp_path) as later:
        with pytest.raises(SaltGone):
            await later.vault.ensure(20260301)


async def test_an_epoch_whose_salt_is_gone_before_it_is_written_is_written_all_the_same(
    settings: Settings, tmp_path: Path
) -> None:
    number = epoch_bounds(NIGHT, "Europe/Berlin").epoch
    async with gateway(settings, tmp_path) as one:
        await one.vault.ensure(number)
        FileKeys(tmp_path).destroy(number)
        assert (await one.keeper.provide(NIGHT)).epoch == number
        with pytest.raises(SaltGone):
            await one.vault.ensure(number)


async def test_a_folder_of_other_keys_is_told(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir(mode=0o700)
    async with gateway(settings, tmp_path / "right") as one:
        await one.vault.ensure(20260301)
    FileKeys(tmp_path / "other").key(20260301, create=True)
    async with gateway(settings, tmp_path / "other") as wrong:
        with pytest.raises(ThrongError, match=r"epoch 20260301 does not open with this key: is gateway\.keys right\?"):
            await wrong.vault.ensure(20260301)


async def test_gateways_with_other_ideas_of_an_epoch_take_the_first(settings: Settings, tmp_path: Path) -> None:
    async with gateway(settings, tmp_path) as one, gateway(settings, tmp_path, "America/New_York") as other:
        found = await asyncio.gather(one.keeper.provide(NIGHT), other.keeper.provide(NIGHT))
        assert found[0] == found[1]
        await one.epochs.refresh()
        await other.epochs.refresh()
        assert one.epochs.records == other.epochs.records


async def test_of_two_draws_of_a_pane_the_first_is_published_by_both(settings: Settings, tmp_path: Path) -> None:
    def record(number: int, writer: str) -> LedgerRecord:
        return LedgerRecord(
            20260301, "present", number, 0, number, "release", b"", 1.0, b"", writer.encode(), 0, 0.01, writer
        )

    async with gateway(settings, tmp_path) as one, gateway(settings, tmp_path) as other:
        for number in range(1, 9):
            await asyncio.gather(one.ledger.append(record(number, "one")), other.ledger.append(record(number, "other")))
            await one.ledger.read()
            await other.ledger.read()
            assert msgspec.msgpack.encode(one.ledger.account.last) == msgspec.msgpack.encode(other.ledger.account.last)
            assert one.ledger.account.closed_through(20260301, "present") == number


async def test_the_salts_command_reads_what_there_is_from_the_topics(settings: Settings, tmp_path: Path) -> None:
    keys = tmp_path / settings.kafka.namespace
    async with gateway(settings, keys) as one:
        epoch = await one.keeper.provide(NIGHT)
    where = ["--kafka", settings.kafka.bootstrap, "--namespace", settings.kafka.namespace]

    def said() -> list[dict[str, object]]:
        found = CliRunner().invoke(salts, ["list", "--json", *where], env={"THRONG_GATEWAY_KEYS": str(tmp_path)})
        return orjson.loads(found.output)

    assert [(each["epoch"], each["state"]) for each in await asyncio.to_thread(said)] == [(epoch.epoch, "sealed")]
    FileKeys(keys).destroy(epoch.epoch)
    assert [each["state"] for each in await asyncio.to_thread(said)] == ["destroyed"]


async def test_a_large_networks_pane_fits_the_ledger_and_is_read_back(settings: Settings) -> None:
    """40 MB, more than a reader asks for at a time; people by cohort in 20,000 zones take 32."""
    drawn = LedgerRecord(
        *(20260301, "present_cohort", 12, 0, 3_600_000, "release"),
        *(os.urandom(40 << 20), 1.0, b"", b"", 0, 0.1, "me"),
    )
    reader = TailReader(settings.kafka, settings.topic(LEDGER))
    async with started(Producer(settings.kafka, settings.kafka.request_ms)) as producer, started(reader):
        ledger = Ledger(reader, producer, settings.topic(LEDGER))
        assert await ledger.append(drawn) == [drawn]


async def test_the_clock_of_a_worker_decides_not_how_long_its_records_stay_nor_whether_kafka_takes_them(
    settings: Settings,
) -> None:
    """A reject, with its IMSI, stays for two hours by the broker's clock. By default Kafka refuses what is of an hour
    later than that (`message.timestamp.after.max.ms`), if it doesn't stamp it."""
    ahead_ms = round(time.time() * 1000) + 5 * HOUR_MS
    async with started(Producer(settings.kafka, settings.kafka.request_ms)) as producer:
        sent = [
            await producer.send(settings.topic(name), b"x", partition=0, timestamp_ms=ahead_ms)
            for name in (REJECTS, SIGHTINGS, PANES, EPOCHS, SALTS, LEDGER)
        ]
        for record in await asyncio.gather(*sent):
            assert record.timestamp < ahead_ms - 4 * HOUR_MS
