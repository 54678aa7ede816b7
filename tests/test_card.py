"""The dataset card and yield units."""

from __future__ import annotations

import textwrap
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.card import DatasetCard
from pipeline.errors import InputError
from pipeline.units import BUSHEL_POUNDS, TONNES_PER_HECTARE, to_tonnes_per_hectare

CARDS = Path(__file__).resolve().parents[1] / "cards"
SMALLEST: dict[str, Any] = {
    "name": "fields",
    "format": "wide",
    "files": ["fields.csv"],
    "variates": [{"name": "ndvi"}],
    "target": {"column": "yield", "unit": "t/ha"},
}


def card(**keys: Any) -> DatasetCard:
    return DatasetCard.from_keys(SMALLEST | keys, Path("fields.toml"))


def refusal(**keys: Any) -> str:
    with pytest.raises(InputError) as caught:
        card(**keys)
    return str(caught.value)


@pytest.mark.parametrize("name", ["illinois_soybean", "zambia_maize"])
def test_the_shipped_cards_load_and_point_outside_of_the_project(name: str) -> None:
    shipped = DatasetCard.load(CARDS / f"{name}.toml")
    assert shipped.name == name
    assert shipped.target_factor() == 1.0
    assert all(file.startswith("../../shared/data/") for file in shipped.files)
    assert all(v.low is not None and v.high is not None for v in shipped.variates)


def test_defaults_are_a_wide_table_of_ten_day_steps() -> None:
    plain = card()
    assert (plain.place, plain.year, plain.step_days, plain.season_year) == (("place",), None, 10.0, "end")
    assert plain.variates[0].step_pattern == "ndvi_{step}"


def test_one_file_may_stand_without_a_list() -> None:
    assert card(files="fields.csv").files == ["fields.csv"]


def test_whole_numbers_serve_as_days_of_a_step() -> None:
    assert card(step_days=14).step_days == 14.0
    assert card(step_days="dekad").step_days == "dekad"


