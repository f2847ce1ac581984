"""The turn of a worker that nobody takes its partitions from."""

from streams.agents.roles import Turn

ALONE = Turn(lambda: True, lambda: None)
