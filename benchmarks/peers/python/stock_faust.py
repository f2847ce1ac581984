"""The job in Faust, as released: one agent that takes batches of events from its stream.

The subscribers are kept in a dict. One process: the agents of several would share the partitions, at the same CPU time
an event.
"""

import logging
import os

os.environ.setdefault("FAUST_LOOP", "uvloop")  # read when faust is imported

from typing import Any

import faust
import job
import options

TAKE = 2_000
WITHIN_S = 0.2
PARTITIONS = 16


class Line(logging.Formatter):
    """One line a message, without tracebacks."""

    def formatException(self, *_: Any) -> str:  # noqa: N802
        """Nothing of it."""
        return ""


LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": Line}},
    "handlers": {"errors": {"class": "logging.StreamHandler", "formatter": "line", "level": "ERROR"}},
    "root": {"handlers": ["errors"], "level": "ERROR"},
}


def main() -> None:
    """Run until SIGTERM, at which Faust commits and ends."""
    choices = options.parser(__doc__)
    choices.add_argument("--monitor", choices=("lean", "full"), default="lean")
    chosen = choices.parse_args()
    reader, zones = options.reader(chosen)
    app = faust.App(
        chosen.group,
        broker=f"kafka://{chosen.bootstrap}",
        datadir="faust",
        web_enabled=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=131_072,  # small, so that partitions advance together
        broker_max_poll_records=5_000,
        broker_check_crcs=False,
        broker_commit_every=100_000,
        producer_compression_type="lz4",
        stream_wait_empty=False,
        cython_optimizations=True,
        logging_config=LOGGING,
        **({"Monitor": Lean} if chosen.monitor == "lean" else {}),
    )
    raw: dict[str, Any] = {"value_type": bytes, "value_serializer": "raw", "key_serializer": "raw"}
    source, output = app.topic(chosen.input, **raw), app.topic(chosen.output, **raw)
    crowd = job.Crowd(zones, range(PARTITIONS))
    read, take = reader.read, crowd.take

    async def count(stream: Any) -> None:
        async for events in stream.noack_take(TAKE, within=WITHIN_S):
            for event in events:
                for record in take(event.message.partition, read(event.value)):
                    await output.send(value=record)
                event.ack()

    app.agent(source)(count)
    faust.Worker(app, loglevel="ERROR", quiet=True, redirect_stdouts=False).execute_from_commandline()


class Lean(faust.Monitor):
    """A monitor that keeps no statistics of single events."""

    def on_message_in(self, *args: Any) -> None: ...

    def on_message_out(self, *args: Any) -> None: ...

    def on_stream_event_in(self, *args: Any) -> None: ...

    def on_stream_event_out(self, *args: Any) -> None: ...

    def on_topic_buffer_full(self, *args: Any) -> None: ...


if __name__ == "__main__":
    options.run(main)
