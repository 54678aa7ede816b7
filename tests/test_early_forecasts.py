"""Forecasts in mid-season: scored by lead time, with intervals of their own, and blind to what comes later."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import predict
import train
from cache.embeddings import embeddings
from cache.fill import EmbeddingWork, ImageWork
from cache.spec import embedding_spec
from cache.workers import Pool
from model.completion_task import complete, continued
from model.config import TimesCLIPConfig
from model.metrics import yield_metrics
from model.season_tensors import SeasonTensors, WindowTensors
from model.timesclip import TimesCLIP
from pipeline.errors import InputError
from pipeline.render import draw
from pipeline.series import series_blocks
from pipeline.sources import read
from pipeline.style import Style
from pipeline.windows import FRAMINGS
from report.run import RunFolder
from tests.conftest import CARD, small_seasons
from tests.made_seasons import made

pytestmark = pytest.mark.slow

STYLE = Style(size=32)
RANGES = np.array([[0.0, 1.0], [0.0, 1.0]])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folder and stage-2 flags of the small table; `two` learnt seasons so far, `plain` whole ones only."""
    folder = tmp_path_factory.mktemp("early")
    small_seasons().to_csv(folder / "seasons.csv", index=False)
    (folder / "card.toml").write_text(CARD.replace("step_days = 10", 'step_days = 10\nharvest = "05-31"'))
    flags = ["--data", str(folder / "card.toml"), "--preset", "language-only", "--epochs", "4"]
    steps = ["--steps", "3,6,9"]
    assert train.main(["--stage", "1", *flags, *steps, "--out", str(folder / "one")]) == 0
    built = ["--stage", "2", *flags, "--from", str(folder / "one")]
    assert train.main([*built, *steps, "--out", str(folder / "two")]) == 0
    assert train.main([*built, "--out", str(folder / "plain")]) == 0
    return folder, built


def ask(folder, run, out, *more, data="card.toml"):
    return predict.main(["--run", str(folder / run), "--data", str(folder / data), "--out", str(out), *more])


def test_every_step_is_scored_beside_the_lines_to_beat(runs):
    run = RunFolder.open(runs[0] / "two")
    early, kept = run.read_json("result.json")["early"], pd.read_parquet(run.path / "early.parquet")
    assert [row["step"] for row in early["steps"]] == [3, 6, 9, 12]
    assert early["until"] == "harvest"
    assert [row["lead_days"] for row in early["steps"]] == [120, 90, 60, 30]  # from 1 January to 31 May: 150 days
    assert list(early["lines"]) == ["place mean", "place mean + trend", "offset alone"]
    for row in early["steps"][:-1]:
        test = kept[(kept["split"] == "test") & (kept["step"] == row["step"])]
        assert len(test) == 12
        assert row["rmse"] == yield_metrics(test["y_true"].to_numpy(), test["y_pred"].to_numpy())["rmse"]
        assert row["coverage_90"] == test.eval("y_lo <= y_true <= y_hi").mean()
    whole = run.read_json("result.json")["metrics"]
    assert {name: early["steps"][-1][name] for name in whole} == whole
    told = pd.read_parquet(run.path / "predictions.parquet")
    assert list(kept.drop(columns=["step", "completed"])) == list(told)
    assert not kept["completed"].any()
    assert "RMSE by lead time" in (run.path / "report.html").read_text()


def margins_of(run):
    """Of each reading by its step; None: the whole season."""
    readings = run.read_json("fitted.json")["2022"]["forecaster"]["readings"]
    return {reading["step"]: reading["margin"] for reading in readings}


def test_each_step_has_a_margin_from_its_own_left_out_rows(runs):
    run = RunFolder.open(runs[0] / "two")
    margins = margins_of(run)
    assert list(margins) == [None, 3, 6, 9]
    assert len(set(margins.values())) == 4
    kept, left_out = (pd.read_parquet(run.path / f"{name}.parquet") for name in ("early", "left_out"))
    for step in (3, 6, 9):
        rows = kept[(kept["step"] == step) & (kept["y_lo"] > 0)]
        np.testing.assert_allclose(rows["y_hi"] - rows["y_pred"], margins[step])
        rows = left_out[left_out["step"] == step]
        forecast = (rows["weight"] * rows["y_pred"]).groupby(rows["sample_id"]).sum()
        truth = rows.groupby("sample_id")["y_true"].first()
        assert (np.abs(forecast - truth) <= margins[step] + 1e-9).mean() >= 0.9


