"""Single values against single types: written the same way in JSON, taken by msgspec, the same value exactly."""

import datetime as dt
import decimal
import uuid
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import inspect

INT64: Final = range(-(2**63), 2**63)

_UNCHECKED = inspect.AnyType | inspect.RawType | inspect.CustomType | inspect.ExtType
_NUMBERS = inspect.FloatType | inspect.DecimalType
_TEXTS = (
    inspect.StrType
    | inspect.BytesType
    | inspect.DateTimeType
    | inspect.DateType
    | inspect.TimeType
    | inspect.TimeDeltaType
    | inspect.UUIDType
    | inspect.DecimalType
)
_ARRAYS = inspect.CollectionType | inspect.TupleType | inspect.NamedTupleType
_OBJECTS = inspect.DictType | inspect.TypedDictType | inspect.DataclassType
_PYTHON_TYPES: Final[dict[type[inspect.Type], Any]] = {
    inspect.IntType: int,
    inspect.FloatType: float,
    inspect.StrType: str,
    inspect.BytesType: bytes,
    inspect.DateType: dt.date,
    inspect.TimeDeltaType: dt.timedelta,
    inspect.UUIDType: uuid.UUID,
    inspect.DecimalType: decimal.Decimal,
}


def allowed_values(type_: inspect.EnumType | inspect.LiteralType) -> list[Any]:
    """Return the values an enumeration takes, as JSON has them."""
    return [member.value for member in type_.cls] if isinstance(type_, inspect.EnumType) else list(type_.values)


def is_exactly(value: Any, other: Any) -> bool:
    """Tell whether two plain values are the same in JSON, where `true` is not `1`."""
    return type(value) is type(other) and bool(value == other)


def fits(value: Any, type_: inspect.Type) -> bool:  # noqa: PLR0911 (one line per way of writing a value)
    """Tell whether a plain value is written in JSON as values of this type are (text, number, list, …)."""
    if isinstance(type_, _UNCHECKED):
        return True
    if isinstance(type_, inspect.EnumType | inspect.LiteralType):
        return any(type(value) is type(allowed) for allowed in allowed_values(type_))
    if value is None:
        return isinstance(type_, inspect.NoneType)
    if isinstance(value, bool):
        return isinstance(type_, inspect.BoolType)
    if isinstance(value, int):
        return isinstance(type_, inspect.IntType | _NUMBERS)
    if isinstance(value, float):
        return isinstance(type_, _NUMBERS)
    if isinstance(value, list | tuple):
        return isinstance(type_, _ARRAYS) or (isinstance(type_, inspect.StructType) and type_.array_like)
    if isinstance(value, dict):
        return isinstance(type_, _OBJECTS) or (isinstance(type_, inspect.StructType) and not type_.array_like)
    return isinstance(type_, _TEXTS)


def python_type(type_: inspect.Type) -> Any:
    """Return the Python type behind a scalar or a class, for msgspec to judge; `Any` where there is none."""
    if isinstance(type_, inspect.DateTimeType):
        return Annotated[dt.datetime, msgspec.Meta(tz=type_.tz)]
    if isinstance(type_, inspect.TimeType):
        return Annotated[dt.time, msgspec.Meta(tz=type_.tz)]
    if isinstance(type_, inspect.LiteralType):
        return Literal[type_.values]
    return getattr(type_, "cls", None) or _PYTHON_TYPES.get(type(type_), Any)


def refusal(value: Any, type_: Any) -> str | None:
    """Return msgspec's reason not to take a plain value as a Python type; None: it takes it."""
    try:
        msgspec.convert(value, type_, str_keys=True)
    except msgspec.ValidationError as error:
        return str(error)
    return None
