"""A plan built from polygons and cells, on the real path; and another one, weighted and with factors of counts on site,
that takes its place with the next epoch."""

from collections import Counter
from itertools import takewhile
from pathlib import Path

import msgspec
import orjson
import pytest
from redis.asyncio import Redis

from schemas.ledger import LedgerRecord
from schemas.plan import NOWHERE, Correction, Places, Plan
from schemas.topics import LEDGER, REGISTRY, RELEASED
from streams.cli.main import run
from streams.core.estimates.estimate import unpack_level
from streams.core.release.release import _state, publications
from streams.settings import load_settings
from streams.simulate import Rates, Town, generate, make_town, registry
from streams.simulate.publish import producer, publish, publish_registry
from streams.stores.plans import load_plan
from streams.stores.topics import create
from tests.oracle.counting import count
from tests.oracle.gate import screen as oracle_screen
from tests.support.deployment import RAW, Workers, all_panes, caught_up, opened, policy, read_topic
from tests.support.geography import write_cells, write_polygons

pytestmark = pytest.mark.integration

MINUTE = 60_000
BEGIN = 1_772_415_000_000  # 2026-03-02T02:30+01:00
# The next epoch, of 04:00, is written an hour ahead: the workers must have the new plan by then.
SWITCH = BEGIN + 20 * MINUTE
CHANGE = BEGIN + 90 * MINUTE
END = BEGIN + 150 * MINUTE
FACTOR = 1.5
RATES = Rates(reorder=0.1, late=0.01, clock_error=0.005, malformed=0.01, ping_pong=0.2)


def built(folder: Path, town: Town, name: str, prefix: str, *more: str) -> Path:
    path = folder / f"{name}.json"
    write_polygons(folder / "zones.geojson", town, prefix)
    write_cells(folder / "cells.csv", town)
    files = ("--zones", str(folder / "zones.geojson"), "--cells", str(folder / "cells.csv"))
    assert run(["zones", "build", str(path), *files, "--name", name, *more]) == 0
    return path


def calibrate(path: Path) -> None:
    """Give the plan a factor for people present in each zone."""
    plan = load_plan(path)
    factors = tuple(Correction("present", zone.id, FACTOR, 0.05) for zone in plan.zones)
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(plan, calibration=factors)))


def check_factors(entries: list[LedgerRecord], plans: list[Plan]) -> None:
    """Of people present the ledger keeps what the filter believes of those counted, and the records have the factor."""
    seen = set()
    for entry in entries:
        if entry.measure != "present" or entry.kind != "release":
            continue
        believed = unpack_level(_state(entry).levels[-1]).mean
        for record in (orjson.loads(each.value) for each in publications(entry)):
            if record["level"] == "zone" and not record["suppressed"]:
                new = record["plan"] == plans[1].hash()
                number = plans[new].zone_numbers()[record["zone"]]
                assert record["estimate"] == pytest.approx((FACTOR if new else 1.0) * believed[number], abs=0.06)
                seen.add(new)
    assert seen == {False, True}