def test_without_steps_a_run_is_what_it_was(runs):
    run = RunFolder.open(runs[0] / "plain")
    assert "early" not in run.read_json("result.json")
    assert not (run.path / "early.parquet").exists()
    assert "lead time" not in (run.path / "report.html").read_text()


def test_lead_time_counts_to_the_end_of_the_season_where_the_card_names_no_harvest(tmp_path):
    small_seasons().to_csv(tmp_path / "seasons.csv", index=False)
    (tmp_path / "card.toml").write_text(CARD)
    assert [read(tmp_path / "card.toml").lead_days(step) for step in (3, 12)] == [90, 0]
    across = CARD.replace("step_days = 10", 'step_days = 30\nseason_start = "01-01"\nharvest = "01-01"')
    (tmp_path / "card.toml").write_text(across)
    table = read(tmp_path / "card.toml")
    assert table.harvest_days == 365
    far = CARD.replace("step_days = 10", 'step_days = 10\nseason_start = "01-01"\nharvest = "12-01"')
    (tmp_path / "card.toml").write_text(far)
    with pytest.raises(InputError, match="`harvest` is 12-01, 214 days after the end"):
        read(tmp_path / "card.toml")
    cards = (CARD, CARD.replace("step_days = 10", 'step_days = 10\nharvest = "05-31"'))
    prints = []
    for card in cards:
        (tmp_path / "card.toml").write_text(card)
        prints.append(read(tmp_path / "card.toml").fingerprint())
    assert prints[0] == prints[1]


def test_predict_forecasts_the_run_s_own_test_rows_as_of_a_step(runs, tmp_path, capsys):
    folder, _ = runs
    kept = pd.read_parquet(folder / "two" / "early.parquet").query("split == 'test' and step == 6")
    assert ask(folder, "two", tmp_path / "six.csv", "--as-of", "6") == 0
    told = pd.read_csv(tmp_path / "six.csv").set_index("sample_id").loc[kept["sample_id"]]
    for column in ("y_pred", "y_lo", "y_hi"):
        np.testing.assert_allclose(told[column], kept[column], atol=2e-4)
    capsys.readouterr()
    assert ask(folder, "two", tmp_path / "eight.csv", "--as-of", "8") == 0  # in between: what is known after step 6
    assert "steps 7 to 8 are not used" in capsys.readouterr().out
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "eight.csv"), pd.read_csv(tmp_path / "six.csv"))


@pytest.mark.parametrize(("run", "as_of", "said"), [("plain", "6", "whole seasons only"), ("two", "2", "3 steps or")])
def test_predict_refuses_a_step_that_the_run_has_no_interval_for(runs, tmp_path, capsys, run, as_of, said):
    assert ask(runs[0], run, tmp_path / "x.csv", "--as-of", as_of) == 2
    message = capsys.readouterr().err
    assert said in message
    assert f"python train.py --config {runs[0] / run}/config.json --steps" in message
    assert ask(runs[0], run, tmp_path / "x.csv", "--as-of", "13") == 2
    assert "must be 1 to 12" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_commands_that_a_refusal_names_train_a_run_that_forecasts(runs, tmp_path, capsys):
    folder, _ = runs
    assert ask(folder, "two", tmp_path / "x.csv", "--as-of", "2") == 2
    commands = [line.split() for line in capsys.readouterr().err.splitlines()[1:]]
    assert [command[1] for command in commands] == ["train.py", "train.py", "predict.py"]  # stage 1, stage 2
    assert commands[1][-3:-2] == [str(folder / "one-steps")]
    for command in commands[:2]:
        assert train.main(command[2:]) == 0
    assert predict.main([*commands[2][2:], "--out", str(tmp_path / "x.csv")]) == 0


def test_a_season_that_is_still_going_on_is_forecast_whether_its_columns_are_empty_or_not_there(runs, tmp_path, capsys):
    folder, _ = runs
    later = [f"{band}_{step:02d}" for band in ("ndvi", "NIR") for step in range(6, 12)]
    new = small_seasons().query("year == 2022").drop(columns="yield_t_ha")
    frames = {"whole": new, "empty": new.assign(**dict.fromkeys(later, np.nan)), "short": new.drop(columns=later)}
    told = {}
    for name, frame in frames.items():
        frame.to_csv(folder / f"{name}.csv", index=False)
        (folder / f"{name}.toml").write_text((folder / "card.toml").read_text().replace("seasons.csv", f"{name}.csv"))
        assert ask(folder, "two", tmp_path / f"{name}.csv", "--as-of", "6", data=f"{name}.toml") == 0
        assert "fewer steps are observed" not in capsys.readouterr().out
        told[name] = (tmp_path / f"{name}.csv").read_bytes()
    assert told["whole"] == told["empty"] == told["short"]
    assert ask(folder, "two", tmp_path / "late.csv", "--as-of", "9", data="short.toml") == 0
    assert "no sample is observed at step 9; the last observed step is 6" in capsys.readouterr().out
    assert ask(folder, "two", tmp_path / "none.csv", data="short.toml") == 2
    assert "has steps 6, but the run was trained on 12" in capsys.readouterr().err


