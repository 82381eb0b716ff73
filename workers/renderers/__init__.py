"""Report in, bytes out: one module for each file format.

The same report gives the same bytes, so that a file made again is the file made before. Each format's library is
imported when that format is first rendered; `warm` imports all of them up front.
"""

from typing import Any

import msgspec

from milpa.jobs import FileFormat
from solvers.report import Report
from workers.renderers.chart import ChartSpec, chart_specs
from workers.renderers.text import file_name, unique

MEDIA_TYPES = {
    FileFormat.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    FileFormat.PDF: "application/pdf",
    FileFormat.PNG: "image/png",
}
LONGEST_FILE_NAME = 80


class RenderedFile(msgspec.Struct, frozen=True):
    """A file ready to be kept. name: with its ending, safe on any file system."""

    name: str
    format: FileFormat
    media_type: str
    data: bytes


def render(report: Report, format: FileFormat, *, stem: str) -> list[RenderedFile]:  # noqa: A002 (the house's word)
    """Return the report's files in one format: one, or for PNG one for each chart (none when there are none).

    stem: how the names begin. KeyError: a chart or a formula names a table or column that the report does not have.
    """
    base = file_name(stem)
    match format:
        case FileFormat.XLSX:
            from workers.renderers.xlsx import workbook

            return [_file(f"{base}.xlsx", format, workbook(report))]
        case FileFormat.CSV:
            from workers.renderers.csv import tables

            made = tables(report)
            return [RenderedFile(f"{base}{made.ending}", format, made.media_type, made.data)]
        case FileFormat.PDF:
            from workers.renderers.pdf import document

            return [_file(f"{base}.pdf", format, document(report))]
        case FileFormat.PNG:
            return _pictures(report, base)


def _pictures(report: Report, base: str) -> list[RenderedFile]:
    from workers.renderers.chart import picture, spec

    names = unique([file_name(chart.name) for chart in report.charts], longest=LONGEST_FILE_NAME)
    return [
        _file(f"{base}-{name}.png", FileFormat.PNG, picture(spec(chart, report)))
        for name, chart in zip(names, report.charts, strict=True)
    ]


def _file(name: str, format: FileFormat, data: bytes) -> RenderedFile:  # noqa: A002 (the house's word)
    return RenderedFile(name, format, MEDIA_TYPES[format], data)


def warm() -> None:
    """Import every library and load every font, so that the first job waits for none of it."""
    from workers.renderers import chart, csv, pdf, xlsx

    chart.warm()
    pdf.warm()


__all__ = ["ChartSpec", "RenderedFile", "chart_specs", "render", "warm"]
