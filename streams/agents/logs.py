"""What a worker's process says on standard error."""

import logging
import sys
from typing import Final

REPEAT_S: Final = 30.0


class Seldom(logging.Filter):
    """While Kafka is away aiokafka says so dozens of times a second: each of its messages once in `REPEAT_S`."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith("aiokafka"):
            return True
        if record.created - self._last.get(str(record.msg), 0.0) < REPEAT_S:
            return False
        self._last[str(record.msg)] = record.created
        return True


def configure_logging(level: str) -> None:
    """Log to standard error: throng's own at `level`, all others' from warnings on.

    At debug numba alone writes hundreds of megabytes about what it compiles, and others may quote what they handle.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(Seldom())
    # Faust's services log their starting and stopping by the module of their class, which isn't called throng.
    logging.basicConfig(
        handlers=[handler], level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("throng").setLevel(level.upper())
    # They log in full what `run` tells in a line, or what a rebalance is known to do.
    for name in ("aiokafka.consumer.group_coordinator", "aiokafka.conn", "mode", "faust.transport.consumer"):
        logging.getLogger(name).setLevel(logging.ERROR)
