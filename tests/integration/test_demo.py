"""`throng demo` on a small town: it counts what arrived, and a Ctrl-C leaves nothing behind."""

import asyncio
import os
import signal
import sys
import uuid
from pathlib import Path

import orjson
import pytest

pytestmark = pytest.mark.integration

SMALL = ("--subscribers", "3000", "--speed", "900", "--hours", "3")


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


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="the processes are looked up in /proc")
@pytest.mark.parametrize("early", [True, False], ids=["while it starts", "while it plays"])
async def test_ctrl_c_leaves_no_process_and_no_file(tmp_path: Path, early: bool) -> None:
    mark = uuid.uuid4().hex
    demo = await start(tmp_path, mark)
    assert demo.stderr is not None and demo.stdout is not None
    said = ""
    async with asyncio.timeout(120):
        while ("starting Kafka 4" if early else "footfall") not in said:
            said += (await demo.stderr.readline()).decode()
        assert len(marked(mark)) > 1 or early
        demo.send_signal(signal.SIGINT)
        out, err = await demo.communicate()
    assert "Traceback" not in said + err.decode()
    assert demo.returncode == 0
    assert set(orjson.loads(out.splitlines()[-1])) >= {"attach_events", "footfall_released", "flows_released"}
    assert marked(mark) == []
    assert next(tmp_path.iterdir(), None) is None  # noqa: ASYNC240


async def test_the_last_line_counts_and_the_picture_shows_what_arrived(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    picture = tmp_path / "demo.svg"
    demo = await start(tmp_path / "tmp", "", "--for", "25", "--picture", str(picture))
    async with asyncio.timeout(150):
        out, err = await demo.communicate()
    assert demo.returncode == 0, err.decode()
    totals = orjson.loads(out.splitlines()[-1])
    assert totals["attach_events"] > 10_000
    assert 0 < totals["sightings"] < totals["attach_events"]
    assert totals["footfall_released"] > 0
    drawn = picture.read_text()
    assert "busiest" in drawn and "http" not in drawn.split("</style>")[0].split("<style>")[1]
