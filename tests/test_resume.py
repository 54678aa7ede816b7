"""A killed run is resumed and ends in the bytes of the undisturbed one; what is half written is never trusted."""

import errno
import json
import pickle
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import predict
import train
from model.training.optim import Schedule
from model.training.trainer import Trainer
from pipeline.errors import InputError
from report.run import RunFolder
from stages.runs import checkpoints
from stages.runs.checkpoints import Checkpoints
from tests.conftest import CARD, small_seasons
from tests.tasks import Line, completion_task

# Programs that a test starts have the forests of users, so those in this process need them as well.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("full_forests")]

ROOT = Path(__file__).resolve().parents[1]
KILLED = """
import os, signal, sys
import train
from model.training import trainer
step, left, number = trainer._Course.step, int(sys.argv.pop(1)), int(sys.argv.pop(1))
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background processes ignore it
def stepped(course, draw):
    global left
    left -= 1
    step(course, draw)
    if left == 0:
        os.kill(os.getpid(), number)
trainer._Course.step = stepped
sys.exit(train.main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Both stages on the small table, three folds of four steps per epoch, never stopped."""
    folder = tmp_path_factory.mktemp("resume")
    small_seasons().to_csv(folder / "seasons.csv", index=False)
    (folder / "card.toml").write_text(CARD)
    flags = ["--data", str(folder / "card.toml"), "--preset", "language-only", "--split", "forward", "--epochs", "3",
             "--batch-size", "12", "--checkpoint-seconds", "0", "--checkpoint-steps", "2"]  # fmt: skip
    stages = {1: ["--stage", "1", *flags], 2: ["--stage", "2", "--from", str(folder / "1"), *flags]}
    for stage, given in stages.items():
        assert train.main([*given, "--out", str(folder / str(stage))]) == 0
    return folder, stages


def no_pickle(*args, **kwargs):
    raise AssertionError("a pickle was loaded")


# 2020 tests first: 36 training rows, so 3 steps per epoch. 14: fold 2021, second epoch. Stage 2, 12: while
# the first part is left out to choose the epoch; 60: a refit.
# SIGTERM is told where to go on, SIGKILL is told nothing: both leave the same.
@pytest.mark.parametrize(
    ("stage", "steps", "number"),
    [(1, 14, signal.SIGKILL), (2, 12, signal.SIGKILL), (2, 60, signal.SIGKILL), (1, 8, signal.SIGTERM)],
)
def test_a_run_killed_in_mid_epoch_ends_in_the_same_bytes(undisturbed, tmp_path, monkeypatch, stage, steps, number):
    folder, stages = undisturbed
    out = tmp_path / "killed"
    command = [sys.executable, "-c", KILLED, str(steps), str(int(number)), *stages[stage], "--out", str(out)]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert killed.returncode == (143 if number == signal.SIGTERM else -number), killed.stderr
    assert ("--resume" in killed.stderr) == (number == signal.SIGTERM)
    assert not (out / "result.json").exists()
    assert list(out.glob("checkpoints/*/*/*/numbers.json"))
    for owner, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load")):
        monkeypatch.setattr(owner, name, no_pickle)
    assert train.main(["--resume", str(out)] if stage == 2 else ["--resume", str(out), "--stage", "1"]) == 0
    for name in ("model.safetensors", "predictions.parquet", "fitted.json"):
        assert (out / name).read_bytes() == (folder / str(stage) / name).read_bytes(), name
    names = ("fold", "epoch", "lr", "train", "valid")
    timeless = [{k: row[k] for k in names} for row in RunFolder(out).metrics()]
    assert timeless == [{k: row[k] for k in names} for row in RunFolder(folder / str(stage)).metrics()]
    assert not (out / "checkpoints").exists()


