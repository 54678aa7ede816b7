"""A season shorter than two patches."""

import json

import pytest

import train
from model.config import TimesCLIPConfig, fitting_patch
from tests.conftest import CARD, small_seasons


@pytest.fixture
def flags(tmp_path):
    (tmp_path / "card.toml").write_text(CARD.replace("step_days = 10", "step_days = 10\nseason_steps = 8"))
    small_seasons().to_csv(tmp_path / "seasons.csv", index=False)
    return ["--data", str(tmp_path / "card.toml"), "--preset", "language-only", "--out", str(tmp_path / "run")]


def test_a_season_too_short_for_a_patch_that_was_asked_for_is_refused_with_the_numbers(flags, tmp_path, capsys):
    assert train.main(["--stage", "1", *flags, "--patch", "6"]) == 2
    assert "8 steps per season, so 4 in its first-half; a patch needs 6. Use --patch 4" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_what_the_table_decides_is_said_and_kept(flags, tmp_path, capsys):
    assert train.main(["--stage", "1", *flags, "--epochs", "1"]) == 0
    said = capsys.readouterr().out
    assert "patch 4: the first-half has 4 steps, the default is 6" in said
    assert "--split auto takes year: the table has 7 years" in said
    kept = json.loads((tmp_path / "run/config.json").read_text())
    assert (kept["patch"], kept["split"]) == (4, "year")


@pytest.mark.parametrize("window", [1, 2, 5, 6, 7, 18])
def test_the_default_patch_follows_a_short_window(window):
    patch = fitting_patch(6, window)
    assert patch == min(6, window)
    assert TimesCLIPConfig(1, window, 2, vision_dim=4, patch=patch).patches(window) >= 1
