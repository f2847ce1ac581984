"""Files of what is of persons, or exact: recordings, sightings, panes, imported events."""

from pathlib import Path


def owned(path: Path) -> Path:
    """Make the file, if there is none, so that its owner alone may read it, and return its path. One that is there
    stays as its owner had it.

    Raises:
        OSError: it can't be made.
    """
    path.touch(mode=0o600)
    return path