@pytest.mark.parametrize(("stage", "steps"), [(1, 4), (2, 4)])
def test_a_run_that_ctrl_c_stopped_can_be_resumed(undisturbed, tmp_path, stage, steps):
    folder, stages = undisturbed
    out = tmp_path / "stopped"
    command = [sys.executable, "-c", KILLED, str(steps), str(int(signal.SIGINT)), *stages[stage], "--out", str(out)]
    stopped = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert stopped.returncode == (0 if stage == 1 else 130), stopped.stderr
    if stage == 1:  # weights of stage 2 need every left-out part, so there is no run yet
        assert RunFolder.open(out).read_json("result.json")["interrupted"]
    assert train.main(["--resume", str(out)]) == 0
    for name in ("model.safetensors", "predictions.parquet", "fitted.json"):
        assert (out / name).read_bytes() == (folder / str(stage) / name).read_bytes(), name
    started = shlex.join(["python", "train.py", *stages[stage], "--out", str(out)])
    assert RunFolder(out).read_json("result.json")["command"] == started


def test_seeds_that_were_never_started_have_the_command_of_the_first(tmp_path):
    assert train.command_of(tmp_path) == ""
    RunFolder(tmp_path / "seed0").path.mkdir()
    RunFolder(tmp_path / "seed0").write_json("result.json", {"command": "python train.py --seeds 3"})
    Checkpoints(RunFolder(tmp_path / "seed1"), 2, 0, 0).start({"data": "d"})
    assert train.command_of(tmp_path) == "python train.py --seeds 3"
    Checkpoints(RunFolder(tmp_path / "seed2"), 2, 0, 0).start({"data": "d"}, "python train.py --seeds 4")
    assert train.command_of(tmp_path) == "python train.py --seeds 4"


def test_what_stops_a_run_names_it(undisturbed, tmp_path):
    _, stages = undisturbed
    out = tmp_path / "stopped"  # in mid-learning of what was chosen, where fewer epochs would be another model
    command = [sys.executable, "-c", KILLED, "60", str(int(signal.SIGINT)), *stages[2], "--out", str(out)]
    stopped = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert stopped.returncode == 130
    assert f"`python train.py --resume {out}` resumes" in stopped.stderr


def test_a_folder_that_cannot_be_resumed_says_what_to_do(undisturbed, tmp_path, capsys):
    folder, stages = undisturbed
    (tmp_path / "one").mkdir()
    shutil.copy(folder / "1" / "config.json", tmp_path / "one")
    assert train.main(["--resume", str(tmp_path / "one")]) == 2
    assert f"--config {tmp_path / 'one' / 'config.json'}" in capsys.readouterr().err
    assert train.main([*stages[1], "--out", str(tmp_path / "one")]) == 2
    assert "stopped before its first checkpoint; delete it" in capsys.readouterr().err
    (tmp_path / "many" / "seed3").mkdir(parents=True)
    (tmp_path / "many" / "seed3" / "config.json").write_text("{}")
    assert train.main(["--resume", str(tmp_path / "many")]) == 2
    assert f"--resume {tmp_path / 'many' / 'seed3'}" in capsys.readouterr().err


def stopped(folder, keep=2, task=None, stop_at=(3, 1)):
    """A run folder whose training stopped after an epoch and some steps, with a checkpoint each step."""
    run = RunFolder(folder)
    folder.mkdir(parents=True)
    keeper = Checkpoints(run, keep, 0.0, 1)
    keeper.start({"data": "d", "cache": None})

    class Stop(BaseException):
        pass

    class Stopper:
        def on_step(self, phase, epoch, step, steps):
            if (epoch, step) == stop_at:
                raise Stop

        def on_epoch(self, phase, epoch):
            run.append_metrics({"epoch": epoch.epoch})

    task = task or completion_task(dropout=0.2)
    with pytest.raises(Stop):
        Trainer(SCHEDULE, states=keeper, listener=Stopper()).fit(task, "a/train")
    return keeper


SCHEDULE = Schedule(epochs=4, batch_size=4, patience=9)


