"""Rows of files, one after another, in bounded memory: CSV, NDJSON (both also as .gz), and Parquet."""

import csv
import gzip
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

import orjson

from streams.errors import ThrongError
from streams.importing.mapping import Columns

if TYPE_CHECKING:
    from _csv import Reader

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


def check_columns(paths: tuple[Path, ...], columns: Columns) -> None:
    """Refuse files without a column that the mapping names, before any row is read. Rows of NDJSON have each their own.
    Says nothing of what the file has instead: without a header that is somebody's row.

    Raises:
        ThrongError: `import`, naming the columns.
    """
    for path in paths:
        if _ending(path) in NDJSON:
            continue
        try:
            names = _parquet_names(path) if _ending(path) in PARQUET else _csv_names(path, columns)
        except (OSError, EOFError) as error:
            raise unreadable(path, error) from error
        nested = _ending(path) in PARQUET
        lacking = [n for n in columns.named() if n not in names and not (nested and n.partition(".")[0] in names)]
        if not names or not lacking:
            continue
        listed = ", ".join(map(repr, lacking))
        if nested:
            raise ThrongError("import", f"{path} has no column {listed}, which the mapping names")
        if columns.columns:
            raise ThrongError("import", f"the mapping names {listed}, which its own 'columns' don't have ({path})")
        hint = "is its first line a header (if not, say 'columns'), and are 'skip' and 'delimiter' right?"
        raise ThrongError("import", f"{path} has no column {listed}, which the mapping names: {hint}")


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


def _csv_names(path: Path, columns: Columns) -> list[str]:
    try:
        with _opened(path) as file:
            return _table(path, file, columns)[0]
    except csv.Error as error:
        raise ThrongError("import", f"{path} is no CSV: {error}") from error


def _table(path: Path, file: BinaryIO, columns: Columns) -> "tuple[list[str], Reader]":
    """A CSV's columns, and what reads its rows."""
    delimiter = "\t" if _ending(path) == ".tsv" and columns.delimiter == "," else columns.delimiter
    lines = (line.decode("utf-8-sig", "replace") for line in iter(lambda: file.readline(LONGEST_LINE), b""))
    for _ in range(columns.skip):
        next(lines, None)
    reader = csv.reader(lines, delimiter=delimiter)
    return list(columns.columns) or [name.strip() for name in next(reader, [])], reader


def _csv(path: Path, columns: Columns) -> Iterator[Row]:
    with _opened(path) as file:
        names, reader = _table(path, file, columns)
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


def _parquet_names(path: Path) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return [str(name) for name in pq.read_schema(path).names]
    except pa.ArrowInvalid as error:
        raise ThrongError("import", f"{path} is no Parquet file") from error


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
