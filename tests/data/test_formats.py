"""The table of vendors' formats: each is told by its line of names, and by no other."""

import csv
from pathlib import Path

import pytest

from exec_env.data import columns, format_table, formats
from exec_env.data.formats import FORMATS, UNREADABLE
from exec_env.data.tables import DataFile
from tests.data.vendors import SAMPLES

# Other files may have these names too, so that these formats must be named.
NAMED = {"coinbase-trades", "alphavantage", "stooq-daily"}
SECOND = {"databento-mbp-1-trades", "databento-mbp-10-trades", "kibot-ticks-quotes"}


def names_of(sample: str) -> list[str]:
    """The line of names of a sample, or the documented names where it has none."""
    f = FORMATS[SAMPLES[sample].format]
    line = SAMPLES[sample].text.splitlines()[f.skip]
    return list(f.header) if f.headless else next(csv.reader([line], delimiter=f.separator))


def test_at_least_twenty_five_formats_are_known_and_every_one_has_a_small_file() -> None:
    assert len(FORMATS) >= 25
    assert {sample.format for sample in SAMPLES.values()} == set(FORMATS) - SECOND


@pytest.mark.slow
@pytest.mark.parametrize("sample", SAMPLES)
def test_a_line_of_names_is_recognised_as_its_own_format_and_no_other(sample: str) -> None:
    name = SAMPLES[sample].format
    if FORMATS[name].headless:
        assert name in formats.candidates(len(names_of(sample)))
    else:
        assert formats.recognise(names_of(sample)) == (None if name in NAMED else name)
        assert FORMATS[name].fits(names_of(sample))


def test_formats_whose_names_other_files_may_have_must_be_named() -> None:
    assert {name for name, f in FORMATS.items() if not f.own} == NAMED | SECOND


@pytest.mark.parametrize("name", FORMATS)
def test_a_row_of_the_table_is_whole(name: str) -> None:
    f = FORMATS[name]
    assert f.source.startswith(("https://", "http://"))
    for text in f.columns.values():
        parts = columns.names(text) - {text} or set(text.split(" "))
        assert text in f.header or parts <= set(f.header), text
    assert set(f.optional) <= set(f.header)
    assert {*f.only, f.symbol, f.also} <= {*f.header, *FORMATS, ""}
    assert set(f.sides) == {word.lower() for word in f.sides}
    assert set(f.sides.values()) <= {-1.0, 1.0}
    assert ("side" in f.columns) == bool(f.sides)
    assert f.cannot or f.also or f.only


def test_a_name_more_or_less_or_twice_is_another_format() -> None:
    names = names_of("tardis trades")
    assert formats.recognise(names) == "tardis-trades"
    for other in ([*names, "fee"], names[1:], [*names, names[0]]):
        assert formats.recognise(other) is None


def test_names_that_are_documented_to_be_missing_may_be() -> None:
    names = names_of("databento trades, raw")
    assert formats.recognise(names[:-1]) == "databento-trades"
    assert names[-1] == "symbol"


def test_one_level_of_a_book_is_a_quote() -> None:
    book, quote = (names_of(f"databento mbp-{n}, raw") for n in (10, 1))
    assert formats.recognise(book) == "databento-mbp-10"
    assert formats.recognise(quote) == "databento-mbp-1"
    assert formats.recognise([name for name in book if "_03" not in name]) is None  # a level is missing


def test_the_volume_of_a_pair_is_the_one_that_is_no_currency_in_either_order() -> None:
    names = ["unix", "date", "symbol", "open", "high", "low", "close"]
    for volumes in (["Volume ETH", "Volume USD"], ["Volume USD", "Volume ETH"]):
        assert formats.recognise(names + volumes) == "cryptodatadownload"
        assert FORMATS["cryptodatadownload"].taken(names + volumes)["volume"] == "Volume ETH"
    assert formats.recognise([*names, "Volume ETH", "Volume BTC"]) is None  # either could be meant


@pytest.mark.parametrize("name", UNREADABLE)
def test_files_that_would_give_a_plausible_wrong_number_are_known_with_the_way_out(name: str) -> None:
    said = formats.unreadable(UNREADABLE[name].header)
    assert said is not None
    assert said.startswith(f"{name}: ")
    assert "; take " in said
    assert formats.recognise(UNREADABLE[name].header) is None
    assert all(formats.unreadable(f.header) is None for f in FORMATS.values())


def test_lobster_is_told_by_file_names_and_is_no_row_of_the_table(tmp_path: Path) -> None:
    path = tmp_path / "AAPL_2012-06-21_34200000_57600000_message_1.csv"
    path.write_text("34200.1,4,1,18,5853300,1\n")
    assert DataFile(path).kind == "messages"
    assert "lobster" not in FORMATS


def test_the_page_of_formats_is_what_the_table_gives() -> None:
    page = Path(__file__).parents[2] / "docs" / "formats.md"
    assert page.read_text(encoding="utf-8") == format_table.markdown()
    assert all(f"`--format {name}`" in page.read_text() for name in NAMED)
