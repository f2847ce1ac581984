"""Rows of files, one after another, in bounded memory: CSV, NDJSON (both also as .gz), and Parquet.

A CSV is UTF-8 if the mapping names no `encoding`, UTF-16 if it begins so. Bytes that are none of it stay apart, as
surrogates: replaced by one mark they would make one person of two.
"""

import csv
import gzip
import io
import zlib
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

import msgspec

from streams.errors import ThrongError
from streams.importing.mapping import Columns

if TYPE_CHECKING:
    from _csv import Reader

    import pyarrow as pa

CSV: Final = (".csv", ".tsv", ".txt", ".plt")
NDJSON: Final = (".ndjson", ".jsonl", ".json")
PARQUET: Final = (".parquet",)
ROWS_A_BATCH: Final = 8192
LONGEST_LINE: Final = 64 << 20
READ_WHOLE: Final = 64 << 20  # bytes
UTF16: Final = (BOM_UTF16_LE, BOM_UTF16_BE)

# What reading a file may meet: what the system refuses, a packed file that is cut or damaged, another encoding.
UNREADABLE: Final = (OSError, EOFError, zlib.error, UnicodeDecodeError)

# A row, or nothing where the line is none.
Row = tuple[int, Mapping[str, Any] | None]


def rows_of(path: Path, columns: Columns) -> Iterator[Row]:
    """Rows with their numbers, from 1: of lines in text (with what is skipped and the header), of rows in Parquet, of
    elements where a .json is one array.

    Raises:
        ThrongError: `import` if the file can't be read, or its ending is unknown.
    """
    ending = _ending(path)
    try:
        if ending in PARQUET:
            yield from _parquet(path)
        elif ending in NDJSON:
            yield from _json(path)
        else:
            yield from _csv(path, columns)
    except UNREADABLE as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> ThrongError:
    """What to say of a file that can't be read."""
    if isinstance(error, UnicodeDecodeError):
        text = f"{path} is not in {error.encoding}: name its encoding in the mapping ('encoding')"
        return ThrongError("import", text)
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
        except UNREADABLE as error:
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
        hint = "is its first line a header (if not, say 'columns'), and are 'skip', 'delimiter' and 'encoding' right?"
        raise ThrongError("import", f"{path} has no column {listed}, which the mapping names: {hint}")


def lines_of(path: Path) -> Iterator[tuple[int, bytes]]:
    """Lines of NDJSON that aren't empty, with their numbers.

    Raises:
        ThrongError: `import` if the file is UTF-16, which JSON is never in.
    """
    with _opened(path) as file:
        for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), b""), 1):
            if number == 1 and line.startswith(UTF16):
                raise ThrongError("import", f"{path} is in UTF-16, and JSON is UTF-8: convert it (iconv -f UTF-16)")
            line = line.removeprefix(BOM_UTF8) if number == 1 else line
            if line.strip():
                yield number, line


def whole_of(path: Path) -> Any:
    """The value of a small .json that is one value, over as many lines as it may be; else None."""
    if path.suffix.lower() != ".json" or path.stat().st_size > READ_WHOLE:
        return None
    return value_of(path.read_bytes().removeprefix(BOM_UTF8))


def value_of(text: bytes) -> Any:
    """A value of JSON, None where it is none. Whole numbers of any length are exact, as identifiers must be."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _ending(path: Path) -> str:
    return Path(path.stem).suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()


def name_of(path: Path) -> str:
    """A file's name without its ending, by which its subscriber may be known: of trace.2026-03-02.csv.gz too."""
    return Path(path.stem).stem if path.suffix.lower() == ".gz" else path.stem


def _opened(path: Path) -> BinaryIO:
    return cast("BinaryIO", gzip.open(path, "rb")) if path.suffix.lower() == ".gz" else path.open("rb")


def _json(path: Path) -> Iterator[Row]:
    whole = whole_of(path)
    if isinstance(whole, dict):
        yield 1, whole
        return
    listed = enumerate(whole, 1) if isinstance(whole, list) else ((n, value_of(line)) for n, line in lines_of(path))
    yield from ((number, row if isinstance(row, dict) else None) for number, row in listed)


def _csv_names(path: Path, columns: Columns) -> list[str]:
    try:
        with _opened(path) as file:
            return _table(path, file, columns)[0]
    except csv.Error as error:
        raise ThrongError("import", f"{path} is no CSV: {error}") from error


def _table(path: Path, file: BinaryIO, columns: Columns) -> "tuple[list[str], Reader]":
    """A CSV's columns, and what reads its rows."""
    delimiter = "\t" if _ending(path) == ".tsv" and columns.delimiter == "," else columns.delimiter
    encoding = columns.encoding or ("utf-16" if file.read(2) in UTF16 else "utf-8-sig")
    file.seek(0)
    text = io.TextIOWrapper(file, encoding, "surrogateescape", newline="")
    lines = iter(lambda: text.readline(LONGEST_LINE), "")
    for _ in range(columns.skip):
        next(lines, None)
    reader = csv.reader(lines, delimiter=delimiter)
    return list(columns.columns) or [name.strip() for name in next(reader, [])], reader


def _csv(path: Path, columns: Columns) -> Iterator[Row]:
    with _opened(path) as file:
        names, reader = _table(path, file, columns)
        while True:
            first = reader.line_num + 1
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error:
                fields = None
            last = reader.line_num + columns.skip
            if fields is None or _took_rows(fields, len(names), reader.dialect.delimiter):
                yield from ((number, None) for number in range(first + columns.skip, last + 1))
            elif fields:
                fits = len(fields) >= len(names) and not any(fields[len(names) :])
                yield last, dict(zip(names, fields, strict=False)) if fits else None


def _took_rows(fields: list[str], columns: int, delimiter: str) -> bool:
    """Whether a quote that isn't closed has made one field of the rows behind it: it has lines with all columns."""
    inner = (line for field in fields if "\n" in field for line in field.splitlines())
    return columns > 1 and any(line.count(delimiter) >= columns - 1 for line in inner)


def _parquet_names(path: Path) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return [str(name) for name in pq.read_schema(path).names]
    except pa.ArrowInvalid as error:
        raise ThrongError("import", f"{path} is no Parquet file, or a damaged one") from error


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        number = 0
        for batch in pq.ParquetFile(path).iter_batches(ROWS_A_BATCH):
            yield from enumerate(_rows(path, _in_utc(batch), number), number + 1)
            number += batch.num_rows
    except pa.ArrowInvalid as error:
        raise ThrongError("import", f"{path} is no Parquet file, or a damaged one") from error


def _in_utc(batch: "pa.RecordBatch") -> "pa.RecordBatch":
    """With times as Python has them: to the microsecond, and of time zones that it may not know in UTC."""
    import pyarrow as pa

    columns = [
        column.cast(pa.timestamp("us", "UTC" if column.type.tz else None), safe=False)
        if pa.types.is_timestamp(column.type)
        else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _rows(path: Path, batch: "pa.RecordBatch", before: int) -> list[Mapping[str, Any]]:
    try:
        rows: list[Mapping[str, Any]] = batch.to_pylist()
    except (ValueError, OverflowError, LookupError) as error:
        # Not what it says: that may be somebody's.
        where = f"{path}: rows {before + 1:,} to {before + batch.num_rows:,}"
        raise ThrongError("import", f"{where} hold text that isn't UTF-8, or a time that isn't one") from error
    return rows
