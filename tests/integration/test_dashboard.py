"""Every query of the Grafana dashboard, on a real Prometheus that scrapes a running deployment."""

import asyncio
import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from streams.local.ports import free_ports
from tests.support.deployment import ONE, World, deployment, make_world

pytestmark = pytest.mark.integration

DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana" / "dashboards" / "throng.json"
PROMETHEUS = shutil.which("prometheus")


def queries() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


@asynccontextmanager
async def prometheus(folder: Path, ports: dict[str, int]) -> AsyncIterator[str]:
    port = free_ports(1)[0]
    jobs = "".join(
        f"  - job_name: {role}\n    static_configs: [{{targets: ['127.0.0.1:{at}']}}]\n" for role, at in ports.items()
    )
    config = folder / "prometheus.yml"
    config.write_text(f"global:\n  scrape_interval: 1s\nscrape_configs:\n{jobs}")
    process = await asyncio.create_subprocess_exec(
        str(PROMETHEUS),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def ask(url: str, expression: str) -> list[dict[str, object]]:
    def fetch() -> dict[str, object]:
        query = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"{url}/api/v1/query?{query}", timeout=5) as answer:
            return dict(json.loads(answer.read()))

    answer = await asyncio.to_thread(fetch)
    assert answer["status"] == "success", expression
    return answer["data"]["result"]  # type: ignore[index,no-any-return]


async def scraped(url: str) -> None:
    """Wait until Prometheus has two samples of every role."""
    async with asyncio.timeout(180):
        while True:
            try:
                if len(await ask(url, "count_over_time(up[20s]) > 2 and up == 1")) == 3:
                    return
            except OSError:
                pass
            await asyncio.sleep(0.5)


@pytest.mark.timeout(600)
@pytest.mark.skipif(PROMETHEUS is None, reason="no Prometheus here: install Debian's package prometheus")
async def test_every_query_gives_an_answer(stack: object, namespace: str, tmp_path: Path) -> None:
    world: World = make_world(500, 2)
    async with (
        deployment(stack, namespace, world, tmp_path, *ONE) as run,
        prometheus(tmp_path, {role.split("-")[0]: port for role, port in run.ports.items()}) as url,
    ):
        await scraped(url)
        for expression in queries():
            assert await ask(url, expression), f"no series: {expression}"
