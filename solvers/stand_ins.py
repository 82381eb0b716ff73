"""Values that stand in for refused ones, so that the rest of a document can be looked at all the same.

A stand-in is made up. So each place has several, as different as its type allows (every word of an enumeration, both
ends of a range): what is found wrong whatever stands in is wrong with the rest, and what is not may come of a stand-in.
"""

from collections.abc import Iterator
from typing import Any, Final, cast

import msgspec
from msgspec import NODEFAULT, inspect

from solvers.issues import Issue, pointer
from solvers.type_values import allowed_values, fits
from solvers.type_words import Path, unwrap

_FAR: Final = 10**9
_NEAR: Final = 1e-6
"""How far a number goes where its type sets no bound, and how near it comes to one that it must not reach."""


class StandIns:
    """What stands in for the refused values of one document, and what that makes unknown."""

    def __init__(self, document: Any) -> None:
        self._document = document
        self._values: dict[Path, list[Any]] = {}
        self._dropped: set[Path] = set()
        self._pointers: set[str] = set()
        self._nameless: set[str] = set()

    def covers(self, place: str) -> bool:
        """Tell whether a JSON pointer leads to a made-up value or into one."""
        parts = place.split("/")
        return any("/".join(parts[:end]) in self._pointers for end in range(1, len(parts) + 1))

    def lacks_names(self, place: str) -> bool:
        """Tell whether a name may be missing that is referred to there: within the same member of the document."""
        return place.split("/")[1] in self._nameless

    def documents(self) -> Iterator[Any]:
        """Yield the document with one stand-in after the other; places vary together, in two different steps."""
        most = max(map(len, self._values.values()), default=1)
        for turn in range(2 * most if len(self._values) > 1 else most):
            changes: dict[Any, Any] = {}
            for number, (path, values) in enumerate(self._values.items()):
                _put(changes, path, _New(values[(turn + number * (turn // most)) % len(values)]))
            for path in self._dropped:
                _put(changes, path, _New(msgspec.UNSET))
            yield _changed(self._document, changes)

    def add(self, issue: Issue, declared: inspect.Type) -> bool:
        """Let something stand in for what a type error points at. False: nothing can."""
        *above, last = [part.replace("~1", "/").replace("~0", "~") for part in issue.pointer.split("/")]
        value, path = self._document, cast("Path", ())
        type_ = _chosen(declared, value)
        for part in above[1:]:
            found = _member(type_, value, part)
            if found is None:
                return False
            field, key = found
            path, value = (*path, key), value[key]
            type_ = _chosen(field.type, value)
        if issue.code == "unknown_field" and isinstance(type_, inspect.StructType):
            return self._drop(type_, value, path, last)
        found = _member(type_, value, last) if len(issue.pointer) else None
        return found is not None and self._stand_in((*path, found[1]), found[0])

    def _drop(self, struct: inspect.StructType, value: dict[str, Any], path: Path, name: str) -> bool:
        """Leave out an unknown field. It may have been meant for any that was left out and could hold its value."""
        self._dropped.add((*path, name))
        self._pointers.add(pointer(*path, name))
        left_out = [field for field in struct.fields if not field.required and field.encode_name not in value]
        meant = [field for field in left_out if any(fits(value[name], option) for option in _options(field.type))]
        return all(self._stand_in((*path, field.encode_name), field) for field in meant)

    def _stand_in(self, path: Path, field: inspect.Field) -> bool:
        made_up = _made_up(field.type, f"{len(self._values)}")
        default = [] if field.required else [_default(field)]
        values = default + [value for value in made_up if value not in default]
        self._values.setdefault(path, values)
        self._pointers.add(pointer(*path))
        in_a_list = any(isinstance(part, int) for part in path)
        if _holds_names(field.type) or (field.required and in_a_list and _is_text(field.type)):
            self._nameless.add(str(path[0]))
        return bool(values)


class _New(msgspec.Struct):
    value: Any


def stand_ins(document: Any, type_: Any, issues: list[Issue]) -> StandIns | None:
    """Return what can stand in for all that these type errors point at. None: the rest can't be looked at by itself."""
    declared = inspect.type_info(type_)
    made = StandIns(document)
    return made if all(made.add(issue, declared) for issue in issues) else None


def _options(type_: inspect.Type) -> list[inspect.Type]:
    type_ = unwrap(type_)
    return [unwrap(option) for option in type_.types] if isinstance(type_, inspect.UnionType) else [type_]


def _chosen(type_: inspect.Type, value: Any) -> inspect.Type | None:
    """Return the one option of a type that a value is written as; None: it is none, or several."""
    options = [option for option in _options(type_) if fits(value, option)]
    return options[0] if len(options) == 1 else None


def _member(type_: inspect.Type | None, value: Any, part: str) -> tuple[inspect.Field, str | int] | None:
    """Return what is declared of a member of a value, and the key to it."""
    match type_:
        case inspect.StructType():
            found = next((field for field in type_.fields if field.encode_name == part), None)
            return None if found is None else (found, part)
        case inspect.DictType():
            return _required(part, type_.value_type), part
        case inspect.CollectionType() if part.isdecimal() and int(part) < len(value):
            return _required(part, type_.item_type), int(part)
        case _:
            return None


def _required(name: str, type_: inspect.Type) -> inspect.Field:
    return inspect.Field(name=name, encode_name=name, type=type_)


def _default(field: inspect.Field) -> Any:
    made = field.default if field.default is not NODEFAULT else field.default_factory()
    return msgspec.to_builtins(made)


def _made_up(type_: inspect.Type, name: str) -> list[Any]:
    """Return plain values of a type, as different as can be; none where it asks for more than can be made up."""
    made: list[Any] = []
    for option in _options(type_):
        match option:
            case inspect.NoneType():
                made.append(None)
            case inspect.BoolType():
                made += [False, True]
            case inspect.EnumType() | inspect.LiteralType():
                made += allowed_values(option)
            case inspect.IntType() | inspect.FloatType():
                made += _numbers(option)
            case inspect.StrType():
                made += _texts(option, name)
            case inspect.CollectionType():
                made += [] if option.min_length else [[]]
                made += [[item] * (option.min_length or 1) for item in _made_up(option.item_type, name)]
            case inspect.DictType():
                made += [] if option.min_length else [{}]
            case inspect.StructType():
                made += _objects(option, name)
    return made


def _numbers(type_: inspect.IntType | inspect.FloatType) -> list[Any]:
    """Return 1, or what is nearest to it in the range, and the ends of the range."""
    near = 1 if isinstance(type_, inspect.IntType) else _NEAR
    low = type_.ge if type_.ge is not None else -_FAR if type_.gt is None else type_.gt + near
    high = type_.le if type_.le is not None else max(low, _FAR) if type_.lt is None else type_.lt - near
    return [] if type_.multiple_of is not None else list(dict.fromkeys([min(max(1, low), high), low, high]))


def _texts(type_: inspect.StrType, name: str) -> list[str]:
    """Return two texts that stand nowhere else, so that no two sentences about them are alike."""
    texts = [f"{mark}{name}".ljust(type_.min_length or 0, mark) for mark in "?!"]
    too_long = type_.max_length is not None and len(texts[0]) > type_.max_length
    return [] if too_long or type_.pattern is not None else texts


def _objects(struct: inspect.StructType, name: str) -> list[dict[str, Any]]:
    """Return objects whose fields vary together, and one with those alone that must be there."""
    fields = {field.encode_name: _made_up(field.type, name) for field in struct.fields}
    needed = [field.encode_name for field in struct.fields if field.required]
    if not all(fields[key] for key in needed) or struct.tag_field is not None:
        return []
    most = max(map(len, fields.values()), default=1)
    full = [{key: each[turn % len(each)] for key, each in fields.items() if each} for turn in range(most)]
    return [{key: fields[key][0] for key in needed}, *full]


def _is_text(type_: inspect.Type) -> bool:
    return any(isinstance(option, inspect.StrType) for option in _options(type_))


def _holds_names(type_: inspect.Type) -> bool:
    """Tell whether a value of the type is a list or an object with text in it."""
    for option in _options(type_):
        match option:
            case inspect.StructType():
                inner = [field.type for field in option.fields]
            case inspect.CollectionType():
                inner = [option.item_type]
            case inspect.DictType():
                return True
            case _:
                inner = []
        if any(_is_text(one) or _holds_names(one) for one in inner):
            return True
    return False


def _put(changes: dict[Any, Any], path: Path, new: _New) -> None:
    for part in path[:-1]:
        changes = changes.setdefault(part, {})
        if isinstance(changes, _New):  # what is above stands in already
            return
    changes[path[-1]] = new


def _changed(value: Any, changes: dict[Any, Any]) -> Any:
    """Return the value with its changed members put in; what has none is shared."""
    changed = value.copy()
    for key, change in changes.items():
        if not isinstance(change, _New):
            changed[key] = _changed(value[key], change)
        elif change.value is msgspec.UNSET:
            del changed[key]
        else:
            changed[key] = change.value
    return changed
