"""JSON Schemas of our types under names that stay the same when kinds are added."""

from collections.abc import Iterable
from inspect import cleandoc
from typing import Any

import msgspec

from api.submissions import batch_item_type, pascal, request_type
from solvers.registry import AnyKind

PREFIX = "#/components/schemas/"


class Schemas:
    """The components of an OpenAPI document, filled as types are asked for.

    A kind's own types bear its name in front (`DealPickerProblem`): two kinds may both call a type `Deal`.
    """

    def __init__(self, shared: Iterable[Any], kinds: Iterable[AnyKind]) -> None:
        self._types = [*shared]
        references, self.components = msgspec.json.schema_components(self._types, ref_template=PREFIX + "{name}")
        self.components = {name: _tidy(schema, {}) for name, schema in self.components.items()}
        self._references = list(references)
        for kind in kinds:
            self._add_kind(kind)

    def reference(self, type_: Any) -> dict[str, Any]:
        """Return the schema, mostly a `$ref`, of one of the shared types."""
        return self._references[self._types.index(type_)]

    def _add_kind(self, kind: AnyKind) -> None:
        own = [kind.problem, kind.solution, request_type(kind), batch_item_type(kind)]
        own += [kind.why_not.force] if kind.why_not else []
        _, found = msgspec.json.schema_components(own, ref_template=PREFIX + "{name}")
        renamed = {name: self._kind_name(kind, name, schema) for name, schema in found.items()}
        for name, schema in found.items():
            self.components[renamed[name]] = _tidy(schema, renamed)

    def _kind_name(self, kind: AnyKind, name: str, schema: dict[str, Any]) -> str:
        prefix = pascal(kind.name)
        if self.components.get(name) == _tidy(schema, {}) or name.startswith(prefix):
            return name
        return prefix + name


def force_names(kinds: Iterable[AnyKind]) -> list[str]:
    """Return the names of the schemas of what can be forced on the kinds' answers."""
    return [pascal(kind.name) + kind.why_not.force.__name__ for kind in kinds if kind.why_not]


def _tidy(schema: Any, names: dict[str, str]) -> Any:
    """Return the schema with its references renamed and its descriptions without the code's indentation."""
    if isinstance(schema, list):
        return [_tidy(part, names) for part in schema]
    if not isinstance(schema, dict):
        return schema
    tidy = {key: _tidy(part, names) for key, part in schema.items()}
    target, description = tidy.get("$ref"), tidy.get("description")
    if isinstance(target, str):
        name = target.removeprefix(PREFIX)
        tidy["$ref"] = PREFIX + names.get(name, name)
    if isinstance(description, str):
        tidy["description"] = cleandoc(description)
    return tidy
