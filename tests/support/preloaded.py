"""What the process has imported and compiled that workers and commands of tests are forked from (`processes.py`)."""

import sys
from importlib import import_module

sys.modules["scipy"] = None  # type: ignore[assignment] # as the command line leaves it out

for name in (
    "agents.workers",
    "api.run",
    *(f"cli.{name}" for name in ("api", "audit", "policy", "recording", "topics")),
):
    import_module(f"streams.{name}")
for _ in import_module("streams.warm").steps([]):
    pass