def test_what_the_test_rows_show_later_changes_no_forecast_before_it(runs):
    folder, _ = runs
    spoiled = small_seasons()
    later = [f"{band}_{step:02d}" for band in ("ndvi", "NIR") for step in range(6, 12)]
    rows = spoiled["year"] == 2022
    spoiled.loc[rows, later] = np.random.default_rng(3).uniform(0, 0.9, (int(rows.sum()), len(later)))
    spoiled.loc[rows, later[1]] = np.nan
    spoiled.to_csv(folder / "spoiled.csv", index=False)
    (folder / "spoiled.toml").write_text((folder / "card.toml").read_text().replace("seasons.csv", "spoiled.csv"))
    flags = ["--data", str(folder / "spoiled.toml"), "--preset", "language-only", "--epochs", "4", "--steps", "3,6,9"]
    for stage, more in ((1, []), (2, ["--from", str(folder / "other-1")])):
        out = str(folder / f"other-{stage}")
        assert train.main(["--stage", str(stage), *flags, *more, "--out", out]) == 0
    one, other = (pd.read_parquet(folder / run / "early.parquet") for run in ("two", "other-2"))
    pd.testing.assert_frame_equal(one.query("step <= 6"), other.query("step <= 6"))
    test = "split == 'test' and step == 9"
    assert not one.query(test)["y_pred"].equals(other.query(test)["y_pred"])


def from_step_on(one, other, step):
    """The first table until the step, the second from it on."""
    later = np.arange(one.steps) >= step
    values, observed = (np.where(later, getattr(other, name), getattr(one, name)) for name in ("values", "observed"))
    return replace(one, values=values, observed=observed)


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 12), st.data(), st.sampled_from(FRAMINGS), st.integers(0, 3))
def test_later_values_change_no_key_and_no_picture(steps, data, framing, seed):
    step = data.draw(st.integers(1, steps - 1))
    one, other = made(steps, seed=seed), made(steps, seed=seed + 1)
    spoiled = from_step_on(one, other, step)
    blocks = [series_blocks(table.as_of(step), RANGES, STYLE, framing) for table in (one, spoiled)]
    for mine, theirs in zip(*blocks, strict=True):
        assert mine.keys.tobytes() == theirs.keys.tobytes()
        pictures = [draw(b.values.reshape(-1, b.window.length), b.observed.reshape(-1, b.window.length), STYLE)
                    for b in (mine, theirs)]  # fmt: skip
        np.testing.assert_array_equal(*pictures)
    assert one.as_of(step).fingerprint() == spoiled.as_of(step).fingerprint()


def test_later_values_change_no_embedding(tmp_path):
    one, other = made(12, samples=6), made(12, samples=6, seed=1)
    spoiled = from_step_on(one, other, 7)
    spec = embedding_spec(STYLE, {"name": "mean of the ink", "dim": 16})

    def encode(ink, rgb):
        return ink.reshape(len(ink), 16, -1).mean(-1).astype(np.float16)

    read_back = []
    for name, table in (("one", one), ("spoiled", spoiled), ("whole", spoiled)):
        blocks = series_blocks(table if name == "whole" else table.as_of(7), RANGES, STYLE)
        ImageWork.of(tmp_path, STYLE, blocks).run(Pool(1, "sequential"), lambda rows: None)
        work = EmbeddingWork.of(tmp_path, STYLE, spec, blocks)
        filled = work.run(Pool(1, "sequential"), encode, lambda rows: None)
        assert (filled.written == 0) == (name == "spoiled")
        read_back.append(embeddings(work.store.reader(), blocks))
    np.testing.assert_array_equal(read_back[0], read_back[1])
    assert not np.array_equal(read_back[1], read_back[2])


