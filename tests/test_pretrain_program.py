"""pretrain.py, and what train.py and complete.py do with its weights."""

import json

import numpy as np
import pandas as pd
import pytest

import complete
import pretrain
import render_cache
import train
from model.initial_weights import read_initial_weights
from model.training import trainer
from pipeline.program import Terminated
from pipeline.simulated_corpus.recipe import Recipe
from stages.completion.zero_shot import completion_rows
from stages.runs.checkpoints import Checkpoints
from tests.conftest import CARD, small_seasons
from tests.data_pages import made as made_table

pytestmark = pytest.mark.slow

SMALL = ["--encoder", "efficientnet-lite0", "--tables", "3", "--samples", "4", "--variates", "2", "--epochs", "3"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a cache, weights in `weights`, a card, and its completion by these weights."""
    folder = tmp_path_factory.mktemp("pretrain")
    assert pretrain.main([*SMALL, "--cache", str(folder / "cache"), "--out", str(folder / "weights")]) == 0
    small_seasons().to_csv(folder / "seasons.csv", index=False)
    (folder / "card.toml").write_text(CARD)
    out = folder / "completed.csv"
    given = ["--data", str(folder / "card.toml"), "--cache", str(folder / "cache"), "--encoder", "efficientnet-lite0"]
    assert complete.main([*given, "--init", str(folder / "weights"), "--out", str(out)]) == 0
    return folder


def test_weights_and_card_name_recipe_encoder_and_command(made):
    weights = read_initial_weights(made / "weights" / "initial.safetensors")
    recipe = Recipe(tables=3, samples=4, variates=2)
    assert weights.record["recipe"]["digest"] == recipe.digest
    assert weights.record["pictures"] == 3 * 4 * 2 * 2
    card = (made / "weights" / "README.md").read_text()
    for part in (recipe.digest, weights.encoder, "--tables 3", "efficientnet-lite0", "Apache-2.0"):
        assert part in card
    assert str(made) not in card + json.dumps(weights.record)
    assert not (made / "weights" / "checkpoints").exists()


def test_a_stopped_run_resumes_to_the_same_bytes(made, monkeypatch, capsys):
    flags = [*SMALL, "--cache", str(made / "cache"), "--out", str(made / "stopped")]
    step, left = trainer._Course.step, [5]

    def stepped(course, draw):
        left[0] -= 1
        if left[0] < 0:
            raise Terminated
        step(course, draw)

    monkeypatch.setattr(Checkpoints, "due", lambda self: True)
    monkeypatch.setattr(trainer._Course, "step", stepped)
    assert pretrain.main(flags) == 143
    assert "--resume" in capsys.readouterr().err
    monkeypatch.setattr(trainer._Course, "step", step)
    assert pretrain.main(["--resume", str(made / "stopped")]) == 0
    one, two = (read_initial_weights(made / name / "initial.safetensors") for name in ("weights", "stopped"))
    assert all(np.array_equal(one.tensors[name], two.tensors[name]) for name in one.tensors)
    assert pretrain.main(["--resume", str(made / "stopped")]) == 2
    assert "is complete" in capsys.readouterr().err


def test_stage_1_starts_from_named_weights_and_says_what_does_not_fit(made, capsys):
    data = ["--data", str(made / "card.toml"), "--cache", str(made / "cache")]
    assert render_cache.main([*data, "--encoder", "efficientnet-lite0"]) == 0
    stage = ["--stage", "1", *data, "--epochs", "1"]
    assert train.main([*stage, "--init", str(made / "weights"), "--out", str(made / "fine")]) == 0
    assert "starts from the weights" in capsys.readouterr().out
    record = json.loads((made / "fine" / "result.json").read_text())["initial_weights"]
    assert set(record) == {"weights", "recipe", "encoder"}
    assert record["recipe"] == Recipe(tables=3, samples=4, variates=2).digest
    assert train.main([*stage, "--init", "none", "--out", str(made / "scratch")]) == 0
    assert json.loads((made / "scratch" / "result.json").read_text())["initial_weights"] is None
    rates = [json.loads((made / name / "config.json").read_text())["lr"] for name in ("fine", "scratch")]
    assert rates == [2e-3, 1e-3]
    assert train.main([*stage, "--init", str(made / "weights"), "--lr", "5e-4", "--out",
                       str(made / "slow")]) == 0  # fmt: skip
    assert json.loads((made / "slow" / "config.json").read_text())["lr"] == 5e-4
    assert train.main([*stage, "--init", str(made / "weights"), "--seeds", "2", "--out", str(made / "both")]) == 0
    assert json.loads((made / "both" / "config.json").read_text())["lr"] is None
    assert json.loads((made / "both" / "seed1" / "config.json").read_text())["lr"] == 2e-3
    assert train.main([*stage, "--init", str(made / "weights"), "--patch", "4", "--out", str(made / "no")]) == 2
    assert "patch is 4, and the weights have 6" in capsys.readouterr().err
    assert train.main([*stage, "--init", str(made / "nothing"), "--out", str(made / "no")]) == 2
    assert "cannot be read as initial weights" in capsys.readouterr().err


def test_a_completion_without_training_reads_no_later_step_and_no_other_sample(made):
    rows = pd.read_csv(made / "completed.csv")
    seasons = small_seasons()
    assert len(rows) == len(seasons) * 2 * 6
    assert np.isfinite(rows["completed"]).all()
    assert set(rows["step"]) == set(range(6, 12))
    changed = seasons.copy()
    later = [f"ndvi_{step:02d}" for step in range(6, 12)]
    changed[later] = 0.9 - changed[later]
    changed = changed.drop(columns="yield_t_ha")
    folder = made / "changed"
    folder.mkdir()
    changed.to_csv(folder / "seasons.csv", index=False)
    (folder / "card.toml").write_text(CARD)
    given = ["--data", str(folder / "card.toml"), "--cache", str(made / "cache"), "--encoder", "efficientnet-lite0"]
    out = folder / "completed.csv"
    assert complete.main([*given, "--init", str(made / "weights"), "--out", str(out)]) == 0
    np.testing.assert_array_equal(pd.read_csv(out)["completed"], rows["completed"])
    assert complete.main([*given, "--init", str(made / "weights"), "--out", str(out)]) == 2


def test_completions_are_written_in_their_shortest_form(tmp_path):
    values = np.full((6, 1, 4), 0.815, np.float32)
    table = made_table(n=6, variates=1, steps=4, values=values, observed=np.ones(values.shape, bool))
    rows = completion_rows(table, np.full((6, 1, 2), 0.35, np.float32).astype(np.float64))
    assert rows.to_csv(index=False).splitlines()[1].endswith(",0.815,0.35")


def test_wrong_flags_are_refused_before_any_work(tmp_path, capsys):
    for flags, said in ((["--tables", "1"], "at least 2"), (["--epochs", "0"], "--epochs is 0"),
                        (["--resume", str(tmp_path)], "no stopped run")):  # fmt: skip
        assert pretrain.main([*flags, "--cache", str(tmp_path / "cache")]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()


def test_too_few_known_steps_are_refused_before_a_plot_is_drawn(tmp_path, capsys):
    small_seasons().to_csv(tmp_path / "seasons.csv", index=False)
    (tmp_path / "card.toml").write_text(f"cut = 5\n{CARD}")
    flags = ["--data", str(tmp_path / "card.toml"), "--cache", str(tmp_path / "cache")]
    assert complete.main([*flags, "--out", str(tmp_path / "completed.csv")]) == 2
    assert "`cut` is 5, so only 5 steps are known" in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()
