"""Stage 1 on a table whose held-out rows are not observed where it would complete them."""

import numpy as np
import pytest

import train
from tests.conftest import CARD, small_seasons


@pytest.mark.parametrize(
    ("year", "says"), [(2022, "no test row is observed"), (2021, "no validation row of fold 2022 is observed")]
)
def test_held_out_rows_that_end_at_the_cut_are_refused_before_training(year, says, tmp_path, capsys):
    frame = small_seasons()
    rest = [f"{band}_{step:02d}" for band in ("ndvi", "NIR") for step in range(6, 12)]
    frame.loc[frame["year"] == year, rest] = np.nan
    frame.to_csv(tmp_path / "seasons.csv", index=False)
    (tmp_path / "card.toml").write_text(CARD)
    flags = ["--data", str(tmp_path / "card.toml"), "--preset", "language-only", "--split", "year", "--stage", "1"]
    assert train.main([*flags, "--epochs", "1", "--out", str(tmp_path / "run")]) == 2
    err = capsys.readouterr().err
    assert f"small: {says} from step 7 to 12, which stage 1 completes from steps 1 to 6" in err
    assert "choose another --split or --folds" in err
    assert not (tmp_path / "run").exists()
