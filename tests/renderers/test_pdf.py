import io
import itertools
import re
from typing import Any

import msgspec
import pypdf
import pytest

from milpa.jobs import FileFormat
from solvers.report import Column, Fact, Report, Table, Unit
from tests.renderers import samples
from workers.renderers import render
from workers.renderers.figures import show, style
from workers.renderers.pdf_text import BOLD, REGULAR, fonts, markup, runs, visible, width

A4 = (595, 842)


def read(report: Report) -> pypdf.PdfReader:
    (file,) = render(report, FileFormat.PDF, stem="plan")
    assert (file.name, file.media_type) == ("plan.pdf", "application/pdf")
    return pypdf.PdfReader(io.BytesIO(file.data), strict=True)


def words(page: pypdf.PageObject) -> str:
    return " ".join(page.extract_text().split())


@pytest.fixture(scope="module")
def deals() -> pypdf.PdfReader:
    return read(samples.deals())


@pytest.fixture(scope="module")
def text(deals: pypdf.PdfReader) -> str:
    return " ".join(map(words, deals.pages))


def test_the_first_page_says_title_subtitle_and_key_figures(deals: pypdf.PdfReader) -> None:
    report, page = samples.deals(), words(deals.pages[0])
    assert report.title in page
    assert report.subtitle in page
    for fact in report.facts:
        assert fact.label in page
        assert show(fact.value, style(fact.unit, [fact.value], "EUR")) in page
        assert fact.note in page


def test_every_sentence_is_there_in_full(text: str) -> None:
    for sentence in samples.deals().sentences:
        assert sentence in text


def test_every_page_has_its_number(deals: pypdf.PdfReader) -> None:
    for number, page in enumerate(deals.pages, start=1):
        assert f"Page {number} of {len(deals.pages)}" in words(page)


def test_every_row_of_every_table_is_printed_but_not_tables_for_charts_only(text: str) -> None:
    report = samples.deals()
    for row in report.tables[0].rows:
        assert str(row[0]) in text
        assert f"{row[6]:,.0f}" in text
    assert "Yield against risk, bought and rejected" in text
    assert "X17" not in text


def test_accents_and_other_scripts_can_be_read_and_copied(text: str) -> None:
    for name in (
        "Žižkov Gardens phase II",
        "Łódź",
        "Åarhus",
        "Парк Победы 7",
        "Μέγαρο Αθηνών",
        "東京駅前ビル",
        "서울 강남 타워",
    ):
        assert name in text


def test_a_right_to_left_name_is_set_in_the_order_in_which_it_is_seen(text: str) -> None:
    assert "נדל״ן" in text  # noqa: RUF001 (Hebrew is meant)
    seen = re.sub("<[^>]*>", "", markup("נדל״ן 22 (א)", REGULAR, 8, 400))  # noqa: RUF001
    assert seen == "(א) 22 ן״לדנ"  # noqa: RUF001


def test_arabic_letters_join() -> None:
    fonts()
    set_text = markup("دبي", REGULAR, 8, 400)
    assert "دبي" not in set_text
    assert "ﺩ" in set_text or "ﺑ" in set_text


def test_totals_are_printed_once_at_the_end(text: str) -> None:
    total = sum(row[6] for row in samples.deals().tables[0].rows)
    assert f"Total 59,415,000 {total:,.0f}" in text


def test_a_long_table_repeats_its_header_on_every_page_and_loses_no_row() -> None:
    report = samples.long_table(200)
    pages = [words(page) for page in read(report).pages]
    assert len(pages) > 3
    for page in pages:
        assert "Deal Name Sector City" in page
        assert "Price (€)" in page
    everything = " ".join(pages)
    assert all(f"D{i} Property {i} " in everything for i in range(200))


def test_a_very_long_table_is_cut_and_says_so() -> None:
    report = samples.long_table(100_000)
    text = " ".join(map(words, read(report).pages))
    assert "The first 500 of 100,000 rows; the XLSX and CSV files have all. Totals are of all rows." in text
    assert "D499 Property 499" in text
    assert "D500 Property 500" not in text
    assert f"{sum(row[4] for row in report.tables[0].rows):,.0f}" in text


def wide(columns: int, **more: bool) -> Report:
    heads = [Column(name=f"c{i}", label=f"Column {i}", unit=Unit.MONEY, **more) for i in range(columns)]
    return Report(
        title="Wide",
        currency="EUR",
        tables=[Table(name="t", title="T", columns=heads, rows=[tuple(1e6 + i for i in range(columns))])],
    )


def test_a_table_too_wide_for_the_page_turns_it() -> None:
    pages = read(wide(14)).pages
    assert [(round(p.mediabox.width), round(p.mediabox.height)) for p in pages] == [A4, A4[::-1]]
    assert "1,000,013" in words(pages[1])