@pytest.mark.parametrize(
    ("keys", "fragments"),
    [
        ({"plase": "field"}, ["fields.toml", "`plase`", "did you mean `place`?"]),
        ({"wxyz": []}, ["`wxyz`", "valid keys here are name"]),
        ({"variates": [{"name": "a"}, {"name": "b", "colum": "c"}]}, ["`variates entry 2 colum`", "`column`"]),
        ({"target": {"column": "y", "units": "t/ha"}}, ["`target units`", "did you mean `unit`?"]),
        ({"target": {"unit": "t/ha"}}, ["`target column` is missing"]),
        ({"step_days": "week"}, ["`step_days` is 'week'", "number of days", '"month" or "dekad"']),
        ({"step_days": 0}, ["`step_days` is 0", "over 0"]),
        ({"season_start": "13-01"}, ["`season_start` is '13-01'", '"07-01"']),
        ({"season_start": "02-29"}, ["02-29"]),
        ({"season_steps": "12"}, ["`season_steps` is '12'", "a valid integer"]),
        ({"season_steps": 1}, ["`season_steps` is 1", "greater than or equal to 2"]),
        ({"cut": 0}, ["`cut` is 0", "greater than or equal to 1"]),
        ({"format": "xlsx"}, ["`format` is 'xlsx'", "'wide'", "'netcdf'"]),
        ({"variates": []}, ["`variates` is []; it must be a list of at least 1 item."]),
        ({"files": []}, ["`files` is []; it must be a list of at least 1 item."]),
        ({"name": ""}, ["`name` is ''; it must be a text that is not empty."]),
        ({"missing": [""]}, ["The key `missing entry 1` is ''; it must be a number or a text that is not empty."]),
        ({"missing": [-1, True]}, ["The key `missing entry 2` is True; it must be a number or a text that is not"]),
        ({"variates": [{"name": "a", "missing": ["x"]}]}, ["`variates entry 1 missing entry 1` is 'x'; it must be a"]),
        ({"name": "x/../../evil"}, ["`name` is 'x/../../evil'", "letters, digits, spaces and _ . + - only"]),
        ({"name": ".hidden"}, ["`name` is '.hidden'", "no dot or space in front"]),
        ({"name": "n" * 61}, ["`name` is 'nnn", "60 at most"]),
        ({"name": "a\nb"}, ["`name` is 'a\\nb'"]),
        ({"variates": [{"name": "a\nb"}]}, ["`variates entry 1 name` is 'a\\nb'", "one line"]),
        ({"variates": [{"name": "a"}, {"name": "a"}]}, ["Variate a is named twice"]),
        ({"variates": [{"name": "a", "low": 1.0, "high": 0.0}]}, ["`low` 1.0 must be below `high` 0.0"]),
        ({"variates": [{"name": "a", "scale": 0}]}, ["`scale` must not be 0"]),
        ({"variates": [{"name": "a", "scale": float("inf")}]}, ["`variates entry 1 scale` is inf", "finite number"]),
        ({"variates": [{"name": "a", "pattern": "a_1"}]}, ["'a_1'", "{step}"]),
        ({"variates": [{"name": "a", "column": "b"}]}, ["format 'wide' does not use `column`"]),
        ({"drivers": [{"name": "ndvi"}]}, ["Variate ndvi is named twice"]),
        ({"drivers": [{"name": "rain", "known": 1}]}, ["`drivers entry 1 known` is 1", "a valid boolean"]),
        ({"drivers": [{"name": "rain", "knwon": True}]}, ["`drivers entry 1 knwon`", "did you mean `known`?"]),
        ({"drivers": [{"name": "rain", "column": "mm"}]}, ["rain: format 'wide' does not use `column`"]),
        ({"radiometry": {"group": "flight", "variates": ["nir"]}}, ["lists 'nir'", "the card's variates are ndvi."]),
        ({"radiometry": {"variates": ["ndvi"]}}, ["`radiometry group` is missing"]),
        ({"radiometry": {"groups": "flight"}}, ["`radiometry groups`", "did you mean `group`?"]),
        ({"format": "long"}, ["needs one of `date` and `step`"]),
        ({"format": "long", "date": "d", "step": "s"}, ["needs one of `date` and `step`"]),
        ({"date": "d"}, ["leave out `date` and `step`"]),
        ({"exclude": [{"reason": "faulty"}]}, ["`year`, a `place` or a `sample_id`"]),
        ({"exclude": [{"year": 2011}]}, ["`exclude entry 1 reason` is missing"]),
        ({"exclude": [{"year": 1811, "reason": "old"}]}, ["`exclude entry 1 year` is 1811", "1900"]),
        ({"step_days": "month", "season_start": "07-15"}, ["`season_start` 07-15 must fall on day 01"]),
        ({"step_days": "dekad", "calendar_start": "07-15"}, ["`calendar_start` 07-15", "01 or 11 or 21"]),
    ],
)
def test_a_wrong_card_is_refused_with_key_value_and_advice(keys: dict[str, Any], fragments: list[str]) -> None:
    told = refusal(**keys)
    assert told.startswith("fields.toml: the dataset card cannot be used.")
    assert [fragment for fragment in fragments if fragment not in told] == []
    assert "\n" not in told


def test_every_wrong_key_is_told_once() -> None:
    told = refusal(plase="a", step_days=0, name=5)
    assert told.count("`plase`") == told.count("`step_days`") == told.count("`name`") == 1


@pytest.mark.parametrize("name", ["wheat-bavaria", "a.b_c+d 2", "Ähren", "गेहूं", "n" * 60])
def test_a_name_of_letters_digits_and_plain_signs_is_taken(name: str) -> None:
    assert card(name=name).name == name


@pytest.mark.parametrize(
    ("unit", "factor"), [("sacks", 0.07), ("lb/ac", 0.00112), ("bu/ac", 0.05), ("t/ha", 1.0), ("Q / HA", 0.1)]
)
def test_a_factor_may_stand_beside_a_unit_that_is_unknown_or_says_the_same(unit: str, factor: float) -> None:
    assert card(target={"column": "y", "unit": unit, "factor": factor}).target_factor() == factor