@pytest.mark.timeout(600)
async def test_an_epoch_is_counted_and_told_by_the_plan_that_it_was_opened_with(
    stack: object, namespace: str, tmp_path: Path
) -> None:
    town = make_town(7, 4000, 40, consent=0.9)
    old, new = built(tmp_path, town, "old", ""), built(tmp_path, town, "new", "n", "--weighted")
    calibrate(new)
    plans = [load_plan(old), load_plan(new)]
    assert [plan.weighted for plan in plans] == [False, True]
    assert {cell.zone for cell in plans[0].cells} > {NOWHERE}  # discs leave gaps between them
    overrides = {
        "kafka.bootstrap": stack.kafka,  # type: ignore[attr-defined]
        "redis.url": stack.redis,  # type: ignore[attr-defined]
        "kafka.namespace": namespace,
        "kafka.keep_forever": True,
        "kafka.raw_partitions": RAW,
        "kafka.session_ms": 6000,
        "gateway.plan": str(old),
        "gateway.keys": str(tmp_path / "keys"),
        "crowd.snapshot_ms": 2000,
    }
    settings = load_settings(None, overrides, {})
    await create(settings)
    sender = producer(settings.kafka.bootstrap)
    await sender.start()
    workers = Workers(settings, tmp_path)
    roles = ("gateway-0", "crowd-0", "release-0")
    try:
        await publish_registry(sender, settings.topic(REGISTRY), registry(town))
        slices = generate(town, BEGIN, END, RAW, 3, RATES)
        before = takewhile(lambda piece: piece.end_ms <= SWITCH, slices)
        await publish(sender, settings.topic("attach"), before, None, lambda _: None)
        for name in roles:
            await workers.start(name)
        await all_panes(settings, (SWITCH - CHANGE) // (5 * MINUTE) + 288 - 1, workers)
        await workers.stop()
        workers.settings = load_settings(
            None, overrides | {"gateway.plan": str(new), "gateway.earlier_plans": str(old)}, {}
        )
        for name in roles:
            await workers.start(name)
        rest = (piece for piece in generate(town, BEGIN, END, RAW, 3, RATES) if piece.end_ms > SWITCH)
        await publish(sender, settings.topic("attach"), rest, None, lambda _: None)
        await all_panes(settings, 11, workers)
        panes = await all_panes(settings, 288, workers)
        await caught_up(settings, panes)
        epochs = await opened(settings)
        assert [epoch.plan for epoch in epochs] == [plan.hash() for plan in plans]
        assert panes == expected(town, plans, [msgspec.to_builtins(epoch) for epoch in epochs])
        async with Redis.from_url(settings.redis.url) as redis:
            for plan in plans:
                shown = await redis.get(f"{namespace}:released:places:{plan.hash()}")
                assert msgspec.json.decode(shown, type=Places) == plan.places()
        entries = [msgspec.msgpack.decode(r.value, type=LedgerRecord) for r in await read_topic(settings, LEDGER)]
        told = [orjson.loads(r.value) for topic in RELEASED for r in await read_topic(settings, topic)]
        await workers.stop()
    finally:
        await sender.stop()
        for process in workers.running.values():
            if process.returncode is None:
                process.kill()
                await process.wait()
    zones = {plan.hash(): {zone.id for zone in plan.zones} for plan in plans}
    for record in told:
        assert record["plan"] == epochs[record["end"] > "2026-03-02T03:00:00Z"].plan
        if record.get("level") == "zone" and "zone" in record:
            assert record["zone"] in zones[record["plan"]]
    assert {record["plan"] for record in told} == zones.keys()
    numbers = [record for record in told if not record.get("suppressed", True)]
    for record in numbers:
        corrected = record["plan"] == plans[1].hash() and record["schema"].startswith("footfall/")
        assert record.get("weighted", False) == record.get("calibrated", False) == corrected, record
    assert {record.get("calibrated", False) for record in numbers} == {False, True}
    check_factors(entries, plans)


def expected(town: Town, plans: list[Plan], epochs: list[dict]) -> Counter:
    """Each epoch's panes as the oracle counts them by that epoch's plan: nothing is linked across."""
    log, offsets = [], Counter[int]()
    for piece in generate(town, BEGIN, END, RAW, 3, RATES):
        for partition in range(RAW):
            for time, value in piece.values(partition):
                log.append((partition, offsets[partition], time, value))
                offsets[partition] += 1
    people = {key.decode(): orjson.loads(value) for key, value in registry(town)}
    found = {}
    for plan, epoch in zip(plans, epochs, strict=True):
        as_dict = orjson.loads(msgspec.json.encode(plan))
        gate = oracle_screen(log, people, policy(), as_dict, epochs, 10_000)
        result = count(gate.sightings, epochs, plan.zone_parents(), gate.until)
        found |= {key: +counts for key, counts in result.panes.items() if key[0] == epoch["epoch"]}
    return found
