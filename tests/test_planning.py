"""The simulation of planning says what it measured and what it extrapolated; the pages on scale do not rot."""

import json
import re
import shlex
from pathlib import Path

import pytest
import tyro

from benchmarks import planning, scale
from render_cache import Arguments

DOCS = Path(__file__).resolve().parents[1] / "docs"
FIELDS = {"name", "value", "unit", "reference", "reference_value", "ratio"}


@pytest.fixture(scope="module")
def rows():
    return list(planning.measure((300, 2_000), slab_rows=64, memory_gb=1.0))


@pytest.mark.slow
def test_every_size_of_every_case_is_measured_with_its_memory(rows):
    sizes = [row for row in rows if "seconds" in row]
    assert [(row["series"], row["slabs"]) for row in sizes] == [(300, 5), (2_000, 32), *[(300, 0), (2_000, 0)] * 2]
    for row in sizes:
        assert row["value"] == pytest.approx(row["series"] / (row["seconds"] + row["seconds_index"]))
        assert row["bytes_a_key"] == row["peak_bytes"] / row["series"] >= 0


@pytest.mark.slow
def test_the_goal_is_marked_as_extrapolated_and_its_slope_is_told(rows):
    for case in planning.CASES:
        (slope,) = [row for row in rows if row["name"] == f"log-log slope, everything {case}"]
        (goal,) = [row for row in rows if "extrapolated" in row and row["name"].endswith(case)]
        assert (goal["extrapolated"], goal["series"], goal["from_series"]) == (True, 10**8, 2_000)
        last = [row for row in rows if "seconds" in row and row["name"].endswith(case)][-1]
        taken = last["seconds"] + last["seconds_index"]
        assert goal["value"] == pytest.approx(taken * (goal["series"] / last["series"]) ** slope["value"])


@pytest.mark.slow
def test_rows_are_like_those_of_the_other_benchmarks_and_json(rows):
    for row in rows:
        assert row.keys() >= FIELDS
        assert json.loads(json.dumps(row)) == row


def test_a_size_that_needs_too_much_memory_is_left_out():
    rows = planning.measure((300, 10**9), slab_rows=64, memory_gb=1.0)
    assert [row["series"] for row in rows] == [300] * 3


def test_the_figures_of_the_page_on_scale_are_measured(tmp_path):
    rows = list(scale.measure(tmp_path / "cache", 14 * 400, dask=False, encoder=False))
    assert [row["series"] for row in rows if "core_seconds" in row] == [14 * 400] * 2
    assert [row["rows"] for row in rows if "peak_bytes_a_row" in row] == [14 * 400] * 2
    assert sum("pickled" in row["name"] for row in rows) == 2
    for row in rows:
        assert row.keys() >= FIELDS
        assert json.loads(json.dumps(row)) == row


def test_the_script_for_slurm_compiles_and_its_commands_have_flags_that_exist():
    page = (DOCS / "slurm.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        compile(block, "docs/slurm.md", "exec")
    commands = re.findall(r"^    python render_cache\.py (.*)$", page, re.MULTILINE)
    assert commands
    for command in commands:
        args = tyro.cli(Arguments, args=shlex.split(command))
        assert (args.backend, args.scheduler is not None) == ("dask", True)
