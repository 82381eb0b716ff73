"""Merge patches: RFC 7396 to the letter, and lists by id."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from solvers.patches import apply_patch, diff

DEALS = [{"id": "A", "price": 1, "tags": ["x"]}, {"id": "B", "price": 2}, {"id": "C", "price": 3}]


@pytest.mark.parametrize(
    ("original", "patch", "result"),
    [
        ('{"a":"b"}', '{"a":"c"}', '{"a":"c"}'),
        ('{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'),
        ('{"a":"b"}', '{"a":null}', "{}"),
        ('{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'),
        ('{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'),
        ('{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'),
        ('{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'),
        ('{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'),
        ('["a","b"]', '["c","d"]', '["c","d"]'),
        ('{"a":"b"}', '["c"]', '["c"]'),
        ('{"a":"foo"}', "null", "null"),
        ('{"a":"foo"}', '"bar"', '"bar"'),
        ('{"e":null}', '{"a":1}', '{"e":null,"a":1}'),
        ("[1,2]", '{"a":"b","c":null}', '{"a":"b"}'),
        ("{}", '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'),
    ],
)
def test_the_table_of_the_rfc_holds(original: str, patch: str, result: str) -> None:
    patched = apply_patch(json.loads(original), json.loads(patch))
    assert patched.value == json.loads(result)
    assert patched.issues == []


def test_the_example_of_the_rfc_holds() -> None:
    document = {
        "title": "Goodbye!",
        "author": {"givenName": "John", "familyName": "Doe"},
        "tags": ["example", "sample"],
        "content": "This will be unchanged",
    }
    patch = {"title": "Hello!", "phoneNumber": "+01-123-456-7890", "author": {"familyName": None}, "tags": ["example"]}
    assert apply_patch(document, patch).value == {
        "title": "Hello!",
        "author": {"givenName": "John"},
        "tags": ["example"],
        "content": "This will be unchanged",
        "phoneNumber": "+01-123-456-7890",
    }


def test_entries_are_changed_added_and_removed_by_their_ids() -> None:
    patch = {"deals": {"A": {"price": 9}, "B": None, "D": {"price": 4}, "E": {"id": "E", "price": 5}}}
    patched = apply_patch({"budget": 1, "deals": DEALS}, patch)
    assert patched.issues == []
    assert patched.value == {
        "budget": 1,
        "deals": [
            {"id": "A", "price": 9, "tags": ["x"]},
            {"id": "C", "price": 3},
            {"id": "D", "price": 4},
            {"id": "E", "price": 5},
        ],
    }


def test_a_list_still_replaces_a_list_and_an_empty_one_takes_entries() -> None:
    assert apply_patch({"deals": DEALS}, {"deals": [{"id": "Z"}]}).value == {"deals": [{"id": "Z"}]}
    assert apply_patch({"deals": []}, {"deals": {"Z": {"price": 1}}}).value == {"deals": [{"id": "Z", "price": 1}]}


@pytest.mark.parametrize("entries", [[1, 2], [{"name": "x"}], [{"id": 1}], [{"id": "A"}, {"id": "A"}], ["id"]])
def test_a_list_without_unique_text_ids_is_replaced_as_the_rfc_says(entries: list[Any]) -> None:
    assert apply_patch({"list": entries}, {"list": {"A": {"x": 1}}}).value == {"list": {"A": {"x": 1}}}


def test_what_cannot_be_applied_is_said_with_pointers_into_the_patch() -> None:
    patch = {"deals": {"Aa": None, "B": 5, "C": {"id": "X"}, "A": {"price": 7}}}
    patched = apply_patch({"deals": DEALS}, patch)
    assert [(issue.code, issue.pointer) for issue in patched.issues] == [
        ("unknown_id", "/deals/Aa"),
        ("wrong_type", "/deals/B"),
        ("bad_value", "/deals/C/id"),
    ]
    assert 'Did you mean "A"?' in patched.issues[0].message
    assert patched.value == {"deals": [{"id": "A", "price": 7, "tags": ["x"]}, *DEALS[1:]]}


def test_an_id_cannot_be_taken_from_an_entry() -> None:
    (issue,) = apply_patch({"deals": DEALS}, {"deals": {"A": {"id": None}}}).issues
    assert issue.pointer == "/deals/A/id"


@pytest.mark.parametrize(
    ("after", "patch"),
    [
        (DEALS, {}),
        ([{"id": "A", "price": 1.5, "tags": ["x"]}, *DEALS[1:]], {"deals": {"A": {"price": 1.5}}}),
        (DEALS[1:], {"deals": {"A": None}}),
        ([*DEALS, {"id": "D"}], {"deals": {"D": {"id": "D"}}}),
        ([], {"deals": []}),
        ([DEALS[2], DEALS[0], DEALS[1]], {"deals": [DEALS[2], DEALS[0], DEALS[1]]}),
        ([{"id": "A", "price": True, "tags": ["x"]}, *DEALS[1:]], {"deals": {"A": {"price": True}}}),
        ([{"id": "A", "price": 1.0, "tags": ["x"]}, *DEALS[1:]], {}),
    ],
)
def test_the_difference_is_small(after: list[Any], patch: dict[str, Any]) -> None:
    assert diff({"deals": DEALS}, {"deals": after}) == patch


def test_an_object_in_the_place_of_a_list_with_ids_has_no_patch() -> None:
    with pytest.raises(ValueError, match="no merge patch"):
        diff({"deals": DEALS}, {"deals": {"A": 1}})


scalars = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.5, 1.0, "a", "b", ""])
names = st.sampled_from(["a", "b", "c", "id", "~/"])


def _entries(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[dict[str, Any]]]:
    entry = st.tuples(st.sampled_from("ABCDE"), st.dictionaries(names, values, max_size=3))
    return st.lists(entry.map(lambda made: {**made[1], "id": made[0]}), max_size=5, unique_by=lambda made: made["id"])


values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4) | _entries(inner),
    max_leaves=15,
)
problems = st.fixed_dictionaries(
    {},
    optional={
        "budget": scalars,
        "caps": st.dictionaries(names, values),
        "deals": _entries(values),
        "lists": st.lists(values),
    },
)


def _without_null_members(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_null_members(item) for name, item in value.items() if item is not None}
    return [_without_null_members(item) for item in value] if isinstance(value, list) else value


def _exactly(value: Any) -> str:
    """JSON in which true is not 1, but 1 is 1.0."""
    return json.dumps(_without_null_members(value), sort_keys=True).replace(".0", "")


@given(problems, problems)
def test_a_difference_applied_gives_the_other_document(before: Any, after: Any) -> None:
    try:
        patch = diff(before, after)
    except ValueError:
        return
    patched = apply_patch(before, patch)
    assert patched.issues == []
    assert _exactly(patched.value) == _exactly(after)


@given(problems)
def test_equal_documents_differ_by_nothing(document: Any) -> None:
    assert diff(document, copy.deepcopy(document)) == {}


@given(values, values)
def test_patching_changes_neither_document_nor_patch(document: Any, patch: Any) -> None:
    kept = copy.deepcopy((document, patch))
    apply_patch(document, patch)
    assert (document, patch) == kept


def _merge_patch_of_the_rfc(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merge_patch_of_the_rfc(merged.get(name), value)
    return merged


plain = st.recursive(
    scalars,
    lambda inner: st.lists(inner, min_size=1, max_size=2).map(lambda made: [0, *made]) | st.dictionaries(names, inner),
    max_leaves=15,
)


@given(plain, plain)
def test_without_ids_it_is_the_rfc_s_own_algorithm(document: Any, patch: Any) -> None:
    assert apply_patch(document, patch).value == _merge_patch_of_the_rfc(document, patch)
