"""Rows of files, one after another, in bounded memory: CSV, NDJSON (both also as .gz), and Parquet."""

import csv
import gzip
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import orjson

from streams.errors import ThrongError
from streams.importing.mapping import Columns

CSV: Final = (".csv", ".tsv", ".txt", ".plt")
NDJSON: Final = (".ndjson", ".jsonl", ".json")
PARQUET: Final = (".parquet",)
ROWS_A_BATCH: Final = 8192
LONGEST_LINE: Final = 64 << 20

# A row, or nothing where the line is none.
Row = tuple[int, Mapping[str, Any] | None]


def rows_of(path: Path, columns: Columns) -> Iterator[Row]:
    """Rows with their numbers, from 1: of lines in text (with what is skipped and the header), of rows in Parquet.

    Raises:
        ThrongError: `import` if the file can't be read, or its ending is unknown.
    """
    ending = _ending(path)
    try:
        if ending in PARQUET:
            yield from _parquet(path)
        elif ending in NDJSON:
            yield from ((number, _object(line)) for number, line in lines_of(path))
        else:
            yield from _csv(path, columns)
    except (OSError, EOFError) as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError | EOFError) -> ThrongError:
    """What to say of a file that can't be read."""
    return ThrongError("import", f"cannot read {path}: {getattr(error, 'strerror', None) or error}")


def check_readable(paths: tuple[Path, ...]) -> None:
    """Refuse files of an unknown ending, before any of them is read.

    Raises:
        ThrongError: `usage`, or `import` if a package is missing that reads them.
    """
    for path in paths:
        if _ending(path) not in (*CSV, *NDJSON, *PARQUET):
            known = ", ".join((*CSV, *NDJSON, *PARQUET))
            raise ThrongError("usage", f"{path} ends in none of {known} (the first two kinds also packed, .gz)")
        if _ending(path) in PARQUET and find_spec("pyarrow") is None:
            raise ThrongError("import", f"{path} needs pyarrow: pip install 'throng[record]'")


def lines_of(path: Path) -> Iterator[tuple[int, bytes]]:
    """Lines that aren't empty, with their numbers."""
    with _opened(path) as file:
        for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), b""), 1):
            if line.strip():
                yield number, line


def _ending(path: Path) -> str:
    return Path(path.stem).suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()


def _opened(path: Path) -> BinaryIO:
    return cast("BinaryIO", gzip.open(path, "rb")) if path.suffix.lower() == ".gz" else path.open("rb")


def _object(line: bytes) -> Mapping[str, Any] | None:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return row if isinstance(row, dict) else None


def _csv(path: Path, columns: Columns) -> Iterator[Row]:
    delimiter = "\t" if _ending(path) == ".tsv" and columns.delimiter == "," else columns.delimiter
    with _opened(path) as file:
        lines = (line.decode("utf-8-sig", "replace") for line in iter(lambda: file.readline(LONGEST_LINE), b""))
        for _ in range(columns.skip):
            next(lines, None)
        reader = csv.reader(lines, delimiter=delimiter)
        names = list(columns.columns) or [name.strip() for name in next(reader, [])]
        while True:
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error:
                yield reader.line_num + columns.skip, None
                continue
            if fields:
                row = dict(zip(names, fields, strict=False)) if len(fields) >= len(names) else None
                yield reader.line_num + columns.skip, row


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        number = 0
        for batch in pq.ParquetFile(path).iter_batches(ROWS_A_BATCH):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except pa.ArrowInvalid as error:
        raise ThrongError("import", f"{path} is no Parquet file") from error
