"""A season shorter than two patches."""

import pytest

import train
from model.parts import TimesCLIPConfig, fitting_patch
from tests.conftest import CARD, small_seasons


def test_a_season_too_short_for_a_patch_is_refused_with_the_numbers(tmp_path, capsys):
    (tmp_path / "card.toml").write_text(CARD.replace("step_days = 10", "step_days = 10\nseason_steps = 8"))
    small_seasons().to_csv(tmp_path / "seasons.csv", index=False)
    flags = ["--data", str(tmp_path / "card.toml"), "--preset", "language-only", "--out", str(tmp_path / "run")]
    assert train.main(["--stage", "1", *flags]) == 2
    assert "8 steps a season, so 4 in its first-half; a patch needs 6. Use --patch 4" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("window", [1, 2, 5, 6, 7, 18])
def test_the_default_patch_follows_a_short_window(window):
    patch = fitting_patch(6, window)
    assert patch == min(6, window)
    assert TimesCLIPConfig(1, window, 2, vision_dim=4, patch=patch).patches(window) >= 1