def finished_weights(keeper=None):
    """The weights that the random seasons' model ends with, from a checkpoint or from the start."""
    task = completion_task(dropout=0.2)
    if keeper is None:
        Trainer(SCHEDULE).fit(task, "a/train")
    else:
        Trainer(SCHEDULE, states=keeper).fit(task, "a/train")
    return task.module.state_dict()


def test_the_newest_states_and_the_best_weights_are_kept(tmp_path):
    keeper = stopped(tmp_path / "run", keep=3)
    names = {path.name for path in (keeper.root / "a/train").iterdir()}
    states = {name for name in names if not name.startswith("best")}
    # Interrupted before its own state was written, the first step of epoch 3 is not among them.
    assert states == {"000001-00000003", "000001-00000004", "000002-00000000"}
    numbers = [json.loads((keeper.root / "a/train" / name / "numbers.json").read_text()) for name in states]
    assert names - states == {record["best"] for record in numbers}
    assert json.loads((keeper.root / "started.json").read_text()) == {
        "data": "d", "cache": None, "command": ""}  # fmt: skip


def test_dropout_and_momentum_go_on_where_they_were(tmp_path):
    keeper = stopped(tmp_path / "run", stop_at=(3, 4))
    resumed, whole = finished_weights(keeper), finished_weights()
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


def test_a_finished_phase_is_not_trained_again(tmp_path):
    keeper = stopped(tmp_path / "run")
    first = finished_weights(keeper)
    assert [path.name for path in (keeper.root / "a/train").iterdir()] == ["finished"]
    task = completion_task(dropout=0.2, seed=3)
    calls = []
    task.module.register_forward_hook(lambda *args: calls.append(args))
    fit = Trainer(SCHEDULE, states=keeper).fit(task, "a/train")
    assert (len(fit.epochs), calls) == (4, [])
    assert all(torch.equal(first[name], weight) for name, weight in task.module.state_dict().items())


@pytest.mark.parametrize("fails_at", [1, 3, 5, 8])
def test_a_full_disk_leaves_the_checkpoint_before_it(tmp_path, monkeypatch, fails_at):
    keeper = stopped(tmp_path / "run")
    before = {path: path.read_bytes() for path in sorted(keeper.root.rglob("*")) if path.is_file()}
    calls = []

    def full(path, *args):
        calls.append(path)
        if len(calls) == fails_at:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints, "sync_path", full)
    with pytest.raises(InputError, match="No space left"):
        Trainer(SCHEDULE, states=keeper).fit(completion_task(dropout=0.2), "a/train")
    monkeypatch.undo()
    if fails_at == 1:
        assert {path: path.read_bytes() for path in sorted(keeper.root.rglob("*")) if path.is_file()} == before
    assert not list(keeper.root.rglob(".*"))
    resumed, whole = finished_weights(keeper), finished_weights()
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


def test_a_full_disk_ends_in_one_paragraph_and_exit_2(undisturbed, tmp_path, monkeypatch, capsys):
    out, save = tmp_path / "full", checkpoints.save_file  # type: ignore[attr-defined]
    calls = []

    def full(tensors, path):
        calls.append(path)
        if len(calls) > 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(tensors, path)

    monkeypatch.setattr(checkpoints, "save_file", full)
    assert train.main([*undisturbed[1][1], "--out", str(out)]) == 2
    message = capsys.readouterr().err
    assert "No space left" in message
    assert f"--resume {out}" in message
    monkeypatch.undo()
    assert train.main(["--resume", str(out)]) == 0
    assert (out / "model.safetensors").read_bytes() == (undisturbed[0] / "1" / "model.safetensors").read_bytes()


