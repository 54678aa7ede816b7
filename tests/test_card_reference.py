"""docs/card.md lists every key of a card, as the model that checks cards has it."""

from pathlib import Path

import pytest

from pipeline.card.__main__ import BEGIN, SECTIONS, default_of, reference, value_of, with_reference, write
from pipeline.card.sections import Section, SourceCard, TargetCard
from pipeline.errors import InputError
from pipeline.flag_table import documentation

PAGE = Path(__file__).resolve().parents[1] / "docs" / "card.md"


def test_the_page_has_the_reference_of_today_s_model():
    assert with_reference(PAGE.read_text(), PAGE) == PAGE.read_text(), "run `python -m pipeline.card`"


def test_every_key_of_every_section_has_a_row_with_a_text():
    rows = reference()
    for section in SECTIONS.values():
        texts = documentation(section)
        for name in section.model_fields:
            assert texts[name].strip()
            assert f"| `{name}` |" in rows


def test_every_section_that_a_card_can_hold_has_a_table():
    nested = {TargetCard, SourceCard}
    assert nested <= set(SECTIONS.values())
    sections = [one for one in Section.__subclasses__() if one.__name__[0] != "_"]
    assert set(SECTIONS.values()) == {*sections, *(two for one in sections for two in one.__subclasses__())}


def test_a_changed_text_or_key_changes_the_page(tmp_path, monkeypatch):
    page = tmp_path / "card.md"
    page.write_text(PAGE.read_text().replace("Column of the yield.", "Column of the harvest."))
    assert with_reference(page.read_text(), page) != page.read_text()
    write(page)
    assert page.read_text() == PAGE.read_text()
    page.write_text(PAGE.read_text().replace(BEGIN, ""))
    with pytest.raises(InputError, match="needs the two marks"):
        write(page)


def test_values_and_defaults_are_spelled_as_in_a_card():
    fields = SourceCard.model_fields
    assert default_of(fields["format"]) == '`"long"`'
    assert default_of(fields["optional"]) == "`false`"
    assert default_of(fields["files"]) == "required"
    assert value_of(bool) == "true or false"
    assert r'`"\|"`' in reference()