@pytest.mark.parametrize(("unit", "factor"), [("t/ha", 0.1), ("kg/ha", 1.0), ("bu/ac", 0.1), ("Q / HA", 0.001)])
def test_a_factor_that_contradicts_its_unit_is_refused_for_labels_and_history(unit: str, factor: float) -> None:
    keys = {"column": "y", "unit": unit, "factor": factor}
    with pytest.raises(InputError, match=r"\[target\] column y has the unit .* but `factor` .*Leave out one"):
        card(crop="maize", target=keys).target_factor()
    with pytest.raises(InputError, match=r"\[history\] column y has the unit .* but `factor` .*Leave out one"):
        card(crop="maize", history=keys | {"files": "past.csv"}).history_factor()


def test_an_unknown_unit_names_the_card_and_the_known_ones() -> None:
    with pytest.raises(
        InputError, match=r"fields\.toml: \[target\] column y.*'kg/hm'.*Known units are t/ha.*lb/ac.*`factor`"
    ):
        card(target={"column": "y", "unit": "kg/hm"}).target_factor()


@pytest.mark.parametrize(
    ("written", "known"),
    [
        ("BU / ACRE", "bu/ac"), ("bushels per acre", "bu/ac"), ("ton/ha", "t/ha"), ("tonnes ha-1", "t/ha"),
        ("MT/HA", "t/ha"), ("kg ha-1", "kg/ha"), ("kg ha^-1", "kg/ha"), ("kg/hectare", "kg/ha"), ("g m⁻²", "g/m2"),
        ("g/m^2", "g/m2"), ("lb / acre", "lb/ac"), ("quintals/ha", "q/ha"), ("kg hm-2", "kg/ha"),
        ("tons per acre", "ton/ac"),
    ],
)  # fmt: skip
def test_units_are_understood_as_people_spell_them_and_it_is_said(written: str, known: str) -> None:
    spelled = card(crop="maize", target={"column": "y", "unit": written})
    assert spelled.target_factor() == card(crop="maize", target={"column": "y", "unit": known}).target_factor()
    (finding,) = spelled.unit_findings()
    assert f"is read as {known}" in finding.sentence


@pytest.mark.parametrize(
    "unit", ["kg/hm", "t/ac", "tonne/ac", "mt/acre", "bu/ha", "kg", "ha", "t/ha/year", "bags/acre"]
)
def test_a_unit_that_is_not_known_is_not_guessed(unit: str) -> None:
    with pytest.raises(InputError, match="which is not known") as caught:
        card(crop="maize", target={"column": "y", "unit": unit}).target_factor()
    assert "nearest" not in str(caught.value)


def test_a_target_without_unit_and_factor_is_refused() -> None:
    with pytest.raises(InputError, match="neither `unit` nor `factor`"):
        card(target={"column": "y"}).target_factor()


@pytest.mark.parametrize(
    ("amount", "unit", "crop", "tonnes"),
    [
        (8500, "kg/ha", None, 8.5),
        (85, "dt/ha", None, 8.5),
        (85, "Q/HA", None, 8.5),
        (850, "g / m2", None, 8.5),
        (8.5, "mg/ha", None, 8.5),
        # Published rounded: 1 bu/ac of maize is 62.77 kg/ha, of soybean and wheat 67.25 kg/ha (FAO, USDA).
        (1, "bu/ac", "maize", 0.06277),
        (1, "bu/ac", "soybean", 0.06725),
        (1, "bu/ac", "Wheat", 0.06725),
        (1, "lb/ac", None, 0.00112085),
        (1, "ton/ac", None, 2.2417),
    ],
)
def test_units_give_published_tonnes(amount: float, unit: str, crop: str | None, tonnes: float) -> None:
    factor = to_tonnes_per_hectare(unit, factor=None, crop=crop, where="here")
    assert amount * factor == pytest.approx(tonnes, rel=1e-4)


