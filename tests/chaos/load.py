"""The input of a chaos run: a town's events at a steady rate, and poison between them.

What is sent here is not what the oracle counts: it counts the raw log as it is in the end. So a record that the
broker never took, or took twice, is no matter, and the sender just goes on with a new producer.
"""

import asyncio
import random
import time
from collections.abc import Iterator
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.topics import ATTACH
from streams.settings import Settings
from streams.simulate import generate
from streams.simulate.batches import Batch
from streams.simulate.generate import Slice
from streams.simulate.publish import ahead, producer
from tests.chaos.cluster import started
from tests.support.deployment import RATES, RAW, START

RATE = 23_500  # events a second: above the 20,000 that a run must have had, less what is told as lost
BATCH = 3  # events a record
LONGEST_HOURS = 100
REQUEST_MS = 12_000  # longer than a cluster takes to have others lead; one that hangs holds a request for as long
MAKE_UP_S = 60.0


class Plan(NamedTuple):
    """How far the town's clock runs, and how much faster than ours."""

    end_ms: int
    speed: float


def plan(town: object, seconds: float) -> Plan:
    """Such that RATE events a second are sent for so long."""
    events = 0
    for piece in slices(town, START + LONGEST_HOURS * 3_600_000):
        events += piece.counts["events"]
        if events >= RATE * seconds:
            return Plan(piece.end_ms, (piece.end_ms - START) / 1000 / seconds)
    raise SystemExit(f"chaos: more than {LONGEST_HOURS} hours of a town would be needed")


def slices(town: object, end_ms: int) -> Iterator[Slice]:
    return generate(town, START, end_ms, RAW, BATCH, RATES)


class Load:
    """Sends until it is told to stop.

    Attributes:
        now_ms: the record time that it has come to. sent: events.
    """

    def __init__(self, settings: Settings, pieces: Iterator[Slice], speed: float) -> None:
        self._settings = settings
        self._pieces = pieces
        self._speed = speed
        self._stopping = False
        self.now_ms = START
        self.sent = 0
        self.began_s = self.ended_s = 0.0

    async def stop(self) -> None:
        """Stop, once it has made up for what it waited for the broker; or for some time."""
        deadline = time.monotonic() + MAKE_UP_S
        while self._due_s(self.now_ms) < time.monotonic() - 1.0 and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        self._stopping = True

    def _due_s(self, at_ms: int) -> float:
        return self.began_s + (at_ms - START) / 1000 / self._speed

    async def run(self) -> None:
        """At the planned speed; after the broker was away as fast as it goes until that is made up."""
        sender = await started(self._producer)
        self.began_s = time.monotonic()
        try:
            async for piece, ready in ahead(self._pieces):
                await asyncio.sleep(max(0.0, self._due_s(piece.end_ms) - time.monotonic()))
                while not await self._send(sender, ready):
                    await sender.stop()
                    sender = await started(self._producer)
                self.now_ms = piece.end_ms
                self.sent += piece.counts["events"]
                if self._stopping:
                    return
        finally:
            self.ended_s = time.monotonic()
            await sender.stop()

    def _producer(self) -> AIOKafkaProducer:
        return producer(self._settings.kafka.bootstrap, request_timeout_ms=REQUEST_MS)

    async def _send(self, sender: AIOKafkaProducer, ready: list[tuple[int, Batch]]) -> bool:
        try:
            topic = self._settings.topic(ATTACH)
            acks = [await sender.send_batch(batch, topic, partition=p) for p, batch in ready]
            await asyncio.gather(*acks)
        except KafkaError as error:
            print(f"chaos: the broker did not take a batch ({type(error).__name__}): sent again", flush=True)
            return False
        return True


def poison(rng: random.Random, now_ms: int) -> list[bytes | None]:
    """Values that no collector should send, each different with every draw."""
    imsi = f"00101{rng.randrange(10**10):010d}"
    good = f'{{"event_id":"x{rng.randrange(10**9)}","imsi":"{imsi}","ts":{now_ms - 500},"cell":"001-01-0000-0001"'
    deep = rng.choice([500, 5_000, 60_000])
    huge = rng.choice([262_145, 400_000, 900_000])
    said = [
        None,
        b"",
        b" \n\t ",
        good.encode(),
        f"{good}}}}}".encode(),
        f"{good},}}".encode(),
        b"[" * deep + b"]" * deep,
        b'{"a":' * deep + b"1" + b"}" * deep,
        f'{good},"note":{"[" * deep}{"]" * deep}}}'.encode(),
        b"\xff\xfe" + good.encode("utf-16-le"),
        good.encode() + b',"kind":"\xc3\x28"}',
        b"\xef\xbb\xbf" + good.encode() + b"}",
        f'{good},"kind":"\\ud800"}}'.encode(),
        f'{good},"imsi":"{imsi}"}}'.encode(),
        f'{good},"kind":7}}'.encode(),
        f'{good},"kind":null,"rat":["lte"]}}'.encode(),
        f'{{"event_id":["x"],"imsi":{imsi},"ts":"{now_ms}","cell":null}}'.encode(),
        *(
            f'{{"event_id":"x","imsi":"{imsi}","ts":{number},"cell":"001-01-0000-0001"}}'.encode()
            for number in (
                "NaN",
                "Infinity",
                "-Infinity",
                "1e999",
                "-0",
                "1.5",
                "9" * 400,
                "0x10",
                "true",
                "18446744073709551616",
            )
        ),
        f'{good},"weight":NaN}}'.encode(),
        f'{good},"weight":-Infinity}}'.encode(),
        b"null",
        b"[]",
        b'[null,true,1,NaN,"x",[],{}]',
        f"[{good}}},{good}}}".encode(),
        f"[{good}}}]]".encode(),
        f"[{good}}},,{good}}}]".encode(),
        f'{good},"note":"{"x" * huge}"}}'.encode(),
        rng.randbytes(rng.choice([1, 64, 4_096])),
        f'{good},"kind":"update"}}\x00'.encode(),
    ]
    rng.shuffle(said)
    return said[: rng.randrange(12, len(said) + 1)]


async def send_poison(settings: Settings, rng: random.Random, now_ms: int) -> int:
    """Poison on every raw partition at the record time that the load has come to. Returns how many records."""
    sender = await started(
        lambda: AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap, acks="all", max_request_size=2 << 20)
    )
    try:
        acks = []
        for value in poison(rng, now_ms):
            partition = rng.randrange(RAW)
            acks.append(await sender.send(settings.topic(ATTACH), value, b"poison", partition, timestamp_ms=now_ms))
        await asyncio.gather(*acks)
    finally:
        await sender.stop()
    return len(acks)
