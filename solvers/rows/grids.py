"""Files as grids of text: `grid[0]` is row 1 of the file, an empty cell is an empty text, lines may be short."""

import csv
import io
from typing import Any, Final

from solvers.json_text import place
from solvers.rows.cells import LIST_MARK
from solvers.rows.unreadable import UnreadableError
from solvers.rows.workbook import repack
from solvers.rows_process import TableFormat

MAX_ROWS: Final = 1_000_000
MAX_CELLS: Final = 20_000_000
DELIMITERS: Final = (",", ";")

Grid = list[list[str]]


def read_grid(data: bytes, table_format: TableFormat, headers: set[str]) -> Grid:
    """Return the cells of a file; `headers`, the ones expected, help to tell its delimiter. UnreadableError."""
    if not data:
        raise UnreadableError("empty_table", "The file is empty.")
    if table_format is TableFormat.CSV:
        return _csv(data, headers)
    import polars as pl

    frame = _xlsx(data) if table_format is TableFormat.XLSX else _parquet(data)
    filled = frame.select(pl.all().fill_null("").str.strip_chars())
    body = [list(row) for row in filled.iter_rows()]
    return [frame.columns, *body] if table_format is TableFormat.PARQUET else body


def _csv(data: bytes, headers: set[str]) -> Grid:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UnreadableError("unreadable_table", "The file is UTF-16: save it as CSV UTF-8.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableError(
            "unreadable_table", f"No UTF-8 at {place(data, error.start)}: save as CSV UTF-8."
        ) from None
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text, headers), strict=True)
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # one for the whole process: never lower it
    grid: Grid = []
    cells = 0
    try:
        for line in lines:
            grid.append([cell.strip() for cell in line])
            cells += len(line)
            _check_size(len(grid), cells)
    except csv.Error as error:
        message = f"Row {len(grid) + 1} cannot be read ({error}): look for a quote that does not close."
        raise UnreadableError("unreadable_table", message) from None
    return grid


def _delimiter(text: str, headers: set[str]) -> str:
    """Return the delimiter under which the first line names most of the expected columns."""
    first = next((line for line in io.StringIO(text) if line.strip()), "")

    def known(delimiter: str) -> int:
        return len(headers & {cell.strip(' "\r\n') for cell in first.split(delimiter)})

    return max(DELIMITERS, key=lambda delimiter: (known(delimiter), first.count(delimiter)))


def _xlsx(data: bytes) -> Any:
    """Return the first sheet as a frame of text, numbers with all their digits."""
    import fastexcel
    import polars as pl

    plain = repack(data)
    try:
        workbook = fastexcel.read_excel(plain)
        text = workbook.load_sheet(0, header_row=None, skip_rows=0, dtypes="string").to_polars()
        numbers = workbook.load_sheet(0, header_row=None, skip_rows=0, dtypes="float").to_polars()
    except MemoryError:
        raise
    except BaseException as error:  # a parser in Rust panics with a BaseException
        raise UnreadableError("unreadable_table", "The workbook is damaged: open it and save it anew.") from error
    _check_size(text.height, text.height * text.width)
    exact = [_exact(pl.col(name), numbers[name]).alias(name) for name in text.columns if name in numbers.columns]
    return text.with_columns(exact)


def _exact(text: Any, numbers: Any) -> Any:
    """Return text with the digits restored that its making cut off (nine decimals are kept)."""
    import polars as pl

    shown = text.cast(pl.Float64, strict=False)
    return pl.when(shown != numbers).then(numbers.cast(pl.String)).otherwise(text)


def _parquet(data: bytes) -> Any:
    import polars as pl

    try:
        rows, columns = (
            pl.scan_parquet(data).select(pl.len()).collect().item(),
            pl.read_parquet_schema(io.BytesIO(data)),
        )
        _check_size(rows, rows * len(columns))
        frame = pl.read_parquet(data)
        return frame.select(_as_text(name, type_) for name, type_ in frame.schema.items())
    except (UnreadableError, MemoryError):
        raise
    except BaseException as error:  # the same
        message = "The file is no Parquet table of plain columns and lists, or it is damaged."
        raise UnreadableError("unreadable_table", message) from error


def _as_text(name: str, type_: Any) -> Any:
    import polars as pl

    if isinstance(type_, pl.List):
        return pl.col(name).list.eval(pl.element().cast(pl.String)).list.join(LIST_MARK)
    return pl.col(name).cast(pl.String)


def _check_size(rows: int, cells: int) -> None:
    if rows > MAX_ROWS + 1 or cells > MAX_CELLS:
        message = f"The table has more than {MAX_ROWS:,} rows or {MAX_CELLS:,} cells."
        raise UnreadableError("too_large", message)