def test_a_season_of_which_nothing_is_known_is_refused(runs, tmp_path, capsys):
    folder, _ = runs
    frame = small_seasons().query("year == 2022")
    first = [f"{band}_{step:02d}" for band in ("ndvi", "NIR") for step in range(6)]
    frame.assign(**dict.fromkeys(first, np.nan)).to_csv(folder / "late.csv", index=False)
    (folder / "late.toml").write_text((folder / "card.toml").read_text().replace("seasons.csv", "late.csv"))
    assert ask(folder, "two", tmp_path / "x.csv", "--as-of", "6", data="late.toml") == 2
    assert "nothing is observed in the first 6 steps" in capsys.readouterr().err
    with pytest.raises(InputError, match="it must be 1 to 12"):
        read(folder / "card.toml").as_of(13)
    assert json.loads((folder / "two" / "result.json").read_text())["n_test"] == 12


def test_what_is_not_there_yet_may_be_completed_and_both_ways_are_shown(runs, tmp_path, capsys):
    folder, built = runs
    filled = ["--steps", "3,6,9", "--fill", "completed", "--learner", "neural", "--out", str(tmp_path / "filled")]
    assert train.main([*built, *filled]) == 0
    run = RunFolder.open(tmp_path / "filled")
    steps = run.read_json("result.json")["early"]["steps"]
    assert [(row["step"], row["completed"]) for row in steps] == [
        *((step, way) for step in (3, 6, 9) for way in (False, True)), (12, False)]  # fmt: skip
    assert len({row["rmse"] for row in steps}) == 7
    readings = run.read_json("fitted.json")["2022"]["forecaster"]["readings"]
    kept, rows = (pd.read_parquet(run.path / f"{name}.parquet") for name in ("early", "left_out"))
    rows = rows[rows["step"] > 0]
    rows = rows.assign(part=rows["weight"] * rows["y_pred"])
    each = rows.groupby(["completed", "step", "sample_id"]).agg(forecast=("part", "sum"), truth=("y_true", "first"))
    error = ((each["forecast"] - each["truth"]) ** 2).groupby("completed").mean()
    completes = bool(error[True] < error[False])
    assert [reading["completed"] for reading in readings] == [False, *[completes] * 3]
    mine = kept[(kept["split"] == "test") & (kept["step"] == 6) & (kept["completed"] == completes)]
    assert predict.main(["--run", str(run.path), "--data", str(folder / "card.toml"), "--as-of", "6",
                         "--out", str(tmp_path / "six.csv")]) == 0  # fmt: skip
    told = pd.read_csv(tmp_path / "six.csv").set_index("sample_id").loc[mine["sample_id"]]
    for column in ("y_pred", "y_lo", "y_hi"):
        np.testing.assert_allclose(told[column], mine[column], atol=2e-4)
    assert "6, the rest completed" in (run.path / "report.html").read_text()
    capsys.readouterr()
    assert train.main([*built, "--fill", "completed", "--out", str(tmp_path / "x")]) == 2
    assert "Add --steps" in capsys.readouterr().err
    pictures = ["--stage", "2", "--steps", "6", "--fill", "completed", "--out", str(tmp_path / "x")]
    assert train.main(pictures) == 2
    assert "Pictures would still end at the step" in capsys.readouterr().err


@pytest.mark.parametrize("whole_frame", [False, True])
@pytest.mark.parametrize("step", [2, 4, 6])
def test_a_season_is_continued_only_where_nothing_can_be_observed_yet(whole_frame, step):
    torch.manual_seed(0)
    observed = (torch.rand(5, 2, 8) < 0.7) & (torch.arange(8) < step)
    observed[0, 1] = False
    values = torch.where(observed, torch.randn(5, 2, 8), 0)
    parts = {"use_vision": False, "alignment": "none", "patch": 2, "stride": 1, "width": 8, "layers": 1, "heads": 2}
    parts |= {"variates": 2, "horizon": 4}
    if whole_frame:
        model = TimesCLIP(TimesCLIPConfig(window=8, start=8, **parts)).eval()
        before = observed & (torch.arange(8) < 4)
        season = SeasonTensors(WindowTensors(values * before, before), WindowTensors(values, observed), cut=4)
    else:
        model = TimesCLIP(TimesCLIPConfig(window=4, **parts)).eval()
        season = SeasonTensors(
            WindowTensors(values[..., :4], observed[..., :4]),
            WindowTensors(values[..., 4:], observed[..., 4:], start=4),
        )
    after = continued(model, season, step, 3)
    completed, _ = complete(model, season.first, 5)
    rest, known = after.rest
    before, was = season.rest
    new = (torch.arange(4, 8) >= step) & season.first.present[..., None]
    torch.testing.assert_close(rest[new], completed[new])
    torch.testing.assert_close(rest[~new], before[~new])
    assert torch.equal(known, was | new)
    assert torch.equal(after.first.values, season.first.values)
    if whole_frame:
        assert torch.equal(after.second.values[..., :4], season.second.values[..., :4])
