"""Reads how far the network's view is from who is there, by measure: a deployment's own figures, or those shipped."""

import tomllib
from pathlib import Path

import msgspec

from streams.core.estimates.view import SIMULATED, View, Views
from streams.errors import ThrongError
from streams.settings import Settings


def load_views(file: Path) -> Views:
    """The figures of a file: a table for each measure, with `share` and `apart`. A measure without one has none.

    Raises:
        ThrongError: `view`, naming the file and what is wrong.
    """
    try:
        return msgspec.convert(tomllib.loads(file.read_text(encoding="utf-8-sig")), dict[str, View])
    except OSError as error:
        raise ThrongError("view", f"cannot read the network's view {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ThrongError("view", f"the network's view {file} is not as expected: {error}") from error


def configured_views(settings: Settings) -> Views:
    """The figures of the deployment: of its own file if it names one, else those shipped.

    Raises:
        ThrongError: `view`, naming the file and what is wrong.
    """
    return load_views(Path(settings.release.view)) if settings.release.view else SIMULATED
