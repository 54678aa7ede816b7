"""Output during training, and the page of a run afterwards."""

import io
import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import train
from report import trackers
from report.run import RunFolder
from report.training_display import TrainingDisplay, epoch_line
from tests.conftest import CARD, small_seasons

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
PARTS = {"data": 0.1, "forward": 0.6, "backward": 0.5, "optimizer": 0.2, "evaluation": 0.1, "save": 0.0}
ROW = {"epoch": 2, "step": 20, "seconds": 1.5, "lr": 5e-4, "samples_per_second": 640.0, "parts": PARTS,
       "train": {"loss": 0.5, "completion": 0.4}, "valid": {"score": 0.3, "completion": 0.3}}  # fmt: skip


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    """A stage-1 and a stage-2 run on the small table."""
    folder = tmp_path_factory.mktemp("logging")
    small_seasons().to_csv(folder / "seasons.csv", index=False)
    (folder / "card.toml").write_text(CARD)
    flags = ["--data", str(folder / "card.toml"), "--preset", "language-only", "--epochs", "3"]
    assert train.main(["--stage", "1", *flags, "--out", str(folder / "one")]) == 0
    assert train.main(["--stage", "2", *flags, "--from", str(folder / "one"), "--out", str(folder / "two")]) == 0
    return folder, flags


def shown_by(terminal, verbose, phases=("2022/train",)):
    """What a display prints on a screen of 80 columns: ten steps and an epoch of each phase."""
    screen = io.StringIO()
    display = TrainingDisplay(3, verbose, Console(file=screen, force_terminal=terminal, width=80))
    for phase in phases:
        for step in range(1, 11):
            display.step(phase, 2, step, 10)
        if phase.endswith("train"):
            display.epoch("2022", ROW)
    display.close()
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue())


def test_a_part_has_one_line_where_there_is_no_terminal(capsys):
    parts = [f"2022 without part {n}/parts" for n in range(5)]
    lines = shown_by(
        False, False, ["2022/train", *parts, "2022/learners", "2022/last", "2022/refit", "2022 first/refit"]
    ).splitlines()
    assert [line.partition(", ")[0] for line in lines] == [
        "fold 2022: training",
        "fold 2022: fitting yield heads without a part of the rows",
        "fold 2022: fitting the other learners without a part of the rows",
        "fold 2022: fitting the other learners on all training rows",
        "fold 2022: fitting yield heads on all training rows",
    ]
    resumed = "since the run was resumed in epoch 2"
    assert f"stopped after epoch 2; lowest validation error {resumed}: 0.3000, in epoch 2" in lines[0]
    assert capsys.readouterr().out == ""


def test_a_long_training_says_where_it_is_once_a_minute(capsys, monkeypatch):
    monkeypatch.setattr("report.training_display.LINE_EVERY", 0.0)
    shown_by(False, False)
    printed = capsys.readouterr().out
    assert printed == ("fold 2022: epoch 2 of at most 3, validation error 0.3000 (lowest so far: 0.3000, epoch 2)\n")


def test_the_last_line_names_the_last_epoch_and_the_best_one(capsys):
    display = TrainingDisplay(60, False, Console(file=(screen := io.StringIO()), force_terminal=False, width=200))
    display.step("2022/train", 1, 1, 1)
    for epoch, score in ((1, 0.5), (2, 0.3), (3, 0.4)):
        display.epoch("2022", ROW | {"epoch": epoch, "valid": {"score": score}})
    display.close()
    assert screen.getvalue().endswith("stopped after epoch 3; lowest validation error: 0.3000, in epoch 2\n")


def test_epochs_are_lines_on_request_where_there_is_no_terminal(capsys):
    shown_by(False, True)
    assert capsys.readouterr().out == epoch_line("2022", ROW) + "\n"
    line = epoch_line("2022", ROW)
    for part in ("data 0.10", "forward 0.60", "backward 0.50", "optimizer 0.20", "evaluation 0.10", "640 samples/s"):
        assert part in line


@pytest.mark.parametrize("verbose", [False, True])
def test_a_terminal_of_80_columns_has_a_live_bar_and_on_request_the_table_of_the_epoch(verbose):
    shown = shown_by(True, verbose)
    assert "20/30 steps" in shown
    assert "fold 2022, epoch 2" in shown
    assert all(len(line.rstrip()) <= 80 for line in shown.splitlines())
    for name in ("completion", "learning rate", "5.00e-04", "forward", "0.600 s"):
        assert (name in shown) == verbose


def test_tensorboard_shows_what_metrics_jsonl_holds(stages):
    run = RunFolder.open(stages[0] / "one")
    events = EventAccumulator(str(run.path / "tensorboard")).Reload()
    for name, value in (("train/loss", lambda row: row["train"]["loss"]), ("lr", lambda row: row["lr"]),
                        ("valid/score", lambda row: row["valid"]["score"])):  # fmt: skip
        seen = [(event.step, event.value) for event in events.Scalars(f"2022/{name}")]
        assert seen == [(row["epoch"], pytest.approx(value(row))) for row in run.metrics()]
    assert "2022/parts/backward" in events.Tags()["scalars"]


