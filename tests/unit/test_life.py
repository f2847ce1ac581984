"""Services beside each other, and a process that can't end: it exits all the same, wherever it hangs."""

import asyncio
import re
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
    ("where", "why", "hung"),
    [
        ("a context", " after: Kafka: gone", r"task: main .* > started .* > Hangs\.stop \(<string>:\d+\) > "),
        ("a thread", "", r"thread Thread-\d+ \(sleep\): .* > Thread\.run \(threading\.py:\d+\)$"),
        ("a service", "", r"task: endless \(life\.py:\d+\) > main\.<locals>\.stubborn \(<string>:\d+\) > sleep "),
    ],
)
def test_a_worker_whose_end_hangs_exits_and_says_where_and_why(where: str, why: str, hung: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, where], capture_output=True, text=True, timeout=60)
    *left, last = done.stderr.splitlines()
    assert done.returncode == 1
    assert last == f"throng: the shutdown did not end within 0.3 s: exits at once{why}"
    assert all(line.startswith("not ended: ") for line in left)
    assert any(re.search(hung, line) for line in left), done.stderr


def test_a_process_that_is_not_a_workers_own_is_not_exited() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, "unarmed"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


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
