"""Two real processes (gloo, CPU) train what one does on the same global batch; only the first writes."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import train
from model.training import trainer
from model.training.distributed import ALONE, Processes
from model.training.trainer import Trainer
from report.run import RunFolder
from tests.conftest import CARD, small_seasons
from tests.loss_curve import SCHEDULE, epochs_of
from tests.tasks import completion_task

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
# 23 samples: 17 train in batches of 8, 8 and 1, so that the second process has no row in the last; 6 validate.
SCRIPT = """
import sys
from pathlib import Path
from safetensors.torch import save_file
import train
from model.training.trainer import Trainer
from model.training.distributed import Processes
from tests.tasks import completion_task
from tests.loss_curve import SCHEDULE, epochs_of
processes = Processes.start("cpu")
assert processes.size == 2
task = completion_task(samples=23)
fit = Trainer(SCHEDULE, processes=processes).fit(task, "a/train")
folder = Path(sys.argv[1])
(folder / f"epochs{processes.rank}.json").write_text(epochs_of(fit))
save_file(task.module.state_dict(), folder / f"weights{processes.rank}.safetensors")
sys.exit(train.main(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The random seasons with alignment, then train.py on the small table, by torchrun with two processes."""
    folder = tmp_path_factory.mktemp("two")
    small_seasons().to_csv(folder / "seasons.csv", index=False)
    (folder / "card.toml").write_text(CARD)
    (folder / "script.py").write_text(SCRIPT)
    flags = ["--stage", "1", "--data", str(folder / "card.toml"), "--preset", "language-only", "--epochs", "3",
             "--dropout", "0", "--batch-size", "25"]  # fmt: skip
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, str(folder / "script.py"), str(folder), *flags, "--out", str(folder / "run")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, env=environment())
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, flags, done


def environment():
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def test_the_loss_curve_and_the_metrics_are_those_of_one_process(two):
    task = completion_task(samples=23)
    alone = json.loads(epochs_of(Trainer(SCHEDULE).fit(task, "a/train")))
    for rank in (0, 1):
        both = json.loads((two[0] / f"epochs{rank}.json").read_text())
        for one, other in zip(alone, both, strict=True):
            assert set(one["train"]) == {"loss", "completion", "alignment"}
            assert other["train"] == pytest.approx(one["train"], rel=1e-5)
            assert other["valid"] == pytest.approx(one["valid"], rel=1e-5)
            assert other["lr"] == one["lr"]


def test_both_processes_end_in_the_same_weights_and_near_those_of_one(two):
    first, second = (load_file(two[0] / f"weights{rank}.safetensors") for rank in (0, 1))
    task = completion_task(samples=23)
    Trainer(SCHEDULE).fit(task, "a/train")
    for name, weight in task.module.state_dict().items():
        assert torch.equal(first[name], second[name])
        if "in_proj_bias" not in name:  # a key's bias has no gradient; AdamW makes steps of what rounding leaves
            assert torch.allclose(first[name].double(), weight.double(), atol=2e-5), name


def test_only_the_first_process_writes_and_every_test_row_is_there_once(two, tmp_path):
    folder, flags, done = two
    assert done.stdout.count("fold 2022: training, ") == 1
    run = RunFolder.open(folder / "run")
    assert train.main([*flags, "--out", str(tmp_path / "alone")]) == 0
    alone = RunFolder.open(tmp_path / "alone")
    both = pd.read_parquet(run.path / "predictions.parquet")
    assert not both.duplicated(["sample_id", "variate", "step"]).any()
    expected = pd.read_parquet(alone.path / "predictions.parquet")
    pd.testing.assert_frame_equal(both, expected, rtol=1e-3, atol=1e-4)
    metrics = [r.read_json("result.json")["metrics"]["mse_standardised"] for r in (run, alone)]
    assert metrics[0] == pytest.approx(metrics[1], rel=1e-4)
    losses = [[row["train"]["loss"] for row in r.metrics()] for r in (run, alone)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


# One process fails at its third step, when the other one counts on it.
FAILING = """
import os, sys, time
from pathlib import Path
import train
from model.training import trainer
from pipeline.errors import InputError
step, taken = trainer._Course.step, []
def fail(self, draw):
    taken.append(draw)
    if os.environ["RANK"] == "1" and len(taken) == 3:
        Path(sys.argv[1], "failed").write_text(str(time.time()))
        raise InputError("the third step is one too many")
    return step(self, draw)
trainer._Course.step = fail
sys.exit(train.main(sys.argv[2:]))
"""


@pytest.fixture
def failing(tmp_path):
    """The command of the failing training without its interpreter."""
    small_seasons().to_csv(tmp_path / "seasons.csv", index=False)
    (tmp_path / "card.toml").write_text(CARD)
    (tmp_path / "script.py").write_text(FAILING)
    flags = ["--stage", "1", "--data", str(tmp_path / "card.toml"), "--preset", "language-only", "--epochs", "9",
             "--batch-size", "8", "--device", "cpu", "--out", str(tmp_path / "run")]  # fmt: skip
    return [str(tmp_path / "script.py"), str(tmp_path), *flags]


def seconds_since_the_failure(folder):
    return time.time() - float((folder / "failed").read_text())


def test_torchrun_ends_both_when_one_fails_and_tells_what_failed(failing, tmp_path):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, *failing]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, env=environment())
    assert seconds_since_the_failure(tmp_path) < 30
    assert done.returncode != 0
    assert "train.py: the third step is one too many" in done.stderr
    root_cause = done.stderr.partition("Root Cause")[2]
    assert "rank      : 1" in root_cause
    assert "the third step is one too many" in root_cause


def test_without_a_launcher_that_kills_them_the_others_end_and_say_whom_they_lost(failing, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    both = [
        subprocess.Popen([sys.executable, *failing], cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
                         text=True, env=environment() | meeting | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in (0, 1)
    ]  # fmt: skip
    try:
        told = [process.communicate(timeout=300)[1] for process in both]
        assert seconds_since_the_failure(tmp_path) < 30
    finally:
        for process in both:
            process.kill()
    assert [process.returncode for process in both] == [1, 2]
    assert "train.py: the third step is one too many" in told[1]
    assert "train.py: process 0 of 2 lost the others" in told[0]
    assert "--resume" in told[0]
    assert "Traceback" not in told[0]


def test_ctrl_c_in_one_of_several_processes_is_no_early_end(monkeypatch):
    """It would leave the loop at a step of its own and wait for the others for ever."""

    def interrupt(self, draw):
        raise KeyboardInterrupt

    monkeypatch.setattr(trainer._Course, "step", interrupt)
    with pytest.raises(KeyboardInterrupt):
        Trainer(SCHEDULE, processes=Processes(0, 2)).fit(completion_task(samples=23), "a/train")


@pytest.mark.parametrize("rows", [0, 1, 7, 8])
def test_rows_are_dealt_by_slicing_without_a_duplicate(rows):
    shares = [Processes(rank, 3).share(rows) for rank in range(3)]
    assert [row for start, stop in shares for row in range(start, stop)] == list(range(rows))
    assert max(stop - start for start, stop in shares) - min(stop - start for start, stop in shares) <= 1


def test_a_single_process_gathers_itself():
    rows = torch.randn(3, 2, requires_grad=True)
    gathered, first = ALONE.gather_rows(rows)
    assert gathered is rows
    assert first == 0
    assert torch.equal(ALONE.sum(rows), rows)
