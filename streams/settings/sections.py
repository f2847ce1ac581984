"""All sections together."""

from typing import get_type_hints

import msgspec

from streams.settings.counting import Crowd, Epoch, Gateway, Release
from streams.settings.servers import Kafka, Redis
from streams.settings.serving import Api, Audit, Worker


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of them."""

    kafka: Kafka = Kafka()
    redis: Redis = Redis()
    epoch: Epoch = Epoch()
    gateway: Gateway = Gateway()
    crowd: Crowd = Crowd()
    release: Release = Release()
    worker: Worker = Worker()
    audit: Audit = Audit()
    api: Api = Api()

    def topic(self, name: str) -> str:
        """The name of a topic of `schemas.topics` on this deployment's cluster."""
        return f"{self.kafka.namespace}.{name}" if self.kafka.namespace else name


SECTIONS: dict[str, type[msgspec.Struct]] = {
    name: kind for name, kind in get_type_hints(Settings).items() if isinstance(kind, type)
}
