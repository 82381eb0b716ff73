"""Tables in: a form with the job and its rows. The file itself is read in a throwaway process (`solvers.rows`)."""

import asyncio
import io
from pathlib import PurePath
from typing import Any

import msgspec
from multipart import MultipartError, MultipartParser

from api.bodies import AnyRequest, content_type, decode_body, read_body
from api.problem_details import invalid, malformed, too_large, unsupported
from api.submissions import Reading, read_merged
from milpa.settings import Settings
from solvers.decode import Decoded
from solvers.issues import Issue, pointer
from solvers.registry import AnyKind
from solvers.rows_process import RowsRead, TableFormat, combined, read_rows
from solvers.rows_process import template as make_template

MEDIA_TYPES: dict[TableFormat, str] = {
    TableFormat.CSV: "text/csv",
    TableFormat.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    TableFormat.PARQUET: "application/vnd.apache.parquet",
}
_FORMATS = {
    "text/csv": TableFormat.CSV,
    "application/csv": TableFormat.CSV,
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": TableFormat.XLSX,
    "application/vnd.apache.parquet": TableFormat.PARQUET,
}
_READERS = asyncio.Semaphore(2)
"""Processes that read tables at once."""
_MOST_PARTS = 8


class Form(msgspec.Struct, frozen=True):
    """The two parts of a form: the job as JSON, the table as a file."""

    job: bytes
    rows: bytes
    rows_format: TableFormat


class Templates:
    """The empty tables of the kinds, made on first use: they never change while we run."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, TableFormat], bytes] = {}

    async def get(self, kind: str, table_format: TableFormat) -> bytes:
        """Return the file."""
        key = (kind, table_format)
        if key not in self._made:
            async with _READERS:
                self._made[key] = await make_template(kind, table_format)
        return self._made[key]


async def read_form(request: AnyRequest, kind: AnyKind, settings: Settings) -> Reading:
    """Read a submit that came as a form: the table's rows become the main table of the problem."""
    body = await read_body(request)
    form = await asyncio.to_thread(split_form, body, content_type(request).parameters.get("boundary", ""))
    if len(form.rows) > settings.max_upload_bytes:
        raise too_large(settings.max_upload_bytes)
    table: str = kind.main_table or ""
    decoded = decode_body(form.job, dict[str, Any], settings)
    job = _job_without(table, decoded)
    async with _READERS:
        read = await read_rows(kind.name, table, form.rows_format, form.rows)
    job["problem"] = {**job["problem"], table: read.rows}
    reading = await read_merged(kind, job, settings, len(form.rows) + len(form.job))
    return _joined(reading, read)


def _job_without(table: str, decoded: Decoded[dict[str, Any]]) -> dict[str, Any]:
    """Return the job's fields as plain values; the table stands in the file alone."""
    if decoded.value is None:
        raise invalid(decoded.issues, decoded.total)
    problem = decoded.value.get("problem", {})
    if not isinstance(problem, dict):
        raise invalid([Issue(code="wrong_type", pointer="/problem", message="The problem is an object.")])
    if table in problem:
        message = f"The rows of {table} come as the part `rows`; leave them out here."
        raise invalid([Issue(code="given_twice", pointer=pointer("problem", table), message=message)])
    return {**decoded.value, "problem": problem}


def _joined(reading: Reading, read: RowsRead) -> Reading:
    issues, total = combined(read, reading.issues, reading.total, prefix="/problem")
    return Reading(new=None if read.total else reading.new, issues=issues, total=total)


def split_form(body: bytes, boundary: str) -> Form:
    """Return the parts `job` and `rows` of a `multipart/form-data` body; whatever else it holds is refused."""
    try:
        parser = MultipartParser(
            io.BytesIO(body), boundary, part_limit=_MOST_PARTS, spool_limit=len(body) + 1, memory_limit=len(body) + 1
        )
        parts = {part.name: part for part in parser.parts()}
    except (MultipartError, ValueError):
        raise malformed("The body is not multipart/form-data, or is cut short.") from None
    issues = [
        Issue(code="missing_field", pointer=pointer(name), message=f"The form has no part `{name}`.")
        for name in ("job", "rows")
        if name not in parts
    ]
    issues += [
        Issue(code="unknown_field", pointer=pointer(name), message="The form has the parts `job` and `rows` only.")
        for name in parts
        if name not in ("job", "rows")
    ]
    if issues:
        raise invalid(issues)
    rows = parts["rows"]
    return Form(parts["job"].raw, rows.raw, _table_format(rows.filename or "", rows.content_type or ""))


def _table_format(file_name: str, media_type: str) -> TableFormat:
    """Tell the format by the file's name, else by the part's Content-Type."""
    ending = PurePath(file_name).suffix.lower().removeprefix(".")
    if ending in set(TableFormat):
        return TableFormat(ending)
    found = _FORMATS.get(media_type.partition(";")[0].strip().lower())
    if found is None:
        raise unsupported("The part `rows` is a file that ends in .csv, .xlsx or .parquet, or says so by Content-Type.")
    return found