def test_columns_that_fit_on_no_page_are_named_as_missing() -> None:
    text = " ".join(map(words, read(wide(60)).pages))
    assert "of 60 columns; the XLSX and CSV files have all." in text


def test_numbers_stand_to_the_right() -> None:
    places = []

    def visit(text: str, _cm: list[float], matrix: list[float], _font: Any, size: float) -> None:
        if text.strip() in {"1,000,000", "1,000,199"}:
            places.append(matrix[4] + width(text.strip(), REGULAR, size))

    report = samples.long_table(200)
    for page in read(report).pages:
        page.extract_text(visitor_text=visit)
    assert len(places) == 2
    assert places[0] == pytest.approx(places[1], abs=0.01)


def test_a_long_name_stands_on_two_lines_of_its_column(deals: pypdf.PdfReader) -> None:
    lines = [line for page in deals.pages for line in page.extract_text().splitlines()]
    first = next(i for i, line in enumerate(lines) if line.strip().startswith("Entrepôt"))
    last = next(i for i, line in enumerate(lines) if i >= first and line.strip().endswith("attenants"))
    assert last - first == 1
    assert " ".join(line.strip() for line in lines[first : last + 1]) == samples.NAMES[3]


def test_charts_are_pictures_of_at_least_200_dots_an_inch(deals: pypdf.PdfReader) -> None:
    pictures = [image.image for page in deals.pages for image in page.images]
    assert len(pictures) == 4
    narrow = (A4[0] - 96) / 2 / 72 * 200
    assert [picture.width > narrow for picture in pictures] == [True] * 4
    assert max(picture.width for picture in pictures) >= (A4[0] - 97) / 72 * 200


def test_every_font_travels_with_the_file(deals: pypdf.PdfReader) -> None:
    for page in deals.pages:
        for font in page["/Resources"]["/Font"].values():
            made = font.get_object()
            if made["/Subtype"] == "/TrueType":
                assert "/FontFile2" in made["/FontDescriptor"]


def test_the_file_names_itself(deals: pypdf.PdfReader) -> None:
    assert deals.metadata.title == samples.deals().title
    assert deals.metadata.author == "Milpa"


def test_a_character_beyond_16_bits_is_copied_as_itself() -> None:
    report = Report(title="R", sentences=["Grinning 😀 face"])
    assert "Grinning 😀 face" in words(read(report).pages[0])


def test_a_character_that_no_font_has_is_a_box() -> None:
    assert visible("a\U0001f3e0b") == "a□b"


def test_a_text_is_set_in_its_first_font_that_can() -> None:
    fonts()
    assert runs("Łódź", BOLD) == [("Lato-Bold", "Łódź")]
    assert [font for font, _ in runs("A東ש", BOLD)] == ["Lato-Bold", "DroidSansFallback", "DejaVuSans"]


def test_a_right_to_left_text_breaks_before_it_is_turned() -> None:
    fonts()
    text = "אחת שתיים שלוש ארבע"
    lines = markup(text, REGULAR, 10, width("אחת שתיים ", "DejaVuSans", 10)).split("<br/>")
    assert len(lines) == 2
    assert "תחא" in lines[0]
    assert "עברא" in lines[1]


def test_markup_in_a_name_is_shown_and_not_obeyed() -> None:
    report = Report(title="<b>Bold</b> & <font color='red'>red</font>", sentences=["1 < 2 && 3 > 2 </para>"])
    page = words(read(report).pages[0])
    assert report.title in page
    assert report.sentences[0] in page


def test_a_report_of_a_title_alone_is_one_page() -> None:
    assert len(read(Report(title="Nothing else")).pages) == 1


def test_no_page_is_empty() -> None:
    reports = [samples.every_chart(), wide(14), msgspec.structs.replace(samples.deals(), charts=[])]
    for page in itertools.chain.from_iterable(read(report).pages for report in reports):
        body = re.sub(r"Page \d+ of \d+.*", "", words(page))
        assert body.strip() or page.images


def test_any_number_of_key_figures_finds_room() -> None:
    for count in range(8):
        facts = [Fact(name=f"f{i}", label=f"Figure {i}", value=10.0**i, unit=Unit.MONEY) for i in range(count)]
        page = words(read(Report(title="R", facts=facts)).pages[0])
        assert all(fact.label in page for fact in facts)


def test_a_table_without_rows_says_so() -> None:
    table = Table(name="t", title="Left out", columns=[Column(name="c", label="C")], rows=[])
    assert "Left out No rows." in words(read(Report(title="R", tables=[table])).pages[0])
