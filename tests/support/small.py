"""The settings of a small deployment on a test's stack."""

from collections.abc import Mapping
from pathlib import Path

import orjson

from streams.settings import Settings, load_settings


def small(stack: object, namespace: str, folder: Path, zones: Mapping[str, object], **others: object) -> Settings:
    """Of one partition each, with the plan `zones` and the keys in `folder`; `others` stand over these."""
    (folder / "plan.json").write_bytes(orjson.dumps(zones))
    return load_settings(
        None,
        {
            "kafka.bootstrap": stack.kafka,  # type: ignore[attr-defined]
            "redis.url": stack.redis,  # type: ignore[attr-defined]
            "kafka.namespace": namespace,
            "kafka.raw_partitions": 1,
            "kafka.partitions": 1,
            "gateway.plan": str(folder / "plan.json"),
            "gateway.keys": str(folder / "keys"),
            **others,
        },
        {},
    )
