"""Persons in problems: who is named where, and a pseudonym in their place."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec


class SubjectField(msgspec.Struct, frozen=True, kw_only=True):
    """Where a problem names persons, so that what is known of one can be exported and erased.

    kind: what sort of person, such as `student`. each: path to the persons, `*` for every entry of a list or a mapping:
    `students/*`. id: the field of such a record that tells who it is, as text; None: the entry itself is the id. names:
    fields of the record that people know the person by: name, email.
    """

    kind: str
    each: str
    id: str | None = None
    names: tuple[str, ...] = ()


class Person(msgspec.Struct, frozen=True):
    """Someone: what sort of person, and the id among them."""

    kind: str
    id: str


def persons_in(fields: Sequence[SubjectField], problem: Any) -> list[Person]:
    """Return everyone whom a problem names, each once."""
    if not fields:
        return []
    plain = msgspec.to_builtins(problem)
    found = (Person(field.kind, id_) for field in fields for _, id_ in _records(field, plain))
    return list(dict.fromkeys(found))


def words_for(fields: Sequence[SubjectField], problem: Any, person: Person) -> frozenset[str]:
    """Return what a person is called in a problem given as plain values: the id, and the names of its records."""
    words = {person.id}
    for field in fields:
        for record, id_ in _records(field, problem):
            if (field.kind, id_) == (person.kind, person.id) and isinstance(record, dict):
                words |= {name for key in field.names if isinstance(name := record.get(key), str) and name}
    return frozenset(words)


def renamed(value: Any, words: frozenset[str], alias: str) -> Any:
    """Return plain values with an alias for the words, in every text and key: alone, or as whole words in a longer one.

    `_` ends a word: models make names like `seat_S1`. What merely looks like the person (another thing with the same
    id) is renamed too.
    """
    spelled = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    pattern = re.compile(rf"(?<![^\W_])(?:{spelled})(?![^\W_])")
    return _renamed(value, pattern, alias)


def _renamed(value: Any, pattern: re.Pattern[str], alias: str) -> Any:
    match value:
        case str():
            return pattern.sub(lambda _: alias, value)
        case list():
            return [_renamed(entry, pattern, alias) for entry in value]
        case dict():
            return {_renamed(key, pattern, alias): _renamed(entry, pattern, alias) for key, entry in value.items()}
        case _:
            return value


def parts_about(value: Any, words: frozenset[str]) -> list[Any]:
    """Return the smallest objects of plain values in which one of the words stands, alone, as a value or a key."""
    if isinstance(value, dict):
        inner = [part for entry in value.values() for part in parts_about(entry, words)]
        mine = {key: entry for key, entry in value.items() if key in words}
        named = any(isinstance(entry, str) and entry in words for entry in value.values())
        return [value] if named else [*([mine] if mine else []), *inner]
    if isinstance(value, list):
        alone = [entry for entry in value if isinstance(entry, str) and entry in words]
        row = [value] if alone and any(not isinstance(entry, str) for entry in value) else alone[:1]
        return row or [part for entry in value for part in parts_about(entry, words)]
    return []


def _records(field: SubjectField, plain: Any) -> Iterator[tuple[Any, str]]:
    for record in _at(plain, field.each.split("/")):
        id_ = record if field.id is None else record.get(field.id) if isinstance(record, dict) else None
        if isinstance(id_, str):
            yield record, id_


def _at(value: Any, path: Sequence[str]) -> Iterator[Any]:
    if not path:
        yield value
        return
    first, *rest = path
    if first != "*":
        entries = [value[first]] if isinstance(value, dict) and first in value else []
    else:
        entries = value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else []
    for entry in entries:
        yield from _at(entry, rest)
