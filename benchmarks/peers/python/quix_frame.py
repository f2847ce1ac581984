"""The job in Quix Streams: a StreamingDataFrame whose one step is a function.

What it keeps of subscribers is a dict (`--state dict`), or Quix's own state: RocksDB behind a write cache, a store for
each partition (`--state store`), without changelog topics. All events of a subscriber lie on one partition, so neither
needs Quix's `group_by`, which would send every event through Kafka once more. Records have no key; under the store's
prefix for that lie the pseudonyms.
"""

from typing import Any

import job
import options
from quixstreams import Application, State, message_context

CONSUMER = {
    "max.partition.fetch.bytes": 131_072,  # small, so that partitions advance together
    "check.crcs": False,
}
PRODUCER = {"compression.type": "lz4", "linger.ms": 20}


class Store:
    """Quix's state as a mapping from pseudonyms."""

    def __init__(self, state: State) -> None:
        self._state = state

    def get(self, who: bytes) -> int | None:
        """The subscriber's last pane and zone."""
        return self._state.get(who.hex())

    def __setitem__(self, who: bytes, place: int) -> None:
        self._state.set(who.hex(), place)


def main() -> None:
    """Run until SIGTERM, at which Quix commits and ends."""
    choices = options.parser(__doc__)
    choices.add_argument("--state", choices=("dict", "store"), default="dict")
    chosen = choices.parse_args()
    reader, zones = options.reader(chosen)
    app = Application(
        broker_address=chosen.bootstrap,
        consumer_group=chosen.group,
        auto_offset_reset="earliest",
        commit_interval=5.0,
        consumer_extra_config=CONSUMER,
        producer_extra_config=PRODUCER,
        state_dir="state",
        use_changelog_topics=False,
        broker_availability_timeout=0,  # else two checks a record
        loglevel="CRITICAL",
    )
    source = app.topic(chosen.input, key_deserializer="bytes", value_deserializer="bytes")
    output = app.topic(chosen.output, key_serializer="bytes", value_serializer="bytes")
    crowd = job.Crowd(zones, range(source.broker_config.num_partitions))
    read, take = reader.read, crowd.take

    def count(value: bytes) -> list[bytes]:
        return take(message_context().partition, read(value))

    def count_in_store(value: bytes, state: State) -> list[bytes]:
        crowd.last = Store(state)
        return take(message_context().partition, read(value))

    frame: Any = app.dataframe(source)
    if chosen.state == "dict":
        frame = frame.apply(count, expand=True)
    else:
        frame = frame.apply(count_in_store, expand=True, stateful=True)
    frame.to_topic(output)
    app.run()


if __name__ == "__main__":
    options.run(main)
