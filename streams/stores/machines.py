"""Reads the list of machines: devices whose events are not counted."""

from pathlib import Path

from streams.core.events.machines import NO_MACHINES, MachineTable, read_machines
from streams.errors import ThrongError


def load_machines(path: str) -> MachineTable:
    """The list at a path; nothing of it is used if a line isn't understood. No path: no machines.

    Raises:
        ThrongError: `machines`, naming what is wrong.
    """
    if not path:
        return NO_MACHINES
    try:
        return read_machines(Path(path).read_text("utf-8"))
    except OSError as error:
        raise ThrongError("machines", f"cannot read the list of machines {path}: {error.strerror}") from error
    except ValueError as error:
        raise ThrongError("machines", f"the list of machines {path} is not as expected: {error}") from error