@pytest.mark.parametrize(("crop", "told"), [(None, "no `crop` is named"), ("kale", "crop 'kale' is not known")])
def test_bushels_need_a_crop_with_a_legal_weight(crop: str | None, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        to_tonnes_per_hectare("bu/ac", factor=None, crop=crop, where="here")
    assert all(name in str(caught.value) for name in BUSHEL_POUNDS)


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(sorted(TONNES_PER_HECTARE)), st.sampled_from([str.lower, str.upper, str.title]))
def test_units_do_not_depend_on_their_case(unit: str, spell: Any) -> None:
    assert to_tonnes_per_hectare(spell(unit), factor=None, crop=None, where="here") == TONNES_PER_HECTARE[unit]


def test_every_key_that_the_page_shows_is_one() -> None:
    page = (CARDS.parent / "docs" / "card.md").read_text()
    one_file = page.split("## Several sources")[0] + page.split("## CY-Bench")[1]
    blocks = [block for block in one_file.split("\n\n") if block.strip() and not block.startswith("    python")]
    shown = [block for block in blocks if all(line.startswith("    ") for line in block.splitlines())]
    keys = [tomllib.loads("\n".join(line[4:] for line in block.splitlines())) for block in shown]
    assert [next(iter(one)) for one in keys] == [
        *(
            "separator",
            "keep",
            "variates",
            "exclude",
            "cut",
            "split",
            "drivers",
            "missing",
            "step_year",
            "target",
            "static",
        ),
        "radiometry",
    ]
    for one in keys:
        DatasetCard.from_keys(SMALLEST | {"variates": [{"name": "red"}, {"name": "nir"}]} | one, Path("page.toml"))


def test_the_card_of_several_sources_that_the_docs_show_is_valid() -> None:
    text = (Path(__file__).resolve().parents[1] / "docs/card.md").read_text()
    section = text.split("## Several sources")[1].split("\nA source has its own")[0]
    shown = textwrap.dedent("\n".join(line for line in section.splitlines() if line.startswith("    ") or not line))
    card = DatasetCard.from_keys(tomllib.loads(shown), Path("card.toml"))
    assert [len(one.series) for one in card.sources] == [1, 1, 0, 0]
    assert card.target is not None
    assert card.static == ["clay", "awc"]


def test_the_shipped_card_of_cybench_is_valid(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text((Path(__file__).resolve().parents[1] / "cards/cybench.toml").read_text())
    for name in ("ndvi", "fpar", "meteo", "soil_moisture", "soil", "location", "yield", "crop_calendar"):
        (tmp_path / f"{name}_maize_XX.csv").write_text("")
    card = DatasetCard.load(tmp_path / "card.toml")
    assert [variate.name for variate in card.variates] == ["ndvi", "fpar"]
    assert [driver.name for driver in card.drivers] == ["tmin", "tmax", "tavg", "prec", "cwb", "rad", "ssm"]
    (tmp_path / "fpar_maize_XX.csv").unlink()
    assert [variate.name for variate in DatasetCard.load(tmp_path / "card.toml").variates] == ["ndvi"]


@pytest.mark.parametrize(("given", "shown"), [("Winterweizen", '"Winterweizen"'), (["a"], '"..."')])
def test_a_keep_without_a_column_shows_the_form_with_one(given: Any, shown: str) -> None:
    said = refusal(keep=given)
    assert f"keep = {{ crop = {shown} }}" in said
    assert "dictionary" not in said


def test_single_brackets_twice_are_explained(tmp_path: Path) -> None:
    path = tmp_path / "card.toml"
    twice = '[sources.variates]\nname = "ndvi"\n'
    path.write_text('name = "t"\n[[sources]]\nfiles = "a.csv"\n' + twice + twice)
    with pytest.raises(InputError, match=r"double brackets each time, as in \[\[sources\.variates\]\]"):
        DatasetCard.load(path)
    path.write_text('name = "t"\n[[sources]]\nfiles = a.csv\n')
    with pytest.raises(InputError, match="Write texts in quotes"):
        DatasetCard.load(path)
