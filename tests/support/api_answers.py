"""What a deployment's API answers, against the released topics."""

import asyncio
from collections.abc import Sequence

import aiohttp
import orjson
from aiokafka.structs import ConsumerRecord


async def api_shows_newest(port: int, token: str, released: Sequence[ConsumerRecord]) -> None:
    """Wait until it has, of each place, the newest of the released records of people present."""
    told = sorted((orjson.loads(record.value) for record in released), key=lambda record: record["end"])
    newest = {record["zone"]: record for record in told if record["measure"] == "present"}
    assert len(newest) > 20
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as client, asyncio.timeout(180):
        for zone, record in newest.items():
            said: object = None
            while said != [record]:
                asked = f"http://127.0.0.1:{port}/v1/footfall?measure=present&zone={zone}"
                async with client.get(asked) as answer:
                    said = (await answer.json()).get("records")
