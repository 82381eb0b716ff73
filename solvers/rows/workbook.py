"""XLSX files before anything parses them: what they claim to hold, and what they really do."""

import io
import re
import zipfile
from typing import Final

from solvers.rows.unreadable import UnreadableError

MAX_UNPACKED_BYTES: Final = 250_000_000
MAX_PARTS: Final = 2_000

_COMPOUND_FILE: Final = b"\xd0\xcf\x11\xe0"  # an encrypted workbook, or one of before 2007
_ERROR_CELL: Final = re.compile(rb"""(<c\b[^<>]*\bt=)["']e["']""")


def repack(data: bytes) -> bytes:
    """Return the same workbook with its parts uncompressed, so that no parser unpacks more than was seen here.

    Formula errors (`#DIV/0!`) become text: a parser would take them for empty cells. UnreadableError: it is no XLSX, it
    is encrypted or damaged, or holds more than MAX_UNPACKED_BYTES.
    """
    if data.startswith(_COMPOUND_FILE):
        raise UnreadableError(
            "unreadable_table", "The workbook is encrypted or of an old format: save it as plain XLSX."
        )
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _unpacked(archive)
    except UnreadableError:
        raise
    except Exception as error:  # zipfile raises a dozen sorts of error over hostile bytes
        raise UnreadableError("unreadable_table", "The file is not an XLSX workbook, or it is damaged.") from error


def _unpacked(archive: zipfile.ZipFile) -> bytes:
    parts = archive.infolist()
    if not any(part.filename == "xl/workbook.xml" for part in parts):
        raise UnreadableError("unreadable_table", "The file is not an XLSX workbook: save the table as XLSX or CSV.")
    if len(parts) > MAX_PARTS or sum(part.file_size for part in parts) > MAX_UNPACKED_BYTES:
        limit = MAX_UNPACKED_BYTES // 1_000_000
        raise UnreadableError("too_large", f"The workbook holds more than {limit} MB when unpacked.")
    plain = io.BytesIO()
    with zipfile.ZipFile(plain, "w", zipfile.ZIP_STORED) as copy:
        for part in parts:
            content = archive.read(part)  # no more than the size claimed: the rest is an error of the checksum
            if part.filename.startswith("xl/worksheets/"):
                content = _ERROR_CELL.sub(rb'\1"str"', content) if b"e" in content else content
            copy.writestr(part.filename, content)
    return plain.getvalue()
