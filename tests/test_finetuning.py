"""Stage 3 starts where stage 2 ended, moves everything that is not frozen, and forecasts by stage 2's contract."""

import numpy as np
import pandas as pd
import pytest
import torch

import predict
import train
from model.joint_finetuning import LabelledSeason
from model.training.distributed import ALONE
from model.training.freezing import Freeze
from model.training.optim import Schedule
from model.training.trainer import Trainer
from report.run import RunFolder
from tests.conftest import CARD, small_seasons
from tests.tasks import joint_task

pytestmark = pytest.mark.slow

SCHEDULE = Schedule(epochs=2, batch_size=8, patience=9, lr=1e-3, lr_pretrained=1e-3)


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    """Runs of all three stages on the small table."""
    folder = tmp_path_factory.mktemp("stages")
    small_seasons().to_csv(folder / "seasons.csv", index=False)
    (folder / "card.toml").write_text(CARD)
    flags = ["--data", str(folder / "card.toml"), "--preset", "language-only"]
    for stage, epochs in ((1, 4), (2, 20), (3, 4)):
        given = ["--stage", str(stage), "--epochs", str(epochs), "--out", str(folder / f"run{stage}"), *flags]
        before = ["--from", str(folder / f"run{stage - 1}")] if stage > 1 else []
        assert train.main([*given, *before, *(["--lr", "1e-3", "--lr-pretrained", "1e-3"] if stage == 3 else [])]) == 0
    return folder, flags, {stage: RunFolder.open(folder / f"run{stage}") for stage in (1, 2, 3)}


def test_stage_3_forecasts_by_the_contract_of_stage_2(stages):
    two, three = (pd.read_parquet(stages[2][stage].path / "predictions.parquet") for stage in (2, 3))
    assert list(three) == list(two)
    assert list(three["sample_id"]) == list(two["sample_id"])
    assert np.abs(three["y_pred"] - two["y_pred"]).max() > 1e-3
    result = stages[2][3].read_json("result.json")
    assert (result["stage"], result["from"]) == (3, str(stages[2][2].path))
    assert {"r2", "rmse", "coverage_90"} <= set(result["metrics"])
    terms = stages[2][3].metrics()[0]["train"]
    assert terms["loss"] == pytest.approx(terms["yield"] + 0.3 * terms["completion"], rel=1e-5)


def test_stage_3_starts_from_the_heads_that_saw_no_validation_label(stages):
    """The run keeps them beside the refitted ones; the encoder is stage 1's until stage 3 moves it."""
    weights = {stage: run.read_weights("2022/") for stage, run in stages[2].items()}
    first = {name: tensor for name, tensor in weights[2].items() if name.startswith("first.")}
    refitted = {name: tensor for name, tensor in weights[2].items() if name.startswith("head.")}
    assert any(not torch.equal(first[f"first.{name[5:]}"], tensor) for name, tensor in refitted.items())
    for name, tensor in weights[2].items():
        if name.startswith("encoder."):
            assert torch.equal(tensor, weights[1][name])
    moved = [name for name in weights[2] if name in weights[3] and not torch.equal(weights[2][name], weights[3][name])]
    assert any(name.startswith("encoder.") for name in moved)
    assert any(name.startswith("head.") for name in moved)


def test_predict_reads_a_stage_3_run(stages):
    folder, runs = stages[0], stages[2]
    out = folder / "forecast.csv"
    given = ["--run", runs[3].path, "--data", folder / "card.toml", "--out", out]
    assert predict.main(list(map(str, given))) == 0
    forecast = pd.read_csv(out).set_index("sample_id")["y_pred"]
    test = (
        pd.read_parquet(runs[3].path / "predictions.parquet").query("split == 'test'").set_index("sample_id")["y_pred"]
    )
    np.testing.assert_allclose(forecast[test.index], test, atol=1e-3)


def test_stage_3_needs_a_stage_2_run(stages, capsys):
    first = str(stages[2][1].path)
    assert train.main(["--stage", "3", *stages[1], "--from", first]) == 2
    command = capsys.readouterr().err.strip().splitlines()[-1]
    assert command.strip().startswith("python train.py --stage 2")
    assert command.endswith(f"--from {first}")


def test_both_tasks_reach_the_encoder():
    task = joint_task()
    season = task.train.seasons[0].rows(torch.arange(8))
    batch = LabelledSeason(season, task.anomaly[:8])
    for term in ("yield", "completion"):
        task.module.zero_grad()
        task.loss(task.forward(batch), batch, 8, ALONE)[term].backward()
        assert task.module.encoder.language.cls.grad.abs().sum() > 0


@pytest.mark.parametrize("until", [None, 1])
def test_frozen_parts_keep_every_bit_until_they_are_unfrozen(until):
    task = joint_task()
    before = {name: tensor.clone() for name, tensor in task.module.state_dict().items()}
    Trainer(SCHEDULE, freeze=Freeze(("vision", "language"), until)).refit(task, "a/refit", 2)
    after = task.module.state_dict()
    frozen = [name for name in before if name.startswith(("encoder.vision.", "encoder.language."))]
    moved = {name for name in frozen if not torch.equal(before[name], after[name])}
    assert bool(moved) == (until is not None)
    assert not torch.equal(before["encoder.head.1.weight"], after["encoder.head.1.weight"])
    assert not torch.equal(before["yields.squeeze.weight"], after["yields.squeeze.weight"])
