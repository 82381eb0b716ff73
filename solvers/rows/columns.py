"""The columns of a table, as the type of its rows declares them."""

import re
from typing import Any, Final

import msgspec
from msgspec import inspect

from solvers.rows.cells import Parse, parser
from solvers.type_words import describe, show, unwrap

_FIELD_NOTE: Final = re.compile(r"(?:^|[.;]\s+|\n)`?(\w+(?:, \w+)*)`?:\s+", re.MULTILINE)


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A column: its header, whether each row needs a value, what a reader should know, and what reads its cells."""

    name: str
    required: bool
    note: str
    parse: Parse


def columns_of(problem: type[msgspec.Struct], table: str) -> list[Column]:
    """Return the columns of a problem's table. TypeError: its rows are no objects, or a cell cannot hold a field."""
    rows = next(field for field in msgspec.structs.fields(problem) if field.encode_name == table)
    declared = unwrap(inspect.type_info(rows.type))
    row = unwrap(declared.item_type) if isinstance(declared, inspect.CollectionType) else declared
    if not isinstance(row, inspect.StructType):
        raise TypeError(f"{problem.__module__}: {table} is no list of objects")
    notes = field_notes(row.cls.__doc__ or "")
    return [_column(field, notes) for field in row.fields]


def _column(field: inspect.Field, notes: dict[str, str]) -> Column:
    said = notes.get(field.encode_name) or notes.get(field.name, "")
    wanted = describe(field.type).removesuffix(" or null")
    needed = "Required." if field.required else _when_empty(field.default)
    return Column(
        name=field.encode_name,
        required=field.required,
        note="\n".join(filter(None, [said, f"{wanted[0].upper()}{wanted[1:]}. {needed}"])),
        parse=parser(field.type),
    )


def _when_empty(default: Any) -> str:
    if default is msgspec.NODEFAULT or default in (None, ""):
        return "May be empty."
    return f"Empty: {show(default)}."


def field_notes(docstring: str) -> dict[str, str]:
    """Return what a docstring of the house says of each field: "price, fee: money. risk: …".

    >>> field_notes("A deal. price, fee: money. risk: of the whole deal")
    {'price': 'money', 'fee': 'money', 'risk': 'of the whole deal'}
    """
    _, *parts = _FIELD_NOTE.split(docstring)
    notes = {}
    for names, text in zip(parts[::2], parts[1::2], strict=True):
        for name in names.split(", "):
            notes[name] = " ".join(text.split()).rstrip(".")
    return notes
