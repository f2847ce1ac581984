"""`throng demo` on a small town: it counts and shows what arrived, and leaves nothing behind, however it ends."""

import asyncio
import os
import re
import signal
import sys
import uuid
from pathlib import Path

import aiohttp
import orjson
import pytest

from tests.support import browser

pytestmark = pytest.mark.integration

# Two days at this speed take longer than any of these tests: nothing here ends with the town.
SMALL = ("--subscribers", "3000", "--speed", "900", "--hours", "48")
TOTALS = {"attach_events", "footfall_released", "flows_released"}
in_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="the processes are looked up in /proc")


async def start(folder: Path, mark: str, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streams.cli.main", "demo", *SMALL, *arguments),
        env={**os.environ, "TMPDIR": str(folder), "DEMO_MARK": mark},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )


def marked(mark: str) -> list[int]:
    """The processes that inherited the mark, however deep below the demo."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"DEMO_MARK={mark}".encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue  # it has ended meanwhile
    return found


def nothing_left(mark: str, folder: Path) -> bool:
    return marked(mark) == [] and next(folder.iterdir(), None) is None


@in_proc
async def test_ctrl_c_while_it_starts_leaves_no_process_and_no_file(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    demo = await start(tmp_path, mark)
    assert demo.stderr is not None
    said = ""
    async with asyncio.timeout(120):
        while "starting Kafka 4" not in said:
            said += (await demo.stderr.readline()).decode()
        demo.send_signal(signal.SIGINT)
        out, err = await demo.communicate()
    assert "Traceback" not in said + err.decode()
    assert demo.returncode == 0
    assert set(orjson.loads(out.splitlines()[-1])) >= TOTALS
    assert nothing_left(mark, tmp_path)


@in_proc
async def test_it_ends_by_itself_after_the_time_that_it_is_given(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    demo = await start(tmp_path, mark, "--for", "12")
    async with asyncio.timeout(150):
        out, err = await demo.communicate()
    assert demo.returncode == 0, err.decode()
    assert orjson.loads(out.splitlines()[-1])["attach_events"] > 0
    assert nothing_left(mark, tmp_path)


async def looked_at(origin: str, path: str) -> None:
    """Whoever opens the map sees people; in a real browser, if there is one."""
    headers = {"Authorization": f"Bearer {path.partition('=')[2]}"}
    async with aiohttp.ClientSession(origin, headers=headers) as session:
        async with session.get("/map/") as page:
            assert page.status == 200
        async with session.get("/v1/footfall?measure=present") as answer:
            while answer.status == 404:  # nothing is released yet
                await asyncio.sleep(0.5)
                answer = await session.get("/v1/footfall?measure=present")
            told = (await answer.json())["records"]
            assert len({record["zone"] for record in told}) == len(told) > 10
    if browser.found() is None:
        return
    async with browser.started() as chromium, browser.opened(chromium, origin, path) as seen:
        await seen.until("#clock", "people present")
        await seen.until("#state", "playing an earlier day")
        assert await seen.page.locator("circle[data-place]").count() == await seen.page.locator("tbody tr").count() > 10
        async with asyncio.timeout(40):
            while "people, in 19 of 20 cases" not in await seen.text("#place"):
                # A click is lost on a row that moves meanwhile: here a pane comes three times a second.
                await seen.page.locator("tbody button").first.click()
                await asyncio.sleep(0.5)


@in_proc
async def test_the_last_line_counts_and_the_map_and_the_picture_show_what_arrived(tmp_path: Path) -> None:
    """Until Ctrl-C, which comes once it was looked at: how long a browser takes to start is not the demo's."""
    mark, folder, picture = uuid.uuid4().hex, tmp_path / "tmp", tmp_path / "demo.svg"
    folder.mkdir()
    demo = await start(folder, mark, "--picture", str(picture))
    assert demo.stderr is not None
    async with asyncio.timeout(240):
        while not (
            at := re.search(r"(http://127.0.0.1:\d+)(/map/#token=\S+)", said := (await demo.stderr.readline()).decode())
        ):
            assert said, "it ended before it told where the map is"
        await looked_at(*at.groups())
        assert len(marked(mark)) > 1
        demo.send_signal(signal.SIGINT)
        out, err = await demo.communicate()
    assert "Traceback" not in err.decode()
    assert demo.returncode == 0, err.decode()
    totals = orjson.loads(out.splitlines()[-1])
    assert set(totals) >= TOTALS
    assert 0 < totals["sightings"] < totals["attach_events"]
    assert totals["footfall_released"] > 0
    drawn = picture.read_text()
    assert "busiest" in drawn and "token" not in drawn and "http" not in drawn.split("</style>")[0].split("<style>")[1]
    assert nothing_left(mark, folder)
