"""Fields of a problem on the command line, typed by the kind's schema: `--budget 25e6 --set 'caps={"office": 2}'`."""

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from milpa.errors import UsageError
from solvers.rows.columns import field_notes

Schema = Mapping[str, Any]

_SCALARS = frozenset({"string", "number", "integer", "boolean", "null"})
_NUMBER_HINT = "; numbers are written as 1234.5 or 25e6, a per cent as 0.01"
_TRUE, _FALSE = frozenset({"true", "yes", "on", "1"}), frozenset({"false", "no", "off", "0"})


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One field of a problem. types: JSON types it takes; items: those of its elements, for a list."""

    name: str
    types: frozenset[str]
    items: frozenset[str] = frozenset()
    choices: tuple[Any, ...] = ()
    required: bool = False
    default: Any = None
    description: str = ""

    @property
    def option(self) -> str:
        """Its name on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def on_the_line(self) -> bool:
        """Whether a person can write it as one word: a scalar, or a list of scalars."""
        return bool(self.types & (_SCALARS - {"null"})) or (self.types == {"array"} and self.items <= _SCALARS)

    def read(self, text: str) -> Any:
        """Return the value that the text stands for. UsageError `bad_option`: it can't be one of the field's."""
        if text == "null" and "null" in self.types:
            return None
        if self._is_json(text):
            return self._read_json(text)
        for convert in self._conversions():
            try:
                return convert(text)
            except ValueError:
                continue
        expected = " or ".join(sorted(self.types - {"null"})) or "a value"
        hint = _NUMBER_HINT if self.types & {"number", "integer"} and any(map(str.isdigit, text)) else ""
        raise UsageError("bad_option", f"{self.option}: {text!r} is not {_article(expected)}{hint}.")

    def _is_json(self, text: str) -> bool:
        return text[:1] in {"[", "{"} and bool(self.types & {"array", "object"}) and "string" not in self.types

    def _read_json(self, text: str) -> Any:
        try:
            return _json(text)
        except ValueError as error:
            hint = 'a,b or \'["a","b"]\'' if self.on_the_line else "quoted for the shell: '{\"a\": 1}'"
            raise UsageError("bad_option", f"{self.option}: {text!r} is no JSON ({error}); write {hint}.") from None

    def _conversions(self) -> Iterator[Any]:
        if "integer" in self.types:
            yield _whole
        if "number" in self.types:
            yield _number
        if "boolean" in self.types:
            yield _truth
        if "string" in self.types:
            yield str
        if "array" in self.types and self.items <= _SCALARS:
            yield self._listed
        if not self.types:
            yield _json
            yield str

    def _listed(self, text: str) -> list[Any]:
        element = Field(name=self.name, types=self.items)
        return [element.read(part.strip()) for part in text.split(",") if part.strip()]


def fields_of(schema: Schema) -> dict[str, Field]:
    """Return the fields of a problem's JSON Schema, by name."""
    root = _resolve(schema, schema)
    required = set(root.get("required", ()))
    notes = field_notes(root.get("description", ""))
    return {
        name: Field(
            name=name,
            types=_types(node, schema),
            items=_items(node, schema),
            choices=tuple(_resolve(node, schema).get("enum", ())),
            required=name in required,
            default=node.get("default"),
            description="; ".join(filter(None, [node.get("description") or notes.get(name, ""), _held(node, schema)])),
        )
        for name, node in root.get("properties", {}).items()
    }


def columns_of(schema: Schema, table: str) -> dict[str, Field]:
    """Return the fields of a row of one of the problem's lists, by name: the columns of a file with its rows."""
    rows = _resolve(_resolve(schema, schema)["properties"][table], schema)
    return fields_of({**rows["items"], "$defs": schema["$defs"]})


def read_words(words: Sequence[str], fields: Mapping[str, Field]) -> tuple[list[str], dict[str, Any]]:
    """Tell `--field value` pairs from the other words. UsageError: an unknown option, or one without a value."""
    others: list[str] = []
    found: dict[str, Any] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            others.append(word)
            continue
        option, equals, text = word.partition("=")
        field = _find(option, fields)
        if not equals:
            alone = field.types <= {"boolean", "null"} and (not rest or rest[0].lower() not in _TRUE | _FALSE)
            if not alone and not rest:
                raise UsageError("bad_option", f"{option} needs a value.")
            text = "true" if alone else rest.pop(0)
        found[field.name] = field.read(text)
    return others, found


def read_settings(settings: Sequence[str], fields: Mapping[str, Field]) -> dict[str, Any]:
    """Read `NAME=VALUE` words; the value is JSON, or what the field's type makes of the text."""
    found: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise UsageError("bad_option", f"--set takes NAME=VALUE, not {setting!r}.")
        field = _find("--" + name.replace("_", "-"), fields)
        found[field.name] = field.read(text)
    return found


def _find(option: str, fields: Mapping[str, Field]) -> Field:
    known = {field.option: field for field in fields.values()}
    if option in known:
        return known[option]
    close = difflib.get_close_matches(option, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"this kind's fields are {', '.join(sorted(known))}."
    raise UsageError("bad_option", f"There is no option {option}: {hint}")


def _types(node: Schema, schema: Schema) -> frozenset[str]:
    node = _resolve(node, schema)
    if "anyOf" in node:
        return frozenset().union(*(_types(part, schema) for part in node["anyOf"]))
    if "enum" in node:
        return frozenset("string" if isinstance(choice, str) else "number" for choice in node["enum"])
    named = node.get("type", ())
    return frozenset([named] if isinstance(named, str) else named)


def _items(node: Schema, schema: Schema) -> frozenset[str]:
    node = _resolve(node, schema)
    for part in node.get("anyOf", [node]):
        resolved = _resolve(part, schema)
        if resolved.get("type") == "array":
            return _types(resolved.get("items", {}), schema)
    return frozenset()


def _held(node: Schema, schema: Schema) -> str:
    """Return what is said of the objects or choices that a field holds, with the names of an object's fields."""
    for part in node.get("anyOf", [node]):
        resolved = _resolve(part, schema)
        listed = resolved.get("type") == "array"
        held = _resolve(resolved.get("items", {}), schema) if listed else resolved
        said = " ".join(held.get("description", "").split())
        if "properties" in held:
            names = "{" + ", ".join(f'"{name}": …' for name in held["properties"]) + "}"
            return f"{f'[{names}, …]' if listed else names} {said}"
        if "enum" in held and part is not held:
            return said
    return ""


def _resolve(node: Schema, schema: Schema) -> Schema:
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    return node


def _whole(text: str) -> int:
    number = float(text)
    if not number.is_integer():
        raise ValueError(text)
    return int(number)


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _truth(text: str) -> bool:
    lowered = text.lower()
    if lowered not in _TRUE | _FALSE:
        raise ValueError(text)
    return lowered in _TRUE


def _json(text: str) -> Any:
    return msgspec.json.decode(text)


def _article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"
