"""Bad input: one clear paragraph with file, place, value and advice, exit 2, and nothing is written."""

import os
import re
import tempfile
from pathlib import Path

import pytest

import render_cache
from cache import storage
from pipeline.errors import InputError
from pipeline.sources import read
from report import atomic_write

HEADER = "field,ndvi_00,ndvi_01,ndvi_02,NIR_00,NIR_01,NIR_02,y2022"
ROW = "a,0.1,0.2,0.3,0.3,0.4,0.5,4.2"
OTHER = "b,0.2,0.3,0.4,0.3,0.4,0.5,5.1"
CARD = """name = "fields"
format = "wide"
files = ["fields.csv"]
place = "field"
year = "year"
[[variates]]
name = "ndvi"
[target]
column = "yield"
unit = "{unit}"
"""
CARD_HEADER, CARD_ROW = "field,year,ndvi_00,ndvi_01,ndvi_02,yield", "a,{year},0.1,0.2,0.3,4.2"


def lines(*rows):
    return "\n".join(rows) + "\n"


# name of the case: (files to write, what --data is, patterns that the paragraph must hold)
BROKEN = {
    "missing file": ({}, "fields.csv", [r"fields\.csv", "not|no "]),
    "missing folder": ({}, "nowhere/", ["nowhere"]),
    "empty file": ({"fields.csv": ""}, "fields.csv", [r"fields\.csv", "empty"]),
    "header only": ({"fields.csv": lines(HEADER)}, "fields.csv", [r"fields\.csv", "no rows|no row|no sample"]),
    "binary": ({"fields.csv": b"\x00\x01\xff\xfe" * 99}, "fields.csv", [r"fields\.csv"]),
    "not utf-8": ({"fields.csv": (HEADER + "\n" + ROW.replace("a,", "\xe4,")).encode("latin-1")}, "fields.csv",
                  [r"fields\.csv", "(?i)utf-8"]),
    "broken parquet": ({"fields.parquet": b"PAR1 nothing"}, "fields.parquet", [r"fields\.parquet"]),
    "no band columns": ({"fields.csv": lines("field,y2022", "a,3")}, "fields.csv", [r"fields\.csv", "card"]),
    "unequal steps": ({"fields.csv": lines(HEADER.replace(",NIR_02", ""), "a,.1,.2,.3,.3,.4,4.2")}, "fields.csv",
                      [r"fields\.csv", "NIR", "ndvi", "3", "2"]),
    "duplicate sample": ({"fields.csv": lines(HEADER, ROW, ROW)}, "fields.csv", [r"\ba\b", "sample"]),
    "text in a number": ({"fields.csv": lines(HEADER, ROW, OTHER.replace("0.4,0.5", "cloud,0.5"))}, "fields.csv",
                         [r"fields\.csv", "line 3", "NIR_01", "cloud"]),
    "infinite": ({"fields.csv": lines(HEADER, ROW, OTHER.replace("0.2", "inf"))}, "fields.csv",
                 [r"fields\.csv", "ndvi", "inf"]),
    "no yield left": ({"fields.csv": lines(HEADER, ROW.replace("4.2", ""), OTHER.replace("5.1", "-1"))}, "fields.csv",
                      ["yield", "1"]),
    "several yield years": ({"fields.csv": lines(HEADER + ",y2021", ROW + ",4")}, "fields.csv",
                            ["y2021", "y2022", "--year"]),
    "unknown column": ({"fields.csv": lines(CARD_HEADER, CARD_ROW.format(year=2020)),
                        "card.toml": CARD.format(unit="t/ha").replace('"yield"', '"yeild"')}, "card.toml",
                       [r"fields\.csv", "yeild", "yield"]),
    "unknown unit": ({"fields.csv": lines(CARD_HEADER, CARD_ROW.format(year=2020)),
                      "card.toml": CARD.format(unit="bags")}, "card.toml", [r"card\.toml", "bags", "kg/ha"]),
    "impossible year": ({"fields.csv": lines(CARD_HEADER, CARD_ROW.format(year=20210)),
                         "card.toml": CARD.format(unit="t/ha")}, "card.toml", ["20210", "1900", "2100"]),
    "broken card": ({"card.toml": "name = \n"}, "card.toml", [r"card\.toml", "line 1|TOML"]),
    "unknown card key": ({"card.toml": CARD.format(unit="t/ha").replace("place =", "plcae =")}, "card.toml",
                         [r"card\.toml", "plcae", "place"]),
    "name that leads out": ({"card.toml": CARD.format(unit="t/ha").replace('"fields"', '"x/../../../evil"')},
                            "card.toml", [r"card\.toml", "evil", "letters, digits"]),
    "nothing named": ({"pyproject.toml": "[project]"}, "", ["--data is empty"]),
    "not a card": ({"pyproject.toml": "[project]\n[tool]"}, ".", [r"pyproject\.toml", "no dataset card"]),
    "unknown ending": ({"fields.xlsx": b"PK"}, "fields.xlsx", [r"fields\.xlsx", r"\.csv"]),
    "too few years": ({"fields.csv": lines(HEADER, ROW, OTHER)}, "fields.csv", ["3 different years", "--split"]),
}  # fmt: skip


def write(folder: Path, files: dict) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize("case", BROKEN)
def test_broken_input_ends_in_one_paragraph_and_exit_2(tmp_path, monkeypatch, capsys, case):
    files, data, patterns = BROKEN[case]
    write(tmp_path, files)
    monkeypatch.chdir(tmp_path)
    before = sorted(os.listdir())
    assert render_cache.main(["--data", data, "--cache", "cache", "--encoder", "none"]) == 2
    message = capsys.readouterr().err
    for pattern in patterns:
        assert re.search(pattern, message), f"{pattern!r} is not in: {message}"
    assert len(message) > 60
    assert message.strip().count("\n") <= 2
    assert "Traceback" not in message
    assert sorted(os.listdir()) == before


def test_the_first_line_tells_the_median_yield_beside_what_was_dropped(small_card, capsys):
    assert render_cache.main(["--data", str(small_card), "--encoder", "none", "--dry-run"]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert re.match(
        r"small: 84 samples x 2 variates x 12 steps\. Median yield \d\.\d+ t/ha\. Nothing was dropped\.", first
    )


def test_a_table_larger_than_the_memory_given_is_refused_with_the_numbers(tmp_path):
    rows = [ROW.replace("a,", f"f{i},") for i in range(20_000)]
    (tmp_path / "fields.csv").write_text(lines(HEADER, *rows))
    with pytest.raises(InputError, match=r"fields\.csv.*GB.*0\.0005 GB"):
        read(tmp_path / "fields.csv", memory_gb=0.0005)
    assert len(read(tmp_path / "fields.csv", memory_gb=1)) == 20_000


def test_a_cache_where_nothing_can_be_written_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match="cannot be made: you may not write to"):
        storage.refuse_unless_cache(str(tmp_path / "new" / "cache"))


def test_a_page_where_nothing_can_be_written_is_refused(tmp_path, monkeypatch):
    def refuse(**_):
        raise PermissionError

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(InputError, match="where no file can be written"):
        atomic_write.refuse_unless_possible(tmp_path / "page.html", (".html",), replace=True)
