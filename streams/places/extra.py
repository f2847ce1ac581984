"""The optional packages that geometry needs: said in one line where they are missing."""

from importlib.util import find_spec
from typing import Final

from streams.errors import ThrongError

PACKAGES: Final = ("h3", "pyproj", "shapely")


def check_installed(command: str) -> None:
    """Refuse to begin without them.

    Raises:
        ThrongError: `places`.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise ThrongError("places", f"{command} needs {', '.join(missing)}: pip install 'throng[places]'")
