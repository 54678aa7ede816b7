"""The page of pretraining, and its rows of fewer training rows and other alignments."""

import copy
from types import SimpleNamespace

import pandas as pd
import pytest

from benchmarks.pretraining.page import mean, page
from benchmarks.pretraining.rows import FOLDER, save_row, saved_rows
from benchmarks.pretraining.variants import as_variants, over_range, saved_variants, variant_file, variants


def rows_of_two_seeds():
    """The saved row of seed 0 of the demo, and a second seed whose fine-tuned completion error is 0.01 larger."""
    one = next(row for row in saved_rows(FOLDER) if row["table"] == "demo" and row["seed"] == 0)
    two = copy.deepcopy(one) | {"seed": 1}
    two["completion"]["fine-tuned"]["test"] += 0.01
    return [one, two]


def variant_rows(rows, name, share):
    made = copy.deepcopy(as_variants(rows[:1]))
    for row in made:
        row["variant"], row["rows"]["train"] = name, share
    return made


def test_rows_of_several_seeds_are_given_as_mean_and_deviation():
    rows = rows_of_two_seeds()
    low = rows[0]["completion"]["fine-tuned"]["test"]
    text = page(rows, [])
    assert f"| fine-tuned | {low + 0.005:.4f} ± 0.0071 |" in text  # sqrt(2) * 0.005
    assert "| 2 |" in text
    assert "## Fewer training rows" not in text
    assert mean([1.0, 2.0, 3.0], 1) == "2.0 ± 1.0"
    assert mean([1.234]) == mean([1.234, 1.234]) == "1.23"


def test_the_page_says_on_how_many_tables_the_yield_gains():
    rows = rows_of_two_seeds()
    assert "lower by more than 1 % on 0 of 1 tables" in page(rows, [])
    for row in rows:
        row["yield"]["fine-tuned"]["left out"]["neural"] = 0.98 * row["yield"]["from scratch"]["left out"]["neural"]
    assert "lower by more than 1 % on 1 of 1 tables" in page(rows, [])


def test_fewer_rows_and_other_alignments_stand_beside_the_main_rows_of_their_seeds():
    rows = rows_of_two_seeds()
    further = variant_rows(rows, "share-0.1", 41) + variant_rows(rows, "alignment-sample", 410)
    for row in further:
        if row["variant"] == "alignment-sample":
            del row["scores"]["from scratch"]
    text = page(rows, further)
    fewer, other = text.split("## Fewer training rows")[1].split("## Other alignments")
    lines = [line.split(" | ") for line in fewer.splitlines() if line.startswith("| demo")]
    assert [(line[1], line[2]) for line in lines] == [
        ("10% (41)", "from scratch"), ("10% (41)", "fine-tuned"),
        ("100% (410)", "from scratch"), ("100% (410)", "fine-tuned"),
    ]  # fmt: skip
    assert all(line[-1] == "1 |" for line in lines)  # the second seed has no such row, so it is left out
    lines = [line.split(" | ") for line in other.splitlines() if line.startswith("| demo")]
    assert [(line[1], line[2]) for line in lines] == [("sample", "fine-tuned"), ("flat", "fine-tuned")]


def test_each_setting_has_a_file_of_its_own(tmp_path):
    settings = variants("auto")
    assert [one.share for one in settings] == [0.1, 0.25, 0.5, 1.0, 1.0]
    files = {variant_file(tmp_path, one, "demo", seed) for one in settings for seed in range(2)}
    assert len(files) == 2 * len(settings)
    for one in settings:
        row = {"table": "demo", "variant": one.name, "seed": 0}
        save_row(row, variant_file(tmp_path, one, "demo", 0))
    assert [row["variant"] for row in saved_variants(tmp_path)] == sorted(one.name for one in settings)
    assert saved_rows(tmp_path) == []


def test_the_completion_error_of_a_run_is_over_the_range_of_all_training_rows():
    steps = pd.DataFrame({"variate": ["a", "a", "b"], "y_true": [1.0, 2.0, 10.0], "y_pred": [1.5, 2.0, 14.0]})
    run = SimpleNamespace(read_predictions=lambda name: steps)
    expected = ((0.25**2 + 0 + 0.4**2) / 3) ** 0.5
    assert over_range(run, {"a": 2.0, "b": 10.0}) == pytest.approx(expected)
