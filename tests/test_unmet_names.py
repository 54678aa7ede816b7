"""Places that do not meet across files because of their spelling are reported with the reason and an example."""

import pytest

from pipeline.errors import InputError
from pipeline.sources.names.unmet_names import unmet_names
from tests.joined_sources import HEAD, SOIL, TARGET, cut, dated, read_card, series_yields_and_soil, write_frames


def joined_files(folder, spell_yields=lambda name: name, spell_soil=lambda name: name, history=None):
    """Series, yields and soil in three files, with places of the last two spelled in another way."""
    series, yields, soil = series_yields_and_soil()
    frames = (
        series,
        yields.assign(place=yields.place.map(spell_yields)),
        soil.assign(place=soil.place.map(spell_soil)),
    )
    write_frames(folder, frames)
    cut(folder, frames, "ndvi")
    text = HEAD + dated("ndvi") + TARGET + SOIL
    if history:
        past = yields.assign(year=yields.year - 10, place=yields.place.map(history))
        past.to_csv(folder / "past.csv", index=False)
        text += '[history]\nfiles = "past.csv"\nplace = "place"\nyear = "year"\ncolumn = "harvest"\nunit = "t/ha"\n'
    return text


def warnings(table):
    return [finding.sentence for finding in table.findings if finding.severity == "warning"]


def capital_of(*places):
    return lambda name: name.upper() if name in places else name


def test_yields_in_capitals_are_reported_with_their_number_and_a_pair(tmp_path):
    table = read_card(tmp_path, joined_files(tmp_path, capital_of("p1", "p3")))
    assert {*table.place.tolist()} == {"p2", "p4"}
    (sentence,) = (one for one in warnings(table) if "do not meet" in one)
    assert sentence.startswith(
        "2 places of yields.csv do not meet places of ndvi.csv, because the names differ in capitals (such as 'P1' and "
        "'p1')."
    )
    assert sentence.endswith("If they are the same, give them the same spelling in both files.")


def test_one_yield_with_zeros_and_soil_in_capitals_are_reported(tmp_path):
    text = joined_files(tmp_path, lambda name: "p004" if name == "p4" else name, capital_of("p2"))
    found = " ".join(warnings(read_card(tmp_path, text)))
    assert "1 place of yields.csv does not meet a place of ndvi.csv, because the names differ in zeros before" in found
    assert "1 place of soil.csv does not meet a place of ndvi.csv, because the names differ in capitals" in found


@pytest.mark.parametrize(
    ("spell", "reason"),
    [
        (str.upper, r"differ only in capitals \(such as 'P1' and 'p1'\)"),
        (lambda name: name.replace("p", "p00"), r"differ only in zeros before a number \(such as 'p001' and 'p1'\)"),
        (lambda name: f"{name} county", r"differ only in a word such as County \(such as 'p1 county' and 'p1'\)"),
        (lambda name: name.replace("p", "q"), r"Spell the places alike"),
    ],
)
def test_if_no_place_meets_the_error_names_the_reason(tmp_path, spell, reason):
    with pytest.raises(InputError, match=rf"No place is in both\. .*{reason}"):
        read_card(tmp_path, joined_files(tmp_path, spell))


def test_a_history_that_meets_no_place_because_of_capitals_is_an_error_with_the_reason(tmp_path):
    text = joined_files(tmp_path, history=str.upper)
    with pytest.raises(InputError, match=r"none of them is in the table.*differ only in capitals \(such as 'P1' and"):
        read_card(tmp_path, text)


def test_files_that_spell_alike_or_lack_places_raise_no_alarm(tmp_path):
    assert not warnings(read_card(tmp_path, joined_files(tmp_path)))
    text = joined_files(tmp_path, lambda name: "p5" if name == "p1" else name)
    assert not [one for one in warnings(read_card(tmp_path, text)) if "meet" in one]


@pytest.mark.parametrize(
    ("names", "others", "pairs"),
    [
        (["F1", "f1"], ["f1"], [("F1", "f1")]),  # both spellings in one file, one of them is lost
        (["Évreux"], ["evreux"], [("Évreux", "evreux")]),
        (["A-01", "A-02"], ["A-1", "A-2"], [("A-01", "A-1"), ("A-02", "A-2")]),
        (["1.05"], ["1.5"], None),  # decimals
        (["1-01", "1-1"], ["1-1"], None),  # two plots, one of them without a yield
        (["1-1"], ["11"], None),
        (["Richmond", "Richmond County"], ["Richmond"], None),  # a city and the county around it
        (["p10"], ["p1"], None),
    ],
)
def test_names_are_nearly_the_same_only_if_they_can_be_one_place(names, others, pairs):
    found = unmet_names(names, others)
    assert (found and [*found.pairs]) == pairs
    back = unmet_names(others, names)
    assert (back and [*back.pairs]) == (pairs and [pair[::-1] for pair in pairs])
