"""The real-life tables beside the project, each of which was once misread."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import render_cache
from pipeline.errors import InputError
from pipeline.sources import read
from tests.conftest import ROOT
from tests.programs import code_of

pytestmark = pytest.mark.slow

# Each folder has its files and `want`: what --data gets, then a line per acceptable outcome, as check.py says there.
CASES = sorted(path.parent for path in (ROOT.parent / "shared" / "cases").glob("*/want"))
# Its `value` asks for values.min() > -0.25 of values that are NaN where missing, as everywhere: NaN is above nothing.
# What it means is tested in test_sources_cube_numbers.py.
CANNOT_PASS = {"C4-cube-missing-after-decoding"}


def holds(data: str, expression: str) -> bool:
    """Whether a table is read and the expression is true of it."""
    try:
        return bool(eval(expression, {"t": read(data), "np": np}))
    except InputError:
        return False


@pytest.mark.skipif(not CASES, reason="the cases of ../shared/cases are not here")
@pytest.mark.parametrize("case", [case for case in CASES if case.name not in CANNOT_PASS], ids=lambda case: case.name)
def test_a_case_is_read_right_or_refused(case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The outcomes of check.py, with the programs in this process: one each would import the libraries 40 times."""
    name, *acceptable = (case / "want").read_text().splitlines()
    data = str(case / name)
    flags = ["--encoder", "none", "--dry-run", "--cache", str(tmp_path / "c"), "--data", data, "--split", "random"]
    code = code_of(render_cache, flags)
    output = capsys.readouterr()
    said = (output.out + output.err).replace(str(case), "").replace(case.name, "")
    of_data = code == 2 and "--split" not in said  # the tables are small: a fold without rows says nothing about them
    found = {"refuse": lambda _: of_data, "told": lambda pattern: re.search(pattern, said),
             "value": lambda expression: not of_data and holds(data, expression)}  # fmt: skip
    outcomes = [line.partition(" ") for line in acceptable]
    assert outcomes
    assert any(found[kind](rest) for kind, _, rest in outcomes), f"exit {code}, wanted {acceptable}; said: {said}"