def test_without_tensorboard_nothing_of_it_is_written(stages, tmp_path):
    given = ["--stage", "1", *stages[1], "--tensorboard", "False", "--out", str(tmp_path / "run")]
    assert train.main(given) == 0
    assert not (tmp_path / "run" / "tensorboard").exists()


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_tracker_that_is_not_installed_is_named_and_nothing_written(stages, tmp_path, capsys, monkeypatch, name):
    found = trackers.find_spec  # type: ignore[attr-defined]
    monkeypatch.setattr(trackers, "find_spec", lambda package: None if package == name else found(package))
    assert train.main(["--stage", "1", *stages[1], f"--{name}", "--out", str(tmp_path / "run")]) == 2
    assert f"pip install {name}" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("flag", "owner"), [("wandb", "WandBTracker"), ("mlflow", "MLflowTracker")])
def test_the_flag_starts_the_tracker_and_every_epoch_reaches_it(stages, tmp_path, monkeypatch, flag, owner):
    told = []

    class Tracker:
        name = flag

        def __init__(self, *args, **kwargs):
            told.append(("made", kwargs))

        def start(self):
            told.append(("start",))

        def store_init_configuration(self, values):
            told.append(("config", values["stage"]))

        def log(self, values, step=None):
            told.append(("log", values.get("epoch", step), values["2022/train/loss"]))

        def finish(self):
            told.append(("finish",))

    places = []
    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(set_tracking_uri=places.append))
    monkeypatch.setattr(trackers, owner, Tracker)
    monkeypatch.setattr(trackers, "find_spec", lambda package: package)
    out = tmp_path / "run"
    assert train.main(["--stage", "1", *stages[1], f"--{flag}", "--tensorboard", "False", "--out", str(out)]) == 0
    losses = [("log", row["epoch"], row["train"]["loss"]) for row in RunFolder(out).metrics()]
    assert told[1:] == [("start",), ("config", 1), *losses, ("finish",)]
    assert places == ([f"sqlite:///{out}/mlflow.db"] if flag == "mlflow" else [])


SEVERAL_FOLDS = ["--split", "leave-year-out", "--folds", "2021,2022", "--tensorboard", "False"]


def train_with(flag, stages, out):
    """Two folds in a process of their own, in the folder `out`: what a package leaves where it is started is found."""
    out.mkdir()
    command = [sys.executable, str(ROOT / "train.py"), "--stage", "1", *stages[1], *SEVERAL_FOLDS, flag, "--out", "run"]
    settings = {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=out, capture_output=True, text=True, timeout=120, env=os.environ | settings)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in out.iterdir()] == ["run"]
    rows = RunFolder(out / "run").metrics()
    assert {row["fold"] for row in rows} == {"2021", "2022"}
    return [(row["fold"], row["epoch"], row["train"]["loss"]) for row in rows]


@pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed")
def test_mlflow_itself_holds_every_epoch_of_every_fold(stages, tmp_path):
    expected = train_with("--mlflow", stages, tmp_path / "here")
    with closing(sqlite3.connect(tmp_path / "here" / "run" / "mlflow.db")) as database:
        found = database.execute("select key, step, value from metrics where key like '%/train/loss'").fetchall()
    assert sorted((key.partition("/")[0], step, value) for key, step, value in found) == sorted(expected)


@pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed")
def test_wandb_itself_holds_every_epoch_of_every_fold(stages, tmp_path):
    expected = train_with("--wandb", stages, tmp_path / "here")
    (file,) = (tmp_path / "here" / "run").glob("wandb/offline-run-*/run-*.wandb")
    done = subprocess.run([sys.executable, "-c", READ_WANDB, str(file)], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    found = [(key.partition("/")[0], int(line["epoch"]), line[key]) for line in lines for key in line
             if key.endswith("/train/loss")]  # fmt: skip
    assert sorted(found) == sorted(expected)


# W&B's file: 7 bytes, then a LevelDB log: blocks of 32 KiB of parts with a header of 7 bytes (checksum, length, type).
READ_WANDB = """
import json, sys
from wandb.proto import wandb_internal_pb2
data, at, parts = open(sys.argv[1], "rb").read(), 7, b""
while at + 7 <= len(data):
    if 32768 - at % 32768 < 7:
        at += 32768 - at % 32768
        continue
    length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
    parts += data[at + 7 : at + 7 + length]
    at += 7 + length
    if kind in (1, 4):  # whole, or the last part
        record = wandb_internal_pb2.Record()
        record.ParseFromString(parts)
        parts = b""
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            print(json.dumps({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}))
"""


def test_the_page_shows_the_curves_and_where_the_errors_are_and_opens_offline(stages):
    one, two = ((stages[0] / name / "report.html").read_text() for name in ("one", "two"))
    for page in (one, two):
        assert '<div class="chart" id="chart-training"' in page
        assert not re.search(r"(src|href)\s*=\s*[\"']?https?:", re.sub(r"<script>.*?</script>", "", page, flags=re.S))
    for chart in ("chart-forecast", "chart-error-place"):
        assert f'id="{chart}"' in two
        assert f'id="{chart}"' not in one
