"""Who is named in a problem, what is about them, and a pseudonym in their place."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from solvers.persons import Person, SubjectField, parts_about, persons_in, renamed, words_for

FIELDS = (
    SubjectField(kind="student", each="students/*", id="id", names=("name", "email")),
    SubjectField(kind="student", each="apart/*/*"),
    SubjectField(kind="teacher", each="classes/*", id="teacher"),
)
PROBLEM: dict[str, Any] = {
    "students": [
        {"id": "S1", "name": "Ana Lima", "email": "ana@example.org", "grade": 3},
        {"id": "S2", "name": "Bo", "grade": 4},
        {"id": 7, "name": "no text"},
        "odd",
    ],
    "apart": [["S1", "S3"]],
    "classes": {"A": {"teacher": "T1"}, "B": {"teacher": "S1"}},
}


class Student(msgspec.Struct):
    id: str
    name: str


class Roster(msgspec.Struct):
    students: list[Student]


def test_everyone_named_is_found_once() -> None:
    assert persons_in(FIELDS, PROBLEM) == [
        Person("student", "S1"), Person("student", "S2"), Person("student", "S3"),
        Person("teacher", "T1"), Person("teacher", "S1"),
    ]  # fmt: skip


def test_typed_problems_are_read_as_well() -> None:
    assert persons_in(FIELDS, Roster([Student("S1", "Ana")])) == [Person("student", "S1")]


def test_a_kind_without_persons_costs_nothing() -> None:
    assert persons_in((), object()) == []


def test_the_words_for_a_person_are_the_id_and_the_names() -> None:
    assert words_for(FIELDS, PROBLEM, Person("student", "S1")) == {"S1", "Ana Lima", "ana@example.org"}
    assert words_for(FIELDS, PROBLEM, Person("teacher", "T1")) == {"T1"}
    assert words_for(FIELDS, None, Person("student", "S9")) == {"S9"}


def test_every_text_and_key_is_renamed_and_nothing_else() -> None:
    words = frozenset({"S1", "Ana Lima"})
    result = {
        "S1": "A",
        "rows": [["S1", "Ana Lima", 3], ["S12", "Ana", 4]],
        "sentences": ["Ana Lima (S1) moves; S12 and XS1 stay.", "Class 1"],
    }
    assert renamed(result, words, "erased-1") == {
        "erased-1": "A",
        "rows": [["erased-1", "erased-1", 3], ["S12", "Ana", 4]],
        "sentences": ["erased-1 (erased-1) moves; S12 and XS1 stay.", "Class 1"],
    }


def test_a_word_ends_at_an_underscore_for_models_make_names_of_it() -> None:
    names = ["seat_S1", "S1_office", "x_S1_y", "S1", "seat_S12", "AS1", "1S1_"]
    assert renamed(names, frozenset({"S1"}), "erased-1") == [
        "seat_erased-1", "erased-1_office", "x_erased-1_y", "erased-1", "seat_S12", "AS1", "1S1_",
    ]  # fmt: skip


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_no_word_is_left(value: Any) -> None:
    words = frozenset({"Ana Lima", "a.b(c"})
    left = msgspec.json.encode(renamed([value, "Ana Lima", {"a.b(c": "x a.b(c y"}], words, "erased-1"))
    assert b'"Ana Lima"' not in left
    assert b'"a.b(c"' not in left


def test_what_is_about_a_person_is_the_smallest_object_that_names_them() -> None:
    words = frozenset({"S1"})
    assert parts_about(PROBLEM, words) == [PROBLEM["students"][0], "S1", {"teacher": "S1"}]
    table = {"rows": [["S1", 3, "A"], ["S2", 4, "B"]], "chosen": {"S1": "A", "S2": "B"}}
    assert parts_about(table, words) == [["S1", 3, "A"], {"S1": "A"}]
    assert parts_about({"a": [1, None, {"b": "S10"}]}, words) == []
