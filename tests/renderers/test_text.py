import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from workers.renderers.text import clean, cut, file_name, unique

anything = st.text(alphabet=st.characters(), max_size=200)


@given(anything)
def test_clean_text_is_one_line_that_any_file_can_hold(text: str) -> None:
    shown = clean(text)
    assert not any(unicodedata.category(character) in {"Cc", "Cs"} for character in shown)
    assert shown.encode().decode() == shown
    assert clean(shown) == shown


def test_direction_overrides_are_dropped_and_letters_of_every_script_kept() -> None:
    assert clean("a\u202egnp.exe\u202c") == "agnp.exe"
    for name in ("Žižkov", "東京駅前ビル", "תל אביב", "دبي", "서울", "नई दिल्ली", "👍"):
        assert clean(name) == unicodedata.normalize("NFC", name)


def test_accents_that_came_apart_are_joined() -> None:
    assert clean("Sa\u0301nchez") == "Sánchez"


@given(anything, st.integers(min_value=1, max_value=50))
def test_a_cut_text_is_never_longer_than_asked(text: str, limit: int) -> None:
    assert len(cut(text, limit)) <= limit


@given(anything)
def test_a_file_name_is_plain(text: str) -> None:
    name = file_name(text)
    assert name
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert len(name) <= 60


def test_a_path_cannot_leave_its_folder() -> None:
    assert file_name("../../etc/passwd") == "etc-passwd"


@given(st.lists(st.text(alphabet="aAb", min_size=1, max_size=5), max_size=30))
def test_names_become_unique_whatever_their_case(names: list[str]) -> None:
    made = unique(names, longest=5)
    assert len({name.casefold() for name in made}) == len(names)
    assert all(len(name) <= 5 for name in made)
