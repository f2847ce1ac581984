"""CSV as a spreadsheet saves it: with commas, semicolons (where numbers have a decimal comma) or tabs, and perhaps a
byte order mark; packed or not."""

import gzip
import io
from pathlib import Path
from typing import Final, TextIO

DELIMITERS: Final = ",;\t"


def opened(path: Path) -> TextIO:
    """A file of lines, *.gz or not."""
    if path.suffix == ".gz":
        return io.TextIOWrapper(gzip.open(path, "rb"), encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def delimiter_of(line: str) -> str:
    """What the columns of a file are told apart by, of its first line."""
    return max(DELIMITERS, key=line.count)