def test_a_run_on_other_data_is_refused_naming_both_fingerprints(undisturbed, tmp_path, capsys, monkeypatch):
    folder, stages = undisturbed
    data = tmp_path / "data"
    shutil.copytree(folder, data, ignore=shutil.ignore_patterns("1", "2"))
    flags = [str(data / "card.toml") if flag == str(folder / "card.toml") else flag for flag in stages[1]]
    monkeypatch.setattr(Checkpoints, "save", no_room)
    assert train.main([*flags, "--out", str(tmp_path / "run")]) == 2
    monkeypatch.undo()
    table = small_seasons()
    table.loc[0, "ndvi_03"] += 0.01
    table.to_csv(data / "seasons.csv", index=False)
    capsys.readouterr()
    assert train.main(["--resume", str(tmp_path / "run")]) == 2
    message = capsys.readouterr().err
    started = json.loads((tmp_path / "run" / "checkpoints" / "started.json").read_text())
    assert started["data"] in message
    assert message.count("fingerprint") == 1
    assert len([word for word in message.replace(",", " ").replace(".", " ").split() if len(word) == 32]) == 2


def no_room(*args):
    raise InputError("no room")


def test_a_damaged_checkpoint_is_named(tmp_path):
    keeper = stopped(tmp_path / "run")
    newest = sorted((keeper.root / "a/train").glob("0*"))[-1]
    file = newest / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InputError, match=str(newest)):
        finished_weights(keeper)
    shutil.rmtree(newest)
    resumed, whole = finished_weights(keeper), finished_weights()
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


def test_checkpoints_are_safetensors_and_json_and_nothing_else(tmp_path):
    keeper = stopped(tmp_path / "run")
    files = [path for path in keeper.root.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".safetensors", ".json"}  # and the lock of a run in training
    for path in files:
        assert json.loads(path.read_text()) is not None if path.suffix == ".json" else load_file(path)


def test_a_run_that_another_process_trains_is_refused(undisturbed, tmp_path, capsys):
    out = tmp_path / "stopped"
    command = [sys.executable, "-c", KILLED, "3", str(int(signal.SIGTERM)), *undisturbed[1][1], "--out", str(out)]
    assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 143
    before = (out / "metrics.jsonl").read_bytes()
    holder = "import sys, filelock as f; lock = f.FileLock(sys.argv[1]); lock.acquire(); print(1, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", holder, str(out / "checkpoints" / "lock")], text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:  # fmt: skip
        assert other.stdout is not None
        assert other.stdout.readline() == "1\n"
        assert train.main(["--resume", str(out)]) == 2
        assert f"{out} is being trained by another process" in capsys.readouterr().err
        assert (out / "metrics.jsonl").read_bytes() == before
        other.kill()  # the operating system releases the lock
    assert train.main(["--resume", str(out)]) == 0
    assert not (out / "checkpoints").exists()


def test_a_stopped_run_is_answered_with_the_command_that_finishes_it(undisturbed, tmp_path, capsys):
    out = tmp_path / "stopped"
    command = [sys.executable, "-c", KILLED, "3", str(int(signal.SIGTERM)), *undisturbed[1][1], "--out", str(out)]
    subprocess.run(command, cwd=ROOT, capture_output=True)
    answers = {
        out: f"Finish it:\n    python train.py --resume {out}",
        tmp_path / "nowhere": "nowhere does not exist.",
        tmp_path: "is not a complete run",
    }
    for folder, message in answers.items():
        assert predict.main(["--run", str(folder), "--data", "x.csv", "--out", str(tmp_path / "p.csv")]) == 2
        assert message in capsys.readouterr().err


def test_a_complete_run_is_not_resumed(undisturbed, capsys):
    assert train.main(["--resume", str(undisturbed[0] / "1")]) == 2
    assert "is complete" in capsys.readouterr().err


def test_the_number_of_processes_must_stay(tmp_path):
    keeper = stopped(tmp_path / "run", task=Line(x=torch.linspace(-1, 1, 16)[:, None]))
    newest = sorted((keeper.root / "a/train").glob("0*"))[-1] / "numbers.json"
    newest.write_text(json.dumps(json.loads(newest.read_text()) | {"processes": 4}))
    with pytest.raises(Exception, match="was trained by 4 processes and is resumed with 1"):
        Trainer(SCHEDULE, states=keeper).fit(Line(x=torch.linspace(-1, 1, 16)[:, None]), "a/train")
