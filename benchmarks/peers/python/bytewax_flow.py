"""The job in Bytewax.

`--state batch`: records are decoded a batch at a time, and one stateful step for each worker takes whole batches of
rows and keeps its subscribers in a dict. `--state map`: the subscribers are the keys of a `stateful_map`, as the
documentation's examples have it; a second stateful step adds up what it tells. One worker: more threads share one GIL.

`--source own` hands record values on as they come from one consumer; `stock` is Bytewax's KafkaSource, with a consumer
for each partition and an object for each record.
"""

import signal
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import bytewax.operators as op
import job
import options
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.inputs import DynamicSource, StatelessSourcePartition
from bytewax.operators import StatefulBatchLogic
from bytewax.run import cli_main
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

BATCH = 1_000
CONSUMER = {
    "max.partition.fetch.bytes": "131072",  # small, so that partitions advance together
    "check.crcs": "false",
    "log_level": "3",  # KafkaSource gives all of these to its admin client too, which says so
}
PRODUCER = {"compression.type": "lz4", "linger.ms": "20"}
LATEST = timedelta(seconds=0.5)
ALL = "all"  # the one key of the steps that are not by subscriber

Part = tuple[int, job.Rows]  # of a partition
Event = tuple[int, int | None, int]  # partition, zone (None: rejected), pane


class Stop:
    """SIGTERM ends the input, and with it the flow."""

    def __init__(self) -> None:
        self.asked = False
        signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, *_: object) -> None:
        self.asked = True

    def check(self) -> None:
        """What a Bytewax source does at its end."""
        if self.asked:
            raise StopIteration


class Values(DynamicSource[Any]):
    """Partition and value of each record of a topic."""

    def __init__(self, bootstrap: str, topic: str, partitions: Iterable[int], stop: Stop) -> None:
        self._config = {
            "bootstrap.servers": bootstrap,
            "group.id": "assigned",
            "enable.auto.commit": "false",
            **CONSUMER,
        }
        self._wanted = [TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions]
        self._stop = stop

    def build(self, step_id: str, worker_index: int, worker_count: int) -> "Reading":
        """The reading of a worker's share."""
        return Reading(self._config, self._wanted[worker_index::worker_count], self._stop)


class Reading(StatelessSourcePartition[Any]):
    """One consumer of several partitions."""

    def __init__(self, config: dict[str, str], wanted: list[TopicPartition], stop: Stop) -> None:
        self._consumer = Consumer(config)
        self._consumer.assign(wanted)
        self._stop = stop

    def next_batch(self) -> list[tuple[int, bytes]]:
        """What there is."""
        self._stop.check()
        return [
            (message.partition(), message.value())
            for message in self._consumer.consume(BATCH, 0.01)
            if message.error() is None
        ]

    def close(self) -> None:
        """Let go of the consumer."""
        self._consumer.close()


class Stock(KafkaSource):
    """KafkaSource that ends when asked."""

    def __init__(self, bootstrap: str, topic: str, stop: Stop) -> None:
        super().__init__([bootstrap], [topic], add_config=CONSUMER, batch_size=BATCH)
        self._stop = stop

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> Any:
        """See KafkaSource."""
        part = super().build_part(step_id, for_part, resume_state)
        read = part.next_batch

        def next_batch() -> list[Any]:
            self._stop.check()
            return read()

        part.next_batch = next_batch  # type: ignore[method-assign]
        return part


class Before:
    """Stands in for the dict of subscribers where a row has the last pane and zone in place of the pseudonym."""

    def get(self, before: int | None) -> int | None:
        """As it is."""
        return before

    def __setitem__(self, before: int | None, place: int) -> None:
        """A step before has noted it."""


def place(before: int | None, event: Event) -> tuple[int | None, list[Part]]:
    """The step of one subscriber: notes the event, and hands it on with the one before."""
    partition, zone, pane = event
    if zone is None:
        return None, [(partition, job.Rows([], 1))]
    return job.place(zone, pane), [(partition, job.Rows([(before, zone, pane)], 0))]


class Counting(StatefulBatchLogic[list[Part], bytes, None]):
    """Rows in, output records out."""

    def __init__(self, crowd: job.Crowd) -> None:
        self._crowd = crowd
        self._due: datetime | None = None

    def on_batch(self, values: list[list[Part]]) -> tuple[Iterable[bytes], bool]:
        """Count them."""
        take = self._crowd.take
        self._due = self._due or datetime.now(UTC) + LATEST
        return [record for parts in values for partition, rows in parts for record in take(partition, rows)], False

    def on_notify(self) -> tuple[Iterable[bytes], bool]:
        """Tell what waits: `map` mixes partitions, so what follows the last one's end may belong before it."""
        self._due = None
        return self._crowd.tell(), False

    def on_eof(self) -> tuple[Iterable[bytes], bool]:
        """Tell the rest."""
        return self._crowd.tell(), False

    def notify_at(self) -> datetime | None:
        """When to tell."""
        return self._due

    def snapshot(self) -> None:
        """There is no recovery store."""


def main() -> None:
    """Run until SIGTERM."""
    choices = options.parser(__doc__)
    choices.add_argument("--state", choices=("batch", "map"), default="batch")
    choices.add_argument("--source", choices=("own", "stock"), default="own")
    chosen = choices.parse_args()
    reader, zones = options.reader(chosen)
    client = AdminClient({"bootstrap.servers": chosen.bootstrap})
    partitions = list(client.list_topics(chosen.input).topics[chosen.input].partitions)
    stop, read = Stop(), reader.read

    def decode(records: list[tuple[int, bytes]]) -> list[tuple[str, list[Part]]]:
        return [(ALL, [(partition, read(value)) for partition, value in records])]

    def spread(records: list[tuple[int, bytes]]) -> Iterator[tuple[str, Event]]:
        for partition, value in records:
            rows, rejected = read(value)
            for who, zone, pane in rows:
                yield who.hex(), (partition, zone, pane)
            for _ in range(rejected):
                yield ALL, (partition, None, 0)

    def values(records: list[KafkaSourceMessage[Any, Any]]) -> list[tuple[int, bytes]]:
        return [(record.partition, record.value) for record in records]

    flow = Dataflow("peer")
    if chosen.source == "own":
        records: Any = op.input("input", flow, Values(chosen.bootstrap, chosen.input, partitions, stop))
    else:
        messages = op.input("input", flow, Stock(chosen.bootstrap, chosen.input, stop))
        records = op.flat_map_batch("values", messages, values)
    crowd = job.Crowd(zones, partitions)
    if chosen.state == "map":
        crowd.last = Before()
        placed = op.stateful_map("last", op.flat_map_batch("decode", records, spread), place)
        parts: Any = op.map("gather", placed, lambda keyed: (ALL, keyed[1]))
    else:
        parts = op.flat_map_batch("decode", records, decode)
    told = op.stateful_batch("count", parts, lambda _: Counting(crowd))
    outgoing = op.map("message", told, lambda keyed: KafkaSinkMessage(None, keyed[1]))
    op.output("output", outgoing, KafkaSink([chosen.bootstrap], chosen.output, add_config=PRODUCER))
    cli_main(flow)


if __name__ == "__main__":
    options.run(main)
