"""Services beside each other, and a process that can't end: it exits all the same, wherever it hangs."""

import asyncio
import subprocess
import sys

import pytest

from streams.agents.life import started, until
from streams.errors import ThrongError

# Each hangs where Faust has ended already.
PROGRAM = """
import asyncio, sys, threading, time
from streams.agents.life import LastResort, started, until
from streams.agents import life

life.LAST_RESORT = LastResort(0.3)

class Hangs:
    async def start(self): pass
    async def stop(self): await asyncio.Event().wait()

async def service(): raise ValueError

async def main(where):
    if where == "unarmed":
        life.LAST_RESORT.begin("a failure")
        return await asyncio.sleep(1)
    life.LAST_RESORT.arm()
    if where == "a context":
        async with started(Hangs()):
            life.LAST_RESORT.begin("Kafka: gone")
    elif where == "a thread":
        life.LAST_RESORT.begin()
        threading.Thread(target=time.sleep, args=(60,)).start()
    else:
        async def stubborn():
            while True:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    pass
        await until(asyncio.Event(), [stubborn, service])

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.parametrize(
    ("where", "code", "said"),
    [
        ("a context", 1, "throng: the shutdown did not end within 0.3 s: exits at once after: Kafka: gone\n"),
        ("a thread", 1, "throng: the shutdown did not end within 0.3 s: exits at once\n"),
        ("a service", 1, "throng: the shutdown did not end within 0.3 s: exits at once\n"),
        ("unarmed", 0, ""),
    ],
)
def test_a_worker_whose_end_hangs_exits_and_says_why(where: str, code: int, said: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, where], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (code, said)


async def test_the_first_failure_of_a_service_ends_the_others_and_is_raised() -> None:
    ended: list[str] = []

    async def going_on() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("going on")

    async def failing() -> None:
        raise ThrongError("audit", "broken")

    async def over() -> None:
        return

    with pytest.raises(ThrongError, match="broken"):
        await until(asyncio.Event(), [going_on, failing])
    with pytest.raises(ThrongError, match="the service over ended by itself"):
        await until(asyncio.Event(), [going_on, over])
    stop = asyncio.Event()
    stop.set()
    await until(stop, [going_on])
    assert ended == ["going on"] * 2 or ended == ["going on"] * 3


async def test_what_was_started_is_stopped_even_if_its_start_fails() -> None:
    said: list[str] = []

    class Thing:
        async def start(self) -> None:
            said.append("start")
            raise OSError("away")

        async def stop(self) -> None:
            said.append("stop")

    with pytest.raises(ThrongError, match="^Kafka: away$"):
        async with started(Thing()):
            said.append("never")
    assert said == ["start", "stop"]
